variable "cluster" {
  description = "Prefix of the rules' names, and what events must say they are about."
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

variable "bus_name" {
  description = "The hub bus."
  type        = string
}

variable "healer" {
  description = "The function that every wake calls."
  type        = object({ name = string, arn = string })
}

variable "notifier" {
  description = "The function that tells people."
  type        = object({ name = string, arn = string })
}

variable "lifecycle_name" {
  description = "The function that opens and empties the cluster."
  type        = string
}

variable "dead_letter_arn" {
  description = "Where events go that could not be delivered."
  type        = string
}

variable "aws_event_patterns" {
  description = "Patterns of AWS's own events, by family."
  type        = map(string)
}

variable "deletion_protection" {
  description = "Passed to the lifecycle function, which then refuses its delete."
  type        = bool
}

variable "opening" {
  description = "Passed to the lifecycle function, so that another number calls it again."
  type        = number
}

variable "final_snapshot" {
  description = "Passed to the lifecycle function for its delete."
  type        = bool
}
