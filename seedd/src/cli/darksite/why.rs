//! `seedd darksite why`

use anyhow::{Result, anyhow};
use camino::Utf8PathBuf;
use clap::Args;
use site::hint::Hint as _;
use site::snapshots;

use super::snapshot_dir;
use crate::cli::args::SiteArgs;

#[derive(Args)]
pub struct WhyVerb {
    #[command(flatten)]
    args: SiteArgs,
    /// Name of the package
    package: String,
    /// Snapshot to search, by the first digits of its id [default: the one in use]
    #[arg(long, value_name = "ID")]
    snapshot: Option<String>,
    /// Lock file to search instead
    #[arg(long, value_name = "FILE", conflicts_with = "snapshot")]
    lock: Option<Utf8PathBuf>,
}

impl WhyVerb {
    pub fn run(&self) -> Result<()> {
        let site = self.args.site();
        let (lock, companion) = match (&self.lock, &self.snapshot) {
            (Some(file), _) => darksite::read_lock(file)?,
            (None, Some(begin)) => darksite::read_snapshot(&snapshot_dir(&site, begin)?)?,
            (None, None) => darksite::read_snapshot(&site.snapshot(snapshots::current(&site.open_store()?)?))?,
        };
        let explained = darksite::explain(lock, &companion)?;
        let found = explained.why(&self.package);
        if found.is_empty() {
            let near = explained.suggest(&self.package);
            let hint = match near.is_empty() {
                true => "no role needs it; add it to darksite.packages or to a role in cluster.yaml".to_owned(),
                false => format!("did you mean {}?", near.join(", ")),
            };
            return Err(anyhow!("{} is not in the snapshot", self.package)).hint(hint);
        }
        let mut lines = Vec::new();
        let mut values = Vec::new();
        for (p, chains) in found {
            lines.push(format!("{} {} {} from {} {}", p.name, p.version, p.arch, p.suite, p.component));
            lines.extend(chains.values().map(|chain| format!("  {}", chain.join(" -> "))));
            if chains.is_empty() {
                lines.push("  no role needs it; profile full takes every package".to_owned());
            }
            values
                .push(serde_json::json!({"name": p.name, "version": p.version, "arch": p.arch, "suite": p.suite, "why": chains}));
        }
        self.args.show(&serde_json::json!({ "packages": values }), &lines.join("\n"))
    }
}
