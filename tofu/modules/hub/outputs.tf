output "bus" {
  description = "The hub bus."
  value       = { name = aws_cloudwatch_event_bus.hub.name, arn = aws_cloudwatch_event_bus.hub.arn }
}

output "functions" {
  description = "Name and ARN by short name."
  value       = { for name, function in aws_lambda_function.this : name => { name = function.function_name, arn = function.arn } }
}

output "dead_letter" {
  description = "The queue of events that could not be delivered, and of runs that failed for good."
  value       = { url = aws_sqs_queue.dead.url, arn = aws_sqs_queue.dead.arn }
}
