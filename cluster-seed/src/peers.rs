//! `peers.json`: the nodes on each plane. The format of the shell KubeDOS, extended with public keys, roles, an increasing
//! version and an epoch, and signed by the site key as [`crate::seal::Sealed`].

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::addressing::{address6, check_range6};
use crate::countersign::list::Countersigned;
use crate::ids::{Hostname, NodeId};
use crate::planes::Allow;
use crate::seal::Sealable;
use crate::wireguard::{WgPeer, WgPublicKey, handshakes};

/// The seed's role in the list.
pub const SEED_ROLE: &str = "seed";

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerPlane {
    pub cidr: Ipv4Net,
    pub port: u16,
    /// In bytes; without it, what the boot network leaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// Range of the members' IPv6 addresses, which follow from their IPv4 addresses. Agents of earlier versions do not look at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cidr6: Option<Ipv6Net>,
    /// Roles whose nodes are hubs, besides the seed: everybody else is a peer of the hubs only. `None`: a mesh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hubs: Option<Vec<String>>,
}

impl PeerPlane {
    /// The range of IPv6 addresses, if the plane has one that cluster.yaml may have.
    pub fn range6(&self) -> Option<Ipv6Net> {
        self.cidr6.filter(|net| check_range6(*net).is_ok())
    }

    /// The IPv6 address of the member with this IPv4 address, if the plane has IPv6.
    pub fn address6(&self, address: Ipv4Addr) -> Option<Ipv6Addr> {
        address6(self.cidr6?, self.cidr, address)
    }

    /// Whether members with these roles are peers of each other.
    pub fn joins(&self, a: &str, b: &str) -> bool {
        let hub = |roles: &[String], role: &str| role == SEED_ROLE || roles.iter().any(|r| r == role);
        self.hubs.as_ref().is_none_or(|roles| hub(roles, a) || hub(roles, b))
    }
}

/// A key of a node that is being replaced. The node's entry has the key that counts; this is the other one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotating {
    /// Distinguishes this replacement from earlier ones of the same key.
    pub serial: u64,
    /// Before the change-over the new key, which the node said; after it the old one. `None`: the node has not said it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<WgPublicKey>,
    /// After the change-over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub switched: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerNode {
    /// Address on the underlay, without a port.
    pub endpoint: Option<Ipv4Addr>,
    pub role: String,
    pub keys: BTreeMap<String, WgPublicKey>,
    /// Address per plane, next to the fields above as in the old format: `"wg1": "10.78.0.2"`.
    #[serde(flatten)]
    pub addresses: BTreeMap<String, Ipv4Addr>,
}

/// Relation of one list to another of the same site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Newer,
    Same,
    Older,
    /// Same epoch and version, but different content: two seeds sign for one site, or one was restored from an old copy.
    Conflict,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeersFile {
    /// Epoch of the seed that signed it; a promoted second site has a higher one.
    pub epoch: u64,
    /// Increases with every change within an epoch.
    pub version: u64,
    pub planes: BTreeMap<String, PeerPlane>,
    pub nodes: BTreeMap<Hostname, PeerNode>,
    /// Beside the nodes, because agents of earlier versions read every key of a node that they do not know as an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<Pods>,
    /// What the planes with the policy `deny` carry, by plane; all others carry everything.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub policy: BTreeMap<String, Vec<Allow>>,
    /// Keys that are being replaced, by node and plane.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rotating: BTreeMap<Hostname, BTreeMap<String, Rotating>>,
    /// Ids of the nodes whose keys were replaced: they are the same nodes as before, and a machine with other keys under the same name
    /// is not.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rotated: BTreeMap<Hostname, NodeId>,
    /// Signatures of the site's offline key, if it has one. Agents of earlier versions do not look at them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub countersign: Option<Countersigned>,
}

/// Networks of Kubernetes: which node has which range of pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pods {
    /// The plane that carries them.
    pub plane: String,
    pub cidr: Ipv4Net,
    pub services: Ipv4Net,
    /// Domain of the names of services.
    pub domain: String,
    pub nodes: BTreeMap<Hostname, Ipv4Net>,
}

impl Pods {
    /// All ranges: no endpoint of a peer lies in them.
    pub fn networks(&self) -> [Ipv4Net; 2] {
        [self.cidr, self.services]
    }
}

impl Sealable for PeersFile {
    const PURPOSE: &'static str = "peers";
}

impl PeersFile {
    /// Relation of this list to `held`.
    pub fn order(&self, held: &PeersFile) -> Order {
        match (self.epoch, self.version).cmp(&(held.epoch, held.version)) {
            Ordering::Less => Order::Older,
            Ordering::Greater => Order::Newer,
            Ordering::Equal if self == held => Order::Same,
            Ordering::Equal => Order::Conflict,
        }
    }

