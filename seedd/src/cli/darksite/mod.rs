//! `seedd darksite`: one file per verb.

mod build;
mod diff;
mod plan;
mod request;
mod why;

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8PathBuf;
use clap::Subcommand;
use cluster_seed::ids::Digest;
use darksite::Paths;

use site::Site;
use site::hint::Hint as _;

pub use request::{judged, upstream_sources};

#[derive(Subcommand)]
pub enum Darksite {
    /// Resolve everything the roles need and write the lock file
    Plan(plan::PlanVerb),
    /// Resolve, fetch, check and publish a snapshot of everything the roles need
    Build(build::Build),
    /// What changed between two snapshots or lock files
    Diff(diff::Diff),
    /// Why a package is in a snapshot
    Why(why::WhyVerb),
    #[command(flatten)]
    Life(super::darksite_life::Life),
    /// Files, images, charts and packages from elsewhere
    #[command(subcommand)]
    Extras(super::darksite_extras::Extras),
    Sbom(super::sbom::OfSnapshot),
    /// Look for private keys and password hashes in extras and payload
    Lint(super::darksite_extras::Lint),
}

impl Darksite {
    pub fn run(&self) -> Result<()> {
        match self {
            Darksite::Plan(v) => v.run(),
            Darksite::Build(v) => v.run(),
            Darksite::Diff(v) => v.run(),
            Darksite::Why(v) => v.run(),
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

pub fn paths(site: &Site) -> Paths {
    let cache = site.join("cache/darksite");
    Paths { blobs: site.join("blobs"), snapshots: site.join("snapshots"), tmp: site.join("tmp"), cache }
}

/// Where the lock file is if no other is named.
fn lock_file(site: &Site) -> Utf8PathBuf {
    site.join("darksite.lock")
}

/// The snapshot in use.
pub fn current(site: &Site) -> Result<Digest> {
    site::snapshots::current(&site.open_store()?)
}

/// The directory of a snapshot by the beginning of its id.
fn snapshot_dir(site: &Site, begin: &str) -> Result<Utf8PathBuf> {
    let dir = site.join("snapshots");
    let entries = dir.read_dir_utf8().with_context(|| format!("listing {dir}"))?;
    let mut found: Vec<Utf8PathBuf> = entries
        .filter_map(|e| Some(e.ok()?.into_path()))
        .filter(|p| p.file_name().is_some_and(|n| n.starts_with(begin) && n.parse::<Digest>().is_ok()))
        .collect();
    match (found.pop(), found.pop()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => Err(anyhow!("more than one snapshot begins with {begin}")).hint("give more digits of the id"),
        _ => Err(anyhow!("{begin:?} is neither a lock file nor a snapshot")).hint("`seedd darksite list` shows the snapshots"),
    }
}
