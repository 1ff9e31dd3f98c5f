# The observer region: table, topic, functions; and the roads that lead there.

data "aws_caller_identity" "this" {
  provider = aws.observer
}

locals {
  account = data.aws_caller_identity.this.account_id
  buckets = { for region in local.regions : region => "${var.cluster}-${local.account}-${region}" }

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
}

resource "aws_sns_topic" "notices" {
  provider = aws.observer
  name     = "${var.cluster}-notices"
}

module "hub" {
  source               = "./modules/hub"
  providers            = { aws = aws.observer }
  cluster              = var.cluster
  zip_path             = "${local.dist_dir}/lambdas.zip"
  role_arns            = { for name, role in aws_iam_role.function : name => role.arn }
  topic_arn            = aws_sns_topic.notices.arn
  aws_event_patterns   = local.aws_event_patterns
  reserved_concurrency = var.healer_reserved_concurrency
  log_retention_days   = var.log_retention_days
  final_snapshot       = var.final_snapshot
  environment = {
    PGMEND_CLUSTER              = var.cluster
    PGMEND_HUB_REGION           = var.observer_region
    PGMEND_TABLE                = aws_dynamodb_table.hub.name
    PGMEND_SPEC_BUCKET          = local.buckets[var.observer_region]
    PGMEND_SPEC_KEY             = "spec.json"
    PGMEND_BUS                  = var.cluster
    PGMEND_TOPIC_ARN            = aws_sns_topic.notices.arn
    PGMEND_AWS_ENDPOINTS        = jsonencode(var.aws_endpoints)
    POWERTOOLS_LOG_LEVEL        = "INFO"
    POWERTOOLS_METRICS_DISABLED = "false"
  }
  # A destroy empties the cluster first, while everything the functions need is still there.
  depends_on = [
    aws_iam_role_policy.function, module.first_slots, module.second_slots, module.observer_slots,
    module.first_storage, module.second_storage, module.observer_storage, aws_iam_instance_profile.node,
    aws_iam_role_policy.node, aws_iam_role_policy_attachment.node_ssm,
  ]
}

module "first_forward" {
  source             = "./modules/forward"
  providers          = { aws = aws.first }
  cluster            = var.cluster
  hub_bus_arn        = module.hub.bus_arn
  role_arn           = aws_iam_role.forward.arn
  aws_event_patterns = local.aws_event_patterns
}

module "second_forward" {
  source             = "./modules/forward"
  providers          = { aws = aws.second }
  cluster            = var.cluster
  hub_bus_arn        = module.hub.bus_arn
  role_arn           = aws_iam_role.forward.arn
  aws_event_patterns = local.aws_event_patterns
}
