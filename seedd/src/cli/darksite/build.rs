//! `seedd darksite build`

use anyhow::Result;
use camino::Utf8PathBuf;
use clap::Args;
use cluster_seed::progress::Progress as _;
use darksite::{AnyFetch, Plan};
use site::Site;
use site::putting::InUse;

use super::lock_file;
use super::logins::Logins;
use super::request::{Selection, Upstream};
use crate::cli::args::{PassphraseSource, SiteArgs};
use crate::cli::running;
use crate::terminal::{Terminal, amount, watch_signals};

#[derive(Args)]
pub struct Build {
    #[command(flatten)]
    args: SiteArgs,
    #[command(flatten)]
    passphrase: PassphraseSource,
    #[command(flatten)]
    upstream: Upstream,
    #[command(flatten)]
    logins: Logins,
    #[command(flatten)]
    selection: Selection,
    /// Build from this lock file instead of planning [default file: DIR/darksite.lock, written by `seedd darksite plan`]
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "", conflicts_with = "profile")]
    locked: Option<Utf8PathBuf>,
}

impl Build {
    pub fn run(&self) -> Result<()> {
        watch_signals()?;
        let site = self.args.site();
        let store = site.open_store()?;
        let passphrase = self.passphrase.get("Passphrase")?;
        site.make_folders()?;
        // Before the keys are opened: they are not changed while this is held.
        let _using = site.use_blobs()?;
        let keys = site.keys().unseal(&passphrase)?;
        let progress = Terminal::new();
        let fetch = self.logins.fetch()?;
        let plan = self.plan(&site, &fetch, &progress)?;
        for note in &plan.notes {
            progress.say(note);
        }
        progress.say(&format!("{} packages, {}", plan.lock.packages.len(), amount(plan.lock.bytes())));
        let snapshot = darksite::build(&plan, &site.darksite_paths(), &fetch, &keys.release, &keys.site, &progress)?;
        drop(progress);
        running::put_in_use(&self.args.dir, &store, &InUse { snapshot: Some(snapshot.id), ..InUse::default() })?;
        let m = &snapshot.manifest;
        let value = serde_json::json!({
            "snapshot": snapshot.id, "directory": snapshot.dir, "packages": m.packages, "bytes": m.bytes, "built": snapshot.built,
        });
        let word = if snapshot.built { "published" } else { "already exists" };
        let text =
            format!("snapshot {} {word}\n  {} packages, {}, in {}", snapshot.id, m.packages, amount(m.bytes), snapshot.dir);
        self.args.show(&value, &text)
    }

    fn plan(&self, site: &Site, fetch: &AnyFetch, progress: &Terminal) -> Result<Plan> {
        let spec = site.spec()?;
        let keyring = self.upstream.keys()?;
        let Some(file) = &self.locked else {
            let request = self.selection.request(site, &spec, &self.upstream, progress)?;
            return Ok(darksite::plan(&request, fetch, &keyring, progress)?);
        };
        let file = if file.as_str().is_empty() { lock_file(site) } else { file.clone() };
        let (lock, companion) = darksite::read_lock(&file)?;
        let sources = self.upstream.mirrors().sources_of_lock(&spec, &lock)?;
        Ok(darksite::from_lock(lock, companion, &sources, &site.darksite_paths(), fetch, &keyring, progress)?)
    }
}
