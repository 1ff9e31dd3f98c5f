output "bus_arn" {
  description = "The region's own bus."
  value       = aws_cloudwatch_event_bus.this.arn
}

output "agents_rule" {
  description = "Name of the rule that forwards agents' events."
  value       = aws_cloudwatch_event_rule.agents.name
}

output "dead_letter_url" {
  description = "Events that could not be forwarded."
  value       = aws_sqs_queue.dead.url
}
