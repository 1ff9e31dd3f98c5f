variable "name" {
  description = "Prefix of names: cluster and the region's short name."
  type        = string
}

variable "slots" {
  description = "The region's slots."
  type        = map(object({ role = string, letter = string, zone_index = number, address = string }))
}

variable "public_subnet_ids" {
  description = "By zone."
  type        = list(string)
}

variable "private_subnet_ids" {
  description = "By zone."
  type        = list(string)
}

variable "security_group_ids" {
  description = "By role."
  type        = map(string)
}

variable "instance_types" {
  description = "By role."
  type        = map(string)
}

variable "ami_id" {
  description = "AMI, or null for the newest Debian 13."
  type        = string
  nullable    = true
}

variable "instance_profiles" {
  description = "Instance profile name by role."
  type        = map(string)
}

variable "user_data_vars" {
  description = "What the user data is rendered with, besides the role."
  type        = map(string)
}
