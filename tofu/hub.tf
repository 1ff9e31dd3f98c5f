# The observer region: table, topic, functions; and the roads that lead there.

data "aws_caller_identity" "this" {
  provider = aws.observer
}

# Names and ARNs are put together here rather than read from resources, so that a plan shows every policy in full.
locals {
  account          = data.aws_caller_identity.this.account_id
  buckets          = { for region in local.regions : region => "${var.cluster}-${local.account}-${region}" }
  dead_letter_name = "${var.cluster}-dead"
  topic_name       = "${var.cluster}-notices"
  topic_arn        = "arn:aws:sns:${var.observer_region}:${local.account}:${local.topic_name}"

  # What AWS itself says, by family. Alarms are this cluster's own by name.
  aws_event_patterns = {
    alarm = jsonencode({
      source = ["aws.cloudwatch"], detail-type = ["CloudWatch Alarm State Change"],
      detail = { alarmName = [{ prefix = "${var.cluster}-" }], state = { value = ["ALARM"] } }
    })
    ec2 = jsonencode({
      source = ["aws.ec2"], detail-type = ["EC2 Instance State-change Notification"]
    })
    ssm = jsonencode({
      source = ["aws.ssm"], detail-type = ["EC2 Command Invocation Status-change Notification"],
      detail = { document-name = [{ prefix = "pgmend-" }], status = ["Success", "Failed", "TimedOut", "Cancelled"] }
    })
    health = jsonencode({
      source = ["aws.health"], detail-type = ["AWS Health Event"], detail = { service = ["EC2"] }
    })
  }
}

resource "aws_dynamodb_table" "hub" {
  provider     = aws.observer
  name         = var.cluster
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "pk"
  range_key    = "sk"

  attribute {
    name = "pk"
    type = "S"
  }

  attribute {
    name = "sk"
    type = "S"
  }

  ttl {
    attribute_name = "ttl"
    enabled        = true
  }

  # It holds the birth: without it the healer would take the cluster for one that was never born.
  deletion_protection_enabled = var.deletion_protection
  point_in_time_recovery {
    enabled = true
  }
}

module "hub" {
  source               = "./modules/hub"
  providers            = { aws = aws.observer }
  cluster              = var.cluster
  account              = local.account
  region               = var.observer_region
  dead_letter_name     = local.dead_letter_name
  zip_path             = "${local.dist_dir}/lambdas.zip"
  role_arns            = { for name, role in aws_iam_role.function : name => role.arn }
  reserved_concurrency = var.healer_reserved_concurrency
  log_retention_days   = var.log_retention_days
  environment = {
    PGMEND_CLUSTER              = var.cluster
    PGMEND_HUB_REGION           = var.observer_region
    PGMEND_TABLE                = var.cluster
    PGMEND_SPEC_BUCKET          = local.buckets[var.observer_region]
    PGMEND_SPEC_KEY             = "spec.json"
    PGMEND_BUS                  = var.cluster
    PGMEND_TOPIC_ARN            = local.topic_arn
    PGMEND_AWS_ENDPOINTS        = jsonencode(var.aws_endpoints)
    POWERTOOLS_LOG_LEVEL        = "INFO"
    POWERTOOLS_METRICS_DISABLED = "false"
  }
}

module "wakes" {
  source              = "./modules/wakes"
  providers           = { aws = aws.observer }
  cluster             = var.cluster
  account             = local.account
  region              = var.observer_region
  bus_name            = module.hub.bus.name
  healer              = module.hub.functions["healer"]
  notifier            = module.hub.functions["notifier"]
  lifecycle_name      = module.hub.functions["lifecycle"].name
  dead_letter_arn     = module.hub.dead_letter.arn
  aws_event_patterns  = local.aws_event_patterns
  deletion_protection = var.deletion_protection
  opening             = var.opening
  final_snapshot      = var.final_snapshot
  # The healer is woken once all that it and the nodes need is there. A destroy goes the other way: it empties the
  # cluster first, while all of it is still there, and when that is refused nothing has been touched.
  depends_on = [
    module.hub, aws_dynamodb_table.hub, aws_sns_topic_subscription.email, aws_cloudwatch_metric_alarm.told,
    aws_cloudwatch_metric_alarm.status, module.first_alarms, module.second_alarms, module.observer_alarms,
    module.first_forward, module.second_forward, aws_iam_role_policy.function, aws_iam_role_policy.healer_slots,
    aws_iam_role_policy.forward, aws_iam_role_policy.node, aws_iam_role_policy_attachment.node_ssm, aws_iam_instance_profile.node,
    module.first, module.second, module.observer, module.first_slots, module.second_slots, module.observer_slots,
    module.first_storage, module.second_storage, module.observer_storage, aws_secretsmanager_secret_version.database,
    module.first_documents, module.second_documents, module.observer_documents,
    aws_route.first_to_second, aws_route.first_to_observer, aws_route.second_to_first,
    aws_route.second_to_observer, aws_route.observer_to_first, aws_route.observer_to_second,
  ]
}

module "first_forward" {
  source             = "./modules/forward"
  providers          = { aws = aws.first }
  cluster            = var.cluster
  account            = local.account
  region             = local.regions[0]
  hub_bus_arn        = module.hub.bus.arn
  role_arn           = aws_iam_role.forward.arn
  aws_event_patterns = local.aws_event_patterns
}

module "second_forward" {
  source             = "./modules/forward"
  providers          = { aws = aws.second }
  cluster            = var.cluster
  account            = local.account
  region             = local.regions[1]
  hub_bus_arn        = module.hub.bus.arn
  role_arn           = aws_iam_role.forward.arn
  aws_event_patterns = local.aws_event_patterns
}
