//! An IPv4 network: which addresses are on the link.

use std::fmt;
use std::net::Ipv4Addr;

/// A network address with a prefix length of 1 to 30 bits (room for the seed and one machine).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    network: u32,
    prefix: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("prefix length {0} is not between 1 and 30")]
pub struct PrefixError(pub u8);

impl Subnet {
    /// The network of `address`; host bits are dropped.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Result<Self, PrefixError> {
        if !(1..=30).contains(&prefix) {
            return Err(PrefixError(prefix));
        }
        Ok(Subnet { network: u32::from(address) & mask_bits(prefix), prefix })
    }

    pub fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from(mask_bits(self.prefix))
    }

    pub fn prefix(self) -> u8 {
        self.prefix
    }

    pub fn network(self) -> Ipv4Addr {
        Ipv4Addr::from(self.network)
    }

    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from(self.network | !mask_bits(self.prefix))
    }

    pub fn contains(self, ip: Ipv4Addr) -> bool {
        u32::from(ip) & mask_bits(self.prefix) == self.network
    }

    /// In the network and neither its network nor its broadcast address.
    pub fn is_host(self, ip: Ipv4Addr) -> bool {
        self.contains(ip) && ip != self.network() && ip != self.broadcast()
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network(), self.prefix)
    }
}

fn mask_bits(prefix: u8) -> u32 {
    u32::MAX << (32 - u32::from(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        let ip = Ipv4Addr::new(10, 1, 2, 3);
        assert_eq!(Subnet::new(ip, 0), Err(PrefixError(0)));
        assert!(Subnet::new(ip, 1).is_ok());
        assert!(Subnet::new(ip, 30).is_ok());
        assert_eq!(Subnet::new(ip, 31), Err(PrefixError(31)));
    }

    #[test]
    fn addresses_on_the_link() {
        let net = Subnet::new(Ipv4Addr::new(10, 1, 2, 3), 24).unwrap();
        assert_eq!(net.to_string(), "10.1.2.0/24");
        assert_eq!(net.mask(), Ipv4Addr::new(255, 255, 255, 0));
        for (last, host) in [(0, false), (1, true), (254, true), (255, false)] {
            assert_eq!(net.is_host(Ipv4Addr::new(10, 1, 2, last)), host, "{last}");
        }
        assert!(!net.contains(Ipv4Addr::new(10, 1, 3, 1)));
    }
}
