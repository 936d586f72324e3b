output "nodes" {
  description = "By host name: role, state, and the address on the plane wg1."
  value = {
    for node in flatten([
      for page in concat([data.http.nodes], values(data.http.more_nodes)) : jsondecode(page.response_body).nodes
      ]) : node.hostname => {
      role    = node.role
      state   = node.state
      address = one([for plane in node.planes : plane.address if plane.plane == "wg1"])
    }
  }
}

output "added" {
  description = "Machines whose rows were added or changed."
  value       = local.outdated
}
