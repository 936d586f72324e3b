//! Numbers that the programs in the kernel use for nodes and planes, and their names from the signed peer list.
//!
//! A number is given once: a node that leaves the list and comes back has its old one, so counters never change their owner.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use cluster_seed::ids::Hostname;
use cluster_seed::peers::PeersFile;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::interfaces::{UNDERLAY, Watched};

/// Most prefixes that the kernel's map has room for; `MAX_PREFIXES` of `bpf/maps.h`.
pub const MAX_PREFIXES: usize = 16_384;
/// Number of hosts that are not in the peer list; `NODE_OTHER` of `bpf/maps.h`.
pub const OTHER: u32 = 0;
/// Number of this node; `NODE_SELF` of `bpf/maps.h`.
pub const SELF: u32 = 1;
/// Name of hosts that are not in the peer list, and of rows beyond a limit.
pub const OTHER_NAME: &str = "other";

/// A name that many rows share.
pub type Name = Arc<str>;
/// Bits and address; IPv4 as `::ffff:a.b.c.d`.
pub type Prefix = (u32, [u8; 16]);

/// Addresses behind a node, as the pods of a Kubernetes node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    pub cidr: IpNet,
    /// Host name of the node, as in the peer list.
    pub node: Hostname,
    /// Plane that carries it.
    pub plane: String,
}

/// Node and plane of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub node: u32,
    pub plane: u32,
}

#[derive(Debug)]
pub struct Names {
    me: Hostname,
    /// By number; the first two are [`OTHER`] and [`SELF`].
    nodes: Vec<Name>,
    node_ids: BTreeMap<Hostname, u32>,
    /// By number; the first is [`UNDERLAY`].
    planes: Vec<Name>,
    places: BTreeMap<Prefix, Place>,
    interfaces: BTreeMap<u32, Name>,
    /// Prefixes that had no room.
    pub left_out: usize,
}

impl Names {
    pub fn new(me: &Hostname) -> Self {
        Names {
            me: me.clone(),
            nodes: vec![OTHER_NAME.into(), me.label().into()],
            node_ids: [(me.clone(), SELF)].into(),
            planes: vec![UNDERLAY.into()],
            places: BTreeMap::new(),
            interfaces: BTreeMap::new(),
            left_out: 0,
        }
    }

    /// Takes the peer list, the ranges, and the interfaces that exist now. True if the places changed.
    pub fn update(&mut self, peers: &PeersFile, ranges: &[Range], watched: &[Watched]) -> bool {
        let mut places = BTreeMap::new();
        for (name, node) in &peers.nodes {
            let id = self.node_id(name);
            for (name, address) in &node.addresses {
                let place = Place { node: id, plane: self.plane_id(name) };
                places.insert(host((*address).into()), place);
                if let Some(second) = peers.planes.get(name).and_then(|plane| plane.address6(*address)) {
                    places.insert(host(second.into()), place);
                }
            }
            if let Some(endpoint) = node.endpoint {
                places.insert(host(endpoint.into()), Place { node: id, plane: 0 });
            }
        }
        if let Some(pods) = &peers.pods {
            let plane = self.plane_id(&pods.plane);
            for (name, range) in &pods.nodes {
                let place = Place { node: self.node_id(name), plane };
                places.insert(prefix(IpNet::V4(*range)), place);
            }
        }
        for range in ranges {
            let place = Place { node: self.node_id(&range.node), plane: self.plane_id(&range.plane) };
            places.insert(prefix(range.cidr), place);
        }
        // Last, because these are certain: virtual addresses, and IPv6.
        for one in watched {
            let place = Place { node: SELF, plane: self.plane_id(&one.plane) };
            places.extend(one.device.addresses.iter().map(|address| (host(*address), place)));
        }
        self.left_out = places.len().saturating_sub(MAX_PREFIXES);
        while places.len() > MAX_PREFIXES {
            places.pop_last();
        }
        // A removed interface keeps its name, since its last counters are read later.
        self.interfaces.extend(watched.iter().map(|w| (w.device.index, w.plane.as_str().into())));
        let changed = places != self.places;
        self.places = places;
        changed
    }

