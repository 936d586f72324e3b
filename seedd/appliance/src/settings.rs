//! Settings of the appliance, independent of the site. Boot parameters override them.

use cluster_seed::ids::Hostname;
use serde::{Deserialize, Serialize};

/// File in the state directory.
pub const FILE: &str = "appliance.json";

/// Every field is optional; without it the appliance chooses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    /// Interface for netboot.
    pub iface: Option<String>,
    pub address: Option<Address>,
    pub hostname: Option<Hostname>,
    /// Where the state is kept; takes effect at the next start.
    pub state: Option<StatePlace>,
}

/// How the netboot interface gets its address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Address {
    Dhcp,
    Static(ipnet::Ipv4Net),
}

/// Where an appliance keeps its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StatePlace {
    /// A partition in the free space of the stick that it booted from.
    Stick,
    /// A whole disk, by its path under /dev.
    Disk(String),
    /// Memory: lost at power-off; every page shows a warning.
    Ram,
}