    /// True if this list may replace `held`: never an older epoch, never an older version within an epoch, and never different
    /// content with the same version.
    pub fn supersedes(&self, held: &PeersFile) -> bool {
        matches!(self.order(held), Order::Newer | Order::Same)
    }

    /// Names in `earlier` that are not in this list with the same keys, or with keys that replaced them.
    pub fn lacks<'a>(&self, earlier: &'a PeersFile) -> Vec<&'a Hostname> {
        let same = |name: &Hostname| self.rotated.get(name).is_some_and(|id| earlier.rotated.get(name).is_none_or(|e| e == id));
        let kept = |name: &Hostname, node: &PeerNode| self.nodes.get(name).is_some_and(|n| n.keys == node.keys || same(name));
        earlier.nodes.iter().filter(|(name, node)| !kept(name, node)).map(|(name, _)| name).collect()
    }

    /// The peers of `me` on one plane: the other nodes with an address and a key on it, or the hubs. Pods are peers of pods: only a
    /// node that has a range of its own takes packets from the ranges of others.
    pub fn plane_peers(&self, plane: &str, me: &Hostname) -> Vec<WgPeer> {
        self.peers_of(plane, me).map(|(_, peer)| peer).collect()
    }

    fn peers_of<'a>(&'a self, plane: &'a str, me: &'a Hostname) -> impl Iterator<Item = (&'a Hostname, WgPeer)> {
        let network = self.planes.get(plane);
        let own = self.nodes.get(me).map_or("", |node| node.role.as_str());
        let pods = self.pods.as_ref().filter(|pods| pods.plane == plane && pods.nodes.contains_key(me));
        self.nodes.iter().filter(move |(name, _)| *name != me).filter_map(move |(name, node)| {
            let network = network.filter(|n| n.joins(own, &node.role))?;
            let peer = WgPeer {
                key: *node.keys.get(plane)?,
                address: *node.addresses.get(plane)?,
                address6: network.address6(*node.addresses.get(plane)?),
                endpoint: node.endpoint.map(|ip| SocketAddrV4::new(ip, network.port)),
                pods: pods.and_then(|pods| pods.nodes.get(name)).copied(),
                idle: false,
            };
            Some((name, peer))
        })
    }

    /// The same, with both keys of nodes whose key is being replaced. The one that shook hands last has the node's addresses: until
    /// the node changes over it is the old one, whatever the list says. `shown` is what `wg show IF latest-handshakes` prints.
    pub fn peers_at(&self, plane: &str, me: &Hostname, shown: &str) -> Vec<WgPeer> {
        let last: BTreeMap<WgPublicKey, u64> = handshakes(shown).collect();
        let at = |key: &WgPublicKey| last.get(key).copied().unwrap_or(0);
        let mut all = Vec::new();
        for (name, peer) in self.peers_of(plane, me) {
            let rotating = self.rotating.get(name).and_then(|planes| planes.get(plane));
            let Some((other, switched)) = rotating.and_then(|r| Some((r.other?, r.switched))) else {
                all.push(peer);
                continue;
            };
            let (new, old) = if switched { (peer.key, other) } else { (other, peer.key) };
            // Handshakes have whole seconds: of two in the same one, the new key's came later.
            let used = match (at(&new), at(&old)) {
                (0, 0) => false,
                (n, o) => (n >= o) != switched,
            };
            all.push(WgPeer { key: other, idle: !used, ..peer.clone() });
            all.push(WgPeer { idle: used, ..peer });
        }
        all
    }
}

