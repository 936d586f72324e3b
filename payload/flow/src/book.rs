//! The counters in user space: sums since the start, one table per minute of the last hour, and violations.

use std::collections::{BTreeMap, VecDeque};

use crate::btf::Reasons;
use crate::kernel::Raw;
use crate::kernel::layout::{
    CONN_COUNTERS, ConnBytes, ConnKey, DROP_COUNTERS, Direction, DropBytes, DropKey, FLOW_COUNTERS, FlowBytes, FlowKey, Role,
};
use crate::names::{Name, Names, OTHER_NAME};
use crate::ports::{Allowed, TCP, UDP};
use crate::table::{Row, Seen, Table};
use crate::units::Units;

/// Minutes that are kept.
pub const MINUTES: usize = 60;
/// Most rows of a table of sums since the start: the limit of the series that Prometheus gets from it.
pub const MAX_ROWS: usize = 1000;
/// Most rows of a minute's table.
pub const MAX_MINUTE_ROWS: usize = 400;
/// Most violations that are kept.
pub const MAX_VIOLATIONS: usize = 200;
/// Seconds after which a violation that does not happen again is forgotten.
pub const FORGET_VIOLATION: u64 = 3600;
/// Seconds after which an entry of the kernel's maps that does not change is removed.
pub const IDLE: u64 = 900;
/// Index of the payload among the counters of a flow.
pub const PAYLOAD: usize = 2;

/// Packets of one service with one peer, in one direction.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    pub plane: Name,
    pub peer: Name,
    pub protocol: u8,
    pub port: u16,
    pub role: Role,
    pub direction: Direction,
    /// Unit or pod behind it; empty if it is not known.
    pub unit: Name,
}

impl Row for Flow {
    fn folded(&self) -> Self {
        Flow { peer: OTHER_NAME.into(), protocol: 0, port: 0, unit: OTHER_NAME.into(), ..self.clone() }
    }
}

/// TCP connections of one service with one peer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conn {
    pub plane: Name,
    pub peer: Name,
    pub port: u16,
    pub role: Role,
    pub unit: Name,
}

impl Row for Conn {
    fn folded(&self) -> Self {
        Conn { peer: OTHER_NAME.into(), port: 0, unit: OTHER_NAME.into(), ..self.clone() }
    }
}

/// Packets that this node's kernel dropped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Drop {
    pub plane: Name,
    pub peer: Name,
    pub protocol: u8,
    pub port: u16,
    pub direction: Direction,
    pub reason: Name,
}

impl Row for Drop {
    fn folded(&self) -> Self {
        Drop { peer: OTHER_NAME.into(), protocol: 0, port: 0, reason: OTHER_NAME.into(), ..self.clone() }
    }
}

/// A service on a plane that does not carry it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Forbidden {
    pub plane: Name,
    pub peer: Name,
    pub protocol: u8,
    pub port: u16,
    pub role: Role,
}

/// Unix seconds of the first and the last time, and bytes of payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occurred {
    pub first: u64,
    pub last: u64,
    pub payload: u64,
}

/// Three tables of the same time.
#[derive(Debug, Clone)]
pub struct Sums {
    pub flows: Table<Flow, FLOW_COUNTERS>,
    pub conns: Table<Conn, CONN_COUNTERS>,
    pub drops: Table<Drop, DROP_COUNTERS>,
}

impl Sums {
    fn new(limit: usize) -> Self {
        Sums { flows: Table::new(limit), conns: Table::new(limit), drops: Table::new(limit) }
    }
}

#[derive(Debug, Clone)]
pub struct Minute {
    /// Unix seconds of its beginning.
    pub at: u64,
    pub sums: Sums,
}

/// Entries of the kernel's maps that can be removed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Idle {
    pub flows: Vec<FlowBytes>,
    pub conns: Vec<ConnBytes>,
    pub drops: Vec<DropBytes>,
}

/// What names numbers.
pub struct Context<'a> {
    pub names: &'a Names,
    pub units: &'a Units,
    pub reasons: &'a Reasons,
    pub allowed: &'a Allowed,
}

#[derive(Debug)]
pub struct Book {
    pub totals: Sums,
    /// Oldest first; minutes without traffic are missing.
    pub minutes: VecDeque<Minute>,
    pub violations: BTreeMap<Forbidden, Occurred>,
    /// Violations that had no room.
    pub violations_lost: u64,
    pub lost: [u64; 3],
    flows: Seen<FlowBytes, FLOW_COUNTERS>,
    conns: Seen<ConnBytes, CONN_COUNTERS>,
    drops: Seen<DropBytes, DROP_COUNTERS>,
}

