provider "aws" {
  region = var.region

  default_tags {
    tags = { "kubedos:site-key" = var.site_key }
  }
}

data "aws_subnet" "nodes" {
  id = var.subnet_id
}

locals {
  address = regex("^http://([0-9.]+)", var.seed_url)[0]
  port    = try(tonumber(regex(":([0-9]+)$", var.seed_url)[0]), 80)
}

resource "aws_security_group" "nodes" {
  name_prefix = "kubedos-"
  description = "Nodes of a Kubedos site"
  vpc_id      = data.aws_subnet.nodes.vpc_id
}

resource "aws_vpc_security_group_egress_rule" "enroll" {
  security_group_id = aws_security_group.nodes.id
  description       = "Enrollment and packages"
  cidr_ipv4         = "${local.address}/32"
  ip_protocol       = "tcp"
  from_port         = local.port
  to_port           = local.port
}

resource "aws_vpc_security_group_egress_rule" "seed" {
  security_group_id = aws_security_group.nodes.id
  description       = "Planes to the seed"
  cidr_ipv4         = "${local.address}/32"
  ip_protocol       = "udp"
  from_port         = var.plane_ports.first
  to_port           = var.plane_ports.last
}

resource "aws_vpc_security_group_egress_rule" "nodes" {
  security_group_id            = aws_security_group.nodes.id
  description                  = "Planes to other nodes"
  referenced_security_group_id = aws_security_group.nodes.id
  ip_protocol                  = "udp"
  from_port                    = var.plane_ports.first
  to_port                      = var.plane_ports.last
}

resource "aws_vpc_security_group_ingress_rule" "nodes" {
  security_group_id            = aws_security_group.nodes.id
  description                  = "Planes from other nodes"
  referenced_security_group_id = aws_security_group.nodes.id
  ip_protocol                  = "udp"
  from_port                    = var.plane_ports.first
  to_port                      = var.plane_ports.last
}

resource "aws_vpc_security_group_ingress_rule" "seed" {
  security_group_id = aws_security_group.nodes.id
  description       = "Planes from the seed"
  cidr_ipv4         = "${local.address}/32"
  ip_protocol       = "udp"
  from_port         = var.plane_ports.first
  to_port           = var.plane_ports.last
}

# No user data and no key pair: the image has everything, and a token in user data would be readable by every program.
resource "aws_instance" "node" {
  for_each = var.nodes

  ami                    = var.ami
  instance_type          = each.value.instance_type
  subnet_id              = var.subnet_id
  vpc_security_group_ids = [aws_security_group.nodes.id]

  metadata_options {
    http_endpoint = "enabled"
    http_tokens   = "required"
  }

  root_block_device {
    volume_size = each.value.disk_gib
    volume_type = "gp3"
    encrypted   = true
  }

  tags = { Name = each.key }
}
