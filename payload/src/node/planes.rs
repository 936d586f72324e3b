//! The node's WireGuard planes: interfaces, addresses and peers from the identity and the signed peer list. Idempotent.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use camino::Utf8Path;
use cluster_seed::identity::{IdentityInfo, NodeIdentity};
use cluster_seed::peers::{PeerPlane, PeersFile, Pods};
use cluster_seed::wireguard::{WgPeer, WgPublicKey, handshakes_to_forget, live, mtu_of, setconf};
use ipnet::{IpNet, Ipv4Net};

use host::clock::now;
use host::interfaces::{mtu_to, set_address6};
use host::tool::{Tool, ToolError};

use super::vips;
use crate::http::chain;

const LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum PlaneError {
    #[error("plane {plane}")]
    Tool { plane: String, source: ToolError },
    #[error("the identity has no key for plane {0}")]
    NoKey(String),
}

/// Creates missing planes of the identity and sets the peers of each.
pub fn up(root: &Utf8Path, identity: &NodeIdentity, peers: &PeersFile) -> Result<(), PlaneError> {
    let seed = peers.nodes.get(&identity.info.seed_hostname).and_then(|seed| seed.endpoint);
    let room = seed.and_then(|ip| mtu_to(root, ip));
    for (plane, place) in &identity.info.planes {
        let failed = |source| PlaneError::Tool { plane: plane.clone(), source };
        let ip = |args: &[&str]| Tool::new("ip").args(args).timeout(LIMIT).run().map(|_| ()).map_err(failed);
        let device = root.join("sys/class/net").join(plane);
        // The timer's refresh may have created it after the check.
        if !device.exists()
            && let Err(e) = ip(&["link", "add", "dev", plane, "type", "wireguard"])
            && !device.exists()
        {
            return Err(e);
        }
        configure(root, identity, peers, plane)?;
        let address = format!("{}/{}", place.address, place.cidr.prefix_len());
        ip(&["address", "replace", &address, "dev", plane])?;
        let network = peers.planes.get(plane);
        let mtu = mtu_of(network.and_then(|p| p.mtu), room);
        ip(&["link", "set", "dev", plane, "mtu", &mtu.to_string(), "up"])?;
        let second = network.and_then(|p| Some((p.address6(place.address)?, p.range6()?.prefix_len())));
        // The plane itself works without it, and so do the others.
        if let Err(error) = set_address6(root, plane, mtu, second) {
            tracing::warn!(plane, error = %chain(&error), "this node has no IPv6 on the plane");
        }
        let pods = peers.pods.as_ref().filter(|pods| pods.plane == *plane);
        for argv in
            pods.map_or_else(Vec::new, |pods| routes(pods, place.address, pods.nodes.contains_key(&identity.info.hostname)))
        {
            ip(&argv.iter().map(String::as_str).collect::<Vec<_>>())?;
        }
    }
    Ok(())
}

/// Arguments for `ip` that route pods and services over the plane: WireGuard finds the node by the address. Without the second
/// one, nothing on a node without a default route would reach a service; its packets get another destination before they leave.
fn routes(pods: &Pods, own: Ipv4Addr, member: bool) -> Vec<[String; 7]> {
    let route =
        |net: Ipv4Net| ["route", "replace", &net.to_string(), "dev", &pods.plane, "src", &own.to_string()].map(str::to_owned);
    pods.networks().into_iter().filter(|_| member).map(route).collect()
}

/// What `wg show IF latest-handshakes` prints; empty without the interface.
fn handshakes(plane: &str) -> String {
    let shown = Tool::new("wg").args(["show", plane, "latest-handshakes"]).timeout(LIMIT).run();
    shown.map_or_else(|_| String::new(), |out| out.text())
}

