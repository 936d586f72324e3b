//! What is asked of a running site and of its nodes: by the command line on the seed, and as root over the control plane. And how its
//! cluster.yaml is changed.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;

use crate::checks::Ssh;
use crate::fleet::Fleet;
use crate::say;
use crate::stop;

/// Nodes ask for the peer list every 30 seconds; emulated ones take some time to act on it.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// Between two looks: each starts programs on the processors that emulate the nodes.
const PAUSE: Duration = Duration::from_secs(1);

/// What a verb without a passphrase answers in JSON.
pub fn ask(fleet: &Fleet, verb: &[&str]) -> Result<Value> {
    let verb: Vec<&str> = verb.iter().copied().chain(["--json"]).collect();
    let said = fleet.seedd.say_plain(&verb)?;
    serde_json::from_str(&said).with_context(|| format!("reading {said:?}"))
}

/// Looks until there is a value. What fails is tried again: a seed that reloads and a plane that comes back do not answer for a while.
///
/// # Errors
/// After `limit`, with what was seen last.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut(&mut String) -> Result<Option<T>>) -> Result<T> {
    let mut seen = String::new();
    say::progress(&format!("waiting for {what}"));
    let waited = stop::wait_for(what, limit, || {
        let found = look(&mut seen).unwrap_or_else(|error| {
            seen = format!("{error:#}");
            None
        });
        if found.is_none() {
            stop::sleep(PAUSE)?;
        }
        Ok(found)
    });
    waited.map_err(|error| anyhow!("{error:#}; seen last: {}", seen.trim()))
}

/// A node, and how to log in to it.
pub struct Node<'a> {
    pub name: &'a str,
    planes: BTreeMap<String, String>,
    fleet: &'a Fleet,
    key: &'a Path,
}

/// The nodes of the lab, in the order in which they were switched on.
pub fn nodes<'a>(fleet: &'a Fleet, key: &'a Path) -> Result<Vec<Node<'a>>> {
    let mut all = Vec::new();
    for member in &fleet.members {
        let planes = member.machine.as_ref().context("a member without a machine")?.planes();
        all.push(Node { name: member.name(), planes, fleet, key });
    }
    Ok(all)
}

impl Node<'_> {
    /// Its address on a plane.
    pub fn on(&self, plane: &str) -> Result<&str> {
        self.planes.get(plane).map(String::as_str).with_context(|| format!("{} has no address on {plane}", self.name))
    }

    /// A command as root, over the control plane.
    pub fn run(&self, command: &str) -> Result<String> {
        let ssh = Ssh { fleet: self.fleet, key: self.key, address: self.on("wg1")? };
        ssh.run(command).with_context(|| format!("asking {}", self.name))
    }
}

/// Waits until every node of the lab has reported the seed's newest peer list, which it does once its kernel has it.
pub fn lists_taken(fleet: &Fleet) -> Result<()> {
    until("every node to hold the newest peer list", PATIENCE, |seen| {
        let said = ask(fleet, &["node", "list"])?;
        let mut lists = BTreeMap::new();
        for node in said["nodes"].as_array().context("no nodes")? {
            let name = node["hostname"].as_str().and_then(|name| name.split('.').next()).unwrap_or_default();
            lists.insert(name, &node["list"]);
        }
        *seen = format!("{lists:?}");
        let taken = |list: &Value| !list["version"].is_null() && list["version"] == list["current"];
        let all = fleet.members.iter().all(|member| lists.get(member.name()).is_some_and(|list| taken(list)));
        Ok(all.then_some(()))
    })
}

/// cluster.yaml as it is in force.
pub fn cluster_text(fleet: &Fleet) -> Result<String> {
    std::fs::read_to_string(fleet.seedd.cluster_file()).context("reading cluster.yaml")
}

/// Shows what a changed cluster.yaml would do, and applies it. The seed reads it within a few seconds.
pub fn apply(fleet: &Fleet, name: &str, text: &str) -> Result<()> {
    let file = fleet.work.join(format!("{name}.yaml"));
    std::fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    let file = file.to_string_lossy().into_owned();
    let before = cluster_text(fleet)?;
    let plan = ask(fleet, &["cluster", "apply", &file, "--dry-run"])?;
    ensure!(plan["applied"] == false && cluster_text(fleet)? == before, "--dry-run changed cluster.yaml: {plan}");
    let done = ask(fleet, &["cluster", "apply", &file, "--yes"])?;
    ensure!(done["applied"] == true && done["running"] == true, "cluster.yaml was not applied: {done}");
    ensure!(cluster_text(fleet)? == text, "cluster.yaml is not the file that was applied: {done}");
    Ok(())
}

/// A text with `old` replaced by `new`, once; the text must be there.
pub fn replaced(text: &str, old: &str, new: &str) -> Result<String> {
    ensure!(text.contains(old), "cluster.yaml has no {old:?}");
    Ok(text.replacen(old, new, 1))
}
