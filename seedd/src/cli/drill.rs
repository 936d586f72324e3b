//! `seedd drill`

use std::io::Write as _;

use anyhow::{Context as _, Result, anyhow};
use appliance::control::Note;
use camino::Utf8PathBuf;
use clap::Args;
use host::files::write_atomic;
use site::hint::Hint as _;

use super::args::{PassphraseSource, SiteArgs};
use super::running;
use crate::drill;
use crate::terminal::{stop_asked, watch_signals};

#[derive(Args)]
pub struct Drill {
    #[command(flatten)]
    args: SiteArgs,
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// Also write the report to this file
    #[arg(long, value_name = "FILE")]
    report: Option<Utf8PathBuf>,
}

impl Drill {
    pub fn run(&self) -> Result<()> {
        watch_signals()?;
        let site = self.args.site();
        let store = site.open_store()?;
        let lab = drill::find_lab()?;
        let passphrase = self.passphrase.get("Passphrase")?;
        // With --json, standard output has the report only.
        let say = |line: &str| {
            let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
            let _ = if self.args.json { writeln!(err, "{line}") } else { writeln!(out, "{line}") };
        };
        let held = drill::Drill { site: &site, lab: &lab, passphrase: &passphrase, stop: &stop_asked, say: &say }.hold();
        let note = match &held {
            Ok((report, _)) => Note::Drilled {
                node: report.node.clone(),
                seconds: report.seconds,
                target_seconds: report.target_seconds,
                passed: report.passed,
            },
            Err(error) => Note::DrillFailed { why: format!("{error:#}") },
        };
        // What the drill measured, or why it failed, comes before a log that cannot be written.
        let noted = running::note(&self.args.dir, &store, &note);
        let (report, bytes) = held?;
        if let Some(keep) = &self.report {
            write_atomic(keep, &bytes, 0o644)?;
        }
        let value: serde_json::Value = serde_json::from_slice(&bytes).context("reading the lab's report")?;
        self.args.show(&value, &report.sentence())?;
        noted?;
        match report.passed {
            true => Ok(()),
            false => Err(anyhow!("the drill took longer than acceptance.mttrTargetMinutes"))
                .hint("the report has the time of each step"),
        }
    }
}
