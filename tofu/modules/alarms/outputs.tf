output "names" {
  description = "Names of the region's alarms."
  value       = [for alarm in aws_cloudwatch_metric_alarm.slot : alarm.alarm_name]
}
