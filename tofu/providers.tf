# One provider configuration a region and no default one: each costs memory while planning.
# On the lab, AWS_ENDPOINT_URL points all three at the local AWS.

locals {
  default_tags = merge(var.tags, { "pgmend:cluster" = var.cluster })
}

provider "aws" {
  alias             = "first"
  region            = var.data_regions[0]
  max_retries       = 3
  s3_use_path_style = var.s3_use_path_style
  default_tags { tags = local.default_tags }
}

provider "aws" {
  alias             = "second"
  region            = var.data_regions[1]
  max_retries       = 3
  s3_use_path_style = var.s3_use_path_style
  default_tags { tags = local.default_tags }
}

provider "aws" {
  alias             = "observer"
  region            = var.observer_region
  max_retries       = 3
  s3_use_path_style = var.s3_use_path_style
  default_tags { tags = local.default_tags }
}
