# The observer region's part: functions, the hub bus and what wakes the healer.

locals {
  functions = {
    healer    = { timeout = 300, memory = 512, concurrency = var.reserved_concurrency }
    notifier  = { timeout = 30, memory = 256, concurrency = null }
    lifecycle = { timeout = 600, memory = 256, concurrency = null }
  }

  # One rule a family on the hub bus. Agents' families by detail type, as in docs/contracts.md.
  wakes = merge(
    { for family, types in {
      patroni  = ["Patroni Role Changed", "Patroni State Changed", "Patroni Leader Changed", "Replication Broken"]
      haproxy  = ["HAProxy Backend Up", "HAProxy Backend Down", "HAProxy No Primary"]
      etcd     = ["Etcd Health Changed"]
      app      = ["App Health Changed"]
      disk     = ["Disk Pressure"]
      peer     = ["Peer Unreachable"]
      overflow = ["Spool Overflow"]
      } : "agent-${family}" => jsonencode({
        source = ["pgmend.agent"], detail-type = types, detail = { cluster = [var.cluster] }
    }) },
    var.aws_event_patterns,
    { unfinished = jsonencode({
      source = ["pgmend.healer"], detail-type = ["Reconcile Unfinished"], detail = { cluster = [var.cluster] }
    }) },
  )
}

resource "aws_cloudwatch_log_group" "function" {
  for_each          = local.functions
  name              = "/aws/lambda/${var.cluster}-${each.key}"
  retention_in_days = var.log_retention_days
}

resource "aws_lambda_function" "this" {
  for_each                       = local.functions
  function_name                  = "${var.cluster}-${each.key}"
  filename                       = var.zip_path
  source_code_hash               = filebase64sha256(var.zip_path)
  handler                        = "lambdas.handlers.${each.key}.handler"
  runtime                        = "python3.13"
  architectures                  = ["x86_64"]
  role                           = var.role_arns[each.key]
  timeout                        = each.value.timeout
  memory_size                    = each.value.memory
  reserved_concurrent_executions = each.value.concurrency
  environment {
    variables = var.environment
  }
  depends_on = [aws_cloudwatch_log_group.function]
}

resource "aws_lambda_function_event_invoke_config" "this" {
  for_each                     = toset(["healer", "notifier"])
  function_name                = aws_lambda_function.this[each.key].function_name
  maximum_retry_attempts       = 2
  maximum_event_age_in_seconds = 900
  destination_config {
    on_failure {
      destination = aws_sqs_queue.dead.arn
    }
  }
}

data "aws_caller_identity" "this" {}
data "aws_region" "this" {}

locals {
  account    = data.aws_caller_identity.this.account_id
  region     = data.aws_region.this.name
  queue_name = "${var.cluster}-dead"
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
      Resource  = "arn:aws:sqs:${local.region}:${local.account}:${local.queue_name}"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_cloudwatch_event_bus" "hub" {
  name = var.cluster
}

resource "aws_cloudwatch_event_rule" "wake" {
  for_each       = local.wakes
  name           = "${var.cluster}-wake-${each.key}"
  event_bus_name = aws_cloudwatch_event_bus.hub.name
  event_pattern  = each.value
}

resource "aws_cloudwatch_event_target" "wake" {
  for_each       = local.wakes
  rule           = aws_cloudwatch_event_rule.wake[each.key].name
  event_bus_name = aws_cloudwatch_event_bus.hub.name
  target_id      = "healer"
  arn            = aws_lambda_function.this["healer"].arn
  retry_policy {
    maximum_event_age_in_seconds = 900
    maximum_retry_attempts       = 20
  }
  dead_letter_config {
    arn = aws_sqs_queue.dead.arn
  }
}

# The observer region's own events go the same road.
resource "aws_cloudwatch_event_rule" "own" {
  for_each      = var.aws_event_patterns
  name          = "${var.cluster}-own-${each.key}"
  event_pattern = each.value
}

resource "aws_cloudwatch_event_target" "own" {
  for_each  = var.aws_event_patterns
  rule      = aws_cloudwatch_event_rule.own[each.key].name
  target_id = "healer"
  arn       = aws_lambda_function.this["healer"].arn
  retry_policy {
    maximum_event_age_in_seconds = 900
    maximum_retry_attempts       = 20
  }
  dead_letter_config {
    arn = aws_sqs_queue.dead.arn
  }
}

resource "aws_cloudwatch_event_rule" "tick" {
  name                = "${var.cluster}-tick"
  schedule_expression = "rate(1 minute)"
}

resource "aws_cloudwatch_event_target" "tick" {
  rule      = aws_cloudwatch_event_rule.tick.name
  target_id = "healer"
  arn       = aws_lambda_function.this["healer"].arn
  retry_policy {
    maximum_event_age_in_seconds = 60
    maximum_retry_attempts       = 0
  }
  dead_letter_config {
    arn = aws_sqs_queue.dead.arn
  }
}

resource "aws_cloudwatch_event_rule" "notices" {
  name           = "${var.cluster}-notices"
  event_bus_name = aws_cloudwatch_event_bus.hub.name
  event_pattern = jsonencode({
    source      = ["pgmend.healer"]
    detail-type = ["Incident Opened", "Action Taken", "Incident Healed", "Held"]
    detail      = { cluster = [var.cluster] }
  })
}

resource "aws_cloudwatch_event_target" "notices" {
  rule           = aws_cloudwatch_event_rule.notices.name
  event_bus_name = aws_cloudwatch_event_bus.hub.name
  target_id      = "notifier"
  arn            = aws_lambda_function.this["notifier"].arn
  dead_letter_config {
    arn = aws_sqs_queue.dead.arn
  }
}

# One permission a function: every rule of this cluster, on whichever bus of this region.
resource "aws_lambda_permission" "events" {
  for_each      = toset(["healer", "notifier"])
  statement_id  = "events"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.this[each.key].function_name
  principal     = "events.amazonaws.com"
  source_arn    = "arn:aws:events:${local.region}:${local.account}:rule/*${var.cluster}-*"
}

# Opens the cluster for the healer; before a destroy it closes it, ends every instance and deletes the disks.
resource "aws_lambda_invocation" "lifecycle" {
  function_name   = aws_lambda_function.this["lifecycle"].function_name
  lifecycle_scope = "CRUD"
  input           = jsonencode({ version = 1, final_snapshot = var.final_snapshot })
  depends_on      = [aws_cloudwatch_event_target.tick]
}
