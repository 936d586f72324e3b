//! `peers.json`: the nodes on each plane. The format of the shell KubeDOS, extended with public keys, roles, an increasing
//! version and an epoch, and signed by the site key as [`crate::seal::Sealed`].

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::countersign::list::Countersigned;
use crate::ids::Hostname;
use crate::seal::Sealable;
use crate::wireguard::{WgPeer, WgPublicKey};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerPlane {
    pub cidr: Ipv4Net,
    pub port: u16,
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

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

    /// Names in `earlier` that are not in this list with the same keys.
    pub fn lacks<'a>(&self, earlier: &'a PeersFile) -> Vec<&'a Hostname> {
        let kept = |name: &Hostname, node: &PeerNode| self.nodes.get(name).is_some_and(|n| n.keys == node.keys);
        earlier.nodes.iter().filter(|(name, node)| !kept(name, node)).map(|(name, _)| name).collect()
    }

    /// The peers of `me` on one plane: all other nodes with an address and a key on it. Pods are peers of pods: only a node that
    /// has a range of its own takes packets from the ranges of others.
    pub fn plane_peers(&self, plane: &str, me: &Hostname) -> Vec<WgPeer> {
        let Some(port) = self.planes.get(plane).map(|p| p.port) else {
            return Vec::new();
        };
        let pods = self.pods.as_ref().filter(|pods| pods.plane == plane && pods.nodes.contains_key(me));
        self.nodes
            .iter()
            .filter(|(name, _)| *name != me)
            .filter_map(|(name, node)| {
                Some(WgPeer {
                    key: *node.keys.get(plane)?,
                    address: *node.addresses.get(plane)?,
                    endpoint: node.endpoint.map(|ip| SocketAddrV4::new(ip, port)),
                    pods: pods.and_then(|pods| pods.nodes.get(name)).copied(),
                })
            })
            .collect()
    }
}

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
