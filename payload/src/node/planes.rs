//! The node's WireGuard planes: interfaces, addresses and peers from the identity and the signed peer list. Idempotent.

use std::time::Duration;

use camino::Utf8Path;
use cluster_seed::identity::NodeIdentity;
use cluster_seed::peers::PeersFile;
use cluster_seed::wireguard::{MTU, handshakes_to_forget, live, plane_mtu, setconf};

use host::clock::now;
use host::interfaces::mtu_to;
use host::tool::{Tool, ToolError};

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
        configure(identity, peers, plane)?;
        let address = format!("{}/{}", place.address, place.cidr.prefix_len());
        ip(&["address", "replace", &address, "dev", plane])?;
        ip(&["link", "set", "dev", plane, "mtu", &mtu, "up"])?;
    }
    Ok(())
}

/// `wg syncconf` keeps the sessions of unchanged peers. The private key is passed on stdin, never in a file or an argument.
fn configure(identity: &NodeIdentity, peers: &PeersFile, plane: &str) -> Result<(), PlaneError> {
    let key = identity.keys.get(plane).ok_or_else(|| PlaneError::NoKey(plane.to_owned()))?;
    let port = identity.info.planes.get(plane).map_or(0, |p| p.port);
    let shown = Tool::new("wg").args(["show", plane, "latest-handshakes"]).timeout(LIMIT).run();
    let live = shown.map_or_else(|_| Vec::new(), |out| live(&out.text(), now()));
    let text = setconf(key, port, &peers.plane_peers(plane, &identity.info.hostname), &live);
    let tool = Tool::new("wg").args(["syncconf", plane, "/dev/stdin"]).stdin(text.as_bytes()).timeout(LIMIT);
    tool.run().map(|_| ()).map_err(|source| PlaneError::Tool { plane: plane.to_owned(), source })
}

/// Removes peers that would not be heard any more ([`handshakes_to_forget`]); true if there was one. [`up`] adds them again.
pub fn forget(identity: &NodeIdentity, now: u64) -> bool {
    let mut forgotten = false;
    for plane in identity.info.planes.keys() {
        let shown = Tool::new("wg").args(["show", plane, "latest-handshakes"]).timeout(LIMIT).run();
        for key in shown.map_or_else(|_| Vec::new(), |out| handshakes_to_forget(&out.text(), now)) {
            let gone = Tool::new("wg").args(["set", plane, "peer", &key.to_string(), "remove"]).timeout(LIMIT).run();
            forgotten |= gone.is_ok();
        }
    }
    forgotten
}
