//! The site: a role with etcd, load balancer and control plane on one machine, a role of workers, and Kubernetes among the extras.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::fixture;
use crate::netns::{Netns, PREFIX};
use crate::say;
use crate::seedd::Seedd;
use crate::site::Template;

pub const VIP: &str = "10.80.255.1";

/// `VARS` is the same for both: a role that they include would get an image of its own. No CoreDNS: Debian has none. A check of the
/// load balancer is a handshake that both ends emulate.
const ROLES: &str = "  roles:
    control:
      description: etcd, the load balancer and the control plane on one machine
      packages: [iputils-ping]
      plays: [etcd, loadbalancer, containers, controlplane]
      vars: {VARS, etcd_heartbeat_ms: 500, etcd_election_ms: 5000, lb_check_interval: 10s, kubernetes_lease: 60}
    node:
      description: A Kubernetes worker
      packages: [iputils-ping]
      plays: [vip, containers, worker]
      vars: {VARS}
      after: [control]
      serial: 2
";
const VARS: &str = "lb_vip_wg3: 10.80.255.1, kubernetes_version: 1.20.2, kubernetes_coredns: false, kubernetes_wait: 3600";

/// Replaces the roles of a cluster.yaml, and asks for the checks.
fn with_roles(text: &str) -> Result<String> {
    let begin = text.find("  roles:\n").context("cluster.yaml has no roles")?;
    let end = text[begin..].find("  enrollment:\n").context("cluster.yaml has no enrollment")? + begin;
    let required = "  acceptance:\n    required: [planes, security, etcd, vip, containers, kubernetes, time, egress]\n";
    let roles = ROLES.replace("VARS", VARS);
    Ok(format!("{}{roles}{}", &text[..begin], &text[end..]).replacen("  acceptance:\n", required, 1))
}

pub fn site(template: &Template, fixture: &Path, work: &Path, logs: &Path) -> Result<Seedd> {
    let seedd = template.copy(&work.join("data"))?;
    let text = fs::read_to_string(seedd.cluster_file()).context("reading cluster.yaml")?;
    let made = work.join("fixture");
    fs::create_dir_all(&made).context("making a folder")?;
    let extras = fixture::extras(fixture, &made)?;
    fs::write(seedd.cluster_file(), with_roles(&text)? + &extras).context("writing cluster.yaml")?;
    let check = seedd.cluster_check()?;
    ensure!(check.code == 0, "{}", check.stderr);
    say::line("seedd darksite build, with the packages of the plays");
    seedd.darksite_build(&logs.join("darksite-build.log"))?;
    say::line("seedd darksite extras fetch, with Kubernetes");
    seedd.say(&["darksite", "extras", "fetch"])?;
    say::line(seedd.say(&["payload", "publish"])?.trim());
    say::line("seedd image build, roles control and node");
    let ns = Netns::lab(&format!("{PREFIX}{}-image", std::process::id()), work)?;
    seedd.image_build_of(&ns, &["control", "node"], &logs.join("image-build.log"))?;
    ns.must_be_quiet()?;
    Ok(seedd)
}
