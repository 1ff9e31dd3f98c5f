# Who may do what. A role a function and a role a node role; tags and ARNs where AWS knows them.

data "aws_iam_policy_document" "assume" {
  provider = aws.observer
  for_each = toset(["lambda", "ec2", "events"])
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["${each.key}.amazonaws.com"]
    }
  }
}

locals {
  functions  = toset(["healer", "notifier", "lifecycle"])
  node_roles = toset(["db", "haproxy", "app", "witness"])
  table_arn  = aws_dynamodb_table.hub.arn
  hub_bus    = "arn:aws:events:${var.observer_region}:${local.account}:event-bus/${var.cluster}"
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

data "aws_iam_policy_document" "function_base" {
  provider = aws.observer
  statement {
    sid       = "Logs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["arn:aws:logs:${var.observer_region}:${local.account}:log-group:/aws/lambda/${var.cluster}-*:*"]
  }
  statement {
    sid       = "FailedRuns"
    actions   = ["sqs:SendMessage"]
    resources = ["arn:aws:sqs:${var.observer_region}:${local.account}:${var.cluster}-dead"]
  }
}

data "aws_iam_policy_document" "reads" {
  provider = aws.observer
  statement {
    sid       = "Spec"
    actions   = ["s3:GetObject"]
    resources = ["arn:aws:s3:::${local.buckets[var.observer_region]}/spec.json"]
  }
  # Describing has no resource-level permissions in EC2 and SSM.
  statement {
    sid = "Look"
    actions = [
      "ec2:DescribeInstances", "ec2:DescribeInstanceStatus", "ec2:DescribeVolumes",
      "ssm:DescribeInstanceInformation", "ssm:GetCommandInvocation", "ssm:ListCommands",
    ]
    resources = ["*"]
  }
}

data "aws_iam_policy_document" "healer" {
  provider = aws.observer
  source_policy_documents = [
    data.aws_iam_policy_document.function_base.json, data.aws_iam_policy_document.reads.json,
  ]
  statement {
    sid       = "Table"
    actions   = ["dynamodb:Query", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"]
    resources = [local.table_arn]
  }
  statement {
    sid       = "Say"
    actions   = ["events:PutEvents"]
    resources = [local.hub_bus]
  }
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
  statement {
    sid     = "LaunchFromOurTemplates"
    actions = ["ec2:RunInstances"]
    resources = flatten([for region in local.regions : [
      "arn:aws:ec2:${region}:${local.account}:launch-template/*",
      "arn:aws:ec2:${region}:${local.account}:network-interface/*",
      "arn:aws:ec2:${region}:${local.account}:security-group/*",
      "arn:aws:ec2:${region}:${local.account}:subnet/*",
    ]])
    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/pgmend:cluster"
      values   = [var.cluster]
    }
  }
  # What a launch creates carries no tag yet when it is checked; it must be asked for with the cluster's.
  statement {
    sid     = "LaunchTagged"
    actions = ["ec2:RunInstances"]
    resources = flatten([for region in local.regions : [
      "arn:aws:ec2:${region}:${local.account}:instance/*",
    ]])
    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/pgmend:cluster"
      values   = [var.cluster]
    }
  }
  statement {
    sid     = "LaunchImagesAndRootDisks"
    actions = ["ec2:RunInstances"]
    resources = flatten([for region in local.regions : [
      "arn:aws:ec2:${region}::image/*", "arn:aws:ec2:${region}:${local.account}:volume/*",
    ]])
  }
  statement {
    sid       = "MakeDisks"
    actions   = ["ec2:CreateVolume"]
    resources = [for region in local.regions : "arn:aws:ec2:${region}:${local.account}:volume/*"]
    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/pgmend:cluster"
      values   = [var.cluster]
    }
  }
  statement {
    sid     = "TagWhatIsMade"
    actions = ["ec2:CreateTags"]
    resources = flatten([for region in local.regions : [
      "arn:aws:ec2:${region}:${local.account}:instance/*", "arn:aws:ec2:${region}:${local.account}:volume/*",
    ]])
    condition {
      test     = "StringEquals"
      variable = "ec2:CreateAction"
      values   = ["RunInstances", "CreateVolume"]
    }
  }
  statement {
    sid     = "ChangeOurs"
    actions = ["ec2:StartInstances", "ec2:TerminateInstances", "ec2:AttachVolume"]
    resources = flatten([for region in local.regions : [
      "arn:aws:ec2:${region}:${local.account}:instance/*", "arn:aws:ec2:${region}:${local.account}:volume/*",
    ]])
    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/pgmend:cluster"
      values   = [var.cluster]
    }
  }
  statement {
    sid       = "NodesGetTheirRoles"
    actions   = ["iam:PassRole"]
    resources = [for role in aws_iam_role.node : role.arn]
    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ec2.amazonaws.com"]
    }
  }
  statement {
    sid       = "OurDocuments"
    actions   = ["ssm:SendCommand"]
    resources = [for region in local.regions : "arn:aws:ssm:${region}:${local.account}:document/pgmend-*"]
  }
  statement {
    sid       = "OnOurNodes"
    actions   = ["ssm:SendCommand"]
    resources = [for region in local.regions : "arn:aws:ec2:${region}:${local.account}:instance/*"]
    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/pgmend:cluster"
      values   = [var.cluster]
    }
  }
}

