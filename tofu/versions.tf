terraform {
  # Ephemeral resources and write-only arguments keep generated secrets out of state: both came with 1.11.
  required_version = ">= 1.11.0"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # 5.90 has every write-only argument used here; 6.x keeps them.
      version = ">= 5.90.0, < 7.0.0"
    }
  }
}
