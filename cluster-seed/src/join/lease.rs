//! The lease that systemd-networkd holds (/run/systemd/netif/leases/*): who gave the address, and what our seed adds.

use std::net::Ipv4Addr;

use super::{Given, SEED, seed_url};

/// Option of the seed's DHCP replies to clients that ask for it, in the range for private use (RFC 3942): `kubedos.seed=` and
/// the seed's URL. The word tells it from another site's use of the same number.
pub const OPTION: u8 = 224;
/// Largest lease file read, in bytes.
pub const MAX_BYTES: usize = 16 << 10;

/// Value of [`OPTION`] for a seed's URL.
pub fn option_value(url: &str) -> Vec<u8> {
    format!("{SEED}={url}").into_bytes()
}

/// What the lease tells: the seed's own option, else the server that gave the address.
pub fn given(text: &str) -> Given {
    if text.len() > MAX_BYTES {
        return Given::default();
    }
    let name = format!("OPTION_{OPTION}");
    let field = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix('=')).map(str::trim);
    let told = field(&name).and_then(|hex| hex::decode(hex).ok()).and_then(|bytes| String::from_utf8(bytes).ok());
    let told = told.and_then(|t| seed_url(t.trim_end_matches('\0').strip_prefix(SEED)?.strip_prefix('=')?).ok());
    let server = || field("SERVER_ADDRESS")?.parse::<Ipv4Addr>().ok().map(|ip| format!("http://{ip}"));
    Given { seed: told.or_else(server), ..Given::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed(text: &str) -> Option<String> {
        given(text).seed
    }

    #[test]
    fn the_seeds_own_option_counts_before_the_server() {
        let own = hex::encode(option_value("http://10.44.0.1:8000"));
        let lease = format!("# This is private data.\nADDRESS=10.44.0.9\nSERVER_ADDRESS=10.44.0.1\nOPTION_224={own}\n");
        assert_eq!(seed(&lease).as_deref(), Some("http://10.44.0.1:8000"));
        // Another site's use of the number.
        let other = lease.replace(&own, "68656c6c6f");
        assert_eq!(seed(&other).as_deref(), Some("http://10.44.0.1"));
        assert_eq!(seed(&lease.replace(&own, "zz")).as_deref(), Some("http://10.44.0.1"));
    }

    #[test]
    fn a_lease_without_a_server_tells_nothing() {
        for text in ["", "SERVER_ADDRESS=", "SERVER_ADDRESS=x", "XSERVER_ADDRESS=10.0.0.1", &"#".repeat(MAX_BYTES + 1)] {
            assert_eq!(seed(text), None, "{text}");
        }
    }
}
