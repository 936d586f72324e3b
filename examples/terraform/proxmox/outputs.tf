output "machines" {
  description = "Number and MAC address of each machine."
  value = {
    for name, vm in proxmox_virtual_environment_vm.node :
    name => { vmid = vm.vm_id, mac = vm.mac_addresses[0] }
  }
}
