//! What is shown as JSON: by the daemon's socket, `kubedos-flow show --json` and `kubedos-node flows --json`. docs/platform/flow.md
//! describes it for readers; change [`VERSION`] with its meaning.

use serde::{Deserialize, Serialize};

use crate::book::{Book, Sums};
use crate::kernel::layout::{Direction, Role};
use crate::ports::protocol_name;

pub const VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub version: u32,
    /// Short name of this node.
    pub node: String,
    /// Unix seconds of this report, and of the start of counting.
    pub at: u64,
    pub since: u64,
    /// False: nothing is counted, for the reason in `why`.
    pub counting: bool,
    pub why: Option<String>,
    pub interfaces: Vec<Interface>,
    /// Since the start.
    pub total: Tables,
    /// The last hour, oldest first; minutes without traffic have empty tables or are missing.
    pub minutes: Vec<Minute>,
    pub violations: Vec<Violation>,
    pub lost: Lost,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    pub name: String,
    /// A plane, or `underlay`.
    pub plane: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tables {
    pub flows: Vec<Flow>,
    pub connections: Vec<Connection>,
    pub drops: Vec<Drop>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Minute {
    /// Unix seconds of its beginning.
    pub at: u64,
    #[serde(flatten)]
    pub tables: Tables,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    pub plane: String,
    pub direction: Direction,
    pub peer: String,
    pub protocol: String,
    pub port: u16,
    pub role: Role,
    pub unit: String,
    pub packets: u64,
    /// From the IP header on.
    pub bytes: u64,
    /// Without the headers of IP, TCP and UDP.
    pub payload: u64,
    /// Mean of the smoothed round-trip time, in microseconds; of TCP that this node sends.
    pub rtt_us: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    pub plane: String,
    pub peer: String,
    pub port: u16,
    pub role: Role,
    pub unit: String,
    pub opened: u64,
    /// Attempts of this node that were refused or not answered.
    pub failed: u64,
    /// Segments.
    pub retransmits: u64,
    /// As in [`Flow`], once per connection at its end.
    pub rtt_us: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drop {
    pub plane: String,
    pub direction: Direction,
    pub peer: String,
    pub protocol: String,
    pub port: u16,
    /// The kernel's name without `SKB_DROP_REASON_`.
    pub reason: String,
    pub packets: u64,
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    pub plane: String,
    pub peer: String,
    pub protocol: String,
    pub port: u16,
    pub role: Role,
    /// Unix seconds.
    pub first: u64,
    pub last: u64,
    pub payload: u64,
    /// `wg2 carried tcp/10250 with n2`
    pub text: String,
}

/// What found no room in a table of the kernel: packets of flows, events of connections, dropped packets; and violations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    pub flows: u64,
    pub connections: u64,
    pub drops: u64,
    pub violations: u64,
}

/// What the daemon knows beside its counters.
#[derive(Debug, Clone, Default)]
pub struct Header {
    pub node: String,
    pub since: u64,
    /// Why nothing is counted.
    pub why: Option<String>,
    pub interfaces: Vec<Interface>,
}

fn mean(sum: u64, samples: u64) -> Option<u64> {
    sum.checked_div(samples)
}

impl Tables {
    pub fn of(sums: &Sums) -> Self {
        let flows = sums.flows.rows().map(|(row, [packets, bytes, payload, rtt, samples])| Flow {
            plane: row.plane.to_string(),
            direction: row.direction,
            peer: row.peer.to_string(),
            protocol: protocol_name(row.protocol),
            port: row.port,
            role: row.role,
            unit: row.unit.to_string(),
            packets: *packets,
            bytes: *bytes,
            payload: *payload,
            rtt_us: mean(*rtt, *samples),
        });
        let connections = sums.conns.rows().map(|(row, [opened, failed, retransmits, rtt, samples])| Connection {
            plane: row.plane.to_string(),
            peer: row.peer.to_string(),
            port: row.port,
            role: row.role,
            unit: row.unit.to_string(),
            opened: *opened,
            failed: *failed,
            retransmits: *retransmits,
            rtt_us: mean(*rtt, *samples),
        });
        let drops = sums.drops.rows().map(|(row, [packets, bytes])| Drop {
            plane: row.plane.to_string(),
            direction: row.direction,
            peer: row.peer.to_string(),
            protocol: protocol_name(row.protocol),
            port: row.port,
            reason: row.reason.to_string(),
            packets: *packets,
            bytes: *bytes,
        });
        Tables { flows: flows.collect(), connections: connections.collect(), drops: drops.collect() }
    }
}

impl Report {
    /// `now`: Unix seconds.
    pub fn of(header: &Header, book: &Book, now: u64) -> Self {
        let violations = book.violations.iter().map(|(what, seen)| {
            let protocol = protocol_name(what.protocol);
            Violation {
                plane: what.plane.to_string(),
                peer: what.peer.to_string(),
                port: what.port,
                role: what.role,
                first: seen.first,
                last: seen.last,
                payload: seen.payload,
                text: format!("{} carried {protocol}/{} with {}", what.plane, what.port, what.peer),
                protocol,
            }
        });
        let [flows, connections, drops] = book.lost;
        Report {
            version: VERSION,
            node: header.node.clone(),
            at: now,
            since: header.since,
            counting: header.why.is_none(),
            why: header.why.clone(),
            interfaces: header.interfaces.clone(),
            total: Tables::of(&book.totals),
            minutes: book.minutes.iter().map(|m| Minute { at: m.at, tables: Tables::of(&m.sums) }).collect(),
            violations: violations.collect(),
            lost: Lost { flows, connections, drops, violations: book.violations_lost },
        }
    }
}
