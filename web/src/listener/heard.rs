//! Who makes requests is told to the DHCP server: such a machine is there.

use std::net::IpAddr;
use std::sync::Arc;

/// Called with the source address of each complete request.
pub type Heard = Arc<dyn Fn(IpAddr) + Send + Sync>;
