# Three regions, peered with each other, and who may speak to whom.

locals {
  # Ports of each role by who uses them. 8009 is the agents' own: everybody asks everybody.
  role_ports = concat(
    flatten([for to in ["db", "haproxy", "app", "witness"] : [
      for from in ["db", "haproxy", "app", "witness"] : { to = to, from = from, port = 8009 }
    ]]),
    [
      { to = "db", from = "db", port = 5432 },
      { to = "db", from = "haproxy", port = 5432 },
      { to = "db", from = "db", port = 8008 },
      { to = "db", from = "haproxy", port = 8008 },
      { to = "db", from = "db", port = 2379 },
      { to = "db", from = "db", port = 2380 },
      { to = "db", from = "witness", port = 2379 },
      { to = "db", from = "witness", port = 2380 },
      { to = "witness", from = "db", port = 2379 },
      { to = "witness", from = "db", port = 2380 },
      { to = "haproxy", from = "app", port = 5432 },
      { to = "haproxy", from = "app", port = 5433 },
    ]
  )
  roles_of = { for n, region in local.regions : n => toset(distinct([for s in local.slots : s.role if s.region_index == n])) }

  local_rules = { for n, region in local.regions : n => [
    for r in local.role_ports : r if contains(local.roles_of[n], r.to) && contains(local.roles_of[n], r.from)
  ] }
  remote_rules = { for n, region in local.regions : n => {
    for key in distinct([for r in local.role_ports : "${r.to}/${r.port}" if contains(local.roles_of[n], r.to)]) : key => {
      to   = split("/", key)[0]
      port = tonumber(split("/", key)[1])
      addresses = sort([
        for s in local.slots : s.address if s.region_index != n && contains(
          [for r in local.role_ports : r.from if "${r.to}/${r.port}" == key], s.role
        )
      ])
    }
  } }
  public_rules = { for n, region in local.regions : n => [
    for role in local.roles_of[n] : { to = "app", port = 5000, cidrs = var.app_allowed_cidrs } if role == "app"
  ] }
}

module "first" {
  source       = "./modules/region"
  providers    = { aws = aws.first }
  name         = "${var.cluster}-${local.short[local.regions[0]]}"
  cidr         = var.cidrs[0]
  roles        = local.roles_of[0]
  local_rules  = local.local_rules[0]
  remote_rules = local.remote_rules[0]
  public_rules = local.public_rules[0]
}

module "second" {
  source       = "./modules/region"
  providers    = { aws = aws.second }
  name         = "${var.cluster}-${local.short[local.regions[1]]}"
  cidr         = var.cidrs[1]
  roles        = local.roles_of[1]
  local_rules  = local.local_rules[1]
  remote_rules = local.remote_rules[1]
  public_rules = local.public_rules[1]
}

module "observer" {
  source       = "./modules/region"
  providers    = { aws = aws.observer }
  name         = "${var.cluster}-${local.short[local.regions[2]]}"
  cidr         = var.cidrs[2]
  roles        = local.roles_of[2]
  local_rules  = local.local_rules[2]
  remote_rules = local.remote_rules[2]
  public_rules = local.public_rules[2]
}

resource "aws_vpc_peering_connection" "first_second" {
  provider    = aws.first
  vpc_id      = module.first.vpc_id
  peer_vpc_id = module.second.vpc_id
  peer_region = local.regions[1]
  tags        = { Name = "${var.cluster}-first-second" }
}

resource "aws_vpc_peering_connection_accepter" "first_second" {
  provider                  = aws.second
  vpc_peering_connection_id = aws_vpc_peering_connection.first_second.id
  auto_accept               = true
  tags                      = { Name = "${var.cluster}-first-second" }
}

resource "aws_vpc_peering_connection" "first_observer" {
  provider    = aws.first
  vpc_id      = module.first.vpc_id
  peer_vpc_id = module.observer.vpc_id
  peer_region = local.regions[2]
  tags        = { Name = "${var.cluster}-first-observer" }
}

resource "aws_vpc_peering_connection_accepter" "first_observer" {
  provider                  = aws.observer
  vpc_peering_connection_id = aws_vpc_peering_connection.first_observer.id
  auto_accept               = true
  tags                      = { Name = "${var.cluster}-first-observer" }
}

resource "aws_vpc_peering_connection" "second_observer" {
  provider    = aws.second
  vpc_id      = module.second.vpc_id
  peer_vpc_id = module.observer.vpc_id
  peer_region = local.regions[2]
  tags        = { Name = "${var.cluster}-second-observer" }
}

resource "aws_vpc_peering_connection_accepter" "second_observer" {
  provider                  = aws.observer
  vpc_peering_connection_id = aws_vpc_peering_connection.second_observer.id
  auto_accept               = true
  tags                      = { Name = "${var.cluster}-second-observer" }
}

resource "aws_route" "first_to_second" {
  provider                  = aws.first
  for_each                  = module.first.route_table_ids
  route_table_id            = each.value
  destination_cidr_block    = var.cidrs[1]
  vpc_peering_connection_id = aws_vpc_peering_connection_accepter.first_second.id
}

resource "aws_route" "first_to_observer" {
  provider                  = aws.first
  for_each                  = module.first.route_table_ids
  route_table_id            = each.value
  destination_cidr_block    = var.cidrs[2]
  vpc_peering_connection_id = aws_vpc_peering_connection_accepter.first_observer.id
}

resource "aws_route" "second_to_first" {
  provider                  = aws.second
  for_each                  = module.second.route_table_ids
  route_table_id            = each.value
  destination_cidr_block    = var.cidrs[0]
  vpc_peering_connection_id = aws_vpc_peering_connection_accepter.first_second.id
}

resource "aws_route" "second_to_observer" {
  provider                  = aws.second
  for_each                  = module.second.route_table_ids
  route_table_id            = each.value
  destination_cidr_block    = var.cidrs[2]
  vpc_peering_connection_id = aws_vpc_peering_connection_accepter.second_observer.id
}

resource "aws_route" "observer_to_first" {
  provider                  = aws.observer
  for_each                  = module.observer.route_table_ids
  route_table_id            = each.value
  destination_cidr_block    = var.cidrs[0]
  vpc_peering_connection_id = aws_vpc_peering_connection_accepter.first_observer.id
}

resource "aws_route" "observer_to_second" {
  provider                  = aws.observer
  for_each                  = module.observer.route_table_ids
  route_table_id            = each.value
  destination_cidr_block    = var.cidrs[1]
  vpc_peering_connection_id = aws_vpc_peering_connection_accepter.second_observer.id
}
