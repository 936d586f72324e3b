//! Planes with IPv6: the rules as text, for nft(8), and with packets between network namespaces.

use cluster_seed::peers::PeersFile;
use payload::base::{firewall, hosts};

use crate::allows::denying;
use crate::firewall::{nft, rules};
use crate::machine::{Machine, info, peers};
use crate::packets::{BEHIND, CONNECTS, CROSSES, Family, PLACES, able, lines};

/// The same list, with IPv6 on wg1 and wg2.
fn six(mut list: PeersFile) -> PeersFile {
    for (plane, range) in [("wg1", "fd00:51::/64"), ("wg2", "fd00:52::/64")] {
        list.planes.get_mut(plane).unwrap().cidr6 = Some(range.parse().unwrap());
    }
    list
}

#[test]
fn a_plane_with_ipv6_has_the_same_rules_for_both_families() {
    let text = firewall::rules(&info(), &six(denying())).unwrap();
    assert_eq!(text, include_str!("../golden/kubedos-six.nft"));
}

#[test]
fn without_ipv6_the_rules_are_those_of_before() {
    assert_eq!(firewall::rules(&info(), &peers()).unwrap(), include_str!("../golden/kubedos.nft"));
    assert_eq!(firewall::rules(&info(), &denying()).unwrap(), include_str!("../golden/kubedos-deny.nft"));
    // Of a plane that this node is not on.
    let mut list = peers();
    let mut other = list.planes["wg1"].clone();
    other.cidr6 = Some("fd00:59::/64".parse().unwrap());
    list.planes.insert("wg9".to_owned(), other);
    assert_eq!(firewall::rules(&info(), &list).unwrap(), include_str!("../golden/kubedos.nft"));
}

/// A name with an IPv6 address would be tried by it first, and services of the platform listen on IPv4.
#[test]
fn names_of_nodes_mean_their_ipv4_addresses() {
    assert_eq!(hosts::hosts(&info(), &six(peers())), hosts::hosts(&info(), &peers()));
}

#[test]
fn nft_accepts_the_rules_of_planes_with_ipv6() {
    if let Err(e) = nft(&["list", "ruleset"]) {
        return kubedos_skip::skip("nft", e);
    }
    let machine = Machine::new();
    machine.apply_with(&info(), &six(denying()));
    nft(&["-c", "-f", &rules(&machine)]).expect("the rules load");
}

#[test]
fn an_ipv6_address_of_a_plane_is_reached_on_that_plane_and_by_the_allowed_only() {
    if !able(Family::Six) {
        return;
    }
    let machine = Machine::new();
    machine.apply_with(&info(), &six(denying()));
    let expected = [
        "fd00:52::8 fd00:52::2 8080 answers",
        "fd00:52::9 fd00:52::2 8080 answers",
        // Another port, an address of nobody in the list, and the seed, which is not of the role.
        "fd00:52::8 fd00:52::2 9090 silent",
        "fd00:52::33 fd00:52::2 8080 silent",
        "fd00:52::1 fd00:52::2 8080 silent",
        // wg1 is open.
        "fd00:51::33 fd00:51::2 9090 answers",
        "far1 fd00:44::2 answers",
        "far2 fd00:51::2 answers",
        "far3 fd00:52::2 answers",
        "far2 fd00:52::2 silent",
        "far1 fd00:52::2 silent",
        "far2 fd00:44::2 silent",
    ];
    assert_eq!(lines(&machine, Family::Six, &[BEHIND, CONNECTS, PLACES]), expected);
}

/// Whatever the files of plays and of operators accept.
#[test]
fn no_ipv6_packet_is_forwarded_from_one_plane_to_another() {
    if !able(Family::Six) {
        return;
    }
    let machine = Machine::new();
    machine.apply_with(&info(), &six(denying()));
    machine.write("/etc/nftables.d/zz.nft", b"add rule inet kubedos forward accept\n");
    let expected = ["wg1 fd00:52::9 silent", "wg2 fd00:51::9 silent", "pods fd00:52::9 answers"];
    assert_eq!(lines(&machine, Family::Six, &[CROSSES]), expected);
}
