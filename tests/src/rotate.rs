//! The keys of the planes are changed while two nodes are connected, and what the planes carry: both find the seed again on every plane,
//! apt on them trusts what the new release key signs, they replace their own keys, one plane denies what is not allowed, and a peer that
//! is not countersigned stays out.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use host::clock::now;
use serde_json::Value;

use crate::allows;
use crate::ask::{self, Node, until};
use crate::checks;
use crate::countersigned;
use crate::demo::specs;
use crate::dirs::RunDirs;
use crate::fleet::Fleet;
use crate::member::Step;
use crate::netns::PREFIX;
use crate::node_keys;
use crate::say;
use crate::site::Template;
use crate::stop;
use crate::vm::Accel;

const FLOW_LIMIT: Duration = Duration::from_secs(40 * 60);
/// Nodes fetch the peer list every 30 seconds, first from an address that no longer answers.
const PATIENCE: Duration = Duration::from_secs(600);

/// Where the node appears to be, behind NAT.
const NAT: &str = "10.44.0.118:40001";
/// Longer than a minute, after which the seed applies the configuration of its planes again.
const LOOKS: u32 = 8;
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Seconds. The seed follows a session for 180 of them, and the looks take 80: the session must not be older than this before.
const FRESH: u64 = 60;

pub fn run(dirs: &RunDirs, template: &Template, accel: Accel) -> Result<()> {
    let (work, logs) = dirs.part("rotate")?;
    let seedd = template.copy(&work.join("data"))?;
    let mut fleet = Fleet::start(&format!("{PREFIX}{}-rotate", std::process::id()), seedd, 0, &work, &logs)?;
    fleet.accel = accel;
    for spec in specs() {
        fleet.add(spec)?;
    }
    fleet.approve_until(Step::Converged, "both machines to be Converged", FLOW_LIMIT)?;
    checks::all(&fleet, &template.ssh_key)?;
    let said = fleet.seedd.say(&["keys", "rotate", "--planes", "--vault", "--release", "--yes", "--json"])?;
    let changed: Value = serde_json::from_str(&said).with_context(|| format!("reading {said:?}"))?;
    ensure!(changed["planes"].as_object().is_some_and(|planes| planes.len() == 3), "{changed}");
    say::line("the keys of all planes, the vault and the release were changed");
    follow(&fleet, &template.ssh_key, &changed)?;
    // Signs the snapshot with the new key.
    fleet.seedd.darksite_build(&logs.join("darksite-build.log"))?;
    trust_it(&fleet, &template.ssh_key)?;
    checks::all(&fleet, &template.ssh_key)?;
    say::line("after the change: every node on every plane, and apt with the new release key");
    node_keys::replaced(&fleet, &template.ssh_key)?;
    checks::all(&fleet, &template.ssh_key)?;
    allows::shown(&fleet, &template.ssh_key)?;
    // Keys of nodes are not replaced while one is in force.
    countersigned::shown(&fleet, &template.ssh_key)?;
    checks::all(&fleet, &template.ssh_key)?;
    say::line("every node on every plane, after all of it");
    learned_endpoint_stays(&mut fleet)?;
    fleet.ns.must_be_quiet()
}

/// A node behind NAT is followed to another port. The seed applies its configuration meanwhile, and leaves the endpoint alone; the
/// node is off, so that no packet of its own changes it.
fn learned_endpoint_stays(fleet: &mut Fleet) -> Result<()> {
    let node = fleet.members.pop().context("no node")?;
    let planes = node.machine.as_ref().context("a member without a machine")?.planes();
    let allowed = fleet.ns.outcome(&["wg", "show", "wg1", "allowed-ips"])?.stdout;
    let own = format!("\t{}/32", planes["wg1"]);
    let key = allowed.lines().find_map(|l| l.strip_suffix(&own)).context("the node is no peer of the seed")?.to_owned();
    until("a new session of the node", PATIENCE, |seen| {
        *seen = fleet.ns.run(&["wg", "show", "wg1", "latest-handshakes"])?;
        let at = seen.lines().find_map(|l| l.strip_prefix(&format!("{key}\t"))?.trim().parse::<u64>().ok());
        Ok(at.is_some_and(|at| at > 0 && now().saturating_sub(at) < FRESH).then_some(()))
    })?;
    drop(node);
    let moved = fleet.ns.outcome(&["wg", "set", "wg1", "peer", &key, "endpoint", NAT])?;
    ensure!(moved.code == 0, "{moved:?}");
    for _ in 0..LOOKS {
        std::thread::sleep(LOOK_EVERY);
        stop::check()?;
        let now = fleet.ns.outcome(&["wg", "show", "wg1", "endpoints"])?.stdout;
        let kept = now.lines().any(|l| l == format!("{key}\t{NAT}"));
        ensure!(kept, "the seed replaced the endpoint that it learned: {now}");
    }
    say::line("a learned endpoint stays while the seed applies its configuration");
    Ok(())
}

/// Runs a check on every node until it succeeds there. The check notes what it saw.
fn on_every_node(fleet: &Fleet, key: &Path, what: &str, check: &dyn Fn(&Node<'_>, &mut String) -> Result<bool>) -> Result<()> {
    for node in ask::nodes(fleet, key)? {
        until(&format!("{what} on {}", node.name), PATIENCE, |seen| Ok(check(&node, seen)?.then_some(())))?;
        say::line(&format!("{}: {what}", node.name));
    }
    Ok(())
}

/// Every node has the seed's new key on each plane, and not the old one.
fn follow(fleet: &Fleet, key: &Path, changed: &Value) -> Result<()> {
    let planes = changed["planes"].as_object().context("no planes")?;
    for (plane, keys) in planes {
        let (old, new) = (keys["old"].as_str().context("no old key")?, keys["new"].as_str().context("no new key")?);
        on_every_node(fleet, key, &format!("the seed's new key on {plane}"), &|node, seen| {
            *seen = node.run(&format!("wg show {plane} peers"))?;
            Ok(seen.contains(new) && !seen.contains(old))
        })?;
    }
    Ok(())
}

fn trust_it(fleet: &Fleet, key: &Path) -> Result<()> {
    on_every_node(fleet, key, "apt trusts the new release key", &|node, seen| {
        *seen = node.run("rm -rf /var/lib/apt/lists/* && apt-get update 2>&1")?;
        Ok(!["NO_PUBKEY", "W: ", "E: ", "Err:"].iter().any(|bad| seen.contains(bad)))
    })
}
