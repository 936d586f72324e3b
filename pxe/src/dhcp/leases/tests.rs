use proptest::prelude::*;

use super::*;
use crate::dhcp::pool::{MIN_LEASE, PoolError, PoolRange};
use crate::dhcp::testing::{lease as decode, packet, subnet};
use crate::subnet::Subnet;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const NOW: u64 = 1_000_000;

pub(in crate::dhcp) fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

pub(in crate::dhcp) fn mac(n: u32) -> Mac {
    let [a, b, c, d] = n.to_be_bytes();
    Mac([2, 0, a, b, c, d])
}

pub(in crate::dhcp) fn config(first: u8, last: u8) -> PoolConfig {
    PoolConfig {
        subnet: subnet(),
        ranges: vec![PoolRange { first: ip(first), last: ip(last) }],
        server_ip: SERVER,
        router: None,
        lease_secs: 3600,
        stranger_secs: 3600,
        reservations: BTreeMap::new(),
    }
}

fn table(first: u8, last: u8) -> LeaseTable {
    LeaseTable::new(config(first, last), Vec::new())
}

/// A request as parsed by the wire module; each test sets the fields it needs.
pub(in crate::dhcp) fn from(n: u32) -> LeaseRequest {
    let mut request = decode(&packet("350103ff"));
    request.mac = mac(n);
    request.key = ClientKey::Mac(request.mac);
    request
}

pub(in crate::dhcp) fn selecting(n: u32, address: Ipv4Addr) -> LeaseRequest {
    LeaseRequest { server_id: Some(SERVER), requested: Some(address), ..from(n) }
}

pub(in crate::dhcp) fn reboot(n: u32, address: Ipv4Addr) -> LeaseRequest {
    LeaseRequest { requested: Some(address), ..from(n) }
}

pub(in crate::dhcp) fn renew(n: u32, address: Ipv4Addr) -> LeaseRequest {
    LeaseRequest { ciaddr: address, ..from(n) }
}

pub(in crate::dhcp) fn bound(table: &mut LeaseTable, n: u32, now: u64) -> Ipv4Addr {
    let address = table.offer(&from(n), now).unwrap();
    match table.request(&selecting(n, address), now) {
        Answer::Ack(record) => record.ip,
        other => panic!("{other:?}"),
    }
}

#[test]
fn discover_to_ack_and_the_record() {
    let mut t = table(10, 20);
    assert_eq!(t.offer(&from(1), NOW), Ok(ip(10)));
    assert_eq!(t.offer(&from(1), NOW + 1), Ok(ip(10)), "a repeated DISCOVER gets the same address");
    assert_eq!(t.offer(&from(2), NOW), Ok(ip(11)));
    let want = LeaseRecord { mac: mac(1), ip: ip(10), expires_at: NOW + 3600, hostname: None, client_id: None };
    assert_eq!(t.request(&selecting(1, ip(10)), NOW), Answer::Ack(want));
    assert_eq!(t.active(NOW), 1);
    assert_eq!(t.active(NOW + 3600), 0);
}

