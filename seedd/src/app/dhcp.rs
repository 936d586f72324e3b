//! Leases, pools, reservations and other DHCP servers in the web interface.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::Ipv4Addr;

use cluster_seed::events::EventKind;
use cluster_seed::netboot::{Mode, NetworkSpec};
use host::clock::steady;
use site::store::StoreError;
use site::store::audit::AuditFilter;
use site::store::leased::Leased;
use web::api::{ApiError, DhcpApi, DhcpNetwork, DhcpView, LeaseView, OtherServer, ReservationView};

use super::{App, Seed};

/// Kinds of events about other servers, and the newest events of each that are looked at.
const FOREIGN: [EventKind; 3] = [EventKind::DhcpForeignOffer, EventKind::DhcpForeignAck, EventKind::DhcpForeignChosen];
const LOOKED_AT: u32 = 200;

impl DhcpApi for Seed {
    fn dhcp(&self, search: &str) -> Result<DhcpView, ApiError> {
        self.0.view_dhcp(search)
    }
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Full => "full",
        Mode::Reservation => "reservation",
        Mode::Proxy => "proxy",
        Mode::Auto => "auto",
    }
}

/// Addresses of a pool, both ends included.
fn size(first: Ipv4Addr, last: Ipv4Addr) -> u64 {
    (u64::from(u32::from(last)) + 1).saturating_sub(u32::from(first).into())
}

fn network(spec: &NetworkSpec, place: String, mode: &str, leases: &[Leased]) -> DhcpNetwork {
    let pools: Vec<(Ipv4Addr, Ipv4Addr)> = spec.pools.iter().map(|p| (p.first, p.last)).collect();
    let pooled = |ip: Ipv4Addr| pools.iter().any(|(first, last)| (*first..=*last).contains(&ip));
    DhcpNetwork {
        subnet: spec.subnet.to_string(),
        place,
        mode: mode.to_owned(),
        size: pools.iter().map(|(first, last)| size(*first, *last)).sum(),
        used: leases.iter().filter(|l| pooled(l.ip)).count() as u64,
        pools,
    }
}

fn fits(lease: &Leased, search: &str) -> bool {
    let has = |text: &Option<String>| text.as_ref().is_some_and(|t| t.to_lowercase().contains(search));
    search.is_empty()
        || lease.ip.to_string().contains(search)
        || lease.mac.to_string().contains(search)
        || has(&lease.hostname)
        || has(&lease.node)
}

impl App {
    fn view_dhcp(&self, search: &str) -> Result<DhcpView, ApiError> {
        let (search, now) = (search.trim().to_lowercase(), steady());
        let (leases, servers) = self.store.read(|tx| {
            let mut heard = Vec::new();
            for kind in FOREIGN {
                let filter = AuditFilter { kind: Some(kind.as_str().to_owned()), ..AuditFilter::default() };
                heard.extend(tx.audit_page(&filter, None, LOOKED_AT)?.rows);
            }
            Ok::<_, StoreError>((tx.leased(now)?, heard))
        })?;
        let underlay = &self.spec.spec.networking.underlay;
        let own = underlay.network();
        let mut specs = vec![(own, "boot network".to_owned(), mode(underlay.dhcp.mode))];
        specs.extend(underlay.dhcp.relayed.iter().map(|n| (n.clone(), "behind a relay".to_owned(), mode(underlay.dhcp.mode))));
        let further = underlay.dhcp.interfaces.iter();
        specs.extend(further.map(|i| (i.network.clone(), format!("interface {}", i.interface), mode(i.mode))));
        let reservations = specs.iter().flat_map(|(spec, ..)| spec.reservations.iter().map(|r| (spec.subnet, r)));
        let reservations: Vec<ReservationView> = reservations
            .map(|(subnet, r)| ReservationView {
                mac: r.mac,
                address: r.address,
                hostname: r.hostname.as_ref().map(ToString::to_string),
                subnet: subnet.to_string(),
                leased: leases.iter().any(|l| l.ip == r.address && l.mac == r.mac),
            })
            .collect();
        let reserved = |l: &Leased| reservations.iter().any(|r| r.address == l.ip);
        let shown = leases.iter().filter(|l| fits(l, &search)).map(|l| LeaseView {
            ip: l.ip,
            mac: l.mac,
            hostname: l.hostname.clone(),
            left: l.expires_at.saturating_sub(now),
            machine: l.machine,
            node: l.node.clone(),
            reserved: reserved(l),
        });
        Ok(DhcpView {
            networks: specs.into_iter().map(|(spec, place, mode)| network(&spec, place, mode, &leases)).collect(),
            leases: shown.collect(),
            total: u32::try_from(leases.len()).unwrap_or(u32::MAX),
            servers: others(servers),
            reservations,
        })
    }
}

