//! `seedd darksite`

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow};
use camino::{Utf8Path, Utf8PathBuf};
use clap::{Args, Subcommand};
use cluster_seed::cluster::ClusterSpec;
use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress as _;
use darksite::{AnyFetch, Clock, HttpLimits, Keyring, Paths, PlanRequest, Source};

use super::{PassphraseSource, Where, show};
use crate::app::now;
use crate::fsio::read_limited;
use crate::hint::Hint as _;
use crate::site::{Site, setting};
use crate::terminal::{Terminal, amount, watch_signals};

/// Where Debian keeps the keys of its archive (package debian-archive-keyring).
const DEBIAN_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const MAX_KEYRING: u64 = 4 << 20;
const MAX_SOURCES: u64 = 1 << 20;

#[derive(Subcommand)]
pub enum Darksite {
    /// Resolve, fetch, check and publish a snapshot of everything the roles need
    Build(Build),
    #[command(flatten)]
    Life(super::darksite_life::Life),
    /// Files, images, charts and packages from elsewhere
    #[command(subcommand)]
    Extras(super::darksite_extras::Extras),
    Sbom(super::sbom::OfSnapshot),
    /// Look for private keys and password hashes in extras and payload
    Lint(super::darksite_extras::Lint),
}

#[derive(Args)]
pub struct Build {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// Mirror to take packages from: a URL or a directory; wins over cluster.yaml and apt's configuration
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    /// Upstream's keys
    #[arg(long, value_name = "FILE", default_value = DEBIAN_KEYRING)]
    keyring: Utf8PathBuf,
    /// This machine's clock is wrong: judge upstream's dates by themselves
    #[arg(long)]
    ignore_clock: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

impl Darksite {
    pub fn run(&self) -> Result<()> {
        match self {
            Darksite::Build(v) => v.run(),
            Darksite::Life(v) => v.run(),
            Darksite::Extras(v) => v.run(),
            Darksite::Sbom(v) => v.run(),
            Darksite::Lint(v) => v.run(),
        }
    }
}

/// Gives a darksite error its hint.
fn hinted<T>(result: Result<T, darksite::Error>) -> Result<T> {
    match result {
        Ok(value) => Ok(value),
        Err(e) => match e.hint() {
            Some(hint) => Err(e).hint(hint),
            None => Err(e.into()),
        },
    }
}

/// Root packages by purpose: each role's, what images are built with, what nodes may install later.
fn roots(spec: &ClusterSpec) -> BTreeMap<String, Vec<String>> {
    let sorted = |mut list: Vec<String>| {
        list.sort();
        list.dedup();
        list
    };
    let own = |list: &[&str]| list.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
    let mut roots = BTreeMap::new();
    for (name, role) in &spec.spec.roles {
        let mut packages = own(image::BASE_PACKAGES);
        packages.extend(own(payload::assets::NODE_PACKAGES));
        packages.extend(role.packages.iter().cloned());
        roots.insert(name.clone(), sorted(packages));
    }
    // Role names have no dot, so these cannot collide with one.
    roots.insert("kubedos.tools".to_owned(), sorted(own(image::TOOL_PACKAGES)));
    roots.insert("kubedos.seed".to_owned(), sorted(own(image::SEED_PACKAGES)));
    if !spec.spec.darksite.packages.is_empty() {
        roots.insert("kubedos.extra".to_owned(), sorted(spec.spec.darksite.packages.clone()));
    }
    roots
}

fn apt_configuration() -> Result<String> {
    let mut text = String::new();
    let mut files = vec![Utf8PathBuf::from("/etc/apt/sources.list")];
    if let Ok(dir) = Utf8Path::new("/etc/apt/sources.list.d").read_dir_utf8() {
        files.extend(dir.filter_map(|e| Some(e.ok()?.into_path())).filter(|p| matches!(p.extension(), Some("sources" | "list"))));
    }
    files.sort();
    for file in files.iter().filter(|f| f.exists()) {
        text.push_str(&String::from_utf8_lossy(&read_limited(file, MAX_SOURCES)?));
        text.push('\n');
        text.push('\n');
    }
    Ok(text)
}

fn find_mirror(flag: Option<&String>, spec: &ClusterSpec) -> Result<String> {
    let found = match flag.or(spec.spec.darksite.mirror.as_ref()) {
        Some(mirror) => mirror.clone(),
        None => darksite::mirror_from_apt(&apt_configuration()?)
            .ok_or_else(|| anyhow!("apt's configuration names no Debian mirror"))
            .hint("name one with --mirror or darksite.mirror in cluster.yaml")?,
    };
    if let Some(path) = found.strip_prefix('/') {
        return Ok(format!("file:///{path}"));
    }
    if !["http://", "https://", "file://"].iter().any(|s| found.starts_with(s)) {
        return Err(anyhow!("{found:?} is not a mirror")).hint("a mirror is a URL (http, https, file) or an absolute directory");
    }
    Ok(found)
}

pub fn paths(site: &Site) -> Paths {
    Paths { blobs: site.join("blobs"), snapshots: site.join("snapshots"), tmp: site.join("tmp") }
}

impl Build {
    fn run(&self) -> Result<()> {
        watch_signals()?;
        let site = self.place.site();
        let store = site.open_store()?;
        let spec = site.spec()?;
        let upstream = Keyring::from_bytes(&read_limited(&self.keyring, MAX_KEYRING)?)
            .with_context(|| format!("reading {}", self.keyring))
            .hint("install debian-archive-keyring, or name the mirror's keys with --keyring")?;
        let mirror = find_mirror(self.mirror.as_ref(), &spec)?;
        let keys = site.keys().unseal(&self.passphrase.get("Passphrase")?)?;
        let d = &spec.spec.darksite;
        let mut sources = vec![Source { mirror: mirror.clone(), suite: d.suite.clone() }];
        if d.updates {
            sources.push(Source { mirror, suite: format!("{}-updates", d.suite) });
        }
        let clock = match self.ignore_clock {
            true => Clock::OfFile,
            false => Clock::At(jiff::Timestamp::from_second(i64::try_from(now())?).context("reading the clock")?),
        };
        let request = PlanRequest {
            sources,
            components: d.components.clone(),
            arch: d.architecture.clone(),
            roots: roots(&spec),
            suite_name: d.suite.clone(),
            clock,
            recommends: false,
        };
        let progress = Terminal::new();
        let fetch = AnyFetch::new(HttpLimits::default());
        site.make_folders()?;
        let _using = site.use_blobs()?;
        let plan = hinted(darksite::plan(&request, &fetch, &upstream, &progress))?;
        progress.say(&format!("{} packages, {}", plan.packages.len(), amount(plan.packages.iter().map(|p| p.locked.size).sum())));
        let snapshot = hinted(darksite::build(&plan, &paths(&site), &fetch, &keys.release, &keys.site, &progress))?;
        drop(progress);
        store.set(setting::SNAPSHOT, &snapshot.id.to_string())?;
        let m = &snapshot.manifest;
        let value = serde_json::json!({
            "snapshot": snapshot.id, "directory": snapshot.dir, "packages": m.packages, "bytes": m.bytes, "built": snapshot.built,
        });
        let word = if snapshot.built { "published" } else { "was there already" };
        let text =
            format!("snapshot {} {word}\n  {} packages, {}, in {}", snapshot.id, m.packages, amount(m.bytes), snapshot.dir);
        show(self.json, &value, &text)
    }
}

/// The snapshot in use.
pub fn current(site: &Site) -> Result<Digest> {
    crate::life::snapshots::current(&site.open_store()?)
}
