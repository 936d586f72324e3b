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
    /// `Full` while no other server answers, else `Proxy`. Leases granted earlier are renewed in both.
    #[default]
    Auto,
}

/// What this server does on its link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serving {
    /// Addresses and boot files.
    Addresses,
    /// Boot files only, beside another server; leases granted earlier are still renewed.
    Proxy,
    /// Nothing until the first probes are over.
    Undecided,
}