#[cfg(test)]
#[path = "peers6_tests.rs"]
mod tests6;

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> PeersFile {
        serde_json::from_str(
            r#"{"epoch":1,"version":4,
                "planes":{"wg1":{"cidr":"10.78.0.0/16","port":51821}},
                "nodes":{
                  "seed.lan":{"endpoint":"10.44.0.1","role":"seed","wg1":"10.78.0.1","keys":{"wg1":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="}},
                  "n2.lan":{"endpoint":null,"role":"base","wg1":"10.78.0.2","wg9":"10.90.0.2","keys":{}}}}"#,
        )
        .unwrap()
    }

    #[test]
    fn keeps_the_shape_of_the_old_file() {
        let text = serde_json::to_value(file()).unwrap();
        assert_eq!(text["nodes"]["seed.lan"]["wg1"], "10.78.0.1");
        assert_eq!(text["nodes"]["seed.lan"]["endpoint"], "10.44.0.1");
        assert_eq!(text["planes"]["wg1"]["port"], 51821);
        assert_eq!(serde_json::from_value::<PeersFile>(text).unwrap(), file());
    }

    #[test]
    fn a_peer_needs_a_key_and_is_never_oneself() {
        let peers = file().plane_peers("wg1", &"n2.lan".parse().unwrap());
        assert_eq!(peers.len(), 1);
        assert_eq!(peers[0].endpoint.unwrap().to_string(), "10.44.0.1:51821");
        assert!(file().plane_peers("wg1", &"seed.lan".parse().unwrap()).is_empty());
        assert!(file().plane_peers("wg7", &"n2.lan".parse().unwrap()).is_empty());
    }

    #[test]
    fn pods_are_peers_of_pods_on_their_plane() {
        let mut file = file();
        let (seed, n2): (Hostname, Hostname) = ("seed.lan".parse().unwrap(), "n2.lan".parse().unwrap());
        let n3: Hostname = "n3.lan".parse().unwrap();
        let keys = [("wg1".to_owned(), WgPublicKey([3; 32]))].into();
        let addresses = [("wg1".to_owned(), Ipv4Addr::new(10, 78, 0, 3))].into();
        file.nodes.insert(n3.clone(), PeerNode { endpoint: None, role: "worker".into(), keys, addresses });
        assert!(!serde_json::to_string(&file).unwrap().contains("pods"), "an older agent reads the file as before");
        let range = |n: u8| format!("10.244.{n}.0/24").parse::<Ipv4Net>().unwrap();
        let pods = |plane: &str| Pods {
            plane: plane.into(),
            cidr: "10.244.0.0/16".parse().unwrap(),
            services: "10.96.0.0/16".parse().unwrap(),
            domain: "cluster.local".into(),
            nodes: [(n2.clone(), range(2)), (n3.clone(), range(3))].into(),
        };
        file.pods = Some(pods("wg1"));
        let of = |file: &PeersFile, me: &Hostname| -> Vec<_> { file.plane_peers("wg1", me).iter().map(|p| p.pods).collect() };
        // By name: n3, then the seed, which has no pods.
        assert_eq!(of(&file, &n2), [Some(range(3)), None]);
        assert_eq!(of(&file, &seed), [None], "the seed takes no packets of pods");
        assert_eq!(serde_json::from_str::<PeersFile>(&serde_json::to_string(&file).unwrap()).unwrap(), file);
        file.pods = Some(pods("wg3"));
        assert_eq!(of(&file, &n2), [None, None]);
    }

    /// n2 and n3 are nodes, h is a hub.
    fn hub() -> PeersFile {
        let mut file = file();
        for (name, role, n) in [("n2.lan", "base", 2), ("n3.lan", "worker", 3), ("h.lan", "storage", 4)] {
            let keys = [("wg1".to_owned(), WgPublicKey([n; 32]))].into();
            let addresses = [("wg1".to_owned(), Ipv4Addr::new(10, 78, 0, n))].into();
            file.nodes.insert(name.parse().unwrap(), PeerNode { endpoint: None, role: role.into(), keys, addresses });
        }
        if let Some(plane) = file.planes.get_mut("wg1") {
            plane.hubs = Some(vec!["storage".into()]);
        }
        file
    }

    #[test]
    fn on_a_hub_plane_nodes_are_peers_of_the_hubs_and_the_seed_only() {
        let mut list = hub();
        let peers = |list: &PeersFile, me: &str| -> Vec<u8> {
            list.plane_peers("wg1", &me.parse().unwrap()).iter().map(|p| p.address.octets()[3]).collect()
        };
        assert_eq!(peers(&list, "n3.lan"), [4, 1], "the hub and the seed");
        assert_eq!(peers(&list, "h.lan"), [2, 3, 1], "everybody");
        assert_eq!(peers(&list, "seed.lan"), [4, 2, 3], "everybody");
        assert!(peers(&list, "stranger.lan").iter().all(|n| [4, 1].contains(n)), "who is not in the list is no hub");
        for (name, plane) in &list.planes {
            let one = |role| plane.joins("worker", role);
            assert!(!one("worker") && one("storage") && one("seed"), "{name}");
        }
        list.planes.get_mut("wg1").unwrap().hubs = None;
        assert_eq!(peers(&list, "n3.lan"), [4, 2, 1], "a mesh");
    }

    #[test]
    fn a_node_keeps_its_address_until_it_uses_its_new_key() {
        let mut file = hub();
        let me: Hostname = "h.lan".parse().unwrap();
        let n3: Hostname = "n3.lan".parse().unwrap();
        let (old, new) = (WgPublicKey([3; 32]), WgPublicKey([33; 32]));
        let shown = |o: u64, n: u64| format!("{old}\t{o}\n{new}\t{n}\n");
        let used = |file: &PeersFile, text: &str| -> WgPublicKey {
            let peers = file.peers_at("wg1", &me, text);
            let both: Vec<_> = peers.iter().filter(|p| p.address.octets()[3] == 3).collect();
            assert_eq!((both.len(), both.iter().filter(|p| !p.idle).count()), (2, 1), "one of both has the address");
            assert_eq!(peers.len(), 4);
            both.iter().find(|p| !p.idle).unwrap().key
        };
        let rotating = |other, switched| {
            let one = Rotating { serial: 1, other, switched };
            [(n3.clone(), [("wg1".to_owned(), one)].into())].into()
        };
        file.rotating = rotating(None, false);
        assert_eq!(file.peers_at("wg1", &me, ""), file.plane_peers("wg1", &me), "asked, and not answered yet");
        // Before and after the change-over the list differs, and who has the address does not.
        for (counts, other, switched) in [(old, new, false), (new, old, true)] {
            file.rotating = rotating(Some(other), switched);
            file.nodes.get_mut(&n3).unwrap().keys.insert("wg1".to_owned(), counts);
            assert_eq!(used(&file, &shown(100, 0)), old);
            assert_eq!(used(&file, &shown(100, 101)), new);
            assert_eq!(used(&file, &shown(100, 100)), new, "in the same second");
            assert_eq!(used(&file, &shown(101, 100)), old, "it went back");
            assert_eq!(used(&file, &shown(0, 0)), counts, "no session: the list decides");
        }
    }

    #[test]
    fn a_node_cannot_use_the_address_of_another() {
        use crate::wireguard::{WgPrivateKey, setconf};
        let (mut file, n3) = (hub(), "n3.lan".parse::<Hostname>().unwrap());
        file.planes.get_mut("wg1").unwrap().cidr6 = Some("fd00:78::/64".parse().unwrap());
        let (own, new) = (WgPrivateKey::from_random([7; 32]), WgPublicKey([33; 32]));
        for other in [None, Some(new)] {
            file.rotating = [(n3.clone(), [("wg1".to_owned(), Rotating { serial: 1, other, switched: false })].into())].into();
            for me in file.nodes.keys() {
                let text = setconf(&own, 1, &file.peers_at("wg1", me, &format!("{new}\t9\n")), &[]);
                let mut addresses: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("AllowedIPs = ")).collect();
                let peers = file.plane_peers("wg1", me);
                let both = |p: &WgPeer| [format!("{}/32", p.address), format!("fd00:78::{}/128", p.address.octets()[3])];
                let mut expected: Vec<String> = peers.iter().flat_map(both).collect();
                addresses.sort_unstable();
                expected.sort_unstable();
                // WireGuard takes a packet only from the peer that has its source address.
                assert_eq!(addresses, expected, "{me}: each address once, and none but those of the peers");
            }
        }
    }

    #[test]
    fn a_node_with_new_keys_is_the_same_node_and_a_replaced_machine_is_not() {
        let (held, n2) = (file(), "n2.lan".parse::<Hostname>().unwrap());
        let mut next = file();
        next.version += 1;
        next.nodes.get_mut(&n2).unwrap().keys.insert("wg1".to_owned(), WgPublicKey([9; 32]));
        assert_eq!(next.lacks(&held), [&n2]);
        next.rotated.insert(n2.clone(), NodeId([1; 16]));
        assert!(next.lacks(&held).is_empty());
        let mut other = next.clone();
        other.nodes.get_mut(&n2).unwrap().keys.clear();
        assert!(other.lacks(&next).is_empty());
        other.rotated.insert(n2.clone(), NodeId([2; 16]));
        assert_eq!(other.lacks(&next), [&n2]);
    }

    #[test]
    fn older_files_do_not_supersede() {
        let held = file();
        let with = |epoch, version| PeersFile { epoch, version, ..file() };
        assert!(with(1, 4).supersedes(&held) && with(1, 5).supersedes(&held) && with(2, 1).supersedes(&held));
        assert!(!with(1, 3).supersedes(&held) && !with(0, 9).supersedes(&held));
    }

    #[test]
    fn a_version_identifies_one_list() {
        let held = file();
        let mut other = file();
        let name: Hostname = "n2.lan".parse().unwrap();
        other.nodes.remove(&name);
        assert_eq!((other.order(&held), held.order(&other)), (Order::Conflict, Order::Conflict));
        assert!(!other.supersedes(&held));
        assert_eq!((other.lacks(&held), held.lacks(&other)), (vec![&name], vec![]));
        other.version += 1;
        assert_eq!((other.order(&held), held.order(&other)), (Order::Newer, Order::Older));
        // A machine that was replaced has its name and other keys.
        let seed: Hostname = "seed.lan".parse().unwrap();
        other.nodes.get_mut(&seed).unwrap().keys.clear();
        assert_eq!(other.lacks(&held), [&name, &seed]);
    }
}
