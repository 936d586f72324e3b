//! Which services a plane may carry. What else it carries is a violation, and an alarm.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use cluster_seed::converge::platform::PLAYS;
use cluster_seed::peers::PeersFile;
use serde::{Deserialize, Serialize};

use crate::interfaces::UNDERLAY;

/// Numbers of protocols (IANA).
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a port: tcp/22, udp/4000-4100 or any")]
pub struct BadPort(String);

/// Ports of one protocol, or everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Ports {
    Any,
    Range { protocol: u8, first: u16, last: u16 },
}

impl FromStr for Ports {
    type Err = BadPort;

    fn from_str(text: &str) -> Result<Self, BadPort> {
        let parse = || {
            let (protocol, ports) = text.split_once('/')?;
            let protocol = match protocol {
                "tcp" => TCP,
                "udp" => UDP,
                _ => return None,
            };
            let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
            let (first, last) = (first.parse().ok()?, last.parse().ok()?);
            (first <= last).then_some(Ports::Range { protocol, first, last })
        };
        if text == "any" { Ok(Ports::Any) } else { parse().ok_or_else(|| BadPort(text.to_owned())) }
    }
}

impl TryFrom<String> for Ports {
    type Error = BadPort;

    fn try_from(text: String) -> Result<Self, BadPort> {
        text.parse()
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ports::Any => f.write_str("any"),
            Ports::Range { protocol, first, last } => {
                write!(f, "{}/{first}", protocol_name(*protocol))?;
                if first == last { Ok(()) } else { write!(f, "-{last}") }
            }
        }
    }
}

impl From<Ports> for String {
    fn from(ports: Ports) -> String {
        ports.to_string()
    }
}

/// `tcp`, or the number of a protocol without a name here.
pub fn protocol_name(protocol: u8) -> String {
    match protocol {
        // Of folded rows.
        0 => "other".to_owned(),
        1 => "icmp".to_owned(),
        TCP => "tcp".to_owned(),
        UDP => "udp".to_owned(),
        58 => "icmp6".to_owned(),
        112 => "vrrp".to_owned(),
        132 => "sctp".to_owned(),
        other => other.to_string(),
    }
}

/// Allowed ports per plane. A plane that is not in the table may carry everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed(BTreeMap<String, Vec<Ports>>);

fn one(protocol: u8, port: u16) -> Ports {
    Ports::Range { protocol, first: port, last: port }
}

impl Allowed {
    /// What Kubedos uses by itself. `seed`: the port of the seed's HTTP server. The kubernetes plane (wg3) carries pods and
    /// services of any port, so it has no list.
    pub fn defaults(peers: &PeersFile, seed: u16) -> Self {
        let seed = one(TCP, seed);
        // SSH, the seed, time, the virtual address (play vip).
        let control = vec![one(TCP, 22), seed, one(UDP, 123), one(UDP, 5787)];
        // What the plays export, the seed's metrics, gossip of Alertmanager, journals.
        let exported = PLAYS.iter().flat_map(|play| play.metrics).map(|(_, port)| one(TCP, *port));
        let others = [seed, one(TCP, 9094), one(UDP, 9094), one(TCP, 19_532)];
        let metrics = exported.chain(others).collect();
        // DHCP, TFTP and the seed for machines that boot, time before the planes are up, and the planes themselves.
        let boot = [Ports::Range { protocol: UDP, first: 67, last: 69 }, seed, one(UDP, 123)];
        let tunnels = peers.planes.values().map(|plane| one(UDP, plane.port));
        let underlay = boot.into_iter().chain(tunnels).collect();
        let table = [("wg1", control), ("wg2", metrics), (UNDERLAY, underlay)];
        let mut allowed = Allowed(table.map(|(plane, ports)| (plane.to_owned(), ports)).into());
        // A site without wg2 uses wg1 for both, and one without wg3 for everything.
        if !peers.planes.contains_key("wg2") {
            let metrics = allowed.0.remove("wg2").unwrap_or_default();
            allowed.add("wg1", &metrics);
        }
        if !peers.planes.contains_key("wg3") {
            allowed.add("wg1", &[Ports::Any]);
        }
        // What cluster.yaml allows is no violation.
        for (plane, list) in &peers.policy {
            let ports: Vec<Ports> = list.iter().flat_map(|a| &a.ports).filter_map(|p| p.to_string().parse().ok()).collect();
            allowed.add(plane, &ports);
        }
        allowed
    }

