output "spec" {
  description = "The cluster spec, as nodes and the healer read it."
  value       = local.spec
}

output "healer" {
  description = "The healer function."
  value       = { name = "${var.cluster}-healer", region = var.observer_region, arn = module.hub.functions["healer"].arn }
}

output "table" {
  description = "The hub table."
  value       = aws_dynamodb_table.hub.name
}

output "tick_rule" {
  description = "The minute tick's rule, on the observer region's default bus."
  value       = module.wakes.tick_rule
}

output "agent_rules" {
  description = "Rules on the hub bus that agents' events match."
  value       = module.wakes.agent_rules
}

output "dead_letter_urls" {
  description = "Dead-letter queues, by region."
  value = {
    (local.regions[0]) = module.first_forward.dead_letter_url
    (local.regions[1]) = module.second_forward.dead_letter_url
    (local.regions[2]) = module.hub.dead_letter.url
  }
}

output "app_addresses" {
  description = "Public address by app slot."
  value       = merge(module.first_slots.app_addresses, module.second_slots.app_addresses)
}
