# Every document of ssm_documents/, under its file's name.

resource "aws_ssm_document" "this" {
  for_each        = toset([for file in fileset(var.folder, "*.yaml") : trimsuffix(file, ".yaml")])
  name            = each.key
  document_type   = "Command"
  document_format = "YAML"
  target_type     = "/AWS::EC2::Instance"
  content         = file("${var.folder}/${each.key}.yaml")
}
