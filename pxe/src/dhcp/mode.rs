//! Which part of DHCP this server takes on a link.

/// How an interface is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DhcpMode {
    /// Addresses from the pools, to everyone.
    Full,
    /// Addresses for machines with a reservation only.
    Reservation,
    /// Boot files beside another server.
    Proxy,
    /// `Full` while nobody else answers, else `Proxy`. Leases that were given are renewed in any case.
    #[default]
    Auto,
}

/// What this server is on its link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serving {
    /// Addresses and boot files.
    Addresses,
    /// Boot files only, beside another server; leases given before are still renewed.
    Proxy,
    /// Nothing yet.
    Undecided,
}
