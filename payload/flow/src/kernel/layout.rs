//! The structures of `bpf/maps.h`, as bytes: an `unsafe` implementation would be needed to exchange them as types.

use serde::{Deserialize, Serialize};

/// Counters of a flow: packets, bytes, payload, sum of round-trip times in microseconds, their number.
pub const FLOW_COUNTERS: usize = 5;
/// The same and the number of a cgroup.
pub const FLOW_VALUE: usize = FLOW_COUNTERS + 1;
/// Opened, failed, retransmits, sum of round-trip times in microseconds, their number.
pub const CONN_COUNTERS: usize = 5;
/// Packets, bytes.
pub const DROP_COUNTERS: usize = 2;

pub type FlowBytes = [u8; 16];
pub type ConnBytes = [u8; 24];
pub type DropBytes = [u8; 16];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    In,
    Out,
}

impl Direction {
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::In => "in",
            Direction::Out => "out",
        }
    }

    fn read(byte: u8) -> Self {
        if byte == 0 { Direction::In } else { Direction::Out }
    }
}

/// Which side has the service port, seen from this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    Server,
    Client,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Server => "server",
            Role::Client => "client",
        }
    }

    fn read(byte: u8) -> Self {
        if byte == 1 { Role::Server } else { Role::Client }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowKey {
    pub ifindex: u32,
    pub node: u32,
    /// The service's; 0 for protocols without ports.
    pub port: u16,
    pub protocol: u8,
    pub direction: Direction,
    pub role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnKey {
    /// Number of the socket's cgroup.
    pub cgroup: u64,
    pub node: u32,
    pub plane: u32,
    pub port: u16,
    pub role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DropKey {
    pub ifindex: u32,
    pub node: u32,
    pub reason: u32,
    pub port: u16,
    pub protocol: u8,
    pub direction: Direction,
}

fn u16_at<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_ne_bytes)
}

fn u32_at<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

impl From<&FlowBytes> for FlowKey {
    fn from(bytes: &FlowBytes) -> Self {
        FlowKey {
            ifindex: u32_at(bytes, 0),
            node: u32_at(bytes, 4),
            port: u16_at(bytes, 8),
            protocol: bytes[10],
            direction: Direction::read(bytes[11]),
            role: Role::read(bytes[12]),
        }
    }
}

impl From<&ConnBytes> for ConnKey {
    fn from(bytes: &ConnBytes) -> Self {
        ConnKey {
            cgroup: bytes.first_chunk().map_or(0, |b| u64::from_ne_bytes(*b)),
            node: u32_at(bytes, 8),
            plane: u32_at(bytes, 12),
            port: u16_at(bytes, 16),
            role: Role::read(bytes[18]),
        }
    }
}

impl From<&DropBytes> for DropKey {
    fn from(bytes: &DropBytes) -> Self {
        DropKey {
            ifindex: u32_at(bytes, 0),
            node: u32_at(bytes, 4),
            reason: u32_at(bytes, 8),
            port: u16_at(bytes, 12),
            protocol: bytes[14],
            direction: Direction::read(bytes[15]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_the_compiler_lays_them_out() {
        let mut flow = [0; 16];
        flow[..4].copy_from_slice(&7u32.to_ne_bytes());
        flow[4..8].copy_from_slice(&2u32.to_ne_bytes());
        flow[8..10].copy_from_slice(&2379u16.to_ne_bytes());
        flow[10..13].copy_from_slice(&[6, 1, 1]);
        let key = FlowKey { ifindex: 7, node: 2, port: 2379, protocol: 6, direction: Direction::Out, role: Role::Server };
        assert_eq!(FlowKey::from(&flow), key);

        let mut conn = [0; 24];
        conn[..8].copy_from_slice(&u64::MAX.to_ne_bytes());
        conn[8..12].copy_from_slice(&3u32.to_ne_bytes());
        conn[12..16].copy_from_slice(&1u32.to_ne_bytes());
        conn[16..18].copy_from_slice(&22u16.to_ne_bytes());
        conn[18] = 2;
        let key = ConnKey { cgroup: u64::MAX, node: 3, plane: 1, port: 22, role: Role::Client };
        assert_eq!(ConnKey::from(&conn), key);

        let mut drop = [0; 16];
        drop[8..12].copy_from_slice(&8u32.to_ne_bytes());
        drop[12..14].copy_from_slice(&9999u16.to_ne_bytes());
        drop[14] = 17;
        let key = DropKey { ifindex: 0, node: 0, reason: 8, port: 9999, protocol: 17, direction: Direction::In };
        assert_eq!(DropKey::from(&drop), key);
    }
}
