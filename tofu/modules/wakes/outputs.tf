output "tick_rule" {
  description = "Name of the minute tick's rule, on the default bus."
  value       = aws_cloudwatch_event_rule.tick.name
}

output "agent_rules" {
  description = "Names of the rules on the hub bus that agents' events match."
  value       = [for key, rule in aws_cloudwatch_event_rule.wake : rule.name if startswith(key, "agent-")]
}
