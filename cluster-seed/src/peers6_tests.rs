//! Planes with IPv6.

use super::*;

/// The seed, h, which is a hub, and two nodes.
fn list() -> PeersFile {
    let plane = PeerPlane { cidr: "10.78.0.0/16".parse().unwrap(), hubs: Some(vec!["storage".into()]), ..PeerPlane::default() };
    let node = |(name, role, n): (&str, &str, u8)| {
        let keys = [("wg1".to_owned(), WgPublicKey([n; 32]))].into();
        let addresses = [("wg1".to_owned(), Ipv4Addr::new(10, 78, 1, n))].into();
        (name.parse::<Hostname>().unwrap(), PeerNode { endpoint: None, role: role.into(), keys, addresses })
    };
    let nodes = [("seed.lan", "seed", 1), ("n2.lan", "base", 2), ("n3.lan", "base", 3), ("h.lan", "storage", 4)].map(node);
    PeersFile { epoch: 1, version: 1, planes: [("wg1".to_owned(), plane)].into(), nodes: nodes.into(), ..PeersFile::default() }
}

fn with(cidr6: &str) -> PeersFile {
    let mut file = list();
    file.planes.get_mut("wg1").unwrap().cidr6 = Some(cidr6.parse().unwrap());
    file
}

/// The IPv6 addresses of the peers of one member.
fn of(file: &PeersFile, me: &str) -> Vec<String> {
    let peers = file.plane_peers("wg1", &me.parse().unwrap());
    peers.iter().filter_map(|p| p.address6).map(|ip| ip.to_string()).collect()
}

#[test]
fn a_peer_has_an_ipv6_address_on_a_plane_with_ipv6() {
    assert!(of(&list(), "h.lan").is_empty());
    let file = with("fd00:78::/64");
    assert_eq!(of(&file, "h.lan"), ["fd00:78::102", "fd00:78::103", "fd00:78::101"], "n2, n3 and the seed");
    assert_eq!(of(&file, "n3.lan"), ["fd00:78::104", "fd00:78::101"], "the hub and the seed");
    // A range that no cluster.yaml may have.
    let odd = with("ff02::/64");
    assert!(of(&odd, "h.lan").is_empty() && odd.planes["wg1"].range6().is_none());
}

#[test]
fn the_range_is_all_that_ipv6_adds_to_the_file() {
    let (plain, file) = (serde_json::to_value(list()).unwrap(), with("fd00:78::/64"));
    let mut text = serde_json::to_value(&file).unwrap();
    assert_eq!(serde_json::from_value::<PeersFile>(text.clone()).unwrap(), file);
    assert_eq!(text["planes"]["wg1"]["cidr6"], "fd00:78::/64");
    // An agent of an earlier version reads the rest, and seeds of one write it.
    text["planes"]["wg1"].as_object_mut().unwrap().remove("cidr6");
    assert_eq!(text, plain);
    assert_eq!(serde_json::from_value::<PeersFile>(plain).unwrap(), list());
}
