//! `seedd drill`: the site is rebuilt from its capsule beside the running one, and the time goes into the event log.

use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result, anyhow};
use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use payload::tool::Tool;
use serde::Deserialize;

use super::{PassphraseSource, Where, show};
use crate::app::now_ms;
use crate::fsio::{read_limited, write_whole};
use crate::hint::Hint as _;
use crate::site::Site;
use crate::store::StoreError;
use crate::store::events::NewEvent;
use crate::terminal::{stop_asked, watch_signals};

/// The program that has machines and networks; beside this one or in PATH.
const LAB: &str = "kubedos-lab";
/// Largest report read, in bytes.
const MAX_REPORT: u64 = 64 << 10;

#[derive(Args)]
pub struct Drill {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// Also keep the report here
    #[arg(long, value_name = "FILE")]
    report: Option<Utf8PathBuf>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

/// What the lab measured.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    node: String,
    seconds: f64,
    target_seconds: f64,
    passed: bool,
}

impl Drill {
    pub fn run(&self) -> Result<()> {
        watch_signals()?;
        let site = self.place.site();
        let store = site.open_store()?;
        let lab = find_lab()?;
        let passphrase = self.passphrase.get("Passphrase")?;
        // Opened here first: a wrong passphrase is said at once, not in the middle of a drill.
        drop(site.keys().unseal(&passphrase)?);
        site.make_folders()?;
        let work = site.join("tmp").join(format!("drill-{}", std::process::id()));
        std::fs::create_dir(&work).with_context(|| format!("making {work}"))?;
        let outcome = self.drill(&site, &lab, &work, &passphrase);
        let _ = std::fs::remove_dir_all(&work);
        let (kind, text) = match &outcome {
            Ok((report, _)) => (if report.passed { "drill.passed" } else { "drill.slow" }, sentence(report)),
            Err(error) => ("drill.failed", format!("the drill failed: {error:#}")),
        };
        store.write(|tx| {
            tx.event(now_ms(), &NewEvent { kind, text: &text, actor: Some("command line"), ..Default::default() })?;
            Ok::<_, StoreError>(())
        })?;
        let (report, value) = outcome?;
        show(self.json, &value, &text)?;
        match report.passed {
            true => Ok(()),
            false => Err(anyhow!("the drill took longer than acceptance.mttrTargetMinutes"))
                .hint("the report's moments say where the time went"),
        }
    }

    fn drill(&self, site: &Site, lab: &Utf8Path, work: &Utf8Path, passphrase: &str) -> Result<(Report, serde_json::Value)> {
        let (secret, report) = (work.join("passphrase"), work.join("report.json"));
        write_whole(&secret, passphrase.as_bytes(), 0o600)?;
        // The lab's progress is for the person at this terminal; with --json the answer alone is on stdout.
        let screen = if self.json {
            std::io::stderr().as_fd().try_clone_to_owned()
        } else {
            std::io::stdout().as_fd().try_clone_to_owned()
        };
        let run = Tool::new(lab)
            .args(["drill", "--data", site.data.as_str(), "--passphrase-file", secret.as_str(), "--report", report.as_str()])
            .stdout_to(screen.context("sharing the terminal")?.into())
            .cancel(&stop_asked)
            .run();
        // Too slow is a failure of the lab's, with a report; anything else has none.
        if !report.exists() {
            run.with_context(|| format!("running {lab}")).hint("the lines above name the step that failed and its log")?;
        }
        let bytes = read_limited(&report, MAX_REPORT)?;
        if let Some(keep) = &self.report {
            write_whole(keep, &bytes, 0o644)?;
        }
        Ok((serde_json::from_slice(&bytes).context("reading the lab's report")?, serde_json::from_slice(&bytes)?))
    }
}

fn sentence(report: &Report) -> String {
    let minutes = |s: f64| format!("{} min {:02} s", s as u64 / 60, s as u64 % 60);
    let verdict = if report.passed { "within" } else { "LONGER than" };
    format!(
        "drill: node {} was back {} after the loss of the site, {verdict} the target of {}",
        report.node,
        minutes(report.seconds),
        minutes(report.target_seconds)
    )
}

fn find_lab() -> Result<Utf8PathBuf> {
    let own = std::env::current_exe().context("finding this program's own place")?;
    let own = Utf8PathBuf::from_path_buf(own).map_err(|p| anyhow!("{} is not UTF-8", p.display()))?;
    let path = std::env::var("PATH").unwrap_or_default();
    let beside = own.parent().map(Utf8Path::to_path_buf);
    let folders = beside.into_iter().chain(path.split(':').map(Utf8PathBuf::from));
    folders.map(|f| f.join(LAB)).find(|p| p.is_file()).ok_or_else(|| anyhow!("{LAB} was not found")).hint(
        "a drill boots a virtual machine: run it on a workstation that has the site's data, with the lab built (`just build`)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_says_how_it_went() {
        let report = |seconds: f64| Report { node: "n1".into(), seconds, target_seconds: 300.0, passed: seconds <= 300.0 };
        assert_eq!(
            sentence(&report(185.4)),
            "drill: node n1 was back 3 min 05 s after the loss of the site, within the target of 5 min 00 s"
        );
        assert!(sentence(&report(301.0)).contains("LONGER than"));
    }
}