/// The servers that events name, the last heard first.
fn others(events: Vec<site::store::events::EventRow>) -> Vec<OtherServer> {
    let mut found: HashMap<Ipv4Addr, OtherServer> = HashMap::new();
    for event in events {
        let Some((address, repeats)) = event.facts.and_then(|f| Some((f.server?, f.repeats.unwrap_or(0)))) else { continue };
        let times = repeats.saturating_add(1);
        match found.entry(address) {
            Entry::Vacant(place) => {
                place.insert(OtherServer { address, heard: event.at, text: event.text, times });
            }
            Entry::Occupied(mut place) => {
                let held = place.get_mut();
                held.times = held.times.saturating_add(times);
                if event.at > held.heard {
                    (held.heard, held.text) = (event.at, event.text);
                }
            }
        }
    }
    let mut all: Vec<OtherServer> = found.into_values().collect();
    all.sort_by_key(|s| (std::cmp::Reverse(s.heard), s.address));
    all
}

#[cfg(test)]
mod tests {
    use site::store::events::{EventRow, PacketFacts};

    use super::*;

    #[test]
    fn a_pool_has_both_its_ends() {
        let ip = |n| Ipv4Addr::new(10, 0, 0, n);
        for (first, last, count) in [(1, 1, 1), (1, 2, 2), (100, 199, 100), (2, 1, 0)] {
            assert_eq!(size(ip(first), ip(last)), count);
        }
        assert_eq!(size(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST), 1 << 32);
    }

    #[test]
    fn servers_are_counted_with_what_they_did_last() {
        let event = |at, server: Option<u8>, repeats, text: &str| EventRow {
            id: 1,
            at,
            kind: String::new(),
            text: text.to_owned(),
            machine: None,
            actor: None,
            facts: server.map(|n| PacketFacts { server: Some(Ipv4Addr::new(10, 0, 0, n)), repeats, ..PacketFacts::default() }),
        };
        let all = others(vec![
            event(5, Some(1), None, "a"),
            event(9, Some(1), Some(3), "b"),
            event(7, Some(2), None, "c"),
            event(8, None, None, "d"),
        ]);
        let short: Vec<_> = all.iter().map(|s| (s.address.octets()[3], s.heard, s.text.as_str(), s.times)).collect();
        assert_eq!(short, [(1, 9, "b", 5), (2, 7, "c", 1)]);
    }

    #[test]
    fn a_lease_is_found_by_any_of_its_names() {
        let lease = Leased {
            ip: Ipv4Addr::new(10, 44, 0, 100),
            mac: "52:54:00:ab:00:01".parse().unwrap(),
            expires_at: 1,
            hostname: Some("Laptop".to_owned()),
            machine: None,
            node: Some("db-1.lab.lan".to_owned()),
        };
        for (search, found) in [("", true), ("44.0.1", true), ("ab:00", true), ("laptop", true), ("db-1", true), ("web", false)] {
            assert_eq!(fits(&lease, search), found, "{search}");
        }
    }
}
