variable "cluster" {
  description = "Name of the region's bus and prefix of its rules."
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

variable "hub_bus_arn" {
  description = "Where everything goes."
  type        = string
}

variable "role_arn" {
  description = "Role with which EventBridge puts events on the hub bus."
  type        = string
}

variable "aws_event_patterns" {
  description = "Patterns of AWS's own events worth forwarding, by family."
  type        = map(string)
}
