# One region's network: a VPC, three public and three private subnets in three zones, ways out, and one
# security group a role with no rule wider than a port needs.

data "aws_availability_zones" "this" {
  state = "available"
  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

locals {
  zones = slice(sort(data.aws_availability_zones.this.names), 0, 3)
}

resource "aws_vpc" "this" {
  cidr_block           = var.cidr
  enable_dns_hostnames = true
  enable_dns_support   = true
  tags                 = { Name = var.name }
}

resource "aws_subnet" "public" {
  count             = 3
  vpc_id            = aws_vpc.this.id
  cidr_block        = cidrsubnet(var.cidr, 8, count.index)
  availability_zone = local.zones[count.index]
  tags              = { Name = "${var.name}-public-${count.index}" }
}

resource "aws_subnet" "private" {
  count             = 3
  vpc_id            = aws_vpc.this.id
  cidr_block        = cidrsubnet(var.cidr, 8, count.index + 10)
  availability_zone = local.zones[count.index]
  tags              = { Name = "${var.name}-private-${count.index}" }
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = var.name }
}

resource "aws_eip" "nat" {
  domain     = "vpc"
  tags       = { Name = "${var.name}-nat" }
  depends_on = [aws_internet_gateway.this]
}

resource "aws_nat_gateway" "this" {
  allocation_id = aws_eip.nat.id
  subnet_id     = aws_subnet.public[0].id
  tags          = { Name = var.name }
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = "${var.name}-public" }
}

resource "aws_route_table" "private" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = "${var.name}-private" }
}

resource "aws_route" "out" {
  route_table_id         = aws_route_table.public.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this.id
}

resource "aws_route" "nat" {
  route_table_id         = aws_route_table.private.id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.this.id
}

resource "aws_route_table_association" "public" {
  count          = 3
  subnet_id      = aws_subnet.public[count.index].id
  route_table_id = aws_route_table.public.id
}

resource "aws_route_table_association" "private" {
  count          = 3
  subnet_id      = aws_subnet.private[count.index].id
  route_table_id = aws_route_table.private.id
}

resource "aws_security_group" "role" {
  for_each    = var.roles
  name        = "${var.name}-${each.key}"
  description = "pgmend ${each.key} nodes"
  vpc_id      = aws_vpc.this.id
  tags        = { Name = "${var.name}-${each.key}" }
}

# One rule a port with every address in it: a rule an address would make hundreds of resources.

resource "aws_security_group_rule" "local" {
  for_each                 = { for r in var.local_rules : "${r.to}-${r.from}-${r.port}" => r }
  security_group_id        = aws_security_group.role[each.value.to].id
  source_security_group_id = aws_security_group.role[each.value.from].id
  description              = "${each.value.from} to ${each.value.to}"
  type                     = "ingress"
  protocol                 = "tcp"
  from_port                = each.value.port
  to_port                  = each.value.port
}

resource "aws_security_group_rule" "remote" {
  for_each          = var.remote_rules
  security_group_id = aws_security_group.role[each.value.to].id
  cidr_blocks       = [for address in each.value.addresses : "${address}/32"]
  description       = "slots of the other regions to ${each.value.to}"
  type              = "ingress"
  protocol          = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
}

resource "aws_security_group_rule" "public" {
  for_each          = { for r in var.public_rules : "${r.to}-${r.port}" => r if length(r.cidrs) > 0 }
  security_group_id = aws_security_group.role[each.value.to].id
  cidr_blocks       = each.value.cidrs
  description       = "clients to ${each.value.to}"
  type              = "ingress"
  protocol          = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
}

resource "aws_security_group_rule" "out" {
  for_each          = var.roles
  security_group_id = aws_security_group.role[each.key].id
  cidr_blocks       = ["0.0.0.0/0"]
  description       = "packages and the APIs of AWS"
  type              = "egress"
  protocol          = "-1"
  from_port         = 0
  to_port           = 0
}
