use super::*;

const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const RIVAL: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const THEIRS: Mac = Mac([2, 0, 0, 0, 0, 9]);

fn watch(mode: DhcpMode) -> Watch {
    Watch::new(mode, OWN, Subnet::new([10, 0, 0, 0].into(), 24).unwrap(), MAC, u32::MAX - 1)
}

/// Another server's answer to the DISCOVER.
fn offer(question: &[u8], server: [u8; 4], yiaddr: [u8; 4]) -> Vec<u8> {
    let mut bytes = question[..MIN_PACKET].to_vec();
    bytes[0] = 2;
    bytes[16..20].copy_from_slice(&yiaddr);
    bytes.extend_from_slice(&[53, 1, 2, 54, 4]);
    bytes.extend_from_slice(&server);
    bytes.push(255);
    bytes
}

fn asks(findings: &[Finding]) -> Vec<Vec<u8>> {
    findings.iter().filter_map(|f| if let Finding::Ask(b) = f { Some(b.clone()) } else { None }).collect()
}

/// Simulates a link on which these servers answer each DISCOVER, and ARP; returns all findings until `to`.
fn run(w: &mut Watch, (from, to): (u64, u64), servers: &[Ipv4Addr], there: bool) -> Vec<Finding> {
    let mut all = Vec::new();
    let mut arps: Vec<Ipv4Addr> = Vec::new();
    for now in from..to {
        for at in arps.drain(..) {
            all.extend(w.owner(at, if there { Owner::Machine(THEIRS) } else { Owner::Nobody }));
        }
        let found = w.tick(now);
        for question in asks(&found) {
            for server in servers {
                all.extend(w.heard(&offer(&question, server.octets(), [10, 0, 0, 77]), now));
            }
        }
        all.extend(found);
        arps.extend(all.iter().filter_map(|f| if let Finding::Arp(at) = f { Some(*at) } else { None }));
        all.retain(|f| !matches!(f, Finding::Arp(_) | Finding::Ask(_)));
    }
    all
}

#[test]
fn auto_serves_if_no_other_server_answers() {
    let mut w = watch(DhcpMode::Auto);
    for now in 0..u64::from(FIRST_ASKS) {
        assert_eq!(asks(&w.tick(now)).len(), 1);
        assert_eq!(w.serving(), Serving::Undecided);
    }
    let found = w.tick(u64::from(FIRST_ASKS));
    assert!(found.contains(&Finding::Serve(Serving::Addresses)), "{found:?}");
    assert!(found.contains(&Finding::Event(BootEventKind::Serving { proxy: false })));
    assert_eq!(w.tick(5), [], "then it waits");
    assert_eq!(asks(&w.tick(4 + PERIOD)).len(), 1);
}

#[test]
fn auto_is_a_proxy_while_another_server_answers() {
    let mut w = watch(DhcpMode::Auto);
    let found = run(&mut w, (0, 2), &[RIVAL], true);
    let owner = Owner::Machine(THEIRS);
    let want = [
        Finding::Event(BootEventKind::OtherServer { server: RIVAL, answers: 2, owner }),
        Finding::Serve(Serving::Proxy),
        Finding::Event(BootEventKind::Serving { proxy: true }),
    ];
    assert_eq!(found, want, "the second answer, and the address is its own");
    assert_eq!(run(&mut w, (2, 50), &[RIVAL], true), [], "known already");
    let last = w.others()[&RIVAL].last;
    for now in 50..last + GONE {
        w.tick(now);
        assert_eq!(w.serving(), Serving::Proxy, "{now}");
    }
    let found = w.tick(last + GONE);
    assert_eq!(found[0], Finding::Event(BootEventKind::OtherServerGone { server: RIVAL }));
    (0..=PERIOD).for_each(|more| drop(w.tick(last + GONE + more)));
    assert_eq!(w.serving(), Serving::Addresses);
}

#[test]
fn a_second_server_that_appears_later_is_reported_in_every_mode() {
    for (mode, serving) in [
        (DhcpMode::Full, Serving::Addresses),
        (DhcpMode::Reservation, Serving::Addresses),
        (DhcpMode::Proxy, Serving::Proxy),
        (DhcpMode::Auto, Serving::Proxy),
    ] {
        let mut w = watch(mode);
        run(&mut w, (0, 10), &[], true);
        let found = run(&mut w, (10, 10 + 2 * PERIOD), &[RIVAL], true);
        assert!(matches!(found[0], Finding::Event(BootEventKind::OtherServer { .. })), "{mode:?}");
        assert_eq!(w.serving(), serving, "{mode:?}");
    }
}

