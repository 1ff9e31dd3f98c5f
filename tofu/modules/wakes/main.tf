# What wakes the functions: one rule a family on the hub bus, AWS's own events on the default bus, the minute tick. And
# the lifecycle call, which opens the cluster for the healer and, before a destroy, closes and empties it.
# Made after all that the functions need, and undone before it.

locals {
  # Agents' families by detail type, as in docs/contracts.md.
  agent_events = {
    patroni = ["Patroni Role Changed", "Patroni State Changed", "Patroni Leader Changed", "Replication Broken"]
    haproxy = ["HAProxy Backend Up", "HAProxy Backend Down", "HAProxy No Primary"]
    etcd    = ["Etcd Health Changed"]
    app     = ["App Health Changed"]
    disk    = ["Disk Pressure"]
    peer    = ["Peer Unreachable"]
  }
  wakes = merge(
    { for family, types in local.agent_events : "agent-${family}" => jsonencode({
      source = ["pgmend.agent"], detail-type = types, detail = { cluster = [var.cluster] }
    }) },
    var.aws_event_patterns,
    { unfinished = jsonencode({
      source = ["pgmend.healer"], detail-type = ["Reconcile Unfinished"], detail = { cluster = [var.cluster] }
    }) },
  )
  rules = "arn:aws:events:${var.region}:${var.account}:rule"
}

resource "aws_cloudwatch_event_rule" "wake" {
  for_each       = local.wakes
  name           = "${var.cluster}-wake-${each.key}"
  event_bus_name = var.bus_name
  event_pattern  = each.value
}

resource "aws_cloudwatch_event_target" "wake" {
  for_each       = local.wakes
  rule           = aws_cloudwatch_event_rule.wake[each.key].name
  event_bus_name = var.bus_name
  target_id      = "healer"
  arn            = var.healer.arn
  retry_policy {
    maximum_event_age_in_seconds = 900
    maximum_retry_attempts       = 20
  }
  dead_letter_config {
    arn = var.dead_letter_arn
  }
}

# The observer region's own events go the same road.
resource "aws_cloudwatch_event_rule" "own" {
  for_each      = var.aws_event_patterns
  name          = "${var.cluster}-own-${each.key}"
  event_pattern = each.value
}

resource "aws_cloudwatch_event_target" "own" {
  for_each  = var.aws_event_patterns
  rule      = aws_cloudwatch_event_rule.own[each.key].name
  target_id = "healer"
  arn       = var.healer.arn
  retry_policy {
    maximum_event_age_in_seconds = 900
    maximum_retry_attempts       = 20
  }
  dead_letter_config {
    arn = var.dead_letter_arn
  }
}

resource "aws_cloudwatch_event_rule" "tick" {
  name                = "${var.cluster}-tick"
  schedule_expression = "rate(1 minute)"
}

resource "aws_cloudwatch_event_target" "tick" {
  rule      = aws_cloudwatch_event_rule.tick.name
  target_id = "healer"
  arn       = var.healer.arn
  retry_policy {
    maximum_event_age_in_seconds = 60
    maximum_retry_attempts       = 0
  }
  dead_letter_config {
    arn = var.dead_letter_arn
  }
}

resource "aws_cloudwatch_event_rule" "notices" {
  name           = "${var.cluster}-notices"
  event_bus_name = var.bus_name
  event_pattern = jsonencode({
    source      = ["pgmend.healer"]
    detail-type = ["Incident Opened", "Action Taken", "Action Refused", "Incident Healed", "Held", "Breaker Opened"]
    detail      = { cluster = [var.cluster] }
  })
}

resource "aws_cloudwatch_event_target" "notices" {
  rule           = aws_cloudwatch_event_rule.notices.name
  event_bus_name = var.bus_name
  target_id      = "notifier"
  arn            = var.notifier.arn
  dead_letter_config {
    arn = var.dead_letter_arn
  }
}

# Every rule of this cluster on either bus may call the healer; one rule may call the notifier.
resource "aws_lambda_permission" "healer" {
  for_each      = { hub = "${local.rules}/${var.bus_name}/${var.cluster}-*", default = "${local.rules}/${var.cluster}-*" }
  statement_id  = "events-${each.key}"
  action        = "lambda:InvokeFunction"
  function_name = var.healer.name
  principal     = "events.amazonaws.com"
  source_arn    = each.value
}

resource "aws_lambda_permission" "notifier" {
  statement_id  = "events-notices"
  action        = "lambda:InvokeFunction"
  function_name = var.notifier.name
  principal     = "events.amazonaws.com"
  source_arn    = "${local.rules}/${var.bus_name}/${var.cluster}-notices"
}

resource "aws_lambda_invocation" "lifecycle" {
  function_name   = var.lifecycle_name
  lifecycle_scope = "CRUD"
  # A delete is given what was applied last. So -replace, a taint or a moved address empties nothing that is protected.
  input = jsonencode({
    version             = 1
    deletion_protection = var.deletion_protection
    final_snapshot      = var.final_snapshot
    opening             = var.opening
  })
  # So a destroy calls it before it touches anything else, and stops there if the cluster could not be emptied.
  depends_on = [
    aws_cloudwatch_event_target.wake, aws_cloudwatch_event_target.own, aws_cloudwatch_event_target.tick,
    aws_cloudwatch_event_target.notices, aws_lambda_permission.healer, aws_lambda_permission.notifier,
  ]
}
