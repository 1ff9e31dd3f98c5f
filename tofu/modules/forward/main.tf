# One data region's events on their way to the hub: the agents' bus, and AWS's own events on the default bus.

resource "aws_cloudwatch_event_bus" "this" {
  name = var.cluster
}

resource "aws_cloudwatch_event_rule" "agents" {
  name           = "${var.cluster}-forward-agents"
  event_bus_name = aws_cloudwatch_event_bus.this.name
  event_pattern  = jsonencode({ source = ["pgmend.agent"], detail = { cluster = [var.cluster] } })
}

resource "aws_cloudwatch_event_target" "agents" {
  rule           = aws_cloudwatch_event_rule.agents.name
  event_bus_name = aws_cloudwatch_event_bus.this.name
  target_id      = "hub"
  arn            = var.hub_bus_arn
  role_arn       = var.role_arn
  dead_letter_config {
    arn = aws_sqs_queue.dead.arn
  }
}

resource "aws_cloudwatch_event_rule" "aws" {
  for_each      = var.aws_event_patterns
  name          = "${var.cluster}-forward-${each.key}"
  event_pattern = each.value
}

resource "aws_cloudwatch_event_target" "aws" {
  for_each  = var.aws_event_patterns
  rule      = aws_cloudwatch_event_rule.aws[each.key].name
  target_id = "hub"
  arn       = var.hub_bus_arn
  role_arn  = var.role_arn
  dead_letter_config {
    arn = aws_sqs_queue.dead.arn
  }
}

locals {
  queue_name = "${var.cluster}-forward-dead"
}

resource "aws_sqs_queue" "dead" {
  name                      = local.queue_name
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = "arn:aws:sqs:${var.region}:${var.account}:${local.queue_name}"
      Condition = { StringEquals = { "aws:SourceAccount" = var.account } }
    }]
  })
}
