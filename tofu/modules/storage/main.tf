# What nodes of one region fetch: the bundle and the cluster spec.

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
