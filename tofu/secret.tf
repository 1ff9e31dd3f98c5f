# The database passwords: made by AWS, one secret, the same in every region by AWS's own replication, so that an apply that
# was cut short cannot leave regions with different ones. They pass through here without being kept: neither state nor
# plan has them.

locals {
  secret_name = "${var.cluster}/database"
}

ephemeral "aws_secretsmanager_random_password" "this" {
  provider            = aws.observer
  for_each            = toset(["superuser", "replication", "rewind", "app", "monitor"])
  password_length     = 32
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret" "database" {
  provider                = aws.observer
  name                    = local.secret_name
  description             = "Passwords of the database roles"
  recovery_window_in_days = 0
  # What a destroy a moment ago left behind in another region gives way.
  force_overwrite_replica_secret = true

  dynamic "replica" {
    for_each = var.data_regions
    content {
      region = replica.value
    }
  }
}

resource "aws_secretsmanager_secret_version" "database" {
  provider  = aws.observer
  secret_id = aws_secretsmanager_secret.database.id
  secret_string_wo = jsonencode({
    for role, password in ephemeral.aws_secretsmanager_random_password.this : role => password.random_password
  })
  # Written once: with another number the next apply writes new passwords, which databases would have to be told of.
  secret_string_wo_version = 1
}
