//! Power of machines: by their management controllers (Redfish, IPMI), and Wake-on-LAN.

pub mod choose;
pub mod controller;
pub mod net;
pub mod redfish;
pub mod throttle;
pub mod tool;