/// `rogue_offer.py`: one OFFER under an invented address, at the start or later; once, or many times.
#[test]
fn one_forged_offer_or_a_burst_of_them_does_not_change_the_role() {
    for (heard_at, copies) in [(0, 1), (3, 1), (3, 50), (64, 1), (64, 50)] {
        // Even if the address belongs to a machine on the link.
        for there in [false, true] {
            let mut w = watch(DhcpMode::Auto);
            let mut questions = Vec::new();
            for now in 0..heard_at {
                questions.extend(asks(&w.tick(now)));
            }
            questions.extend(asks(&w.tick(heard_at)));
            let mut found = Vec::new();
            for _ in 0..copies {
                // In one burst, to every DISCOVER so far.
                for question in &questions {
                    found.extend(w.heard(&offer(question, RIVAL.octets(), [10, 0, 0, 77]), heard_at));
                }
            }
            assert!(found.contains(&Finding::Arp(RIVAL)), "{heard_at} {copies}");
            w.owner(RIVAL, if there { Owner::Machine(THEIRS) } else { Owner::Nobody });
            let found = run(&mut w, (heard_at + 1, heard_at + 300), &[], there);
            assert_eq!(w.serving(), Serving::Addresses, "{heard_at} {copies}");
            let owner = if there { Owner::Machine(THEIRS) } else { Owner::Nobody };
            let doubted = BootEventKind::OtherServerDoubted { server: RIVAL, answers: 1, owner };
            assert!(found.contains(&Finding::Event(doubted)), "{found:?}");
            assert!(!found.contains(&Finding::Serve(Serving::Proxy)));
        }
    }
}

#[test]
fn an_address_without_an_arp_answer_is_never_confirmed() {
    let mut w = watch(DhcpMode::Auto);
    run(&mut w, (0, 500), &[RIVAL], false);
    assert_eq!(w.serving(), Serving::Addresses);
    assert!(w.others()[&RIVAL].answers > 10 && !w.others()[&RIVAL].confirmed);
    // An answer from our own hardware address proves nothing.
    let found = w.owner(RIVAL, Owner::Machine(MAC));
    assert!(found.is_empty() && w.serving() == Serving::Addresses);
    // If ARP is not available, more DHCP answers are required instead.
    let mut w = watch(DhcpMode::Auto);
    for now in 0..3 {
        let question = asks(&w.tick(now)).remove(0);
        assert_eq!(w.serving(), Serving::Undecided);
        for finding in w.heard(&offer(&question, RIVAL.octets(), [10, 0, 0, 77]), now) {
            if let Finding::Arp(at) = finding {
                w.owner(at, Owner::NotAsked);
            }
        }
    }
    assert_eq!(w.serving(), Serving::Proxy);
}

#[test]
fn for_a_server_of_another_network_the_relay_is_probed() {
    let mut w = watch(DhcpMode::Auto);
    let question = asks(&w.tick(0)).remove(0);
    let mut far = offer(&question, [172, 16, 0, 5], [10, 0, 0, 77]);
    assert_eq!(w.heard(&far, 0), [], "neither it nor a relay is on the link");
    w.others.clear();
    far[24..28].copy_from_slice(&[10, 0, 0, 254]);
    assert_eq!(w.heard(&far, 0), [Finding::Arp([10, 0, 0, 254].into())]);
}

#[test]
fn forged_addresses_do_not_hide_a_real_server() {
    let mut w = watch(DhcpMode::Auto);
    let mut n = 0u32;
    let mut arps = Vec::new();
    for now in 0..200 {
        for at in std::mem::take(&mut arps) {
            w.owner(at, if at == RIVAL { Owner::Machine(THEIRS) } else { Owner::Nobody });
        }
        for question in asks(&w.tick(now)) {
            // Some come before it, and many after it.
            for place in 0..200u32 {
                n += 1;
                let made_up = Ipv4Addr::from(u32::from_be_bytes([10, 0, 0, 16]) + n % 200);
                let server = if place == 3 { RIVAL } else { made_up };
                let found = w.heard(&offer(&question, server.octets(), [10, 0, 0, 77]), now);
                arps.extend(found.iter().filter_map(|f| if let Finding::Arp(at) = f { Some(*at) } else { None }));
            }
        }
    }
    assert!(w.others().len() <= MAX_SERVERS);
    assert_eq!(w.serving(), Serving::Proxy, "{:?}", w.others());
}

#[test]
fn a_new_link_is_probed_at_once_and_nothing_is_decided_without_one() {
    let mut w = watch(DhcpMode::Auto);
    for _ in 0..100 {
        w.link_lost();
    }
    assert_eq!(w.serving(), Serving::Undecided);
    (100..110).for_each(|now| drop(w.tick(now)));
    assert_eq!(w.serving(), Serving::Addresses);
    w.link_lost();
    assert_eq!(asks(&w.tick(111)).len(), 1);
    assert_eq!(w.serving(), Serving::Addresses);
}

#[test]
fn packets_that_are_not_answers_of_another_server_change_nothing() {
    let mut w = watch(DhcpMode::Auto);
    let question = asks(&w.tick(0)).remove(0);
    let good = offer(&question, [10, 0, 0, 9], [10, 0, 0, 77]);
    let mut stranger = good.clone();
    stranger[33] ^= 1;
    let mut old = good.clone();
    old[4..8].copy_from_slice(&5_000u32.to_be_bytes());
    let own = offer(&question, OWN.octets(), [10, 0, 0, 77]);
    let proxy = offer(&question, [10, 0, 0, 9], [0; 4]);
    for packet in [&stranger, &old, &own, &proxy, &question, &good[..100].to_vec()] {
        assert_eq!(w.heard(packet, 0), []);
    }
    assert!(w.is_own(&question) && !w.is_own(&good));
    for n in 0..=MAX_SERVERS as u8 {
        w.heard(&offer(&question, [10, 0, 1, n + 1], [10, 0, 0, 77]), 0);
    }
    assert_eq!(w.others().len(), MAX_SERVERS);
}
