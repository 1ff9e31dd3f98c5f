# What functions and EventBridge may do, a role each; tags and ARNs where AWS knows them. Nodes are in iam_nodes.tf.

locals {
  functions  = toset(["healer", "notifier", "lifecycle"])
  node_roles = toset(["db", "haproxy", "app", "witness"])
  table_arn  = "arn:aws:dynamodb:${var.observer_region}:${local.account}:table/${var.cluster}"
  hub_bus    = "arn:aws:events:${var.observer_region}:${local.account}:event-bus/${var.cluster}"

  documents_dir = abspath("${path.root}/../ssm_documents")
  # The healer's; the others are people's.
  healers_documents = [
    "pgmend-configure-node", "pgmend-drop-replication-slot", "pgmend-grow-file-system", "pgmend-join-replica",
    "pgmend-reinit-replica", "pgmend-release-ballast", "pgmend-repair-etcd", "pgmend-replace-etcd-member",
    "pgmend-restart-service", "pgmend-switchover",
  ]
  document_arns = [for pair in setproduct(local.regions, local.healers_documents) :
    "arn:aws:ssm:${pair[0]}:${local.account}:document/${pair[1]}"
  ]
  # Ids of what AWS makes are not known beforehand: these are narrowed by the cluster's tag.
  ec2_arns = { for kind in ["instance", "volume", "launch-template", "security-group", "subnet"] :
    kind => [for region in local.regions : "arn:aws:ec2:${region}:${local.account}:${kind}/*"]
  }
  image_arns    = [for region in local.regions : "arn:aws:ec2:${region}::image/*"]
  snapshot_arns = [for region in local.regions : "arn:aws:ec2:${region}::snapshot/*"]

  # The cluster's tag is on what a call is about, or asked for on what it makes.
  carries_tag = { test = "StringEquals", variable = "aws:ResourceTag/pgmend:cluster", values = [var.cluster] }
  asks_tag    = { test = "StringEquals", variable = "aws:RequestTag/pgmend:cluster", values = [var.cluster] }

  # What a function may change, and under which conditions.
  changes = {
    healer = [
      {
        sid        = "LaunchFromOurTemplates"
        actions    = ["ec2:RunInstances"]
        resources  = flatten([for kind in ["launch-template", "security-group", "subnet"] : local.ec2_arns[kind]])
        conditions = [local.carries_tag]
      },
      # What a launch creates carries no tag yet when it is checked; it must be asked for with the cluster's.
      # A call may put another type in the place of its template's: one of those that are listed.
      {
        sid       = "LaunchTagged"
        actions   = ["ec2:RunInstances"]
        resources = local.ec2_arns["instance"]
        conditions = [local.asks_tag, {
          test = "StringEquals", variable = "ec2:InstanceType", values = distinct(flatten(values(var.instance_types)))
        }]
      },
      # A call may put another image in the place of its template's. This takes only the template's, which OpenTofu
      # alone writes.
      {
        sid        = "LaunchTheTemplatesImage"
        actions    = ["ec2:RunInstances"]
        resources  = local.image_arns
        conditions = [{ test = "Bool", variable = "ec2:IsLaunchTemplateResource", values = ["true"] }]
      },
      # A root disk is made by the launch and asked for without tags.
      {
        sid        = "LaunchRootDisks"
        actions    = ["ec2:RunInstances"]
        resources  = local.ec2_arns["volume"]
        conditions = []
      },
      {
        sid        = "MakeDisks"
        actions    = ["ec2:CreateVolume"]
        resources  = local.ec2_arns["volume"]
        conditions = [local.asks_tag]
      },
      {
        sid       = "TagWhatIsMade"
        actions   = ["ec2:CreateTags"]
        resources = concat(local.ec2_arns["instance"], local.ec2_arns["volume"])
        conditions = [
          { test = "StringEquals", variable = "ec2:CreateAction", values = ["RunInstances", "CreateVolume"] },
        ]
      },
      {
        sid        = "StartAndEnd"
        actions    = ["ec2:RebootInstances", "ec2:StartInstances", "ec2:StopInstances", "ec2:TerminateInstances"]
        resources  = local.ec2_arns["instance"]
        conditions = [local.carries_tag]
      },
      {
        sid        = "GiveDisks"
        actions    = ["ec2:AttachVolume"]
        resources  = concat(local.ec2_arns["instance"], local.ec2_arns["volume"])
        conditions = [local.carries_tag]
      },
      {
        sid        = "GrowDisks"
        actions    = ["ec2:ModifyVolume"]
        resources  = local.ec2_arns["volume"]
        conditions = [local.carries_tag]
      },
      # One tag with one value: a disk is set aside and nothing brings it back but a person.
      {
        sid       = "SetDisksAside"
        actions   = ["ec2:CreateTags"]
        resources = local.ec2_arns["volume"]
        conditions = [
          local.carries_tag,
          { test = "StringEquals", variable = "aws:RequestTag/pgmend:disk", values = ["quarantined"] },
          { test = "ForAllValues:StringEquals", variable = "aws:TagKeys", values = ["pgmend:disk"] },
        ]
      },
      {
        sid        = "NodesGetTheirRoles"
        actions    = ["iam:PassRole"]
        resources  = [for role in local.node_roles : "arn:aws:iam::${local.account}:role/${var.cluster}-node-${role}"]
        conditions = [{ test = "StringEquals", variable = "iam:PassedToService", values = ["ec2.amazonaws.com"] }]
      },
      {
        sid        = "OurDocuments"
        actions    = ["ssm:SendCommand"]
        resources  = local.document_arns
        conditions = []
      },
      {
        sid        = "OnOurNodes"
        actions    = ["ssm:SendCommand"]
        resources  = local.ec2_arns["instance"]
        conditions = [local.carries_tag]
      },
    ]
    lifecycle = [
      {
        sid       = "ClosedMarkAndBirth"
        actions   = ["dynamodb:PutItem", "dynamodb:DeleteItem"]
        resources = [local.table_arn]
        conditions = [
          { test = "ForAllValues:StringEquals", variable = "dynamodb:LeadingKeys", values = ["CLUSTER"] },
        ]
      },
      {
        sid        = "EndNodes"
        actions    = ["ec2:TerminateInstances"]
        resources  = local.ec2_arns["instance"]
        conditions = [local.carries_tag]
      },
      {
        sid        = "EndDisks"
        actions    = ["ec2:DeleteVolume", "ec2:CreateSnapshot"]
        resources  = local.ec2_arns["volume"]
        conditions = [local.carries_tag]
      },
      {
        sid        = "FinalSnapshots"
        actions    = ["ec2:CreateSnapshot"]
        resources  = local.snapshot_arns
        conditions = [local.asks_tag]
      },
      {
        sid        = "TagSnapshots"
        actions    = ["ec2:CreateTags"]
        resources  = local.snapshot_arns
        conditions = [{ test = "StringEquals", variable = "ec2:CreateAction", values = ["CreateSnapshot"] }]
      },
    ]
  }
}