    /// Allows more on a plane that has a list.
    pub fn add(&mut self, plane: &str, ports: &[Ports]) {
        if let Some(list) = self.0.get_mut(plane) {
            list.extend(ports);
        }
    }

    /// Protocols without ports are always allowed.
    pub fn allows(&self, plane: &str, protocol: u8, port: u16) -> bool {
        let Some(list) = self.0.get(plane) else { return true };
        if protocol != TCP && protocol != UDP {
            return true;
        }
        list.iter().any(|ports| match *ports {
            Ports::Any => true,
            Ports::Range { protocol: p, first, last } => p == protocol && (first..=last).contains(&port),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::tests::peers;

    #[test]
    fn ports_are_words() {
        for text in ["tcp/22", "udp/4000-4100", "any", "udp/0-65535"] {
            assert_eq!(text.parse::<Ports>().unwrap().to_string(), text);
        }
        for text in ["", "22", "tcp", "tcp/", "tcp/65536", "tcp/9-8", "icmp/1", "TCP/22", "tcp/1-", "tcp/ 1"] {
            assert_eq!(text.parse::<Ports>(), Err(BadPort(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn the_metrics_plane_does_not_carry_kubelets() {
        let mut list = peers();
        list.planes.insert("wg3".to_owned(), list.planes["wg2"].clone());
        let mut allowed = Allowed::defaults(&list, 8080);
        assert!(!allowed.allows("wg2", TCP, 10_250) && allowed.allows("wg2", TCP, 9100) && allowed.allows("wg2", TCP, 9437));
        assert!(allowed.allows("wg3", TCP, 10_250) && allowed.allows("wg1", TCP, 22) && !allowed.allows("wg1", UDP, 22));
        assert!(allowed.allows("underlay", UDP, 51_821) && !allowed.allows("underlay", TCP, 6443));
        assert!(allowed.allows("wg1", 1, 0), "ICMP has no ports");
        for (port, good) in [(66, false), (67, true), (69, true), (70, false)] {
            assert_eq!(allowed.allows("underlay", UDP, port), good, "{port}");
        }
        allowed.add("wg2", &["tcp/10250".parse().unwrap()]);
        assert!(allowed.allows("wg2", TCP, 10_250));
    }

    #[test]
    fn what_cluster_yaml_allows_is_no_violation() {
        use cluster_seed::planes::{Allow, Party, Ports};
        let mut list = peers();
        list.planes.insert("wg3".to_owned(), list.planes["wg2"].clone());
        let ports = vec![Ports::tcp(9200), Ports::Vrrp];
        list.policy.insert("wg2".to_owned(), vec![Allow { from: Party::Any, to: Party::Any, ports }]);
        let allowed = Allowed::defaults(&list, 8080);
        assert!(allowed.allows("wg2", TCP, 9200) && !allowed.allows("wg2", UDP, 9200) && !allowed.allows("wg1", TCP, 9200));
    }

    #[test]
    fn a_site_with_fewer_planes_carries_more_on_the_first() {
        let mut list = peers();
        assert!(Allowed::defaults(&list, 80).allows("wg1", TCP, 6443), "there is no wg3");
        list.planes.insert("wg3".to_owned(), list.planes["wg2"].clone());
        list.planes.remove("wg2");
        let allowed = Allowed::defaults(&list, 80);
        assert!(allowed.allows("wg1", TCP, 9100) && !allowed.allows("wg1", TCP, 6443));
    }
}
