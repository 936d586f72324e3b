//! Limits of the TFTP server.

use std::time::Duration;

/// UDP port of the server.
pub const SERVER_PORT: u16 = 69;
/// A transfer that still runs after this time is ended, even if it makes progress: it occupies a slot.
pub const MAX_DURATION: Duration = Duration::from_secs(900);
/// Most threads for transfers.
pub const MAX_WORKERS: usize = 4;
/// The longest datagram read.
pub const MAX_DATAGRAM: usize = 1_500;

/// Limits that the server grants, and its timeouts.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest block granted; 1468 fills an Ethernet frame without fragments.
    pub max_blksize: u16,
    /// Most blocks in flight (RFC 7440), at least 1.
    pub max_window: u16,
    /// Longest wait before a retransmission, and the first wait; exact if the client asks for it (RFC 2349).
    pub timeout: Duration,
    /// Retransmissions without progress before giving up. Waits double up to `timeout`: at least 9 s with the defaults.
    pub retries: u32,
    /// Retransmissions before the first answer: the source address of the request may be forged.
    pub first_retries: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { max_blksize: 1468, max_window: 64, timeout: Duration::from_secs(1), retries: 14, first_retries: 3 }
    }
}
