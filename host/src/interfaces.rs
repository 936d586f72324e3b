//! The machine's current network interfaces.

use std::net::Ipv4Addr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

/// True if the interface `name` is up and has this address: the kernel then routes packets to the address's network through
/// it.
pub fn is_up_with(name: &str, address: Ipv4Addr) -> bool {
    let Ok(mut all) = getifaddrs() else { return false };
    all.any(|entry| {
        let own = entry.address.as_ref().and_then(|a| a.as_sockaddr_in()).is_some_and(|a| a.ip() == address);
        own && entry.interface_name == name && entry.flags.contains(InterfaceFlags::IFF_UP)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_belongs_to_its_interface_only() {
        assert!(is_up_with("lo", Ipv4Addr::LOCALHOST));
        assert!(!is_up_with("lo", Ipv4Addr::new(10, 78, 0, 1)));
        assert!(!is_up_with("wg1", Ipv4Addr::LOCALHOST));
        assert!(!is_up_with("", Ipv4Addr::UNSPECIFIED));
    }
}
