# The slots of each region, the spec that describes them all, and what nodes fetch.

locals {
  slots_of = { for n, region in local.regions : n => {
    for name, s in local.slots : name => { role = s.role, letter = s.letter, zone_index = s.zone_index, address = s.address }
    if s.region_index == n
  } }
  user_data_vars = { for region in local.regions : region => {
    region        = region
    bundle_sha256 = filesha256("${local.dist_dir}/node-bundle.tar.gz")
    node_json = jsonencode({
      version       = 1
      cluster       = var.cluster
      region        = region
      hub_region    = var.observer_region
      bucket        = local.buckets[region]
      table         = var.cluster
      aws_endpoints = var.aws_endpoints
    })
  } }
  # A launch template has the first; a launch may ask for another one of the list.
  first_types = { for role, types in var.instance_types : role => types[0] }
  profiles    = { for role, profile in aws_iam_instance_profile.node : role => profile.name }

  declared = merge(module.first_slots.slots, module.second_slots.slots, module.observer_slots.slots)
  zones    = [module.first.zones, module.second.zones, module.observer.zones]
  spec = {
    version    = 1
    cluster    = var.cluster
    size       = var.size
    durability = var.durability
    hub = {
      region    = var.observer_region
      table     = var.cluster
      bus       = var.cluster
      topic_arn = local.topic_arn
    }
    regions = [for n, region in local.regions : {
      name   = region
      short  = local.short[region]
      kind   = n < 2 ? "data" : "observer"
      cidr   = var.cidrs[n]
      bus    = var.cluster
      bucket = local.buckets[region]
    }]
    slots = [for name, s in local.slots : {
      name                    = name
      role                    = s.role
      region                  = s.region
      zone                    = local.zones[s.region_index][s.zone_index]
      address                 = s.address
      interface_id            = local.declared[name].interface_id
      launch_template_id      = local.declared[name].launch_template_id
      launch_template_version = local.declared[name].launch_template_version
      active                  = s.active
      etcd_voter              = s.voter
      instance_types          = var.instance_types[s.role]
      disk = s.disk_gib == 0 ? null : {
        size_gib        = s.disk_gib
        max_gib         = s.disk_max_gib
        type            = "gp3"
        iops            = local.disk_iops[s.role]
        throughput_mibs = min(var.disks.throughput_mibs, floor(local.disk_iops[s.role] / 4))
        kms_key_id      = null
      }
    }]
    secret           = local.secret_name
    patroni          = merge(var.patroni, { synchronous_node_count = local.synchronous_node_count })
    timings          = var.timings
    budget           = var.budget
    preferred_region = null
    aws_endpoints    = var.aws_endpoints
  }
}

module "first_slots" {
  source             = "./modules/slots"
  providers          = { aws = aws.first }
  name               = "${var.cluster}-${local.short[local.regions[0]]}"
  slots              = local.slots_of[0]
  public_subnet_ids  = module.first.public_subnet_ids
  private_subnet_ids = module.first.private_subnet_ids
  security_group_ids = module.first.security_group_ids
  instance_types     = local.first_types
  instance_profiles  = local.profiles
  ami_id             = lookup(var.ami_ids, local.regions[0], null)
  user_data_vars     = local.user_data_vars[local.regions[0]]
}

module "second_slots" {
  source             = "./modules/slots"
  providers          = { aws = aws.second }
  name               = "${var.cluster}-${local.short[local.regions[1]]}"
  slots              = local.slots_of[1]
  public_subnet_ids  = module.second.public_subnet_ids
  private_subnet_ids = module.second.private_subnet_ids
  security_group_ids = module.second.security_group_ids
  instance_types     = local.first_types
  instance_profiles  = local.profiles
  ami_id             = lookup(var.ami_ids, local.regions[1], null)
  user_data_vars     = local.user_data_vars[local.regions[1]]
}

module "observer_slots" {
  source             = "./modules/slots"
  providers          = { aws = aws.observer }
  name               = "${var.cluster}-${local.short[local.regions[2]]}"
  slots              = local.slots_of[2]
  public_subnet_ids  = module.observer.public_subnet_ids
  private_subnet_ids = module.observer.private_subnet_ids
  security_group_ids = module.observer.security_group_ids
  instance_types     = local.first_types
  instance_profiles  = local.profiles
  ami_id             = lookup(var.ami_ids, local.regions[2], null)
  user_data_vars     = local.user_data_vars[local.regions[2]]
}

module "first_storage" {
  source      = "./modules/storage"
  providers   = { aws = aws.first }
  bucket      = local.buckets[local.regions[0]]
  bundle_path = "${local.dist_dir}/node-bundle.tar.gz"
  spec_json   = jsonencode(local.spec)
}

module "second_storage" {
  source      = "./modules/storage"
  providers   = { aws = aws.second }
  bucket      = local.buckets[local.regions[1]]
  bundle_path = "${local.dist_dir}/node-bundle.tar.gz"
  spec_json   = jsonencode(local.spec)
}

module "observer_storage" {
  source      = "./modules/storage"
  providers   = { aws = aws.observer }
  bucket      = local.buckets[local.regions[2]]
  bundle_path = "${local.dist_dir}/node-bundle.tar.gz"
  spec_json   = jsonencode(local.spec)
}

module "first_documents" {
  source    = "./modules/documents"
  providers = { aws = aws.first }
  folder    = local.documents_dir
}

module "second_documents" {
  source    = "./modules/documents"
  providers = { aws = aws.second }
  folder    = local.documents_dir
}

module "observer_documents" {
  source    = "./modules/documents"
  providers = { aws = aws.observer }
  folder    = local.documents_dir
}

module "first_alarms" {
  source    = "./modules/alarms"
  providers = { aws = aws.first }
  cluster   = var.cluster
  slots     = { for name, s in local.slots : name => s.role if s.active && s.region_index == 0 }
  voters    = toset([for name, s in local.slots : name if s.active && s.voter && s.region_index == 0])
}

module "second_alarms" {
  source    = "./modules/alarms"
  providers = { aws = aws.second }
  cluster   = var.cluster
  slots     = { for name, s in local.slots : name => s.role if s.active && s.region_index == 1 }
  voters    = toset([for name, s in local.slots : name if s.active && s.voter && s.region_index == 1])
}

module "observer_alarms" {
  source    = "./modules/alarms"
  providers = { aws = aws.observer }
  cluster   = var.cluster
  slots     = { for name, s in local.slots : name => s.role if s.active && s.region_index == 2 }
  voters    = toset([for name, s in local.slots : name if s.active && s.voter && s.region_index == 2])
}

# EC2's verdict by slot, which the healer publishes in the hub region, since alarms by instance id would not outlive it.
resource "aws_cloudwatch_metric_alarm" "status" {
  provider            = aws.observer
  for_each            = { for name, s in local.slots : name => s if s.active }
  alarm_name          = "${var.cluster}-status-${each.key}"
  namespace           = "pgmend"
  metric_name         = "StatusCheckFailed"
  dimensions          = { Cluster = var.cluster, Slot = each.key }
  statistic           = "Maximum"
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  period              = 60
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
}
