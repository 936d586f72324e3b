variable "region" {
  type        = string
  description = "Region of the AMI."
}

variable "ami" {
  type        = string
  description = "AMI of `seedd image build --target aws-ami --json`. The seed's address and the site key are in it (--seed)."

  validation {
    condition     = can(regex("^ami-[0-9a-f]{8,17}$", var.ami))
    error_message = "The id of an AMI is ami- and 8 to 17 hexadecimal digits."
  }
}

variable "seed_url" {
  type        = string
  description = "The seed's address that the AMI was built with. Instances may talk to it, and to nothing else outside."

  validation {
    condition     = can(regex("^http://[0-9]+\\.[0-9]+\\.[0-9]+\\.[0-9]+(:[0-9]+)?$", var.seed_url))
    error_message = "The seed's address is http://ADDRESS or http://ADDRESS:PORT with an IPv4 address."
  }
}

variable "site_key" {
  type        = string
  description = "Public key of the site, which `seedd status` shows; it becomes a tag."

  validation {
    condition     = can(regex("^[0-9a-f]{64}$", var.site_key))
    error_message = "A site key has 64 hexadecimal digits."
  }
}

variable "subnet_id" {
  type        = string
  description = "Subnet with a route to the seed."
}

variable "nodes" {
  type = map(object({
    instance_type = optional(string, "t3.small")
    disk_gib      = optional(number, 16)
  }))
  description = "By name: the instances."

  validation {
    condition     = alltrue([for node in values(var.nodes) : node.disk_gib >= 8])
    error_message = "A disk has at least 8 GiB."
  }
}

variable "plane_ports" {
  type        = object({ first = number, last = number })
  description = "UDP ports of the planes: networking.planes of cluster.yaml."
  default     = { first = 51821, last = 51823 }
}
