output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.this.id
}

output "zones" {
  description = "The three zones in use."
  value       = local.zones
}

output "public_subnet_ids" {
  description = "By zone. Public addresses need the gateway."
  value       = aws_subnet.public[*].id
  depends_on  = [aws_internet_gateway.this]
}

output "private_subnet_ids" {
  description = "By zone."
  value       = aws_subnet.private[*].id
}

output "route_table_ids" {
  description = "Public and private."
  value       = { public = aws_route_table.public.id, private = aws_route_table.private.id }
}

output "security_group_ids" {
  description = "By role."
  value       = { for role, group in aws_security_group.role : role => group.id }
}
