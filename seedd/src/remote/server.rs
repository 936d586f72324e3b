//! Where a seed is: `https://seed:8443`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use hyper::Uri;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest address of a server, in bytes.
const MAX: usize = 300;
/// Ports where an address names none.
const HTTPS: u16 = 443;
const HTTP: u16 = 80;

/// Scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub tls: bool,
    /// A name or an address, IPv6 without brackets.
    pub host: String,
    pub port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    #[error("{0:?} is not the address of a seed; write, for example, https://seed:8443")]
    Address(String),
    /// Passwords and tokens would be readable on the network.
    #[error("{0:?} is without TLS, which is used on loopback addresses only")]
    Plain(String),
}

impl FromStr for Server {
    type Err = ServerError;

    fn from_str(text: &str) -> Result<Self, ServerError> {
        let shown: String = text.chars().take(80).collect();
        let bad = || ServerError::Address(shown.clone());
        let uri: Uri = text.parse().ok().filter(|_| text.len() <= MAX).ok_or_else(bad)?;
        let authority = uri.authority().filter(|a| !a.as_str().contains('@')).ok_or_else(bad)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() || uri.path() != "/" || uri.query().is_some() {
            return Err(bad());
        }
        let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let (tls, port) = match uri.scheme_str() {
            Some("https") => (true, HTTPS),
            Some("http") if loopback => (false, HTTP),
            Some("http") => return Err(ServerError::Plain(shown)),
            _ => return Err(bad()),
        };
        Ok(Server { tls, host, port: authority.port_u16().unwrap_or(port) })
    }
}

impl Server {
    /// As in a `Host` header.
    pub fn authority(&self) -> String {
        let v6 = self.host.contains(':');
        if v6 { format!("[{}]:{}", self.host, self.port) } else { format!("{}:{}", self.host, self.port) }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }
}

impl Serialize for Server {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Server {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, shown) in [
            ("https://seed:8443", "https://seed:8443"),
            ("https://seed/", "https://seed:443"),
            ("https://10.44.0.1", "https://10.44.0.1:443"),
            ("https://[fd00::1]:8443", "https://[fd00::1]:8443"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://localhost", "http://localhost:80"),
        ] {
            assert_eq!(text.parse::<Server>().unwrap().to_string(), shown, "{text}");
        }
        let long = format!("https://{}", "a".repeat(MAX));
        for bad in
            ["", "seed", "seed:8443", "https://", "https://seed/x", "https://seed?x", "https://ada@seed", "ftp://seed", &long]
        {
            assert!(matches!(bad.parse::<Server>(), Err(ServerError::Address(_))), "{bad:.60}");
        }
        assert!(matches!("http://10.44.0.1".parse::<Server>(), Err(ServerError::Plain(_))));
    }
}
