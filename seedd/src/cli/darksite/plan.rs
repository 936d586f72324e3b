//! `seedd darksite plan`

use anyhow::Result;
use camino::Utf8PathBuf;
use clap::Args;
use cluster_seed::progress::Progress as _;

use super::lock_file;
use super::logins::Logins;
use super::request::{Selection, Upstream};
use crate::cli::args::SiteArgs;
use crate::terminal::{Terminal, amount, watch_signals};

#[derive(Args)]
pub struct PlanVerb {
    #[command(flatten)]
    args: SiteArgs,
    #[command(flatten)]
    upstream: Upstream,
    #[command(flatten)]
    logins: Logins,
    #[command(flatten)]
    selection: Selection,
    /// Lock file to write; upstream's Release files and indexes go into FILE.d [default: DIR/darksite.lock]
    #[arg(long, value_name = "FILE")]
    lock: Option<Utf8PathBuf>,
}

impl PlanVerb {
    pub fn run(&self) -> Result<()> {
        watch_signals()?;
        let site = self.args.site();
        drop(site.open_store()?);
        let spec = site.spec()?;
        let keyring = self.upstream.keys()?;
        site.make_folders()?;
        let progress = Terminal::new();
        let request = self.selection.request(&site, &spec, &self.upstream, &progress)?;
        let plan = darksite::plan(&request, &self.logins.fetch()?, &keyring, &progress)?;
        for note in &plan.notes {
            progress.say(note);
        }
        drop(progress);
        let path = self.lock.clone().unwrap_or_else(|| lock_file(&site));
        darksite::write_lock(&plan, &path)?;
        let lock = &plan.lock;
        let value = serde_json::json!({
            "lock": path, "snapshot": lock.id(), "packages": lock.packages.len(), "bytes": lock.bytes(), "notes": plan.notes,
        });
        let text = format!(
            "{path} written: snapshot {}\n  {} packages, {}\n  next       `seedd darksite build --locked`",
            lock.id(),
            lock.packages.len(),
            amount(lock.bytes())
        );
        self.args.show(&value, &text)
    }
}
