provider "libvirt" {
  uri = var.uri
}

locals {
  # What a machine reads from its SMBIOS OEM strings; see docs/joining.md.
  words = concat(
    ["kubedos.seed=${var.seed_url}", "kubedos.site=${var.site_key}"],
    var.join_token == "" ? [] : ["kubedos.token=${var.join_token}"],
  )
}

resource "libvirt_volume" "image" {
  name = "kubedos-${substr(var.image_sha256, 0, 16)}.qcow2"
  pool = var.pool

  target = {
    format = { type = "qcow2" }
  }

  create = {
    content = { url = var.image_path }
  }

  lifecycle {
    precondition {
      condition     = filesha256(var.image_path) == var.image_sha256
      error_message = "The image is not the one that was built."
    }
  }
}

resource "libvirt_volume" "disk" {
  for_each = var.nodes

  name     = "${each.key}.qcow2"
  pool     = var.pool
  capacity = each.value.disk_gib * 1024 * 1024 * 1024

  target = {
    format = { type = "qcow2" }
  }

  backing_store = {
    path   = libvirt_volume.image.path
    format = { type = "qcow2" }
  }
}

resource "libvirt_domain" "node" {
  for_each = var.nodes

  name        = each.key
  type        = "kvm"
  vcpu        = each.value.vcpus
  memory      = each.value.memory_mib
  memory_unit = "MiB"
  running     = true

  os = {
    type         = "hvm"
    type_arch    = "x86_64"
    type_machine = "q35"
    firmware     = "efi"
    sm_bios      = { mode = "sysinfo" }
  }

  sys_info = [
    {
      smbios = {
        oem_strings = { entry = local.words }
      }
    }
  ]

  features = {
    acpi = true
  }

  cpu = {
    mode = "host-passthrough"
  }

  devices = {
    disks = [
      {
        driver = { name = "qemu", type = "qcow2", discard = "unmap" }
        source = {
          volume = { pool = libvirt_volume.disk[each.key].pool, volume = libvirt_volume.disk[each.key].name }
        }
        target = { dev = "vda", bus = "virtio" }
      }
    ]

    interfaces = [
      {
        model  = { type = "virtio" }
        source = { bridge = { bridge = var.bridge } }
      }
    ]

    tpms = [
      {
        model   = "tpm-crb"
        backend = { emulator = { version = "2.0" } }
      }
    ]

    rngs = [
      {
        model   = "virtio"
        backend = { random = "/dev/urandom" }
      }
    ]

    # The pairing code is shown here: virsh console NAME.
    consoles = [
      {
        target = { type = "serial", port = 0 }
      }
    ]
  }
}
