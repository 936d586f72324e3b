//! `peers.json`: the nodes on each plane. The format of the shell KubeDOS, extended with public keys, roles, an increasing
//! version and an epoch, and signed by the site key as [`crate::seal::Sealed`].

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

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

    /// The peers of `me` on one plane: all other nodes with an address and a key on it.
    pub fn plane_peers(&self, plane: &str, me: &Hostname) -> Vec<WgPeer> {
        let Some(port) = self.planes.get(plane).map(|p| p.port) else {
            return Vec::new();
        };
        self.nodes
            .iter()
            .filter(|(name, _)| *name != me)
            .filter_map(|(_, node)| {
                Some(WgPeer {
                    key: *node.keys.get(plane)?,
                    address: *node.addresses.get(plane)?,
                    endpoint: node.endpoint.map(|ip| SocketAddrV4::new(ip, port)),
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
