//! A lease as passed by busybox udhcpc to its script, in environment variables (networking/udhcp).

use std::net::Ipv4Addr;

/// The used values of one lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub interface: String,
    pub address: Ipv4Addr,
    pub prefix: u8,
    pub router: Option<Ipv4Addr>,
}

impl Lease {
    /// From udhcpc's variables; `None` if one is missing or invalid.
    pub fn from_env(get: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        let prefix = match get("mask").and_then(|m| m.parse::<u8>().ok()) {
            Some(prefix) => prefix,
            None => u32::from(get("subnet")?.parse::<Ipv4Addr>().ok()?).leading_ones() as u8,
        };
        let router = get("router").and_then(|r| r.split_ascii_whitespace().next()?.parse().ok());
        let interface = get("interface").filter(|i| is_interface(i))?;
        Some(Lease {
            interface,
            address: get("ip")?.parse().ok()?,
            prefix: Some(prefix).filter(|p| (1..=32).contains(p))?,
            router,
        })
    }
}

/// True for a name that an interface can have: IFNAMSIZ is 16 with its zero byte.
pub fn is_interface(name: &str) -> bool {
    (1..=15).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn lease(pairs: &[(&str, &str)]) -> Option<Lease> {
        let map: BTreeMap<_, _> = pairs.iter().copied().collect();
        Lease::from_env(&|name| map.get(name).map(|v| (*v).to_owned()))
    }

    #[test]
    fn reads_the_variables_of_udhcpc() {
        let base = [("interface", "eth0"), ("ip", "10.44.0.100"), ("subnet", "255.255.255.0"), ("router", "10.44.0.1 10.44.0.2")];
        let found = lease(&base).unwrap();
        assert_eq!((found.prefix, found.router), (24, Some(Ipv4Addr::new(10, 44, 0, 1))));
        assert_eq!(lease(&[&base[..], &[("mask", "16")]].concat()).unwrap().prefix, 16);
        assert_eq!(lease(&base[..3]).unwrap().router, None);
    }

    #[test]
    fn invalid_values_are_no_lease() {
        let good = [("interface", "eth0"), ("ip", "10.44.0.100"), ("mask", "24")];
        assert!(lease(&good).is_some());
        for bad in [("interface", "eth0; reboot"), ("interface", ""), ("ip", "x"), ("mask", "33"), ("mask", "0")] {
            assert!(lease(&[&good[..], &[bad]].concat()).is_none(), "{bad:?}");
        }
        assert!(lease(&good[..2]).is_none());
    }
}
