//! The server's role on a link.

/// DHCP mode of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DhcpMode {
    /// Addresses from the pools, to everyone.
    Full,
    /// Addresses for machines with a reservation only.
    Reservation,
    /// Boot files only, next to another server (proxy DHCP).
    Proxy,
    /// `Full` while no other server answers, else `Proxy`. Leases granted earlier are renewed in both.
    #[default]
    Auto,
}

/// The server's current role on its link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serving {
    /// Addresses and boot files.
    Addresses,
    /// Boot files only, next to another server; leases granted earlier are still renewed.
    Proxy,
    /// No service until the first probes are complete.
    Undecided,
}
