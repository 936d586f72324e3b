//! Power of machines: by their management controllers (Redfish, IPMI), and Wake-on-LAN. In reading order:

/// Addresses as they are typed.
pub mod address;

/// A controller as the site keeps it.
pub mod controller;

/// How often and how many at once.
pub mod throttle;

/// TLS, HTTP, and the magic packet.
pub mod net;

/// Redfish.
pub mod redfish;

/// One contact with a Redfish controller.
pub mod contact;

/// IPMI, by ipmitool.
pub mod tool;
