output "bucket_arn" {
  description = "The bucket."
  value       = aws_s3_bucket.this.arn
}

output "secret_arn" {
  description = "The secret."
  value       = aws_secretsmanager_secret.database.arn
}
