//! What the doctor sends: a question to DHCP servers, and machines that boot.

pub mod machines;
pub mod probe;
