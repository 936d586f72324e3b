# Boots the QCOW2 image of this directory and packs its disk again.
#
#   packer init .        (Packer 1.7 and later; earlier versions: delete plugins.pkr.hcl)
#   packer build .
#
# The machine waits for its seed; nothing is typed into it. Ctrl-Alt-Del restarts it, and -no-reboot turns the restart into the
# end of the build.

variable "source_image" {
  type        = string
  description = "QCOW2 image to start from, beside this template."
}

variable "source_sha256" {
  type        = string
  description = "SHA-256 digest of source_image."
}

variable "output_name" {
  type        = string
  description = "Name of the packed image, without an ending."
}

variable "output_directory" {
  type        = string
  description = "Directory for the packed image; it must not exist."
  default     = "packed"
}

variable "accelerator" {
  type        = string
  description = "kvm, or tcg on a host without KVM."
  default     = "kvm"
}

variable "disk_size" {
  type        = string
  description = "Size of the disk. It can only grow."
  default     = "16G"
}

variable "memory" {
  type        = number
  description = "Memory of the machine in MiB."
  default     = 2048
}

variable "boot_wait" {
  type        = string
  description = "Time from power-on to Ctrl-Alt-Del; it has to be up by then."
  default     = "60s"
}

source "qemu" "kubedos" {
  accelerator      = var.accelerator
  boot_command     = ["<leftCtrlOn><leftAltOn><del><leftAltOff><leftCtrlOff>"]
  boot_wait        = var.boot_wait
  communicator     = "none"
  disk_compression = true
  disk_image       = true
  disk_interface   = "virtio"
  disk_size        = var.disk_size
  format           = "qcow2"
  headless         = true
  iso_checksum     = "sha256:${var.source_sha256}"
  iso_url          = var.source_image
  memory           = var.memory
  net_device       = "virtio-net"
  output_directory = var.output_directory
  qemuargs         = [["-no-reboot", ""]]
  shutdown_timeout = "15m"
  vm_name          = "${var.output_name}.qcow2"
}

build {
  sources = ["source.qemu.kubedos"]
}
