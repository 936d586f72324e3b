//! `seedd darksite diff`

use std::fmt::Write as _;

use anyhow::Result;
use camino::Utf8Path;
use clap::Args;
use darksite::SnapshotLock;
use darksite::diff::Changed;
use site::Site;

use super::snapshot_dir;
use crate::cli::args::SiteArgs;
use crate::terminal::amount;

#[derive(Args)]
pub struct Diff {
    #[command(flatten)]
    args: SiteArgs,
    /// Earlier lock file, or a snapshot by the first digits of its id
    before: String,
    /// Later lock file or snapshot
    after: String,
}

fn read(site: &Site, named: &str) -> Result<SnapshotLock> {
    let path = Utf8Path::new(named);
    if path.is_file() {
        return Ok(darksite::read_lock(path)?.0);
    }
    Ok(darksite::read_snapshot(&snapshot_dir(site, named)?)?.0)
}

fn lines(text: &mut String, mark: &str, list: &[Changed]) {
    for Changed { name, arch, before, after, size } in list {
        let versions: Vec<&str> = [before, after].into_iter().flatten().map(String::as_str).collect();
        let bytes = if *size > 0 { format!("  {}", amount(*size)) } else { String::new() };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{mark} {name} {arch}  {}{bytes}", versions.join(" -> "));
    }
}

impl Diff {
    pub fn run(&self) -> Result<()> {
        let site = self.args.site();
        let d = darksite::diff(&read(&site, &self.before)?, &read(&site, &self.after)?);
        let mut text = String::new();
        for (mark, list) in [("+", &d.added), ("-", &d.removed), ("^", &d.upgraded), ("v", &d.downgraded), ("!", &d.rebuilt)] {
            lines(&mut text, mark, list);
        }
        let counts = format!(
            "{} added, {} removed, {} upgraded, {} downgraded, {} rebuilt, {} unchanged; {} to download",
            d.added.len(),
            d.removed.len(),
            d.upgraded.len(),
            d.downgraded.len(),
            d.rebuilt.len(),
            d.kept,
            amount(d.transfer)
        );
        self.args.show(&serde_json::to_value(&d)?, &(text + &counts))
    }
}