#[test]
fn states_of_rfc_2131() {
    let mut t = table(10, 20);
    assert_eq!(bound(&mut t, 1, NOW), ip(10));
    let other_server = LeaseRequest { server_id: Some(ip(2)), ..selecting(9, ip(10)) };
    let rows = [
        (reboot(1, ip(10)), None),
        (reboot(1, ip(11)), Some(Answer::Nak(Why::WrongAddress))),
        (reboot(1, Ipv4Addr::new(192, 168, 0, 5)), Some(Answer::Nak(Why::WrongNetwork))),
        (reboot(1, SERVER), Some(Answer::Nak(Why::WrongNetwork))),
        (reboot(2, ip(10)), Some(Answer::Nak(Why::AddressTaken))),
        (reboot(2, ip(12)), Some(Answer::Silent(Why::UnknownClient))),
        (renew(1, ip(10)), None),
        (renew(2, ip(10)), Some(Answer::Nak(Why::AddressTaken))),
        (renew(2, ip(15)), Some(Answer::Silent(Why::UnknownClient))),
        (renew(2, Ipv4Addr::new(192, 168, 0, 5)), Some(Answer::Nak(Why::WrongNetwork))),
        (renew(2, ip(99)), Some(Answer::Silent(Why::UnknownClient))),
        (reboot(2, ip(99)), Some(Answer::Silent(Why::UnknownClient))),
        (reboot(2, SERVER), Some(Answer::Silent(Why::UnknownClient))),
        (selecting(2, ip(99)), Some(Answer::Nak(Why::WrongNetwork))),
        (selecting(2, ip(10)), Some(Answer::Nak(Why::AddressTaken))),
        (other_server, Some(Answer::Silent(Why::OtherServer))),
        (from(3), Some(Answer::Silent(Why::NoAddressAsked))),
    ];
    for (request, want) in rows {
        let got = t.request(&request, NOW + 100);
        match want {
            Some(want) => assert_eq!(got, want, "{request:?}"),
            None => assert!(matches!(got, Answer::Ack(ref r) if r.expires_at == NOW + 3700), "{request:?}: {got:?}"),
        }
    }
}

#[test]
fn an_offer_is_held_until_its_limit_and_freed_by_another_choice() {
    let mut t = table(10, 10);
    assert_eq!(t.offer(&from(1), NOW), Ok(ip(10)));
    assert_eq!(t.request(&reboot(2, ip(10)), NOW + OFFER_HOLD - 1), Answer::Nak(Why::AddressTaken));
    assert_eq!(t.request(&reboot(2, ip(10)), NOW + OFFER_HOLD), Answer::Silent(Why::UnknownClient));
    let other = LeaseRequest { server_id: Some(ip(2)), ..selecting(1, ip(10)) };
    assert_eq!(t.request(&other, NOW), Answer::Silent(Why::OtherServer));
    assert_eq!(t.request(&reboot(2, ip(10)), NOW + 1), Answer::Silent(Why::UnknownClient));
}

#[test]
fn a_lease_ends_on_time_and_its_client_may_get_it_again() {
    let mut t = table(10, 10);
    bound(&mut t, 1, NOW);
    assert_eq!(t.offer(&from(2), NOW + 3599), Err(Why::PoolExhausted));
    assert!(matches!(t.request(&reboot(1, ip(10)), NOW + 3601), Answer::Ack(_)));
    assert_eq!(t.offer(&from(2), NOW + 3601 + 3600), Ok(ip(10)));
}

#[test]
fn exhaustion_takes_the_oldest_offer_but_never_a_lease() {
    let mut t = table(10, 12);
    bound(&mut t, 1, NOW);
    assert_eq!(t.offer(&from(2), NOW), Ok(ip(11)));
    assert_eq!(t.offer(&from(3), NOW + 1), Ok(ip(12)));
    assert_eq!(t.offer(&from(4), NOW + 2), Ok(ip(11)));
    assert_eq!(t.request(&renew(1, ip(10)), NOW + 3).clone(), t.request(&renew(1, ip(10)), NOW + 3));
    bound(&mut t, 3, NOW + 3);
    bound(&mut t, 4, NOW + 3);
    assert_eq!(t.offer(&from(5), NOW + 4), Err(Why::PoolExhausted));
}

#[test]
fn a_flood_takes_no_leases_and_does_not_block_a_client_that_answers_at_once() {
    let mut t = table(10, 250);
    let kept: Vec<_> = (0..50).map(|n| bound(&mut t, n, NOW)).collect();
    for n in 1000..51_000 {
        let _ = t.offer(&from(n), NOW + 1);
        if n % 1000 == 0 {
            bound(&mut t, 100 + n / 1000, NOW + 1);
        }
    }
    assert!(t.offers.len() <= t.max_offers);
    assert!(t.by_ip.len() <= 241 && t.by_key.len() <= 241);
    for (n, address) in kept.into_iter().enumerate() {
        assert!(matches!(t.request(&renew(n as u32, address), NOW + 2), Answer::Ack(_)), "{n}");
    }
}

