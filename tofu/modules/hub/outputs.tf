output "bus_arn" {
  description = "The hub bus."
  value       = aws_cloudwatch_event_bus.hub.arn
}

output "function_arns" {
  description = "By short name."
  value       = { for name, function in aws_lambda_function.this : name => function.arn }
}

output "tick_rule" {
  description = "Name of the minute tick's rule, on the default bus."
  value       = aws_cloudwatch_event_rule.tick.name
}

output "agent_rules" {
  description = "Names of the rules on the hub bus that agents' events match."
  value       = [for key, rule in aws_cloudwatch_event_rule.wake : rule.name if startswith(key, "agent-")]
}

output "dead_letter_url" {
  description = "Events that could not be delivered, and runs that failed for good."
  value       = aws_sqs_queue.dead.url
}
