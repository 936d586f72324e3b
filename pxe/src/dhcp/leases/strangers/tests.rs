//! Unknown machines: short leases, and reclaimed addresses.

use proptest::prelude::*;

use super::super::tests::{bound, config, from, ip, mac, reboot, renew, selecting};
use super::super::{Answer, LeaseTable, QUARANTINE};
use super::*;
use crate::why::Why;

const NOW: u64 = 1_000_000;

fn table(first: u8, last: u8) -> LeaseTable {
    let mut config = config(first, last);
    config.stranger_secs = STRANGER_LEASE;
    LeaseTable::new(config, Vec::new())
}

fn seconds(t: &mut LeaseTable, n: u32, address: Ipv4Addr, now: u64) -> u64 {
    match t.request(&renew(n, address), now) {
        Answer::Ack(record) => record.expires_at - now,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_unknown_machines_lease_is_short_until_it_is_heard_from() {
    let mut t = table(10, 20);
    let address = bound(&mut t, 1, NOW);
    assert_eq!((t.lease_secs(mac(1)), seconds(&mut t, 1, address, NOW + 1)), (120, 120));
    // Another machine's address, and an unused one, do not make it known.
    t.heard_from(ip(19), NOW + 2);
    t.heard_from(ip(11), NOW + 2);
    assert_eq!(seconds(&mut t, 1, address, NOW + 3), 120);
    t.heard_from(address, NOW + 4);
    assert_eq!(seconds(&mut t, 1, address, NOW + 5), 3_600);
    // Known machines and those with a reservation get the full length at once, but not after their lease ended.
    t.vouch(mac(2), NOW);
    let second = bound(&mut t, 2, NOW + 6);
    assert_eq!(seconds(&mut t, 2, second, NOW + 7), 3_600);
    let third = bound(&mut t, 3, NOW);
    t.heard_from(third, NOW + 120);
    assert_eq!(t.lease_secs(mac(3)), 120, "its lease had ended: it may be another machine");
}

/// `dora_release.py` without the releases: every address is leased to an invented machine.
#[test]
fn a_pool_leased_to_absent_machines_is_reclaimed_in_seconds() {
    let mut t = table(100, 199);
    t.vouch(mac(7), NOW);
    let real = bound(&mut t, 7, NOW);
    let there = bound(&mut t, 8, NOW);
    for n in 1_000..1_098 {
        bound(&mut t, n, NOW);
    }
    assert_eq!(t.offer(&from(9), NOW + 1), Err(Why::PoolExhausted));
    let mut records = 0;
    // Like the server: a probe each second, and its result a second later.
    let mut asked: Vec<Ipv4Addr> = Vec::new();
    let mut served = None;
    for now in NOW + 1..NOW + 30 {
        for address in std::mem::take(&mut asked) {
            assert_ne!(address, real, "a known machine");
            let by = (address == there).then_some(mac(8));
            records += u32::from(t.answered(address, by, now).is_some());
        }
        asked = t.suspects(now, 64);
        assert!(asked.is_empty() || now >= NOW + YOUNG);
        served = served.or_else(|| t.offer(&from(9), now).ok().map(|_| now - NOW));
    }
    assert!(served.is_some_and(|after| after <= YOUNG + 3), "{served:?}");
    // As many as needed to raise the pool above the threshold, but not the one that answers.
    assert!(records >= 20 && t.free(NOW + 30) >= 20, "{records}");
    assert!(matches!(t.request(&renew(8, there), NOW + 30), Answer::Ack(_)));
    assert!(matches!(t.request(&renew(7, real), NOW + 30), Answer::Ack(_)));
}

#[test]
fn a_machine_that_misses_one_probe_or_renews_keeps_its_address() {
    let mut t = table(10, 10);
    let address = bound(&mut t, 1, NOW);
    assert!(t.suspects(NOW + YOUNG - 1, 64).is_empty());
    assert_eq!(t.suspects(NOW + YOUNG, 64), [address]);
    assert_eq!(t.answered(address, None, NOW + YOUNG + 1), None, "once");
    assert_eq!(t.suspects(NOW + YOUNG + 1, 64), [address]);
    assert_eq!(t.answered(address, Some(mac(1)), NOW + YOUNG + 2), None);
    assert!(t.suspects(NOW + YOUNG + ASK_AGAIN, 64).is_empty(), "it answered");
    let now = NOW + YOUNG + 1 + ASK_AGAIN;
    assert_eq!(t.suspects(now, 64), [address]);
    t.answered(address, None, now + 1);
    assert_eq!(t.suspects(now + 1, 64), [address]);
    // It renews between the second probe and its result.
    assert_eq!(seconds(&mut t, 1, address, now + 1), 120);
    assert_eq!(t.answered(address, None, now + 2), None);
    assert_eq!(t.active(now + 2), 1);
}

#[test]
fn nothing_is_probed_while_addresses_are_free() {
    let mut t = table(10, 19);
    for n in 0..8 {
        bound(&mut t, n, NOW);
    }
    assert_eq!((t.free(NOW), t.suspects(NOW + 60, 64)), (2, Vec::new()));
    bound(&mut t, 8, NOW);
    assert_eq!(t.suspects(NOW + 60, 64).len(), 9);
    assert!(t.suspects(NOW + 60, 64).is_empty(), "already probed");
}

#[test]
fn a_false_decline_blocks_an_address_only_briefly() {
    let mut t = table(10, 17);
    let addresses: Vec<_> = (0..2).map(|n| bound(&mut t, n, NOW)).collect();
    for (n, address) in addresses.iter().enumerate() {
        t.decline(&selecting(n as u32, *address), NOW + 1).unwrap();
    }
    // It is probed at once, even if other addresses are free.
    assert_eq!(t.suspects(NOW + 2, 64), addresses);
    t.answered(addresses[0], None, NOW + 3);
    t.answered(addresses[1], Some(mac(99)), NOW + 3);
    let taken = |t: &mut LeaseTable, address, now| t.request(&selecting(50, address), now) == Answer::Nak(Why::AddressTaken);
    assert!(taken(&mut t, addresses[0], NOW + 2 + DECLINE_HOLD - 1), "its client would decline it again");
    assert!(!taken(&mut t, addresses[0], NOW + 2 + DECLINE_HOLD));
    assert!(taken(&mut t, addresses[1], NOW + QUARANTINE), "a machine answers");
}

#[test]
fn a_lease_released_in_another_machines_name_is_restored() {
    let mut t = table(10, 10);
    let address = bound(&mut t, 1, NOW);
    t.release(&renew(1, address), NOW + 10).unwrap();
    assert_eq!(t.release(&renew(1, address), NOW + 10), Err(Why::NotTheHolder), "a repetition makes no record");
    // It is offered to a second and a third client; the probe finds the first.
    assert_eq!(t.offer(&from(2), NOW + 11), Ok(address));
    assert!(t.wants_probe(address, NOW + 11));
    t.found_in_use(address, mac(1), NOW + 11);
    assert!(matches!(t.request(&renew(1, address), NOW + 12), Answer::Ack(_)), "and it did not notice");
    assert_eq!(t.request(&selecting(2, address), NOW + 13), Answer::Nak(Why::AddressTaken));
    // If an unrelated machine answers, the address is quarantined as usual.
    t.release(&renew(1, address), NOW + 20).unwrap();
    assert_eq!(t.offer(&from(2), NOW + 21), Ok(address));
    t.found_in_use(address, mac(77), NOW + 21);
    assert_eq!(t.request(&reboot(1, address), NOW + 22), Answer::Nak(Why::AddressTaken));
}

#[test]
fn known_machines_are_bounded() {
    let mut t = table(10, 20);
    for n in 0..MAX_VOUCHED as u32 + 1 {
        t.vouch(mac(n), NOW + u64::from(n));
    }
    assert_eq!(t.vouched.len(), MAX_VOUCHED);
    assert!(t.is_stranger(mac(0)) && !t.is_stranger(mac(1)));
}

proptest! {
    /// Whatever is probed and answered, no address has two holders, and the indexes are consistent.
    #[test]
    fn probes_never_lead_to_an_address_with_two_holders(steps in proptest::collection::vec((0u8..7, 0u32..12, any::<bool>()), 1..200)) {
        let mut t = table(10, 15);
        let (mut now, mut asked) = (NOW, Vec::new());
        let mut holders: std::collections::BTreeMap<Ipv4Addr, (u32, u64)> = Default::default();
        for (what, n, there) in steps {
            now += u64::from(n % 3) * 4;
            match what {
                0 | 1 => {
                    if let Ok(address) = t.offer(&from(n), now)
                        && let Answer::Ack(record) = t.request(&selecting(n, address), now)
                    {
                        // One address per client: an earlier one is released.
                        holders.retain(|a, h| h.0 != n || *a == address);
                        let before = holders.insert(address, (n, record.expires_at));
                        prop_assert!(before.is_none_or(|(who, until)| who == n || until <= now));
                    }
                }
                2 => asked = t.suspects(now, 3),
                3 => for address in asked.drain(..) {
                    if let Some(record) = t.answered(address, there.then(|| mac(n)), now) {
                        holders.insert(address, (99, record.expires_at));
                    }
                },
                4 => t.vouch(mac(n), now),
                5 => if let Some(address) = holders.iter().find(|(_, h)| h.0 == n).map(|(a, _)| *a)
                    && t.release(&renew(n, address), now).is_ok()
                {
                    holders.insert(address, (99, now));
                },
                _ => if let Some(address) = holders.iter().find(|(_, h)| h.0 == n).map(|(a, _)| *a)
                    && t.decline(&selecting(n, address), now).is_ok()
                {
                    holders.insert(address, (99, now));
                },
            }
            prop_assert!(t.by_key.values().all(|address| t.by_ip.contains_key(address)));
            prop_assert_eq!(t.leases.len() + t.offers.len(), t.by_ip.len());
        }
    }
}