#[test]
fn offers_are_capped() {
    let mut t = table(1, 254);
    assert_eq!(t.max_offers, 127);
    for n in 0..127 {
        t.offer(&from(n), NOW).unwrap();
    }
    assert_eq!(t.offers.len(), 127);
    let first = *t.by_key.get(&ClientKey::Mac(mac(0))).unwrap();
    assert_eq!(t.offer(&from(500), NOW), Ok(first));
    assert_eq!(t.offers.len(), 127);
    // A client whose offer was evicted is still served if it is the first to request the address.
    assert!(matches!(t.request(&selecting(0, first), NOW), Answer::Ack(_)));
    assert_eq!(t.request(&selecting(500, first), NOW), Answer::Nak(Why::AddressTaken));
}

#[test]
fn release_and_decline() {
    let mut t = table(10, 13);
    let address = bound(&mut t, 1, NOW);
    assert_eq!(t.release(&renew(2, address), NOW), Err(Why::NotTheHolder));
    assert_eq!(t.release(&LeaseRequest { server_id: Some(ip(2)), ..renew(1, address) }, NOW), Err(Why::OtherServer));
    assert_eq!(t.release(&renew(1, address), NOW + 5).unwrap().expires_at, NOW + 5);
    assert_eq!(t.active(NOW + 5), 0);
    assert_eq!(bound(&mut t, 1, NOW + 6), address, "back soon, the same address");

    assert_eq!(t.decline(&selecting(2, address), NOW), Err(Why::NotTheHolder));
    assert_eq!(t.decline(&from(1), NOW), Err(Why::NoAddressAsked));
    assert_eq!(t.decline(&selecting(1, address), NOW).unwrap().expires_at, NOW);
    assert_ne!(t.offer(&from(1), NOW), Ok(address));
    assert_eq!(t.request(&selecting(1, address), NOW + QUARANTINE - 1), Answer::Nak(Why::AddressTaken));
    assert!(matches!(t.request(&selecting(1, address), NOW + QUARANTINE), Answer::Ack(_)));
}

#[test]
fn quarantine_is_bounded() {
    let mut t = table(10, 17);
    for n in 0..8 {
        let address = bound(&mut t, n, NOW);
        t.decline(&selecting(n, address), NOW).unwrap();
    }
    assert_eq!(t.quarantined, 2);
    assert!(t.offer(&from(99), NOW + 1).is_ok());
}

#[test]
fn reservations_are_kept_for_their_machine() {
    let mut config = config(10, 11);
    config.reservations.insert(mac(1), Reservation { ip: ip(11), hostname: Some("one".into()) });
    config.reservations.insert(mac(2), Reservation { ip: ip(200), hostname: None });
    let mut t = LeaseTable::new(config, Vec::new());
    assert_eq!(t.offer(&from(3), NOW), Ok(ip(10)));
    bound(&mut t, 3, NOW);
    assert_eq!(t.offer(&from(4), NOW), Err(Why::PoolExhausted));
    assert_eq!(t.request(&selecting(4, ip(11)), NOW), Answer::Nak(Why::WrongNetwork));
    assert_eq!((bound(&mut t, 1, NOW), bound(&mut t, 2, NOW)), (ip(11), ip(200)));
    // Another stage of the same machine, with another identifier.
    let stage = LeaseRequest { key: ClientKey::Id([0, 1, 2].into()), client_id: Some(vec![0, 1, 2]), ..from(2) };
    assert_eq!(t.offer(&stage, NOW), Ok(ip(200)));
    assert!(matches!(t.request(&LeaseRequest { ciaddr: ip(200), ..stage }, NOW), Answer::Ack(_)));
}

