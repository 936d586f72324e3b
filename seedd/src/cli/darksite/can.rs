//! `seedd darksite lint --can kubernetes`: whether nodes can run Kubernetes from the snapshot and the extras in use.

use anyhow::{Result, anyhow};
use clap::{Args, ValueEnum};
use cluster_seed::converge::role::{Resolved, resolve_all};
use darksite::audit::kubernetes::{of_extras, of_snapshot};
use darksite::kubernetes::choose::{Asked, choose, roles};
use darksite::kubernetes::have::Have;
use darksite::kubernetes::lint::{Report, lint};
use darksite::kubernetes::version::Version;
use serde_json::json;
use site::extras;
use site::hint::Hint as _;

use crate::cli::args::{SiteArgs, say, show};

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Platform {
    Kubernetes,
}

#[derive(Args)]
pub struct Can {
    /// Say whether the snapshot and the extras in use can run this platform offline, or what is missing
    #[arg(long, value_name = "PLATFORM", conflicts_with = "files")]
    can: Option<Platform>,
    /// Version of Kubernetes [default: that of the roles, or the newest among the extras]
    #[arg(long, value_name = "VERSION", requires = "can")]
    kubernetes: Option<Version>,
    /// Version of Cilium [default: that of the roles, or the newest chart among the extras]
    #[arg(long, value_name = "VERSION", requires = "can")]
    cilium: Option<Version>,
}

impl Can {
    pub fn is_asked(&self) -> bool {
        self.can.is_some()
    }

    pub fn run(&self, args: &SiteArgs) -> Result<()> {
        let site = args.site();
        let store = site.open_store()?;
        let resolved: Vec<Resolved> = resolve_all(&site.spec()?.spec.roles).into_values().collect();
        let manifest = extras::current(&site, &store)?;
        let manifest =
            manifest.ok_or_else(|| anyhow!("no extras are in use")).hint("fetch them with `seedd darksite extras fetch`")?;
        let snapshot = store.snapshot()?;
        let snapshot = snapshot.ok_or_else(|| anyhow!("no snapshot is in use")).hint("build one with `seedd darksite build`")?;
        let mut have = Have { roles: roles(&resolved), ..Have::default() };
        of_extras(&site.extras_dir(manifest.id), &manifest, &mut have)?;
        of_snapshot(&site.snapshot(snapshot), &mut have)?;
        let asked = Asked { kubernetes: self.kubernetes, cilium: self.cilium };
        let choice = choose(asked, &resolved, &have).map_err(|e| site::hint::with(e.clone(), e.hint()))?;
        let report = lint(&choice, &have)?;
        let able = report.findings.is_empty();
        if args.json {
            let mut value = serde_json::to_value(&report)?;
            value["can"] = json!(able);
            value["snapshot"] = json!(snapshot);
            value["extras"] = json!(manifest.id);
            show(true, &value, "")?;
        } else {
            say(&text(&report))?;
        }
        if able {
            return Ok(());
        }
        let error = anyhow!("this snapshot cannot run {}: {} missing or wrong", report.what(), count(report.findings.len()));
        Err(error).hint("`seedd darksite bundle kubernetes` on a connected machine writes the extras with everything; see docs/kubernetes-offline.md")
    }
}

fn count(n: usize) -> String {
    if n == 1 { "1 thing is".to_owned() } else { format!("{n} things are") }
}

fn text(report: &Report) -> String {
    let mut lines: Vec<String> = report.findings.iter().map(|f| f.message.clone()).collect();
    lines.extend(report.notes.iter().map(|note| format!("note: {note}")));
    if report.findings.is_empty() {
        lines.push(format!("this snapshot can run {}: yes", report.what()));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use darksite::kubernetes::finding::{Finding, Kind};

    use super::*;

    #[test]
    fn the_report_has_one_line_for_each_finding() {
        let mut report = Report {
            kubernetes: Version::new(1, 36, 2),
            cilium: Some(Version::new(1, 18, 5)),
            findings: Vec::new(),
            notes: Vec::new(),
        };
        assert_eq!(text(&report), "this snapshot can run Kubernetes 1.36.2 with Cilium 1.18.5: yes");
        let line = |item: &str| Finding::new(Kind::MissingImage, item, format!("image {item} is missing"));
        report.findings = vec![line("a"), line("b")];
        report.notes = vec!["c".to_owned()];
        assert_eq!(text(&report), "image a is missing\nimage b is missing\nnote: c");
        let kinds: Vec<_> = serde_json::to_value(&report).unwrap()["findings"].as_array().unwrap().clone();
        assert_eq!(kinds[0], json!({"kind": "missing-image", "item": "a", "message": "image a is missing"}));
        assert_eq!((count(1), count(2)), ("1 thing is".to_owned(), "2 things are".to_owned()));
    }
}
