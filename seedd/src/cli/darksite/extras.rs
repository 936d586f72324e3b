//! `seedd darksite extras|lint`

use anyhow::{Result, anyhow};
use clap::{Args, Subcommand};
use cluster_seed::extras::ExtrasManifest;
use cluster_seed::ids::Digest;
use darksite::extras::{ExtrasError, Job};
use darksite::lint::{self, Finding};
use site::hint::Hint as _;
use site::putting::InUse;
use site::{Site, extras};

use super::can::Can;
use super::logins::Logins;
use crate::cli::args::{PassphraseSource, SiteArgs, show};
use crate::cli::running;
use crate::terminal::{Terminal, amount, watch_signals};
use crate::upstream::judged;

#[derive(Subcommand)]
pub enum Extras {
    /// Fetch, verify and publish the extras that cluster.yaml lists
    Fetch(Fetch),
    /// List the extras in use
    List(List),
    /// Verify every byte of the extras in use
    Verify(List),
}

impl Extras {
    pub fn run(&self) -> Result<()> {
        watch_signals()?;
        match self {
            Extras::Fetch(v) => v.run(),
            Extras::List(v) => v.list(),
            Extras::Verify(v) => v.verify(),
        }
    }
}

#[derive(Args)]
pub struct Fetch {
    #[command(flatten)]
    args: SiteArgs,
    #[command(flatten)]
    passphrase: PassphraseSource,
    #[command(flatten)]
    logins: Logins,
    /// Ignore the local clock when checking upstream signatures, because it is wrong
    #[arg(long)]
    ignore_clock: bool,
}

impl Fetch {
    fn run(&self) -> Result<()> {
        let site = self.args.site();
        let store = site.open_store()?;
        let spec = site.spec()?.spec.extras;
        if spec.is_empty() {
            return Err(anyhow!("cluster.yaml lists no extras")).hint("see docs/extras.md");
        }
        payload_lint()?;
        let passphrase = self.passphrase.get("Passphrase")?;
        site.make_folders()?;
        // Before the keys are opened: they are not changed while this is held.
        let _using = site.use_blobs()?;
        let keys = site.keys().unseal(&passphrase)?;
        // A set that cannot be read is of no use here, and no reason to fail.
        let previous = extras::current(&site, &store).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read the extras in use");
            None
        });
        let progress = Terminal::new();
        let clock = judged(self.ignore_clock, &progress)?;
        let fetch = self.logins.fetch()?;
        let (places, sets) = (site.darksite_paths(), site.join("extras"));
        let job = Job {
            spec: &spec,
            paths: &places,
            sets: &sets,
            fetch: &fetch,
            clock,
            release_key: &keys.release,
            site_key: &keys.site,
            previous: previous.as_ref(),
            progress: &progress,
        };
        let (manifest, fresh) = darksite::extras::build(&job)?;
        drop(progress);
        running::put_in_use(&self.args.dir, &store, &InUse { extras: Some(manifest.id), ..InUse::default() })?;
        let word = if fresh { "published" } else { "already exist" };
        self.args.show(&value(&manifest), &format!("extras {} {word}\n{}", manifest.id, table(&manifest)))
    }
}

fn value(m: &ExtrasManifest) -> serde_json::Value {
    let bytes: u64 = m.files.iter().map(|f| f.size).sum();
    serde_json::json!({"extras": m.id, "bytes": bytes, "origins": m.origins, "images": m.images})
}

fn table(m: &ExtrasManifest) -> String {
    let mut lines = Vec::new();
    for o in &m.origins {
        let signed = o.signed_by.as_ref().map(|by| format!(", signed by {by}")).unwrap_or_default();
        let version = if o.version.is_empty() { String::new() } else { format!(" {}", o.version) };
        lines.push(format!("  {:8} {}{version}  {}, sha256 {}{signed}", o.kind, o.name, amount(o.size), o.sha256.short()));
    }
    lines.join("\n")
}

#[derive(Args)]
pub struct List {
    #[command(flatten)]
    args: SiteArgs,
}

impl List {
    fn current(&self) -> Result<(Site, ExtrasManifest)> {
        let site = self.args.site();
        let found = extras::current(&site, &site.open_store()?)?;
        let manifest =
            found.ok_or_else(|| anyhow!("no extras are in use")).hint("fetch them with `seedd darksite extras fetch`")?;
        Ok((site, manifest))
    }

