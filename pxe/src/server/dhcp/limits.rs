//! Limits of the DHCP server, and the interfaces that its owner provides.

use std::io;
use std::sync::Arc;

use crate::dhcp::leases::LeaseRecord;

/// The boot server's port (PXE 2.1 section 2.2.4).
pub const BOOT_SERVER_PORT: u16 = 4011;
/// Most leases waiting for the disk. Beyond it REQUESTs are dropped; clients repeat them.
pub const MAX_PENDING: usize = 16_384;
/// Groups of leases queued for the disk.
pub(super) const MAX_GROUPS: usize = 128;
/// Seconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;
/// Stores records durably; called with groups, from one thread. No ACK is sent before it has returned.
pub type Commit = Box<dyn FnMut(&[LeaseRecord]) -> io::Result<()> + Send>;
