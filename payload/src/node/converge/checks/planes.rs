//! The check `planes`: a recent handshake with every node of the list, on every plane.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use cluster_seed::identity::IdentityInfo;
use cluster_seed::peers::PeersFile;
use cluster_seed::wireguard::{WgPublicKey, live};
use host::parallel;
use host::tool::Tool;

use crate::http::chain;

const LIMIT: Duration = Duration::from_secs(20);
/// Most peers that are pinged in one round, and at once: a round must be short.
const MAX_PINGS: usize = 32;
const AT_ONCE: usize = 16;
/// Most names in the detail.
const MAX_NAMES: usize = 4;

struct Peer<'p> {
    name: &'p str,
    key: WgPublicKey,
    address: Ipv4Addr,
}

/// Pings peers without a recent handshake, which starts one, and looks again. `now` in Unix seconds.
pub fn check(info: &IdentityInfo, peers: &PeersFile, now: &dyn Fn() -> u64) -> Result<String, String> {
    let (mut count, mut bad) = (0, Vec::new());
    for plane in info.planes.keys() {
        let all = peers_of(info, peers, plane);
        let absent = absent(&all, &handshakes(plane, now())?);
        if !absent.is_empty() {
            let first: Vec<&&Peer<'_>> = absent.iter().take(MAX_PINGS).collect();
            parallel::each(AT_ONCE, &first, |_, peer| ping(plane, peer.address));
        }
        let silent = if absent.is_empty() { absent } else { self::absent(&all, &handshakes(plane, now())?) };
        count += all.len() - silent.len();
        if !silent.is_empty() {
            bad.push(words(plane, &silent));
        }
    }
    let total = format!("{count} peers on {} planes", info.planes.len());
    if bad.is_empty() { Ok(total) } else { Err(bad.join("; ")) }
}

fn peers_of<'p>(info: &IdentityInfo, peers: &'p PeersFile, plane: &str) -> Vec<Peer<'p>> {
    // On a hub plane, nodes that are no hubs have no session with each other.
    let joins = |role: &str| peers.planes.get(plane).is_none_or(|p| p.joins(&info.role, role));
    let others = peers.nodes.iter().filter(|(name, node)| **name != info.hostname && joins(&node.role));
    let on_plane = others.filter_map(|(name, node)| {
        Some(Peer { name: name.label(), key: *node.keys.get(plane)?, address: *node.addresses.get(plane)? })
    });
    on_plane.collect()
}

fn handshakes(plane: &str, now: u64) -> Result<BTreeSet<WgPublicKey>, String> {
    let output = Tool::new("wg").args(["show", plane, "latest-handshakes"]).timeout(LIMIT).run();
    Ok(live(&output.map_err(|e| format!("{plane}: {}", chain(&e)))?.text(), now).into_iter().collect())
}

fn absent<'a, 'p>(all: &'a [Peer<'p>], live: &BTreeSet<WgPublicKey>) -> Vec<&'a Peer<'p>> {
    all.iter().filter(|peer| !live.contains(&peer.key)).collect()
}

/// An answer is not needed: the handshake counts.
fn ping(plane: &str, address: Ipv4Addr) {
    let tool = Tool::new("ping").args(["-n", "-q", "-c", "1", "-W", "2", "-I", plane, &address.to_string()]).timeout(LIMIT);
    if let Err(e) = tool.run_any() {
        tracing::debug!(error = %chain(&e), %address, "ping");
    }
}

fn words(plane: &str, silent: &[&Peer<'_>]) -> String {
    let names: Vec<&str> = silent.iter().take(MAX_NAMES).map(|p| p.name).collect();
    let more = match silent.len().saturating_sub(MAX_NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{plane}: no handshake with {}{more}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_without_a_session_are_named() {
        let peer = |n: u8, name| Peer { name, key: WgPublicKey([n; 32]), address: [10, 78, 0, n].into() };
        let names = ["a", "b", "c", "d", "e", "f"];
        let all: Vec<Peer<'_>> = names.iter().zip(1..).map(|(name, n)| peer(n, name)).collect();
        let live: BTreeSet<WgPublicKey> = [WgPublicKey([1; 32])].into();
        assert_eq!(words("wg2", &absent(&all, &live)), "wg2: no handshake with b, c, d, e and 1 more");
        assert_eq!(words("wg2", &absent(&all[..3], &live)), "wg2: no handshake with b, c");
        assert!(absent(&all[..1], &live).is_empty());
    }
}
