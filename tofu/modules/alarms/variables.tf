variable "cluster" {
  description = "Dimension Cluster of every metric."
  type        = string
}

variable "slots" {
  description = "Active slots of the region: name to role."
  type        = map(string)
}

variable "voters" {
  description = "Active slots of the region that vote in etcd."
  type        = set(string)
}