#[test]
fn leases_survive_a_restart() {
    let mut t = table(10, 20);
    let mut records = Vec::new();
    for n in 0..5 {
        let address = t.offer(&from(n), NOW).unwrap();
        let Answer::Ack(record) = t.request(&selecting(n, address), NOW) else { panic!("no ACK") };
        records.push(record);
    }
    // A record of another network, and an older one of the first client.
    records.push(LeaseRecord { ip: Ipv4Addr::new(10, 9, 9, 9), ..records[0].clone() });
    records.push(LeaseRecord { ip: ip(19), expires_at: NOW - 5, ..records[0].clone() });
    let mut t = LeaseTable::new(config(10, 20), records);
    assert_eq!(t.active(NOW), 5);
    for n in 0..5u8 {
        assert!(matches!(t.request(&renew(n.into(), ip(10 + n)), NOW + 1), Answer::Ack(_)), "{n}");
    }
    let fresh = t.offer(&from(77), NOW).unwrap();
    assert!(!(ip(10)..=ip(14)).contains(&fresh), "{fresh}");
}

#[test]
fn configuration_limits() {
    let foreign = Ipv4Addr::new(10, 0, 1, 1);
    for (c, error) in [
        (config(20, 10), PoolError::Empty(ip(20), ip(10))),
        (config(0, 10), PoolError::NotAHost(ip(0), subnet())),
        (config(10, 255), PoolError::NotAHost(ip(255), subnet())),
        (PoolConfig { lease_secs: MIN_LEASE - 1, ..config(10, 20) }, PoolError::ShortLease(subnet())),
        (PoolConfig { server_ip: foreign, ..config(10, 20) }, PoolError::NotAHost(foreign, subnet())),
    ] {
        assert_eq!(c.check(true), Err(error));
    }
    assert!(PoolConfig { lease_secs: MIN_LEASE, ..config(1, 254) }.check(true).is_ok());
    let mut twice = config(10, 20);
    twice.reservations.insert(mac(1), Reservation { ip: ip(50), hostname: None });
    twice.reservations.insert(mac(2), Reservation { ip: ip(50), hostname: None });
    assert_eq!(twice.check(true), Err(PoolError::ReservedTwice(ip(50))));
    twice.reservations.insert(mac(2), Reservation { ip: SERVER, hostname: None });
    assert_eq!(twice.check(true), Err(PoolError::NotLeasable { ip: SERVER, mac: mac(2), subnet: subnet() }));
}

#[test]
fn ranges_and_their_limits() {
    let mut two = config(10, 11);
    two.ranges.push(PoolRange { first: ip(20), last: ip(20) });
    assert!(two.check(true).is_ok());
    let mut t = LeaseTable::new(two.clone(), Vec::new());
    let given: Vec<_> = (0..3).map(|n| bound(&mut t, n, NOW)).collect();
    assert_eq!(given, [ip(10), ip(11), ip(20)]);
    assert_eq!(t.offer(&from(9), NOW), Err(Why::PoolExhausted));
    assert_eq!(t.request(&selecting(9, ip(15)), NOW), Answer::Nak(Why::WrongNetwork), "between the ranges");
    two.ranges.push(PoolRange { first: ip(11), last: ip(12) });
    assert_eq!(two.check(true), Err(PoolError::Overlap(ip(10), ip(11))));
    let wide = |last: [u8; 4]| PoolConfig {
        subnet: Subnet::new([10, 0, 0, 0].into(), 8).unwrap(),
        ranges: vec![PoolRange { first: Ipv4Addr::new(10, 1, 0, 0), last: last.into() }],
        ..config(10, 20)
    };
    assert!(wide([10, 1, 255, 254]).check(true).is_ok());
    assert!(wide([10, 1, 255, 255]).check(true).is_ok());
    assert!(matches!(wide([10, 2, 0, 0]).check(true), Err(PoolError::TooLarge(_))));
    // Behind a relay the server's own address is of another network.
    let far = PoolConfig { server_ip: Ipv4Addr::new(192, 168, 0, 1), ..config(10, 20) };
    assert!(far.check(false).is_ok() && far.check(true).is_err());
}

