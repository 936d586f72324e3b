//! `seedd drill`

use std::io::Write as _;

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8PathBuf;
use clap::Args;
use cluster_seed::events::EventKind;
use host::clock::now_ms;
use host::files::write_atomic;
use site::hint::Hint as _;
use site::store::StoreError;
use site::store::events::NewEvent;

use super::args::{PassphraseSource, SiteArgs};
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
        let (kind, text) = match &held {
            Ok((report, _)) => (report.kind(), report.sentence()),
            Err(error) => (EventKind::DrillFailed, format!("the drill failed: {error:#}")),
        };
        store.write(|tx| {
            tx.event(now_ms(), &NewEvent { actor: Some("command line"), ..NewEvent::new(kind, &text) })?;
            Ok::<_, StoreError>(())
        })?;
        let (report, bytes) = held?;
        if let Some(keep) = &self.report {
            write_atomic(keep, &bytes, 0o644)?;
        }
        self.args.show(&serde_json::from_slice::<serde_json::Value>(&bytes).context("reading the lab's report")?, &text)?;
        match report.passed {
            true => Ok(()),
            false => Err(anyhow!("the drill took longer than acceptance.mttrTargetMinutes"))
                .hint("the report has the time of each step"),
        }
    }
}