    fn list(&self) -> Result<()> {
        let (_, m) = self.current()?;
        self.args.show(&value(&m), &format!("extras {}\n{}", m.id, table(&m)))
    }

    fn verify(&self) -> Result<()> {
        use cluster_seed::progress::Progress as _;
        let (site, m) = self.current()?;
        let dir = site.extras_dir(m.id);
        let progress = Terminal::new();
        let total: u64 = m.files.iter().map(|f| f.size).sum();
        progress.begin("verifying", Some(total));
        let mut wrong = Vec::new();
        for file in &m.files {
            let found = host::files::digest_file(&dir.join(&file.name), &progress);
            match found {
                Ok((size, sha256)) if (size, sha256) == (file.size, file.sha256) => {}
                Ok(_) => wrong.push(format!("{} (wrong sha256)", file.name)),
                Err(host::files::FileError::Cancelled) => return Err(anyhow!("stopped on request")),
                Err(e) => wrong.push(format!("{} ({e})", file.name)),
            }
        }
        progress.end();
        drop(progress);
        if !wrong.is_empty() {
            wrong.truncate(100);
            return Err(anyhow!("{} files of the extras are damaged: {}", wrong.len(), wrong.join(", ")))
                .hint("delete the blobs with these digests and fetch the extras again");
        }
        let value = serde_json::json!({"extras": m.id, "files": m.files.len(), "bytes": total});
        self.args.show(&value, &format!("extras {} verified: {} files, {}", m.id, m.files.len(), amount(total)))
    }
}

#[derive(Args)]
pub struct Lint {
    #[command(flatten)]
    args: SiteArgs,
    /// Search these files instead of the site's extras
    #[arg(value_name = "FILE")]
    files: Vec<camino::Utf8PathBuf>,
    #[command(flatten)]
    can: Can,
}

/// The agent's files and the preseed's template.
fn payload_findings() -> Vec<Finding> {
    let mut found = Vec::new();
    for asset in image::node_assets::files() {
        found.extend(lint::bytes(&format!("payload {}", asset.path), asset.bytes));
    }
    found.extend(lint::bytes("payload preseed", image::preseed::TEMPLATE.as_bytes()));
    found
}

/// Refuses to publish while the agent's own files have findings.
pub fn payload_lint() -> Result<()> {
    let found = payload_findings();
    if found.is_empty() { Ok(()) } else { Err(ExtrasError::Secrets(found).into()) }
}

impl Lint {
    pub fn run(&self) -> Result<()> {
        watch_signals()?;
        if self.can.is_asked() {
            return self.can.run(&self.args);
        }
        let mut found = payload_findings();
        let mut looked = image::node_assets::files().len() + 1;
        for file in &self.files {
            found.extend(lint::file(file, file.as_str())?);
            looked += 1;
        }
        if self.files.is_empty() && self.args.site().exists() {
            looked += self.of_site(&mut found)?;
        }
        let rows: Vec<_> = found.iter().map(|f| serde_json::json!({"place": f.place, "what": f.what})).collect();
        if found.is_empty() {
            let text = format!("{looked} files searched: no private keys, no password hashes");
            return self.args.show(&serde_json::json!({"looked": looked, "findings": rows}), &text);
        }
        if self.args.json {
            show(true, &serde_json::json!({"looked": looked, "findings": rows}), "")?;
        }
        Err(ExtrasError::Secrets(found).into())
    }

    fn of_site(&self, found: &mut Vec<Finding>) -> Result<usize> {
        let site = self.args.site();
        let allowed: Vec<Digest> = site.spec()?.spec.extras.lint_allow.iter().map(|a| a.sha256).collect();
        let Some(m) = extras::current(&site, &site.open_store()?)? else { return Ok(0) };
        let dir = site.extras_dir(m.id);
        // An allowed image was fetched as one archive; its blobs are allowed with it.
        let from_allowed =
            |name: &str| name.starts_with("oci/") && m.origins.iter().any(|o| o.kind == "image" && allowed.contains(&o.sha256));
        let mut looked = 0;
        for file in m.files.iter().filter(|f| !allowed.contains(&f.sha256) && !from_allowed(&f.name)) {
            found.extend(lint::file(&dir.join(&file.name), &file.name)?);
            looked += 1;
        }
        Ok(looked)
    }
}
