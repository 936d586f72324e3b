//! `seedd darksite`: one file per verb.

mod build;
mod bundle;
mod can;
mod diff;
mod extras;
mod life;
mod logins;
mod plan;
mod prove;
mod request;
mod why;

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8PathBuf;
use clap::Subcommand;
use cluster_seed::ids::Digest;
use site::Site;
use site::hint::Hint as _;

#[derive(Subcommand)]
pub enum Darksite {
    /// Resolve the packages of all roles and write the lock file
    ///
    /// Upstream's signatures and indexes are verified. Nothing is downloaded but metadata.
    #[command(after_long_help = "\
Example:
  seedd darksite plan && seedd darksite build --locked")]
    Plan(plan::PlanVerb),
    /// Build and publish a signed snapshot of the packages that all roles need
    ///
    /// Resolves, downloads, verifies, signs, and puts the snapshot in use. If it is interrupted, run the same command again
    /// to resume.
    #[command(after_long_help = "\
Examples:
  seedd darksite build
  seedd darksite build --mirror /srv/mirror/debian --security-mirror none
  seedd darksite build --locked")]
    Build(build::Build),
    /// Show what changed between two snapshots or lock files
    #[command(after_long_help = "\
Example:
  seedd darksite diff 3f2a 9c41")]
    Diff(diff::Diff),
    /// Show why a package is in a snapshot
    #[command(after_long_help = "\
Example:
  seedd darksite why libssl3t64")]
    Why(why::WhyVerb),
    #[command(flatten)]
    Life(life::Life),
    /// Fetch and verify files, images, charts and packages from other sources
    #[command(subcommand)]
    Extras(extras::Extras),
    /// Write the extras section for a platform, with every digest, on a machine with internet access
    #[command(subcommand)]
    Bundle(bundle::Bundle),
    /// Write a bill of materials of a snapshot as SPDX 2.3 JSON
    Sbom(super::sbom::OfSnapshot),
    /// Search extras and node files for private keys and password hashes
    ///
    /// With --can kubernetes, say instead whether nodes can run Kubernetes from the snapshot and the extras in use: images,
    /// packages and versions are compared with what kubeadm and the charts ask for. No network is used.
    #[command(after_long_help = "\
Examples:
  seedd darksite lint
  seedd darksite lint --can kubernetes
  seedd darksite lint --can kubernetes --kubernetes 1.36.2 --cilium 1.18.5 --json

Exit status:
  0  nothing found, or the platform can run
  1  findings, one per line")]
    Lint(extras::Lint),
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
            Darksite::Bundle(v) => v.run(),
            Darksite::Sbom(v) => v.run(),
            Darksite::Lint(v) => v.run(),
        }
    }
}

/// The default lock file.
fn lock_file(site: &Site) -> Utf8PathBuf {
    site.join("darksite.lock")
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
        (Some(_), Some(_)) => Err(anyhow!("more than one snapshot begins with {begin}")).hint("use more digits of the id"),
        _ => Err(anyhow!("{begin:?} is neither a lock file nor a snapshot")).hint("`seedd darksite list` lists the snapshots"),
    }
}
