//! Ports of an allow, as words: `tcp/2379`, `udp/4000-4100`, `vrrp`, `any`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        }
    }
}

/// Ports of one protocol, or everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Ports {
    /// Every protocol.
    Any,
    /// IP protocol 112 (RFC 9568), which has no ports.
    Vrrp,
    Range {
        transport: Transport,
        first: u16,
        last: u16,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a port")]
pub struct BadPorts(String);

impl Ports {
    pub const fn tcp(port: u16) -> Self {
        Ports::Range { transport: Transport::Tcp, first: port, last: port }
    }

    pub const fn udp(port: u16) -> Self {
        Ports::Range { transport: Transport::Udp, first: port, last: port }
    }
}

/// Digits only: `u16::from_str` takes a sign too, and the text becomes part of the firewall's rules.
fn number(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok())?.filter(|port| *port > 0)
}

fn read(text: &str) -> Option<Ports> {
    match text {
        "any" => return Some(Ports::Any),
        "vrrp" => return Some(Ports::Vrrp),
        _ => {}
    }
    let (transport, ports) = text.split_once('/')?;
    let transport = [Transport::Tcp, Transport::Udp].into_iter().find(|t| t.as_str() == transport)?;
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some(Ports::Range { transport, first, last })
}

impl FromStr for Ports {
    type Err = BadPorts;

    fn from_str(text: &str) -> Result<Self, BadPorts> {
        read(text).ok_or_else(|| BadPorts(text.chars().take(40).collect()))
    }
}

impl TryFrom<String> for Ports {
    type Error = BadPorts;

    fn try_from(text: String) -> Result<Self, BadPorts> {
        text.parse()
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ports::Any => f.write_str("any"),
            Ports::Vrrp => f.write_str("vrrp"),
            Ports::Range { transport, first, last } if first == last => write!(f, "{}/{first}", transport.as_str()),
            Ports::Range { transport, first, last } => write!(f, "{}/{first}-{last}", transport.as_str()),
        }
    }
}

impl From<Ports> for String {
    fn from(ports: Ports) -> String {
        ports.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_they_are_written() {
        for text in ["tcp/1", "udp/65535", "tcp/30000-32767", "vrrp", "any"] {
            assert_eq!(text.parse::<Ports>().unwrap().to_string(), text);
        }
        assert_eq!("tcp/7-7".parse::<Ports>().unwrap(), Ports::tcp(7));
    }

    #[test]
    fn nothing_else_is_a_port() {
        for text in [
            "",
            "22",
            "tcp",
            "tcp/",
            "tcp/0",
            "tcp/65536",
            "tcp/9-8",
            "tcp/1-",
            "tcp/-1",
            "tcp/+1",
            "tcp/ 1",
            "TCP/1",
            "sctp/1",
            "tcp/1; accept",
            "tcp/1\n",
            "tcp/1-2-3",
            "icmp",
        ] {
            assert!(text.parse::<Ports>().is_err(), "{text:?}");
        }
    }
}
