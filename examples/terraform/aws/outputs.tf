output "instances" {
  description = "Id and address of each instance."
  value       = { for name, instance in aws_instance.node : name => { id = instance.id, address = instance.private_ip } }
}
