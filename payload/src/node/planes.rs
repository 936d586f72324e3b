//! The node's WireGuard planes: interfaces, addresses and peers from the identity and the signed peer list. Idempotent.

use std::net::SocketAddrV4;
use std::time::Duration;

use camino::Utf8Path;
use cluster_seed::identity::NodeIdentity;
use cluster_seed::peers::PeersFile;
use cluster_seed::wireguard::{MTU, WgPublicKey, handshakes_to_forget, live, plane_mtu, setconf};
use ipnet::Ipv4Net;

use host::clock::now;
use host::interfaces::mtu_to;
use host::tool::{Tool, ToolError};

use super::vips;

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
    let mtu = seed.and_then(|ip| mtu_to(root, ip)).map_or(MTU, plane_mtu).to_string();
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
        ip(&["link", "set", "dev", plane, "mtu", &mtu, "up"])?;
    }
    Ok(())
}

/// `wg syncconf` keeps the sessions of unchanged peers. The private key is passed on stdin, never in a file or an argument.
fn configure(root: &Utf8Path, identity: &NodeIdentity, peers: &PeersFile, plane: &str) -> Result<(), PlaneError> {
    let key = identity.keys.get(plane).ok_or_else(|| PlaneError::NoKey(plane.to_owned()))?;
    let port = identity.info.planes.get(plane).map_or(0, |p| p.port);
    let shown = Tool::new("wg").args(["show", plane, "latest-handshakes"]).timeout(LIMIT).run();
    let live = shown.map_or_else(|_| Vec::new(), |out| live(&out.text(), now()));
    let text = setconf(key, port, &peers.plane_peers(plane, &identity.info.hostname), &live);
    let text = vips::with(text, &vips::held(root, plane));
    let tool = Tool::new("wg").args(["syncconf", plane, "/dev/stdin"]).stdin(text.as_bytes()).timeout(LIMIT);
    tool.run().map(|_| ()).map_err(|source| PlaneError::Tool { plane: plane.to_owned(), source })
}

/// Removes peers that would not be heard any more ([`handshakes_to_forget`]), and those whose endpoint lies inside a plane;
/// true if there was one. [`up`] adds them again, with the endpoints of the list.
pub fn forget(identity: &NodeIdentity, now: u64) -> bool {
    let mut forgotten = false;
    let inside: Vec<Ipv4Net> = identity.info.planes.values().map(|plane| plane.cidr).collect();
    for plane in identity.info.planes.keys() {
        let shown = Tool::new("wg").args(["show", plane, "latest-handshakes"]).timeout(LIMIT).run();
        let mut keys = shown.map_or_else(|_| Vec::new(), |out| handshakes_to_forget(&out.text(), now));
        let endpoints = Tool::new("wg").args(["show", plane, "endpoints"]).timeout(LIMIT).run();
        for key in endpoints.map_or_else(|_| Vec::new(), |out| misled(&out.text(), &inside)) {
            tracing::warn!(plane, peer = %key, "its endpoint is inside a plane; the one of the peer list is set again");
            keys.push(key);
        }
        for key in keys {
            let gone = Tool::new("wg").args(["set", plane, "peer", &key.to_string(), "remove"]).timeout(LIMIT).run();
            forgotten |= gone.is_ok();
        }
    }
    forgotten
}

/// Peers whose endpoint is an address of a plane. WireGuard takes the source of a peer's packets as its endpoint; when those were
/// routed through another plane (a node that forwards between planes, a route of containers), its packets would travel inside a
/// tunnel, and none would arrive once that is down. `text` is what `wg show IF endpoints` prints.
fn misled(text: &str, inside: &[Ipv4Net]) -> Vec<WgPublicKey> {
    let line = |line: &str| {
        let (key, endpoint) = line.split_once('\t')?;
        let endpoint: SocketAddrV4 = endpoint.trim().parse().ok()?;
        inside.iter().any(|net| net.contains(endpoint.ip())).then(|| key.parse().ok())?
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_never_inside_a_plane() {
        let keys = [1, 2, 3, 4].map(|n| WgPublicKey([n; 32]));
        let ends = ["10.44.0.101:51821", "10.79.0.3:51821", "(none)", "10.78.255.255:1"];
        let text: String = keys.iter().zip(ends).map(|(key, end)| format!("{key}\t{end}\n")).collect();
        let planes: Vec<Ipv4Net> = ["10.78.0.0/16", "10.79.0.0/16"].map(|net| net.parse().unwrap()).into();
        assert_eq!(misled(&text, &planes), [keys[1], keys[3]]);
        assert_eq!(misled(&text, &planes[1..]), [keys[1]]);
        assert!(misled(&text, &[]).is_empty() && misled("x\n\t10.78.0.1:1\n", &planes).is_empty());
    }
}
