//! The base role on a temporary root: what it writes, that a second run changes nothing, what it refuses, and whether nft
//! accepts the firewall.

mod allows;
mod firewall;
mod machine;
mod packets;
mod six;
mod steps;