/// `wg syncconf` keeps the sessions of unchanged peers. The private key is passed on stdin, never in a file or an argument.
fn configure(root: &Utf8Path, identity: &NodeIdentity, peers: &PeersFile, plane: &str) -> Result<(), PlaneError> {
    let key = identity.keys.get(plane).ok_or_else(|| PlaneError::NoKey(plane.to_owned()))?;
    let port = identity.info.planes.get(plane).map_or(0, |p| p.port);
    let shown = handshakes(plane);
    let all = peers.peers_at(plane, &identity.info.hostname, &shown);
    let text = vips::with(setconf(key, port, &all, &live(&shown, now())), &vips::held(root, plane));
    let failed = |source| PlaneError::Tool { plane: plane.to_owned(), source };
    let sync = || Tool::new("wg").args(["syncconf", plane, "/dev/stdin"]).stdin(text.as_bytes()).timeout(LIMIT).run();
    let before = Tool::new("wg").args(["show", plane, "public-key"]).timeout(LIMIT).run();
    sync().map_err(failed)?;
    let changed = before.is_ok_and(|out| out.text().trim().parse::<WgPublicKey>().is_ok_and(|old| old != key.public()));
    if changed {
        // A new key shows itself to the peers by a handshake. WireGuard begins one when keepalives are turned on.
        let quiet = Tool::new("wg").args(silenced(plane, &all)).timeout(LIMIT).run();
        quiet.and_then(|_| sync()).map_err(failed)?;
        tracing::info!(plane, key = %key.public(), "this node uses its new key");
    }
    Ok(())
}

/// Arguments for `wg` that turn the keepalives of all peers off.
fn silenced(plane: &str, peers: &[WgPeer]) -> Vec<String> {
    let of = |peer: &WgPeer| ["peer", &peer.key.to_string(), "persistent-keepalive", "0"].map(str::to_owned);
    ["set", plane].map(str::to_owned).into_iter().chain(peers.iter().flat_map(of)).collect()
}

/// The keys that have the addresses of nodes whose keys are being replaced: they change when a node changes over.
pub fn used(info: &IdentityInfo, peers: &PeersFile) -> BTreeSet<WgPublicKey> {
    let moving = |plane: &&String| peers.rotating.values().any(|planes| planes.contains_key(*plane));
    let all = info.planes.keys().filter(moving).flat_map(|p| peers.peers_at(p, &info.hostname, &handshakes(p)));
    all.filter(|peer| !peer.idle).map(|peer| peer.key).collect()
}

/// Removes peers that would not be heard any more ([`handshakes_to_forget`]), and those whose endpoint lies inside a plane, or
/// among pods or services; true if there was one. [`up`] adds them again, with the endpoints of the list.
pub fn forget(identity: &NodeIdentity, peers: &PeersFile, now: u64) -> bool {
    let mut forgotten = false;
    let inside = inside(identity.info.planes.values().map(|plane| plane.cidr), peers);
    for plane in identity.info.planes.keys() {
        let shown = Tool::new("wg").args(["show", plane, "latest-handshakes"]).timeout(LIMIT).run();
        let mut keys = shown.map_or_else(|_| Vec::new(), |out| handshakes_to_forget(&out.text(), now));
        let endpoints = Tool::new("wg").args(["show", plane, "endpoints"]).timeout(LIMIT).run();
        for key in endpoints.map_or_else(|_| Vec::new(), |out| misled(&out.text(), &inside)) {
            tracing::warn!(plane, peer = %key, "its endpoint is inside a plane or a network of Kubernetes; the one of the peer list is set again");
            keys.push(key);
        }
        for key in keys {
            let gone = Tool::new("wg").args(["set", plane, "peer", &key.to_string(), "remove"]).timeout(LIMIT).run();
            forgotten |= gone.is_ok();
        }
    }
    forgotten
}

/// Networks that are carried by planes: no packet of a plane comes from there.
fn inside(planes: impl Iterator<Item = Ipv4Net>, peers: &PeersFile) -> Vec<IpNet> {
    let first = planes.chain(peers.pods.iter().flat_map(Pods::networks)).map(IpNet::V4);
    first.chain(peers.planes.values().filter_map(PeerPlane::range6).map(IpNet::V6)).collect()
}

