variable "cluster" {
  description = "Name of the cluster; of the table, the bus and the functions' prefix."
  type        = string
}

variable "account" {
  description = "The account's id."
  type        = string
}

variable "region" {
  description = "This region."
  type        = string
}

variable "dead_letter_name" {
  description = "Name of the dead-letter queue."
  type        = string
}

variable "zip_path" {
  description = "The functions' zip on this machine."
  type        = string
}

variable "role_arns" {
  description = "Role of each function: healer, notifier, lifecycle."
  type        = map(string)
}

variable "environment" {
  description = "Environment of every function."
  type        = map(string)
}

variable "reserved_concurrency" {
  description = "Of the healer; null for none."
  type        = number
  nullable    = true
}

variable "log_retention_days" {
  description = "How long logs are kept."
  type        = number
}