data "aws_iam_policy_document" "assume" {
  provider = aws.observer
  for_each = toset(["lambda", "ec2", "events"])
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["${each.key}.amazonaws.com"]
    }
    # EventBridge says for whom it acts, so that no other account's rule can borrow the role.
    dynamic "condition" {
      for_each = each.key == "events" ? [local.account] : []
      content {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [condition.value]
      }
    }
  }
}

resource "aws_iam_role" "function" {
  provider           = aws.observer
  for_each           = local.functions
  name               = "${var.cluster}-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.assume["lambda"].json
}

resource "aws_iam_role_policy" "function" {
  provider = aws.observer
  for_each = local.functions
  name     = "own"
  role     = aws_iam_role.function[each.key].id
  policy = {
    healer    = data.aws_iam_policy_document.healer.json
    notifier  = data.aws_iam_policy_document.notifier.json
    lifecycle = data.aws_iam_policy_document.lifecycle.json
  }[each.key]
}

data "aws_iam_policy_document" "log" {
  provider = aws.observer
  for_each = local.functions
  statement {
    sid       = "Log"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["arn:aws:logs:${var.observer_region}:${local.account}:log-group:/aws/lambda/${var.cluster}-${each.key}:*"]
  }
}

# Lambda puts an event that failed for good on the queue in the function's name.
data "aws_iam_policy_document" "failed_runs" {
  provider = aws.observer
  statement {
    sid       = "FailedRuns"
    actions   = ["sqs:SendMessage"]
    resources = ["arn:aws:sqs:${var.observer_region}:${local.account}:${local.dead_letter_name}"]
  }
}

