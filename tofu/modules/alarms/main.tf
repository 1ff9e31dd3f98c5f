# The alarms of one region, on what its agents publish. They act by the rule on the default bus, so they have no actions.
# Dimension Slot, since instances come and go; spare slots have none, so that a closed one stays quiet.

locals {
  dbs     = { for name, role in var.slots : name => role if role == "db" }
  proxies = { for name, role in var.slots : name => role if role == "haproxy" }
  apps    = { for name, role in var.slots : name => role if role == "app" }

  alarms = merge(
    { for s, _ in var.slots : "heartbeat-${s}" => {
      slot = s, metric = "Heartbeat", statistic = "SampleCount", operator = "LessThanThreshold", threshold = 1, periods = 2, missing = "breaching"
    } },
    { for s, _ in local.dbs : "lag-${s}" => {
      slot = s, metric = "ReplicationLagBytes", statistic = "Maximum", operator = "GreaterThanThreshold", threshold = 67108864, periods = 3, missing = "notBreaching"
    } },
    { for s, _ in local.dbs : "disk-${s}" => {
      slot = s, metric = "DiskUsedPercent", statistic = "Maximum", operator = "GreaterThanThreshold", threshold = 80, periods = 2, missing = "notBreaching"
    } },
    { for s, _ in local.dbs : "leader-${s}" => {
      slot = s, metric = "LeaderVisible", statistic = "Maximum", operator = "LessThanThreshold", threshold = 1, periods = 1, missing = "notBreaching"
    } },
    { for s, _ in local.proxies : "primary-${s}" => {
      slot = s, metric = "PrimaryBackends", statistic = "Maximum", operator = "LessThanThreshold", threshold = 1, periods = 1, missing = "notBreaching"
    } },
    { for s in var.voters : "etcd-${s}" => {
      slot = s, metric = "EtcdHealthy", statistic = "Maximum", operator = "LessThanThreshold", threshold = 1, periods = 1, missing = "notBreaching"
    } },
    { for s, _ in local.apps : "app-${s}" => {
      slot = s, metric = "AppReady", statistic = "Maximum", operator = "LessThanThreshold", threshold = 1, periods = 1, missing = "notBreaching"
    } },
  )
}

resource "aws_cloudwatch_metric_alarm" "slot" {
  for_each            = local.alarms
  alarm_name          = "${var.cluster}-${each.key}"
  namespace           = "pgmend"
  metric_name         = each.value.metric
  dimensions          = { Cluster = var.cluster, Slot = each.value.slot }
  statistic           = each.value.statistic
  comparison_operator = each.value.operator
  threshold           = each.value.threshold
  period              = 60
  evaluation_periods  = each.value.periods
  datapoints_to_alarm = each.value.periods
  treat_missing_data  = each.value.missing
}
