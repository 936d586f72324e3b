//! `seedd image list`

use anyhow::{Result, anyhow};
use clap::Args;
use cluster_seed::manifest::ArtifactManifest;
use host::clock::now;
use serde_json::json;
use site::hint::Hint as _;
use site::outputs::{self, Held};
use site::{Site, artifacts};

use super::super::args::SiteArgs;
use crate::terminal::amount;

/// The manifest of a role's artifact, which has to be there.
pub(super) fn artifact(site: &Site, role: &str) -> Result<ArtifactManifest> {
    let found = artifacts::of_role(site, &site.open_store()?, role, &site.keys().public()?.site_key()?)?;
    found.ok_or_else(|| anyhow!("role {role:?} has no artifact")).hint("build it with `seedd image build`")
}

#[derive(Args)]
pub struct List {
    #[command(flatten)]
    args: SiteArgs,
}

impl List {
    pub fn run(&self) -> Result<()> {
        let site = self.args.site();
        let store = site.open_store()?;
        let netboot = store.netboot()?;
        let mut rows = Vec::new();
        let mut lines: Vec<String> = netboot.iter().map(|id| format!("netboot  {id}")).collect();
        for (role, _) in store.artifacts()? {
            let m = artifact(&site, &role)?;
            lines.push(format!("{role}  {}  disk {}, {} to download", m.id, amount(m.disk_size), amount(m.stored_size())));
            rows.push(json!({"role": role, "id": m.id, "disk": m.disk_size, "stored": m.stored_size()}));
        }
        let outputs = outputs::list(&site, &store, &site.keys().public()?.site_key()?)?;
        let now = now();
        lines.extend(outputs.iter().map(|held| line(held, now)));
        let outputs: Vec<_> = outputs.iter().map(value).collect();
        let text = if lines.is_empty() { "no images built yet".to_owned() } else { lines.join("\n") };
        self.args.show(&json!({"netboot": netboot, "artifacts": rows, "outputs": outputs}), &text)
    }
}

fn state(held: &Held) -> &'static str {
    if held.current { "current" } else { "stale" }
}

fn value(held: &Held) -> serde_json::Value {
    let spec = held.spec();
    json!({
        "id": held.output.manifest.id, "target": spec.target, "role": spec.role, "node": spec.node, "containsSecret": spec.contains_secret, "version": spec.version, "size": held.bytes,
        "made": held.made, "state": state(held), "directory": held.output.dir, "file": held.output.primary(),
    })
}

fn line(held: &Held, now: u64) -> String {
    let spec = held.spec();
    let role = spec.role.as_deref().map(|role| format!(" of role {role}")).unwrap_or_default();
    let node = spec.node.as_deref().map(|node| format!(" for {node}")).unwrap_or_default();
    let (id, size, age) = (held.output.manifest.id.short(), amount(held.bytes), age(now.saturating_sub(held.made)));
    format!(
        "{}{role}{node}  {id}  version {}, {size}, {age} old, {}  {}",
        spec.target,
        spec.version,
        state(held),
        held.output.dir
    )
}

/// A time in its largest whole unit.
fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_in_their_largest_whole_unit() {
        for (seconds, text) in
            [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (172_799, "47 h"), (172_800, "2 days")]
        {
            assert_eq!(age(seconds), text);
        }
    }
}
