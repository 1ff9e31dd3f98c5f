output "arns" {
  description = "By name."
  value       = { for name, document in aws_ssm_document.this : name => document.arn }
}
