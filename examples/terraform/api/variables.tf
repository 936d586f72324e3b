variable "seed_pages" {
  type        = string
  description = "The seed's pages, for example https://seed.lab.lan:8443."

  validation {
    condition     = can(regex("^https://[0-9A-Za-z.-]+(:[0-9]+)?$", var.seed_pages))
    error_message = "The API token must not travel in clear: https://HOST or https://HOST:PORT."
  }
}

variable "ca_file" {
  type        = string
  description = "File with the site's CA certificate, from URL/ca.pem; compare its fingerprint with the seed's console."
}

variable "api_token" {
  type        = string
  description = "API token of `seedd user token create --scope read --scope approve`. It is kept in the state."
  sensitive   = true

  validation {
    condition     = can(regex("^kbd_[0-9a-f]{8}_[0-9a-f]{48}$", var.api_token))
    error_message = "An API token is kbd_ID_SECRET."
  }
}

variable "machines" {
  type = map(object({
    serial = optional(string, "")
    mac    = optional(string, "")
    role   = string
    disk   = optional(string, "only")
    place  = optional(string, "")
  }))
  description = "By host name: the machines that the plan of enrollment has to name, by serial number or MAC address."

  validation {
    condition     = alltrue([for machine in values(var.machines) : machine.serial != "" || machine.mac != ""])
    error_message = "A machine has a serial number or a MAC address."
  }
}
