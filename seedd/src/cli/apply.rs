//! `seedd cluster apply`: a changed cluster.yaml takes effect while the seed runs.

use anyhow::{Context as _, Result, anyhow};
use appliance::control::Client;
use camino::Utf8PathBuf;
use clap::Args;
use cluster_seed::cluster::ClusterSpec;
use converge::fleet::Scene;
use converge::plan::plan;
use host::clock::now;
use host::files::{read_limited, write_like};
use serde_json::json;
use site::hint::Hint as _;
use site::store::nodes::NodeRecord;
use site::{payloads, read_spec};

use super::args::SiteArgs;
use super::prompt::confirm;

/// Largest cluster.yaml, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// The file that was replaced.
const FORMER: &str = "cluster.yaml.former";

#[derive(Args)]
pub struct Apply {
    #[command(flatten)]
    args: SiteArgs,
    /// File that replaces the site's cluster.yaml [default: the site's own file, edited in place]
    file: Option<Utf8PathBuf>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Show the plan without changing anything
    #[arg(long)]
    dry_run: bool,
}

/// What of a changed file does not fit the nodes that run, one line each.
fn unfit(spec: &ClusterSpec, nodes: &[NodeRecord]) -> Vec<String> {
    let mut all = Vec::new();
    for node in nodes {
        if !spec.spec.roles.contains_key(&node.role) {
            all.push(format!("{} has the role {}, which the file does not have", node.hostname, node.role));
        }
        for (plane, (address, _)) in &node.planes {
            match spec.spec.networking.planes.get(plane) {
                None => all.push(format!("{} is on the plane {plane}, which the file does not have", node.hostname)),
                Some(p) if !p.value.cidr.contains(address) => {
                    all.push(format!("{} has the address {address} on {plane}, outside of {}", node.hostname, p.value.cidr));
                }
                Some(_) => {}
            }
        }
    }
    all
}

impl Apply {
    pub fn run(&self) -> Result<()> {
        let site = self.args.site();
        let store = site.open_store()?;
        let own = site.cluster_file();
        let (spec, text) = site.spec_from(self.file.as_deref().unwrap_or(&own))?;
        // A file in place that is broken may be replaced by any other.
        let held = read_spec(&own).ok().map(|held| held.metadata.name).filter(|name| *name != spec.metadata.name);
        if let Some(name) = held {
            return Err(anyhow!("the file is that of site {}, and this one is {name}", spec.metadata.name))
                .hint("the name of a site does not change");
        }
        let nodes = store.read(|tx| tx.live_nodes())?;
        let unfit = unfit(&spec, &nodes);
        if let Some(first) = unfit.first() {
            let more = unfit.len().saturating_sub(1);
            let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
            return Err(anyhow!("the file does not fit the nodes of the site: {first}{more}"))
                .hint("nodes keep their role and addresses until they are replaced or revoked");
        }
        let payload = payloads::current(&site, &store)?.map(|p| (p.id, p.size));
        let plan = plan(&store.read(|tx| Scene::read(tx, &spec, payload, now()))?, &spec);
        if self.dry_run {
            return self.args.show(&json!({"plan": plan, "applied": false}), &plan.text());
        }
        if !self.yes {
            confirm(&format!("{}\nNodes follow, one role after the other.", plan.text()), spec.metadata.name.as_str())?;
        }
        if self.file.is_some() {
            let former = read_limited(&own, MAX_FILE)?;
            if former != text.as_bytes() {
                // The seed's own user has to read what root writes here.
                write_like(&site.join(FORMER), &former, &own)?;
                write_like(&own, text.as_bytes(), &own)?;
            }
        }
        let daemon = Client::new(&site.control_socket());
        let running = daemon.answers();
        if running {
            daemon.reload().context("reloading the seed").hint("restart it: the file is in place")?;
        }
        let end = if running { "the seed reads the file now" } else { "takes effect when the seed starts" };
        self.args.show(&json!({"plan": plan, "applied": true, "running": running}), &format!("{}\n{end}", plan.text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster_seed::ids::{Digest, EnrollmentId, NodeId};
    use cluster_seed::wireguard::WgPublicKey;
    use std::collections::BTreeMap;

    fn spec() -> ClusterSpec {
        ClusterSpec::parse(&site::default_cluster_yaml("site-a")).unwrap()
    }

    fn node(role: &str, plane: &str, address: &str) -> NodeRecord {
        NodeRecord {
            id: NodeId([1; 16]),
            enrollment: EnrollmentId([1; 16]),
            hostname: "n-1.lan".parse().unwrap(),
            role: role.to_owned(),
            host: 5,
            artifact: Digest([0; 32]),
            endpoint: None,
            planes: BTreeMap::from([(plane.to_owned(), (address.parse().unwrap(), WgPublicKey([0; 32])))]),
            revoked: false,
        }
    }

    #[test]
    fn a_file_without_the_role_or_plane_of_a_node_is_refused() {
        let spec = spec();
        let role = spec.spec.roles.keys().next().unwrap().clone();
        let (plane, at) = spec.spec.networking.planes.iter().next().unwrap();
        let inside = at.value.cidr.hosts().nth(4).unwrap().to_string();
        assert!(unfit(&spec, &[node(&role, plane, &inside)]).is_empty());
        assert_eq!(unfit(&spec, &[node("gone", plane, &inside)]).len(), 1);
        assert_eq!(unfit(&spec, &[node(&role, "wg9", &inside)]).len(), 1);
        assert_eq!(unfit(&spec, &[node(&role, plane, "192.0.2.1")]).len(), 1);
    }
}
