variable "folder" {
  description = "Where the documents lie."
  type        = string
}
