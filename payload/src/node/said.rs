//! What a node says about itself, for people: no secrets.

use anyhow::{Context as _, Result};
use cluster_seed::agent::GateCheck;
use cluster_seed::identity::PlaneAddress;
use cluster_seed::seal::key_from_text;

use super::converge::checks::node::NodeChecks;
use super::converge::checks::plays::check_plays;
use super::converge::places::Places;
use super::converge::status::{Status, text};
use super::converge::{fetch, held};
use super::gate as fabric;
use crate::state::NodeDir;

const ROOT: &str = "/";

/// Name, role, site and planes.
pub fn status(dir: &NodeDir) -> Result<String> {
    let identity = dir.identity().context("reading this node's identity")?;
    let peers = dir.peers(&identity).context("reading the peer list")?;
    let info = &identity.info;
    let mut lines = vec![
        format!("node     {} ({})", info.hostname, info.role),
        format!("site     {} key {}", info.site, info.site_key),
        format!("seed     {} {}", info.seed_hostname, info.seed_url),
        format!("peers    epoch {} version {}, {} nodes", peers.epoch, peers.version, peers.nodes.len()),
    ];
    let place = |(plane, at): (&String, &PlaneAddress)| {
        let second =
            peers.planes.get(plane).and_then(|p| Some(format!(" {}/{}", p.address6(at.address)?, p.range6()?.prefix_len())));
        format!("{plane:8} {}/{}{} port {}", at.address, at.cidr.prefix_len(), second.unwrap_or_default(), at.port)
    };
    lines.extend(info.planes.iter().map(place));
    Ok(lines.join("\n") + "\n")
}

/// Orders, barriers, the last run, certificates and checks.
pub fn converge(dir: &NodeDir) -> Result<String> {
    let identity = dir.identity().context("reading this node's identity")?;
    let peers = dir.peers(&identity).context("reading the peer list")?;
    let site = key_from_text(&identity.info.site_key).context("reading the site's key")?;
    let store = held::Store { dir: dir.path() };
    let (orders, applied) = (store.orders(&site, identity.info.enrollment), store.applied());
    let places = Places { root: ROOT.into() };
    let of_plays = applied.good.as_ref().and_then(|run| {
        let payload = fetch::unpacked(places, &run.payload)?;
        Some(check_plays(places, &payload, &run.plays))
    });
    let mut checks = of_plays.unwrap_or_default();
    checks.extend(NodeChecks::new(ROOT.into(), &identity.info, &host::clock::now).look(&peers, applied.good.as_ref()));
    let status =
        Status { orders: orders.as_ref(), applied: &applied, bundle: store.bundle(), checks: &checks, now: host::clock::now() };
    Ok(text(&status))
}

/// The checks of the fabric, made now, and whether all passed.
pub fn gate(dir: &NodeDir) -> Result<(String, bool)> {
    let identity = dir.identity().context("reading this node's identity")?;
    let peers = dir.peers(&identity).context("reading the peer list")?;
    let checks = fabric::look(ROOT.into(), &identity, &peers);
    let line = |c: &GateCheck| format!("{:4} {}: {}\n", if c.ok { "ok" } else { "FAIL" }, c.name, c.detail);
    Ok((checks.iter().map(line).collect(), fabric::passed(&checks)))
}
