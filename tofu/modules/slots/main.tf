# The slots of one region: an interface each with its fixed address, and a launch template a role.
# Occupants and their disks are the healer's; nothing here makes an instance.

data "aws_ami" "debian" {
  count       = var.ami_id == null ? 1 : 0
  most_recent = true
  owners      = ["136693071363"]
  filter {
    name   = "name"
    values = ["debian-13-amd64-*"]
  }
}

locals {
  roles  = toset([for s in var.slots : s.role])
  ami_id = var.ami_id == null ? data.aws_ami.debian[0].id : var.ami_id
  packages = {
    db      = "postgresql patroni etcd-server etcd-client python3-etcd"
    witness = "etcd-server etcd-client"
    haproxy = "haproxy"
    app     = "python3-flask python3-psycopg-pool gunicorn"
  }
}

resource "aws_network_interface" "slot" {
  for_each = var.slots
  subnet_id = (
    each.value.role == "app" ? var.public_subnet_ids : var.private_subnet_ids
  )[each.value.zone_index]
  private_ips     = [each.value.address]
  security_groups = [var.security_group_ids[each.value.role]]
  description     = "pgmend slot ${each.key}"
  tags            = { Name = each.key, "pgmend:slot" = each.key }

  # Which instance holds it is the healer's business.
  lifecycle {
    ignore_changes = [attachment]
  }
}

# Without an address of its own nothing in a public subnet gets out, a spare one neither.
resource "aws_eip" "app" {
  for_each          = { for name, s in var.slots : name => s if s.role == "app" }
  domain            = "vpc"
  network_interface = aws_network_interface.slot[each.key].id
  tags              = { Name = each.key }
}

resource "aws_launch_template" "role" {
  for_each               = local.roles
  name                   = "${var.name}-${each.key}"
  image_id               = local.ami_id
  instance_type          = var.instance_types[each.key]
  update_default_version = true
  user_data = base64encode(templatefile("${path.module}/user_data.sh.tftpl", merge(var.user_data_vars, {
    packages = local.packages[each.key]
  })))

  iam_instance_profile {
    name = var.instance_profiles[each.key]
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
    instance_metadata_tags      = "enabled"
  }

  block_device_mappings {
    device_name = "/dev/xvda"
    ebs {
      volume_size           = 12
      volume_type           = "gp3"
      encrypted             = true
      delete_on_termination = true
    }
  }
}