#[test]
fn without_pools_only_reserved_machines_are_served_and_none_is_refused() {
    let mut only = PoolConfig { ranges: Vec::new(), ..config(10, 20) };
    only.reservations.insert(mac(1), Reservation { ip: ip(50), hostname: None });
    let mut t = LeaseTable::new(only, Vec::new());
    assert_eq!(bound(&mut t, 1, NOW), ip(50));
    assert_eq!(t.offer(&from(2), NOW), Err(Why::NotReserved));
    assert_eq!(t.request(&reboot(2, ip(60)), NOW), Answer::Silent(Why::NotReserved));
    assert_eq!(t.request(&reboot(1, ip(60)), NOW), Answer::Nak(Why::WrongNetwork), "a machine with a reservation");
}

#[test]
fn an_address_that_answers_is_not_offered() {
    let mut t = table(10, 13);
    let first = t.offer(&from(1), NOW).unwrap();
    assert!(t.wants_probe(first, NOW));
    t.found_in_use(first, mac(250), NOW);
    let second = t.offer(&from(1), NOW).unwrap();
    assert_ne!(first, second);
    t.found_unused(second, NOW);
    assert!(!t.wants_probe(second, NOW + PROBE_GOOD - 1));
    assert!(t.wants_probe(second, NOW + PROBE_GOOD));
    assert_eq!(t.request(&selecting(2, first), NOW), Answer::Nak(Why::AddressTaken));
    assert!(matches!(t.request(&selecting(1, second), NOW), Answer::Ack(_)));
    assert!(!t.wants_probe(second, NOW + PROBE_GOOD), "its holder answers for it");
    // A reserved address outside the pool is probed once, too.
    let mut reserved = config(10, 11);
    reserved.reservations.insert(mac(1), Reservation { ip: ip(50), hostname: None });
    let mut r = LeaseTable::new(reserved, Vec::new());
    assert_eq!(r.offer(&from(1), NOW), Ok(ip(50)));
    assert!(r.wants_probe(ip(50), NOW));
    r.found_unused(ip(50), NOW);
    assert!(!r.wants_probe(ip(50), NOW + 1));
    // An answer to a probe never takes a bound address from its client.
    t.found_in_use(second, mac(250), NOW);
    assert_eq!(t.lease_of(&from(1).key, NOW), Some(second));
    assert_eq!(t.lease_of(&from(1).key, NOW + 3600), None);
}

proptest! {
    /// Whatever clients do in whatever order, no address has two valid leases.
    #[test]
    fn no_address_is_acknowledged_twice(steps in proptest::collection::vec((0u32..6, 0u8..6, 10u8..16, 0u64..400), 1..120)) {
        let mut t = table(10, 15);
        let mut now = NOW;
        let mut held: BTreeMap<Ipv4Addr, (Mac, u64)> = BTreeMap::new();
        for (n, what, last, wait) in steps {
            now += wait;
            let got = match what {
                0 => { let _ = t.offer(&from(n), now); continue }
                1 => t.request(&selecting(n, ip(last)), now),
                2 => t.request(&reboot(n, ip(last)), now),
                3 => t.request(&renew(n, ip(last)), now),
                4 => { if t.release(&renew(n, ip(last)), now).is_ok() { held.remove(&ip(last)); } continue }
                _ => { if t.decline(&selecting(n, ip(last)), now).is_ok() { held.remove(&ip(last)); } continue }
            };
            if let Answer::Ack(record) = got {
                if let Some((owner, until)) = held.get(&record.ip) {
                    prop_assert!(*owner == record.mac || *until <= now, "{} of {owner} given to {}", record.ip, record.mac);
                }
                held.retain(|_, (owner, _)| *owner != record.mac);
                held.insert(record.ip, (record.mac, record.expires_at));
            }
        }
    }
}
