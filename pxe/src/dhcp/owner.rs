//! Who has an address.

use cluster_seed::ids::Mac;

/// Who answers ARP requests for an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// No request was sent yet.
    Unknown,
    /// No request can be sent: this process may not change the neighbour table.
    NotAsked,
    Nobody,
    Machine(Mac),
}
