use super::*;

const SMALL: Capacity = Capacity { connections: 16, per_address: 4 };

fn v4(n: u16) -> IpAddr {
    let [a, b] = n.to_be_bytes();
    [10, 44, a, b].into()
}

fn v6(net: u16, host: u16) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, net, 0, 0, 0, host).into()
}

fn places(capacity: Capacity) -> (Places, Arc<DoorMeter>) {
    let meter = Arc::new(DoorMeter::default());
    (Places::new(capacity, meter.clone()), meter)
}

/// Whether the connection was told to end.
fn ended(place: &Place) -> bool {
    use futures_util::FutureExt as _;
    place.to_leave().now_or_never().is_some() || place.cut_off().now_or_never().is_some()
}

fn all(places: &Places, address: IpAddr, count: usize, doing: Doing) -> Vec<Place> {
    let one = |_| {
        let place = places.enter(address, false).unwrap();
        place.does(doing);
        place
    };
    (0..count).map(one).collect()
}

#[test]
fn connections_are_counted_by_address_and_given_back() {
    let (places, meter) = places(SMALL);
    let mut held = all(&places, v4(1), 4, Doing::Answering);
    assert_eq!(places.enter(v4(1), false).err(), Some(Turn::Address));
    assert_eq!(meter.get(Turn::Address), 1);
    assert!(places.enter(v4(2), false).is_ok());
    // An IPv4 address is the same in an IPv6 listener.
    let IpAddr::V4(mapped) = v4(1) else { panic!() };
    assert_eq!(places.enter(mapped.to_ipv6_mapped().into(), false).err(), Some(Turn::Address));
    held.pop();
    assert!(places.enter(v4(1), false).is_ok());
    drop(held);
    let table = places.table();
    assert!(table.of.is_empty() && table.open.is_empty() && table.leaving == 0, "nothing remains");
}

#[test]
fn an_address_at_its_limit_gives_up_its_own_idle_one() {
    let (places, meter) = places(SMALL);
    let held = all(&places, v4(1), 4, Doing::Answering);
    let other = all(&places, v4(2), 1, Doing::Nothing);
    held[2].does(Doing::Nothing);
    held[1].does(Doing::Nothing);
    assert!(places.enter(v4(1), false).is_ok());
    assert!(ended(&held[2]), "the one that has been idle for longest");
    assert!(![&held[0], &held[1], &held[3], &other[0]].iter().any(|p| ended(p)));
    assert_eq!(meter.get(Turn::Idle), 1);
}

#[test]
fn the_seeds_own_address_is_no_strangers() {
    let (places, _) = places(SMALL);
    let own = || places.enter([127, 0, 0, 1].into(), true);
    let held: Vec<_> = (0..12).map(|_| own().unwrap()).collect();
    held.iter().for_each(|p| p.does(Doing::Answering));
    assert_eq!(own().err(), Some(Turn::Full), "it leaves the last quarter to others");
    assert!(places.enter(v4(1), false).is_ok());
}

/// `http_keep.py`: many addresses with as many connections as they may have, each idle between small requests.
#[test]
fn idle_connections_keep_nobody_out() {
    let (places, meter) = places(Capacity { connections: 512, per_address: 16 });
    let mut held = Vec::new();
    for n in 0..64 {
        for _ in 0..16 {
            let place = places.enter(v4(n), false).unwrap();
            place.does(Doing::Nothing);
            held.push(place);
        }
        held.retain(|p| !ended(p));
    }
    assert!(held.len() <= 385, "{}", held.len());
    // A rack comes, four connections for each machine.
    let mut rack = Vec::new();
    for n in 1_000..1_040 {
        rack.extend(all(&places, v4(n), 4, Doing::Answering));
        held.retain(|p| !ended(p));
    }
    assert_eq!(rack.len(), 160);
    assert!(!rack.iter().any(ended));
    assert!(meter.get(Turn::Idle) > 64 * 16 - 385);
}

#[test]
fn slow_heads_handshakes_and_readers_of_64_addresses_keep_no_newcomer_out() {
    for doing in [Doing::Reading, Doing::Answering] {
        let (places, _) = places(Capacity { connections: 512, per_address: 16 });
        let mut held = Vec::new();
        for round in 0..16 {
            for n in 0..64 {
                if let Ok(place) = places.enter(v4(n), false) {
                    place.does(doing);
                    held.push(place);
                }
            }
            assert!(held.len() <= 384, "{round}");
        }
        let rack: Vec<_> = (1_000..1_200).map(|n| places.enter(v4(n), false)).collect();
        assert!(rack.iter().all(Result::is_ok), "{doing:?}");
        // Nobody's only connection was taken.
        held.retain(|p| !ended(p));
        assert!((0..64).all(|n| held.iter().any(|p| p.seat.address == v4(n))), "{doing:?}");
    }
}

#[test]
fn a_newcomer_displaces_idle_then_unfinished_then_the_greediest() {
    let (places, meter) = places(SMALL);
    let answering: Vec<_> = (0..3).flat_map(|n| all(&places, v4(n), 4, Doing::Answering)).collect();
    let reading = all(&places, v4(10), 1, Doing::Reading);
    let others: Vec<_> = (11..14).flat_map(|n| all(&places, v4(n), 1, Doing::Answering)).collect();
    others[1].does(Doing::Nothing);
    assert_eq!(places.table().open.len(), 16);
    let enter = |n| places.enter(v4(n), false).map(|p| p.does(Doing::Answering));
    let _one = places.enter(v4(20), false).unwrap();
    assert!(ended(&others[1]) && !ended(&reading[0]));
    _one.does(Doing::Answering);
    let two = places.enter(v4(21), false).unwrap();
    two.does(Doing::Answering);
    assert!(ended(&reading[0]));
    let three = places.enter(v4(22), false).unwrap();
    assert!(ended(&answering[8]), "the oldest of one of those with four");
    assert_eq!((meter.get(Turn::Idle), meter.get(Turn::Unfinished), meter.get(Turn::Answering)), (1, 1, 1));
    three.does(Doing::Answering);
    assert_eq!(enter(0).err(), Some(Turn::Address), "who holds some displaces nobody that is busy");
}

#[test]
fn the_addresses_of_one_ipv6_network_share_their_places() {
    let (places, _) = places(Capacity { connections: 512, per_address: 8 });
    let mut held = Vec::new();
    for host in 1..=64 {
        held.extend(places.enter(v6(1, host), false).ok());
        held.extend(places.enter(v6(1, host), false).ok());
    }
    held.iter().for_each(|p| p.does(Doing::Answering));
    held.retain(|p| !ended(p));
    assert_eq!(held.len(), 64);
    assert!(places.enter(v6(2, 1), false).is_ok(), "another network is another");
    // And a host of the same network that holds none gets one of those of its neighbour.
    assert!(places.enter(v6(1, 1_000), false).is_ok());
    assert_eq!(held.iter().filter(|p| ended(p)).count(), 1);
}

#[test]
fn connections_that_do_not_end_when_told_are_bounded() {
    let (places, _) = places(Capacity { connections: 512, per_address: 512 });
    let held = all(&places, v4(1), 384, Doing::Nothing);
    let more: Vec<_> = (0..300).filter_map(|_| places.enter(v4(2), false).ok()).collect();
    assert!(held.len() + more.len() <= 512 + MAX_LEAVING, "{}", more.len());
    assert_eq!(places.table().leaving, MAX_LEAVING);
}
