# What nodes may do, a role a node role: fetch, report, announce, measure; databases and the app read the passwords.

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
    condition {
      test     = "StringEquals"
      variable = "events:source"
      values   = ["pgmend.agent"] # nobody on a node speaks for the healer
    }
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
      resources = [for region in local.regions : "arn:aws:secretsmanager:${region}:${local.account}:secret:${local.secret_name}-??????"]
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
