variable "uri" {
  type        = string
  description = "Connection to libvirt."
  default     = "qemu:///system"
}

variable "seed_url" {
  type        = string
  description = "Where the machines reach the seed, for example http://10.44.0.1."

  validation {
    condition     = can(regex("^http://[0-9A-Za-z.-]+(:[0-9]+)?$", var.seed_url))
    error_message = "The seed's address is http://HOST or http://HOST:PORT."
  }
}

variable "site_key" {
  type        = string
  description = "Public key of the site, which `seedd status` shows. Machines enroll at no other site."

  validation {
    condition     = can(regex("^[0-9a-f]{64}$", var.site_key))
    error_message = "A site key has 64 hexadecimal digits."
  }
}

variable "join_token" {
  type        = string
  description = "Join token of `seedd token create`; empty: each machine shows a pairing code. It is kept in the state."
  default     = ""
  sensitive   = true

  validation {
    condition     = can(regex("^(kjt-[0-9a-f]{8}-[0-9a-f]{32})?$", var.join_token))
    error_message = "A join token is kjt-ID-SECRET."
  }
}

variable "image_path" {
  type        = string
  description = "The QCOW2 file of `seedd image build --target qcow2 --json`."
}

variable "image_sha256" {
  type        = string
  description = "Its digest, from the same output."

  validation {
    condition     = can(regex("^[0-9a-f]{64}$", var.image_sha256))
    error_message = "A digest has 64 hexadecimal digits."
  }
}

variable "nodes" {
  type = map(object({
    vcpus      = optional(number, 2)
    memory_mib = optional(number, 4096)
    disk_gib   = optional(number, 32)
  }))
  description = "By name: the machines."

  validation {
    condition     = alltrue([for node in values(var.nodes) : node.disk_gib >= 8 && node.memory_mib >= 512 && node.vcpus >= 1])
    error_message = "A machine has at least 1 CPU, 512 MiB of memory and a disk of 8 GiB."
  }
}

variable "pool" {
  type        = string
  description = "Storage pool of the disks."
  default     = "default"
}

variable "bridge" {
  type        = string
  description = "Bridge of the segment on which the machines reach the seed."
  default     = "br0"
}
