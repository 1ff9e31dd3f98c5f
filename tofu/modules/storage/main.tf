# What nodes of one region fetch: the bundle, the cluster spec, the passwords.

resource "aws_s3_bucket" "this" {
  bucket        = var.bucket
  force_destroy = true
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket                  = aws_s3_bucket.this.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_object" "bundle" {
  bucket      = aws_s3_bucket.this.id
  key         = "node-bundle.tar.gz"
  source      = var.bundle_path
  source_hash = filesha256(var.bundle_path)
}

resource "aws_s3_object" "spec" {
  bucket       = aws_s3_bucket.this.id
  key          = "spec.json"
  content      = var.spec_json
  content_type = "application/json"
}

resource "aws_secretsmanager_secret" "database" {
  name                    = var.secret_name
  description             = "Passwords of the database roles"
  recovery_window_in_days = 0
}

resource "aws_secretsmanager_secret_version" "database" {
  secret_id                = aws_secretsmanager_secret.database.id
  secret_string_wo         = var.secret_string
  secret_string_wo_version = var.secret_version
}
