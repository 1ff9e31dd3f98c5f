variable "name" {
  description = "Prefix of names: cluster and the region's short name."
  type        = string
}

variable "cidr" {
  description = "The VPC's range, a /16."
  type        = string
}

variable "roles" {
  description = "Roles that have slots here."
  type        = set(string)
}

variable "local_rules" {
  description = "Ports open between roles of this region: to, from, port."
  type        = list(object({ to = string, from = string, port = number }))
}

variable "remote_rules" {
  description = "Ports open to single addresses of other regions. Groups cannot be referenced across regions."
  type        = map(object({ to = string, port = number, addresses = list(string) }))
}

variable "public_rules" {
  description = "Ports open to ranges outside."
  type        = list(object({ to = string, port = number, cidrs = list(string) }))
}