    fn node_id(&mut self, name: &Hostname) -> u32 {
        if let Some(id) = self.node_ids.get(name) {
            return *id;
        }
        let id = u32::try_from(self.nodes.len()).unwrap_or(OTHER);
        self.nodes.push(name.label().into());
        self.node_ids.insert(name.clone(), id);
        id
    }

    fn plane_id(&mut self, name: &str) -> u32 {
        let found = self.planes.iter().position(|p| &**p == name);
        let at = found.unwrap_or_else(|| {
            self.planes.push(name.into());
            self.planes.len() - 1
        });
        u32::try_from(at).unwrap_or(0)
    }

    pub fn places(&self) -> &BTreeMap<Prefix, Place> {
        &self.places
    }

    pub fn me(&self) -> &Hostname {
        &self.me
    }

    /// Short name of a node.
    pub fn node(&self, id: u32) -> Name {
        self.nodes.get(id as usize).unwrap_or(&self.nodes[OTHER as usize]).clone()
    }

    pub fn plane(&self, id: u32) -> Name {
        self.planes.get(id as usize).unwrap_or(&self.planes[0]).clone()
    }

    /// Plane of an interface; `None` for one that was never watched.
    pub fn interface(&self, index: u32) -> Option<Name> {
        self.interfaces.get(&index).cloned()
    }
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn host(address: IpAddr) -> Prefix {
    (u32::from(u8::try_from(Ipv6Addr::BITS).unwrap_or(u8::MAX)), octets(address))
}

fn prefix(net: IpNet) -> Prefix {
    let net = net.trunc();
    let before = if matches!(net, IpNet::V4(_)) { 96 } else { 0 };
    (before + u32::from(net.prefix_len()), octets(net.addr()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::interfaces::Device;

    pub(crate) fn peers() -> PeersFile {
        serde_json::from_str(
            r#"{"epoch":1,"version":4,
                "planes":{"wg1":{"cidr":"10.78.0.0/16","port":51821},"wg2":{"cidr":"10.79.0.0/16","port":51822}},
                "nodes":{
                  "seed.lan":{"endpoint":"10.44.0.1","role":"seed","wg1":"10.78.0.1","wg2":"10.79.0.1","keys":{}},
                  "n1.lan":{"endpoint":null,"role":"base","wg1":"10.78.0.2","wg2":"10.79.0.2","keys":{}},
                  "n2.lan":{"endpoint":"10.44.0.12","role":"base","wg1":"10.78.0.3","wg2":"10.79.0.3","keys":{}}}}"#,
        )
        .unwrap()
    }

    pub(crate) fn names() -> Names {
        let mut names = Names::new(&"n1.lan".parse().unwrap());
        let device = |name: &str, index, address: &str| Watched {
            device: Device { name: name.to_owned(), index, kind: 1, addresses: [address.parse().unwrap()].into() },
            plane: if name == "ens3" { UNDERLAY.to_owned() } else { name.to_owned() },
            link: 0,
        };
        assert!(names.update(
            &peers(),
            &[],
            &[device("ens3", 3, "10.44.0.11"), device("wg1", 5, "10.78.0.2"), device("wg2", 6, "10.79.0.2")]
        ));
        names
    }

    fn at(names: &Names, address: &str) -> Option<(Name, Name)> {
        let place = names.places().get(&host(address.parse().unwrap()))?;
        Some((names.node(place.node), names.plane(place.plane)))
    }

    #[test]
    fn addresses_have_a_node_and_a_plane() {
        let names = names();
        let pair = |node: &str, plane: &str| Some((Name::from(node), Name::from(plane)));
        assert_eq!(at(&names, "10.78.0.3"), pair("n2", "wg1"));
        assert_eq!(at(&names, "10.44.0.1"), pair("seed", "underlay"));
        // Its own: from the list, and from the interface.
        assert_eq!(at(&names, "10.79.0.2"), pair("n1", "wg2"));
        assert_eq!(at(&names, "10.44.0.11"), pair("n1", "underlay"));
        assert_eq!(at(&names, "10.44.0.99"), None);
        assert_eq!((names.node(99), names.interface(5), names.interface(7)), ("other".into(), Some("wg1".into()), None));
    }

    #[test]
    fn a_node_is_known_by_its_ipv6_address_too() {
        let (mut names, mut list) = (names(), peers());
        list.planes.get_mut("wg2").unwrap().cidr6 = Some("fd00:79::/64".parse().unwrap());
        assert!(names.update(&list, &[], &[]));
        assert_eq!(at(&names, "fd00:79::3"), Some((Name::from("n2"), Name::from("wg2"))));
        assert_eq!(at(&names, "fd00:79::3"), at(&names, "10.79.0.3"));
        assert_eq!((at(&names, "fd00:78::3"), at(&names, "fd00:79::9")), (None, None));
    }

    #[test]
    fn a_number_stays_with_its_node() {
        let mut names = names();
        let before = names.places()[&host("10.78.0.3".parse().unwrap())];
        let mut list = peers();
        let gone = list.nodes.remove(&"n2.lan".parse().unwrap()).unwrap();
        assert!(names.update(&list, &[], &[]));
        list.nodes.insert("a0.lan".parse().unwrap(), gone.clone());
        names.update(&list, &[], &[]);
        assert_ne!(names.places()[&host("10.78.0.3".parse().unwrap())].node, before.node);
        list.nodes.remove(&"a0.lan".parse().unwrap());
        list.nodes.insert("n2.lan".parse().unwrap(), gone);
        names.update(&list, &[], &[]);
        assert_eq!(names.places()[&host("10.78.0.3".parse().unwrap())], before);
        assert!(!names.update(&list, &[], &[]), "the same list changes nothing");
    }

    #[test]
    fn ranges_are_prefixes_of_both_families() {
        assert_eq!(prefix("10.244.3.0/24".parse().unwrap()), (120, octets("10.244.3.0".parse().unwrap())));
        assert_eq!(prefix("fd00:3::7/64".parse().unwrap()), (64, octets("fd00:3::".parse().unwrap())));
        assert_eq!(host("1.2.3.4".parse().unwrap()), (128, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 1, 2, 3, 4]));
    }

    #[test]
    fn pods_belong_to_the_nodes_that_the_peer_list_says() {
        let mut names = names();
        let mut list = peers();
        let pods = r#"{"plane":"wg3","cidr":"10.244.0.0/16","services":"10.96.0.0/16","domain":"cluster.local","nodes":{"n2.lan":"10.244.2.0/24"}}"#;
        list.pods = serde_json::from_str(pods).unwrap();
        names.update(&list, &[], &[]);
        let of_node = names.places()[&host("10.78.0.3".parse().unwrap())];
        let of_pods = names.places()[&prefix("10.244.2.0/24".parse().unwrap())];
        assert_eq!((of_pods.node, &*names.plane(of_pods.plane)), (of_node.node, "wg3"));
    }

    #[test]
    fn no_more_prefixes_than_the_map_has_room_for() {
        let mut names = names();
        let range = |i: usize| Range {
            cidr: IpNet::new(Ipv6Addr::from(u128::MAX - i as u128).into(), 128).unwrap(),
            node: "n2.lan".parse().unwrap(),
            plane: "wg2".to_owned(),
        };
        // The list itself has six addresses on planes and two on the underlay.
        let room = MAX_PREFIXES - 8;
        let ranges: Vec<Range> = (0..=room).map(range).collect();
        for (n, left_out) in [(room - 1, 0), (room, 0), (room + 1, 1)] {
            names.update(&peers(), &ranges[..n], &[]);
            assert_eq!((names.places().len(), names.left_out), ((8 + n).min(MAX_PREFIXES), left_out));
        }
    }
}
