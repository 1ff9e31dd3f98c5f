variable "bucket" {
  description = "Name of the region's bucket."
  type        = string
}

variable "bundle_path" {
  description = "The node bundle on this machine."
  type        = string
}

variable "spec_json" {
  description = "The cluster spec."
  type        = string
}