data "aws_iam_policy_document" "read_spec" {
  provider = aws.observer
  statement {
    sid       = "Spec"
    actions   = ["s3:GetObject"]
    resources = ["arn:aws:s3:::${local.buckets[var.observer_region]}/spec.json"]
  }
  # Describing has no resource-level permissions in EC2.
  statement {
    sid       = "LookAtEc2"
    actions   = ["ec2:DescribeInstances", "ec2:DescribeInstanceStatus", "ec2:DescribeVolumes"]
    resources = ["*"]
  }
}

data "aws_iam_policy_document" "healer" {
  provider = aws.observer
  source_policy_documents = [
    data.aws_iam_policy_document.log["healer"].json, data.aws_iam_policy_document.failed_runs.json,
    data.aws_iam_policy_document.read_spec.json,
  ]
  statement {
    sid       = "Table"
    actions   = ["dynamodb:Query", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:ConditionCheckItem"]
    resources = [local.table_arn]
  }
  statement {
    sid       = "Say"
    actions   = ["events:PutEvents"]
    resources = [local.hub_bus]
  }
  # PutMetricData has no resource-level permissions.
  statement {
    sid       = "Measure"
    actions   = ["cloudwatch:PutMetricData"]
    resources = ["*"]
    condition {
      test     = "StringEquals"
      variable = "cloudwatch:namespace"
      values   = ["pgmend"]
    }
  }
  # Nor has looking at how far a disk has grown.
  statement {
    sid       = "LookAtGrowth"
    actions   = ["ec2:DescribeVolumesModifications"]
    resources = ["*"]
  }
  # Nor has looking at commands and managed instances.
  statement {
    sid       = "LookAtSsm"
    actions   = ["ssm:DescribeInstanceInformation", "ssm:GetCommandInvocation", "ssm:ListCommands"]
    resources = ["*"]
  }
  dynamic "statement" {
    for_each = local.changes["healer"]
    content {
      sid       = statement.value.sid
      actions   = statement.value.actions
      resources = statement.value.resources
      dynamic "condition" {
        for_each = statement.value.conditions
        content {
          test     = condition.value.test
          variable = condition.value.variable
          values   = condition.value.values
        }
      }
    }
  }
}

# A launch shows IAM no tags of an interface it uses, so each slot's own is named. Ids are not known before an apply:
# in a policy of its own they leave the rest to be read in a plan.
resource "aws_iam_role_policy" "healer_slots" {
  provider = aws.observer
  name     = "slots"
  role     = aws_iam_role.function["healer"].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid    = "LaunchIntoSlots"
      Effect = "Allow"
      Action = "ec2:RunInstances"
      Resource = [for name, s in local.slots :
        "arn:aws:ec2:${s.region}:${local.account}:network-interface/${local.declared[name].interface_id}"
      ]
    }]
  })
}

data "aws_iam_policy_document" "notifier" {
  provider = aws.observer
  source_policy_documents = [
    data.aws_iam_policy_document.log["notifier"].json, data.aws_iam_policy_document.failed_runs.json,
  ]
  statement {
    sid       = "Tell"
    actions   = ["sns:Publish"]
    resources = [local.topic_arn]
  }
  # What has been told, so that nobody is told twice.
  statement {
    sid       = "Told"
    actions   = ["dynamodb:UpdateItem"]
    resources = [local.table_arn]
    condition {
      test     = "ForAllValues:StringEquals"
      variable = "dynamodb:LeadingKeys"
      values   = ["NOTICE"]
    }
  }
}

data "aws_iam_policy_document" "lifecycle" {
  provider = aws.observer
  source_policy_documents = [
    data.aws_iam_policy_document.log["lifecycle"].json, data.aws_iam_policy_document.read_spec.json,
  ]
  dynamic "statement" {
    for_each = local.changes["lifecycle"]
    content {
      sid       = statement.value.sid
      actions   = statement.value.actions
      resources = statement.value.resources
      dynamic "condition" {
        for_each = statement.value.conditions
        content {
          test     = condition.value.test
          variable = condition.value.variable
          values   = condition.value.values
        }
      }
    }
  }
}

resource "aws_iam_role" "forward" {
  provider           = aws.observer
  name               = "${var.cluster}-forward"
  assume_role_policy = data.aws_iam_policy_document.assume["events"].json
}

resource "aws_iam_role_policy" "forward" {
  provider = aws.observer
  name     = "own"
  role     = aws_iam_role.forward.id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "events:PutEvents", Resource = local.hub_bus }]
  })
}
