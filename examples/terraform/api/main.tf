provider "http" {}

locals {
  ca = file(var.ca_file)

  headers = {
    Accept        = "application/json"
    Authorization = "Bearer ${var.api_token}"
    Content-Type  = "application/json"
  }

  # Rows of the plan as the seed writes them back, to see which ones are missing or differ.
  wanted = {
    for name, machine in var.machines : name => {
      serial = machine.serial
      mac    = lower(machine.mac)
      role   = machine.role
      disk   = machine.disk
      place  = machine.place
    }
  }

  held = {
    for row in jsondecode(data.http.plan.response_body).rows : row.name => {
      serial = try(row.serial, "")
      mac    = try(row.mac, "")
      role   = row.role
      disk   = try(row.disk, "only")
      place  = try(row.place, "")
    }
  }

  outdated = [for name, machine in local.wanted : name if try(local.held[name], null) != machine]

  # YAML with a row a line.
  text = join("\n", [for name, machine in local.wanted : "- ${jsonencode(merge(machine, { name = name }))}"])
}

data "http" "nodes" {
  url             = "${var.seed_pages}/api/v1/nodes"
  ca_cert_pem     = local.ca
  request_headers = local.headers

  lifecycle {
    postcondition {
      condition     = self.status_code == 200
      error_message = "The seed did not list its nodes: ${self.response_body}"
    }
  }
}

# A page has 200 nodes.
data "http" "more_nodes" {
  for_each = toset([for page in range(2, jsondecode(data.http.nodes.response_body).pages + 1) : tostring(page)])

  url             = "${var.seed_pages}/api/v1/nodes?page=${each.key}"
  ca_cert_pem     = local.ca
  request_headers = local.headers

  lifecycle {
    postcondition {
      condition     = self.status_code == 200
      error_message = "The seed did not list its nodes: ${self.response_body}"
    }
  }
}

data "http" "plan" {
  url             = "${var.seed_pages}/api/v1/plan"
  ca_cert_pem     = local.ca
  request_headers = local.headers

  lifecycle {
    postcondition {
      condition     = self.status_code == 200
      error_message = "The seed did not show its plan: ${self.response_body}"
    }
  }
}

# A dry run at `tofu plan`: nothing is kept.
data "http" "check" {
  count = length(local.outdated) > 0 ? 1 : 0

  url             = "${var.seed_pages}/api/v1/plan/check"
  method          = "POST"
  ca_cert_pem     = local.ca
  request_headers = local.headers
  request_body    = jsonencode({ text = local.text })

  lifecycle {
    postcondition {
      condition     = self.status_code == 200 && length(try(jsondecode(self.response_body).problems, ["none"])) == 0
      error_message = "The plan has contradictions: ${self.response_body}"
    }
  }
}

# Its output is unknown while it changes, so that the request below waits for `tofu apply`.
resource "terraform_data" "rows" {
  input = local.text
}

# Adds the rows; one for the same machine or name takes the place of the old one.
data "http" "add" {
  count = length(local.outdated) > 0 ? 1 : 0

  url             = "${var.seed_pages}/api/v1/plan"
  method          = "POST"
  ca_cert_pem     = local.ca
  request_headers = local.headers
  request_body    = jsonencode({ text = terraform_data.rows.output })

  depends_on = [data.http.check]

  lifecycle {
    postcondition {
      condition     = self.status_code == 200
      error_message = "The seed did not take the plan: ${self.response_body}"
    }
  }
}
