# The observer region's part that exists before anything can happen: the hub bus, the functions, their dead letters.
# What wakes them is modules/wakes, made last and undone first.

locals {
  functions = {
    healer    = { timeout = 300, memory = 512, concurrency = var.reserved_concurrency }
    notifier  = { timeout = 30, memory = 256, concurrency = null }
    lifecycle = { timeout = 600, memory = 256, concurrency = null }
  }
}

resource "aws_cloudwatch_event_bus" "hub" {
  name = var.cluster
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

resource "aws_sqs_queue" "dead" {
  name                      = var.dead_letter_name
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = "arn:aws:sqs:${var.region}:${var.account}:${var.dead_letter_name}"
      Condition = { StringEquals = { "aws:SourceAccount" = var.account } }
    }]
  })
}
