variable "site" {
  type        = string
  description = "Name of the site: metadata.name of cluster.yaml."

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", var.site))
    error_message = "A site's name is a label of a-z, 0-9 and -."
  }
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

variable "images" {
  type = map(object({
    path   = string
    sha256 = string
  }))
  description = "By role: the QCOW2 file of `seedd image build --target qcow2 --json`, and its digest."

  validation {
    condition     = alltrue([for image in values(var.images) : can(regex("^[0-9a-f]{64}$", image.sha256))])
    error_message = "A digest has 64 hexadecimal digits."
  }
}

variable "nodes" {
  type = map(object({
    role       = string
    host       = string
    cores      = optional(number, 2)
    memory_mib = optional(number, 4096)
    disk_gib   = optional(number, 32)
    mac        = optional(string)
  }))
  description = "By name: the machines. The host is the name of a node of Proxmox VE."

  validation {
    condition     = alltrue([for node in values(var.nodes) : node.disk_gib >= 8 && node.memory_mib >= 512 && node.cores >= 1])
    error_message = "A machine has at least 1 core, 512 MiB of memory and a disk of 8 GiB."
  }
}

variable "storage" {
  type        = string
  description = "Storage of the disks."
  default     = "local-lvm"
}

variable "files" {
  type        = string
  description = "Storage with the contents Import and Snippets, on every host."
  default     = "local"
}

variable "bridge" {
  type        = string
  description = "Bridge of the segment on which the machines reach the seed."
  default     = "vmbr0"
}
