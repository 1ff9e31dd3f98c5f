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

variable "secret_name" {
  description = "Name of the region's secret."
  type        = string
}

variable "secret_string" {
  description = "The passwords, as JSON. Ephemeral: it goes to AWS and nowhere else."
  type        = string
  ephemeral   = true
  sensitive   = true
}

variable "secret_version" {
  description = "Raise it to write new passwords."
  type        = number
}