impl Default for Book {
    fn default() -> Self {
        Book {
            totals: Sums::new(MAX_ROWS),
            minutes: VecDeque::new(),
            violations: BTreeMap::new(),
            violations_lost: 0,
            lost: [0; 3],
            flows: Seen::default(),
            conns: Seen::default(),
            drops: Seen::default(),
        }
    }
}

/// Ordered by what both directions of a flow have in common.
type Both = (u32, u32, u16, u8, Role);

fn both(key: &FlowKey) -> Both {
    (key.ifindex, key.node, key.port, key.protocol, key.role)
}

impl Book {
    /// Adds what the kernel counted since the last call. `now`: Unix seconds; `steady`: seconds that never jump.
    pub fn take(&mut self, raw: &Raw, context: &Context<'_>, now: u64, steady: u64) {
        let at = now - now % 60;
        let keep = MINUTES as u64 * 60;
        self.minutes.retain(|m| m.at <= at && m.at + keep > at);
        if self.minutes.back().is_none_or(|m| m.at != at) {
            self.minutes.push_back(Minute { at, sums: Sums::new(MAX_MINUTE_ROWS) });
        }
        self.lost = raw.lost;
        self.take_flows(raw, context, now, steady);
        let minute = self.minutes.back_mut().map(|m| &mut m.sums);
        let mut tables: Vec<&mut Sums> = minute.into_iter().chain([&mut self.totals]).collect();
        for (bytes, counters) in &raw.conns {
            let Some(delta) = self.conns.delta(*bytes, *counters, steady) else { continue };
            let key = ConnKey::from(bytes);
            let row = Conn {
                plane: context.names.plane(key.plane),
                peer: context.names.node(key.node),
                port: key.port,
                role: key.role,
                unit: context.units.name(key.cgroup).into(),
            };
            tables.iter_mut().for_each(|sums| sums.conns.add(&row, &delta));
        }
        for (bytes, counters) in &raw.drops {
            let Some(delta) = self.drops.delta(*bytes, *counters, steady) else { continue };
            let key = DropKey::from(bytes);
            let Some(plane) = context.names.interface(key.ifindex) else { continue };
            let row = Drop {
                plane,
                peer: context.names.node(key.node),
                protocol: key.protocol,
                port: key.port,
                direction: key.direction,
                reason: context.reasons.name(key.reason).into(),
            };
            tables.iter_mut().for_each(|sums| sums.drops.add(&row, &delta));
        }
        self.violations.retain(|_, seen| now < seen.last.saturating_add(FORGET_VIOLATION));
    }

    fn take_flows(&mut self, raw: &Raw, context: &Context<'_>, now: u64, steady: u64) {
        // Only what is sent has a socket at tc; what comes back belongs to the same unit.
        let sent = raw.flows.iter().filter(|(_, _, cgroup)| *cgroup != 0);
        let cgroups: BTreeMap<Both, u64> = sent.map(|(bytes, _, cgroup)| (both(&FlowKey::from(bytes)), *cgroup)).collect();
        for (bytes, counters, _) in &raw.flows {
            let Some(delta) = self.flows.delta(*bytes, *counters, steady) else { continue };
            let key = FlowKey::from(bytes);
            let Some(plane) = context.names.interface(key.ifindex) else { continue };
            let cgroup = cgroups.get(&both(&key)).copied().unwrap_or(0);
            let row = Flow {
                plane,
                peer: context.names.node(key.node),
                protocol: key.protocol,
                port: key.port,
                role: key.role,
                direction: key.direction,
                unit: context.units.name(cgroup).into(),
            };
            self.judge(&row, delta[PAYLOAD], context.allowed, now);
            self.totals.flows.add(&row, &delta);
            if let Some(minute) = self.minutes.back_mut() {
                minute.sums.flows.add(&row, &delta);
            }
        }
    }

    /// A port that answers nothing is no violation: only payload is.
    fn judge(&mut self, row: &Flow, payload: u64, allowed: &Allowed, now: u64) {
        let has_ports = row.protocol == TCP || row.protocol == UDP;
        if payload == 0 || !has_ports || allowed.allows(&row.plane, row.protocol, row.port) {
            return;
        }
        let Flow { plane, peer, protocol, port, role, .. } = row.clone();
        let what = Forbidden { plane, peer, protocol, port, role };
        if self.violations.len() >= MAX_VIOLATIONS && !self.violations.contains_key(&what) {
            self.violations_lost += 1;
            return;
        }
        let seen = self.violations.entry(what).or_insert(Occurred { first: now, last: now, payload: 0 });
        seen.last = now;
        seen.payload = seen.payload.saturating_add(payload);
    }

    /// What has not changed for [`IDLE`] seconds. `steady`: seconds that never jump.
    pub fn idle(&mut self, steady: u64) -> Idle {
        Idle { flows: self.flows.idle(steady, IDLE), conns: self.conns.idle(steady, IDLE), drops: self.drops.idle(steady, IDLE) }
    }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