data "aws_iam_policy_document" "notifier" {
  provider                = aws.observer
  source_policy_documents = [data.aws_iam_policy_document.function_base.json]
  statement {
    sid       = "Tell"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.notices.arn]
  }
}

data "aws_iam_policy_document" "lifecycle" {
  provider = aws.observer
  source_policy_documents = [
    data.aws_iam_policy_document.function_base.json, data.aws_iam_policy_document.reads.json,
  ]
  statement {
    sid       = "ClosedMark"
    actions   = ["dynamodb:PutItem", "dynamodb:DeleteItem"]
    resources = [local.table_arn]
  }
  statement {
    sid     = "Empty"
    actions = ["ec2:TerminateInstances", "ec2:DeleteVolume", "ec2:CreateSnapshot"]
    resources = flatten([for region in local.regions : [
      "arn:aws:ec2:${region}:${local.account}:instance/*", "arn:aws:ec2:${region}:${local.account}:volume/*",
    ]])
    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/pgmend:cluster"
      values   = [var.cluster]
    }
  }
  statement {
    sid       = "FinalSnapshots"
    actions   = ["ec2:CreateSnapshot", "ec2:CreateTags"]
    resources = [for region in local.regions : "arn:aws:ec2:${region}::snapshot/*"]
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

resource "aws_iam_role" "node" {
  provider           = aws.observer
  for_each           = local.node_roles
  name               = "${var.cluster}-node-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.assume["ec2"].json
}

resource "aws_iam_instance_profile" "node" {
  provider = aws.observer
  for_each = local.node_roles
  name     = "${var.cluster}-node-${each.key}"
  role     = aws_iam_role.node[each.key].name
}

resource "aws_iam_role_policy_attachment" "node_ssm" {
  provider   = aws.observer
  for_each   = local.node_roles
  role       = aws_iam_role.node[each.key].name
  policy_arn = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

resource "aws_iam_role_policy" "node" {
  provider = aws.observer
  for_each = local.node_roles
  name     = "own"
  role     = aws_iam_role.node[each.key].id
  policy   = data.aws_iam_policy_document.node[each.key].json
}

data "aws_iam_policy_document" "node" {
  provider = aws.observer
  for_each = local.node_roles
  statement {
    sid       = "Report"
    actions   = ["dynamodb:PutItem"]
    resources = [local.table_arn]
    condition {
      test     = "ForAllValues:StringEquals"
      variable = "dynamodb:LeadingKeys"
      values   = ["REPORT"]
    }
  }
  statement {
    sid       = "Announce"
    actions   = ["events:PutEvents"]
    resources = [for region in local.regions : "arn:aws:events:${region}:${local.account}:event-bus/${var.cluster}"]
  }
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
  statement {
    sid     = "Fetch"
    actions = ["s3:GetObject"]
    resources = flatten([for region in local.regions : [
      "arn:aws:s3:::${local.buckets[region]}/spec.json", "arn:aws:s3:::${local.buckets[region]}/node-bundle.tar.gz",
    ]])
  }
  dynamic "statement" {
    for_each = contains(["db", "app"], each.key) ? [1] : []
    content {
      sid       = "Passwords"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = [for region in local.regions : "arn:aws:secretsmanager:${region}:${local.account}:secret:${var.cluster}/database-*"]
    }
  }
  dynamic "statement" {
    for_each = each.key == "db" ? [1] : []
    content {
      sid       = "Birth"
      actions   = ["dynamodb:GetItem"]
      resources = [local.table_arn]
      condition {
        test     = "ForAllValues:StringEquals"
        variable = "dynamodb:LeadingKeys"
        values   = ["CLUSTER"]
      }
    }
  }
}
