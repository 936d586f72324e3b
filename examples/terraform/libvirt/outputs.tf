output "machines" {
  description = "UUID of each machine."
  value       = { for name, domain in libvirt_domain.node : name => domain.uuid }
}
