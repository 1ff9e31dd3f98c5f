output "slots" {
  description = "What the cluster spec needs of each slot."
  value = {
    for name, s in var.slots : name => {
      interface_id            = aws_network_interface.slot[name].id
      launch_template_id      = aws_launch_template.role[s.role].id
      launch_template_version = tostring(aws_launch_template.role[s.role].latest_version)
    }
  }
}

output "app_addresses" {
  description = "Public address by app slot."
  value       = { for name, address in aws_eip.app : name => address.public_ip }
}
