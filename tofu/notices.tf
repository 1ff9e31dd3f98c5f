# What people are told. The notifier says what the healer does; these alarms say what the healer cannot: that it is dead, or
# that it does not get the cluster back to strength. They act on the topic themselves, for nothing of ours may be needed.

locals {
  told = {
    # The healer publishes it at every tick, so that silence means nobody judges the cluster.
    "cluster below strength" = {
      why       = "The cluster has been below full strength for five minutes, or the healer does not say."
      namespace = "pgmend", metric = "Strength", dimensions = { Cluster = var.cluster }
      statistic = "Maximum", operator = "LessThanThreshold", threshold = 1, period = 60, periods = 5, missing = "breaching"
    }
    "healer errors" = {
      why       = "The healer fails; its log says how."
      namespace = "AWS/Lambda", metric = "Errors", dimensions = { FunctionName = module.hub.functions["healer"].name }
      statistic = "Sum", operator = "GreaterThanThreshold", threshold = 0, period = 300, periods = 1, missing = "notBreaching"
    }
    "dead letters" = {
      why       = "Events could not be delivered, or runs failed for good; the queue holds them."
      namespace = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", dimensions = { QueueName = local.dead_letter_name }
      statistic = "Maximum", operator = "GreaterThanThreshold", threshold = 0, period = 300, periods = 1, missing = "notBreaching"
    }
  }
}

# It keeps the policy that SNS gives a topic, which lets this account's alarms and roles publish.
resource "aws_sns_topic" "notices" {
  provider = aws.observer
  name     = local.topic_name
}

resource "aws_sns_topic_subscription" "email" {
  provider  = aws.observer
  for_each  = toset(var.notice_emails)
  topic_arn = aws_sns_topic.notices.arn
  protocol  = "email"
  endpoint  = each.value
}

# Their names are not of the kind that wakes the healer ("<cluster>-…"): it would publish, which ends the alarm, and be silent
# again.
resource "aws_cloudwatch_metric_alarm" "told" {
  provider            = aws.observer
  for_each            = local.told
  alarm_name          = "${var.cluster} ${each.key}"
  alarm_description   = each.value.why
  alarm_actions       = [local.topic_arn]
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = each.value.operator
  threshold           = each.value.threshold
  period              = each.value.period
  evaluation_periods  = each.value.periods
  datapoints_to_alarm = each.value.periods
  treat_missing_data  = each.value.missing
  depends_on          = [aws_sns_topic.notices]
}