/// Peers whose endpoint is an address of a plane. WireGuard takes the source of a peer's packets as its endpoint; when those were
/// routed through another plane (a node that forwards between planes, a route of containers), its packets would travel inside a
/// tunnel, and none would arrive once that is down. `text` is what `wg show IF endpoints` prints.
fn misled(text: &str, inside: &[IpNet]) -> Vec<WgPublicKey> {
    let line = |line: &str| {
        let (key, endpoint) = line.split_once('\t')?;
        let endpoint: SocketAddr = endpoint.trim().parse().ok()?;
        inside.iter().any(|net| net.contains(&endpoint.ip())).then(|| key.parse().ok())?
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_never_inside_a_plane() {
        let keys = [1, 2, 3, 4, 5, 6].map(|n| WgPublicKey([n; 32]));
        let ends =
            ["10.44.0.101:51821", "10.79.0.3:51821", "(none)", "10.78.255.255:1", "[fd00:78::3]:51821", "[fd00:1::3]:51821"];
        let text: String = keys.iter().zip(ends).map(|(key, end)| format!("{key}\t{end}\n")).collect();
        let planes: Vec<IpNet> = ["10.78.0.0/16", "10.79.0.0/16", "fd00:78::/64"].map(|net| net.parse().unwrap()).into();
        assert_eq!(misled(&text, &planes), [keys[1], keys[3], keys[4]]);
        assert_eq!(misled(&text, &planes[..2]), [keys[1], keys[3]]);
        assert_eq!(misled(&text, &planes[1..2]), [keys[1]]);
        assert!(misled(&text, &[]).is_empty() && misled("x\n\t10.78.0.1:1\n", &planes).is_empty());
    }

    fn pods(plane: &str) -> Pods {
        let net = |text: &str| text.parse().unwrap();
        let nodes = [("n2.lan".parse().unwrap(), net("10.244.2.0/24"))].into();
        Pods {
            plane: plane.into(),
            cidr: net("10.244.0.0/16"),
            services: net("10.96.0.0/16"),
            domain: "cluster.local".into(),
            nodes,
        }
    }

    #[test]
    fn an_endpoint_is_never_a_pod_or_a_service() {
        let list = |pods| PeersFile { epoch: 1, version: 1, pods, ..PeersFile::default() };
        let planes = || ["10.78.0.0/16".parse().unwrap()].into_iter();
        let keys = [1, 2, 3].map(|n| WgPublicKey([n; 32]));
        let ends = ["10.44.0.101:51821", "10.244.7.9:51821", "10.96.0.1:51821"];
        let text: String = keys.iter().zip(ends).map(|(key, end)| format!("{key}\t{end}\n")).collect();
        assert_eq!(misled(&text, &inside(planes(), &list(Some(pods("wg3"))))), keys[1..]);
        let mut second = list(None);
        let plane = PeerPlane { cidr6: Some("fd00:78::/64".parse().unwrap()), ..PeerPlane::default() };
        second.planes.insert("wg1".to_owned(), plane);
        assert_eq!(
            inside(planes(), &second).iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["10.78.0.0/16", "fd00:78::/64"]
        );
        assert!(misled(&text, &inside(planes(), &list(None))).is_empty());
    }

    #[test]
    fn pods_and_services_are_routed_over_their_plane_on_nodes_with_pods() {
        let (pods, own) = (pods("wg3"), Ipv4Addr::new(10, 80, 0, 2));
        let said: Vec<String> = routes(&pods, own, true).iter().map(|argv| argv.join(" ")).collect();
        let expected = ["10.244.0.0/16", "10.96.0.0/16"].map(|net| format!("route replace {net} dev wg3 src 10.80.0.2"));
        assert_eq!(said, expected);
        assert!(routes(&pods, own, false).is_empty());
    }
}
