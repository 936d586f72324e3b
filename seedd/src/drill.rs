//! The drill: rebuilds the site from its capsule in the lab, next to the running one, and records the time in the event
//! log.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result, anyhow};
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::events::EventKind;
use host::files::read_limited;
use host::programs::find_program;
use host::tool::Tool;
use serde::Deserialize;
use site::Site;
use site::hint::Hint as _;

/// The program that runs virtual machines; next to this one or in PATH.
pub const LAB: &str = "kubedos-lab";
/// Largest report read, in bytes.
const MAX_REPORT: u64 = 64 << 10;
/// Folders of drills in `tmp`; the number of the process follows.
const WORK: &str = "drill-";
/// Longest line of the lab's output that is forwarded, in bytes.
const MAX_LINE: u64 = 4096;

/// Result of the lab.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub node: String,
    pub seconds: f64,
    pub target_seconds: f64,
    pub passed: bool,
}

impl Report {
    /// Its event kind.
    pub fn kind(&self) -> EventKind {
        if self.passed { EventKind::DrillPassed } else { EventKind::DrillSlow }
    }

    pub fn sentence(&self) -> String {
        let minutes = |s: f64| format!("{} min {:02} s", s as u64 / 60, s as u64 % 60);
        let verdict = if self.passed { "within" } else { "exceeding" };
        format!(
            "drill: node {} was restored {} after the loss of the site, {verdict} the target of {}",
            self.node,
            minutes(self.seconds),
            minutes(self.target_seconds)
        )
    }
}

/// One drill.
pub struct Drill<'a> {
    pub site: &'a Site,
    pub lab: &'a Utf8Path,
    /// Unseals the site, for its capsule.
    pub passphrase: &'a str,
    /// Polled; once true, the lab is stopped and cleans up.
    pub stop: &'a (dyn Fn() -> bool + Sync),
    /// Receives each line of the lab's output.
    pub say: &'a (dyn Fn(&str) + Sync),
}

impl Drill<'_> {
    /// Runs the drill; returns the report, parsed and as text. The site is only read.
    ///
    /// # Errors
    /// If the passphrase is wrong, the lab failed without a report, or the drill was stopped. A drill that took too long is not
    /// an error; see the report.
    pub fn hold(&self) -> Result<(Report, Vec<u8>)> {
        // First, so that a wrong passphrase fails at once.
        drop(self.site.keys().unseal(self.passphrase)?);
        self.site.make_folders()?;
        self.sweep()?;
        let work = self.site.join("tmp").join(format!("{WORK}{}", std::process::id()));
        std::fs::create_dir(&work).with_context(|| format!("creating {work}"))?;
        let outcome = self.run(&work);
        let _ = std::fs::remove_dir_all(&work);
        outcome
    }

    /// Removes files of drills whose process no longer exists.
    fn sweep(&self) -> Result<()> {
        let tmp = self.site.join("tmp");
        for entry in tmp.read_dir_utf8().with_context(|| format!("listing {tmp}"))? {
            let path = entry?.into_path();
            let owner = path.file_name().and_then(|n| n.strip_prefix(WORK)?.parse::<u32>().ok());
            if owner.is_some_and(|pid| !Utf8Path::new("/proc").join(pid.to_string()).exists()) {
                std::fs::remove_dir_all(&path).with_context(|| format!("removing {path}, left by a drill that was killed"))?;
            }
        }
        Ok(())
    }

    /// The passphrase is passed through a pipe: a killed drill leaves no secret on the disk.
    fn run(&self, work: &Utf8Path) -> Result<(Report, Vec<u8>)> {
        let report = work.join("report.json");
        let (said, screen) = std::io::pipe().context("creating a pipe for the lab's output")?;
        let tool = Tool::new(self.lab)
            .args(["drill", "--data", self.site.data.as_str(), "--passphrase-file", "/dev/stdin"])
            .args(["--report", report.as_str()])
            .stdin(self.passphrase.as_bytes())
            .stdout_to(File::from(OwnedFd::from(screen)))
            .cancel(self.stop);
        let run = std::thread::scope(|scope| {
            scope.spawn(move || tell(said, self.say));
            tool.run()
        });
        // A drill that was too slow fails with a report; any other failure has none.
        if !report.exists() {
            run.with_context(|| format!("running {}", self.lab)).hint("the last lines name the failed step and its log")?;
        }
        let bytes = read_limited(&report, MAX_REPORT)?;
        Ok((serde_json::from_slice(&bytes).context("reading the lab's report")?, bytes))
    }
}

/// Forwards lines until the other end is closed.
fn tell(said: std::io::PipeReader, say: &(dyn Fn(&str) + Sync)) {
    let mut reader = BufReader::new(said);
    let mut line = Vec::new();
    while let Ok(n) = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
        if n == 0 {
            return;
        }
        say(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
}

/// The lab's program.
///
/// # Errors
/// If it is not installed, as on an appliance.
pub fn find_lab() -> Result<Utf8PathBuf> {
    let own = std::env::current_exe().context("finding the path of this program")?;
    let own = Utf8PathBuf::from_path_buf(own).map_err(|p| anyhow!("{} is not UTF-8", p.display()))?;
    let beside = Some(own.with_file_name(LAB)).filter(|p| p.is_file());
    beside
        .or_else(|| find_program(LAB))
        .ok_or_else(|| anyhow!("{LAB} was not found next to this program or in PATH"))
        .hint("a drill boots virtual machines: run it on a workstation with a copy of the site's data and the lab (`just build`)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_becomes_a_sentence() {
        let text = r#"{"site": "a", "node": "n-1", "seconds": 125.4, "targetSeconds": 1800.0, "passed": true, "moments": {}}"#;
        let mut report: Report = serde_json::from_str(text).unwrap();
        assert_eq!(
            report.sentence(),
            "drill: node n-1 was restored 2 min 05 s after the loss of the site, within the target of 30 min 00 s"
        );
        assert_eq!(report.kind(), EventKind::DrillPassed);
        (report.passed, report.seconds) = (false, 3600.0);
        assert!(
            report.sentence().contains("60 min 00 s after the loss of the site, exceeding")
                && report.kind() == EventKind::DrillSlow
        );
    }
}
