//! Planes with IPv6: the peer list of a site that adds and removes a second range, and what the API shows of it.

use std::net::Ipv6Addr;
use std::sync::Arc;

use cluster_seed::ids::Hostname;
use cluster_seed::peers::PeersFile;
use seedd::app::{App, Seed};
use web::api::InventoryApi as _;

use crate::support::sites::*;

const PLAIN: &str = "wg1: {cidr: 10.78.0.0/16,";
const SIX: &str = "wg1: {cidr: 10.78.0.0/16, cidr6: \"fd00:78::/64\",";

fn list(app: &App) -> PeersFile {
    app.signed_peers().unwrap().open(&app.site_key).unwrap()
}

/// The running seed after a change of cluster.yaml.
fn changed(app: &App, from: &str, to: &str) -> Arc<App> {
    let file = app.site.cluster_file();
    let text = std::fs::read_to_string(&file).unwrap();
    let with = text.replace(from, to);
    assert_ne!(text, with);
    std::fs::write(&file, with).unwrap();
    Arc::new(app.reopened().unwrap())
}

/// The address that belongs to an IPv4 address of wg1.
fn expected(octets: [u8; 4]) -> Option<Ipv6Addr> {
    Some(Ipv6Addr::new(0xfd00, 0x78, 0, 0, 0, 0, 0, u16::from_be_bytes([octets[2], octets[3]])))
}

#[test]
fn a_second_range_reaches_nodes_that_are_connected_and_is_taken_from_them_again() {
    let t = temp();
    let site = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let app = unsealed(&site, A);
    for n in 1..=2 {
        Machine::new(n).install(&app, &format!("n{n}"), false);
    }
    let before = list(&app);
    let me: Hostname = "n1.kubedos.lan".parse().unwrap();
    assert!(before.plane_peers("wg1", &me).iter().all(|peer| peer.address6.is_none()));

    let app = changed(&app, PLAIN, SIX);
    let with = list(&app);
    assert_eq!(with.version, before.version + 1, "nodes fetch it");
    assert_eq!(with.nodes, before.nodes, "nothing is stored for a node");
    let peers = with.plane_peers("wg1", &me);
    assert_eq!(peers.len(), 2, "n2 and the seed");
    for peer in &peers {
        assert_eq!(peer.address6, expected(peer.address.octets()));
    }
    assert!(with.plane_peers("wg2", &me).iter().all(|peer| peer.address6.is_none()));

    let app = changed(&app, SIX, PLAIN);
    let again = list(&app);
    assert_eq!((again.version, &again.planes), (before.version + 2, &before.planes));
    assert!(again.plane_peers("wg1", &me).iter().all(|peer| peer.address6.is_none()));
}

#[test]
fn the_api_shows_the_second_range_and_the_addresses_in_it() {
    let t = temp();
    let site = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let app = changed(&unsealed(&site, A), PLAIN, SIX);
    Machine::new(1).install(&app, "n1", false);
    let seed = Seed(app.clone());
    let planes = seed.planes().unwrap();
    assert_eq!(planes[0].cidr6.map(|net| net.to_string()).as_deref(), Some("fd00:78::/64"));
    assert_eq!(planes[0].seed6, expected(planes[0].seed.octets()));
    assert_eq!((planes[1].cidr6, planes[1].seed6), (None, None));
    let nodes = seed.nodes(1).unwrap().rows;
    assert_eq!(nodes.len(), 1);
    for place in &nodes[0].planes {
        let six = if place.plane == "wg1" { expected(place.address.octets()) } else { None };
        assert_eq!(place.address6, six, "{}", place.plane);
    }
}
