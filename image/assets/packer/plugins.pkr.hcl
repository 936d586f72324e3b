# Packer 1.7 and later; delete this file for earlier versions, which have the QEMU builder built in.
packer {
  required_plugins {
    qemu = {
      source  = "github.com/hashicorp/qemu"
      version = ">= 1.0.0"
    }
  }
}
