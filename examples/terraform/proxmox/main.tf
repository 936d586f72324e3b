# The provider reads PROXMOX_VE_ENDPOINT, PROXMOX_VE_API_TOKEN and PROXMOX_VE_SSH_USERNAME from the environment.
provider "proxmox" {
  ssh {
    agent = true
  }
}

locals {
  # Each image is sent once to each host that needs it.
  uploads = {
    for pair in distinct([for node in values(var.nodes) : "${node.host}/${node.role}"]) :
    pair => { host = split("/", pair)[0], role = split("/", pair)[1] }
  }

  hosts = toset([for node in values(var.nodes) : node.host])

  # What a machine learns from its NoCloud volume; see docs/joining.md.
  user_data = join("\n", concat(
    ["#cloud-config", "kubedos:", "  seed: ${var.seed_url}", "  siteKey: \"${var.site_key}\""],
    var.join_token == "" ? [] : ["  token: ${var.join_token}"],
    [""],
  ))
}

resource "proxmox_virtual_environment_file" "image" {
  for_each = local.uploads

  content_type = "import"
  datastore_id = var.files
  node_name    = each.value.host

  source_file {
    path      = var.images[each.value.role].path
    checksum  = var.images[each.value.role].sha256
    file_name = "kubedos-${each.value.role}-${substr(var.images[each.value.role].sha256, 0, 16)}.qcow2"
  }
}

resource "proxmox_virtual_environment_file" "seed" {
  for_each = local.hosts

  content_type = "snippets"
  datastore_id = var.files
  node_name    = each.value

  source_raw {
    data      = local.user_data
    file_name = "kubedos-${var.site}.yaml"
  }
}

resource "proxmox_virtual_environment_vm" "node" {
  for_each = var.nodes

  name            = each.key
  node_name       = each.value.host
  machine         = "q35"
  bios            = "ovmf"
  scsi_hardware   = "virtio-scsi-single"
  stop_on_destroy = true

  # Not the tags kubedos and site-NAME: `seedd proxmox` takes machines with both for its own.
  tags = ["kubedos-terraform"]

  cpu {
    cores = each.value.cores
    type  = "x86-64-v2-AES"
  }

  memory {
    dedicated = each.value.memory_mib
  }

  efi_disk {
    datastore_id      = var.storage
    type              = "4m"
    pre_enrolled_keys = true
  }

  tpm_state {
    datastore_id = var.storage
    version      = "v2.0"
  }

  disk {
    datastore_id = var.storage
    interface    = "scsi0"
    import_from  = proxmox_virtual_environment_file.image["${each.value.host}/${each.value.role}"].id
    size         = each.value.disk_gib
    discard      = "on"
    iothread     = true
  }

  network_device {
    bridge      = var.bridge
    mac_address = each.value.mac
  }

  initialization {
    datastore_id      = var.storage
    user_data_file_id = proxmox_virtual_environment_file.seed[each.value.host].id

    ip_config {
      ipv4 {
        address = "dhcp"
      }
    }
  }

  # The page of a machine shows these.
  smbios {
    family = "kubedos"
    serial = "${each.key}.${var.site}"
    sku    = each.value.role
  }

  operating_system {
    type = "l26"
  }

  serial_device {}

  agent {
    enabled = true

    # A machine waits for its operator before it runs the agent.
    wait_for_ip {
      disabled = true
    }
  }
}
