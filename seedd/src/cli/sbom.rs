//! `seedd darksite sbom` and `seedd image sbom`

use std::collections::BTreeMap;
use std::io::Write as _;

use anyhow::{Context as _, Result, anyhow, ensure};
use camino::Utf8PathBuf;
use clap::Args;
use cluster_seed::ids::Digest;
use cluster_seed::manifest::{ArtifactManifest, ArtifactPackages, SnapshotManifest};
use darksite::SnapshotLock;
use darksite::lock::MAX_LOCK;
use darksite::sbom::{Part, Subject, parts_of_extras, parts_of_index, render};
use host::files::{read_limited, write_atomic};
use host::sealed;
use site::hint::Hint as _;
use site::{Site, artifacts, extras, snapshots};

use super::args::DataDir;

const MAX_INDEX: u64 = 512 << 20;
const MAX_LIST: u64 = 32 << 20;

#[derive(Args)]
pub struct OfSnapshot {
    #[command(flatten)]
    args: DataDir,
    /// Id of the snapshot [default: the one in use]
    snapshot: Option<Digest>,
    /// Include the extras in use
    #[arg(long)]
    extras: bool,
    /// File to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<Utf8PathBuf>,
}

#[derive(Args)]
pub struct OfArtifact {
    #[command(flatten)]
    args: DataDir,
    /// Role of the artifact
    role: String,
    /// File to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<Utf8PathBuf>,
}

fn put(out: Option<&Utf8PathBuf>, text: &str) -> Result<()> {
    match out {
        Some(path) => Ok(write_atomic(path, text.as_bytes(), 0o644)?),
        None => std::io::stdout().lock().write_all(text.as_bytes()).context("writing the bill of materials"),
    }
}

/// The packages that a snapshot's lock names, as its indexes describe them.
fn snapshot_parts(site: &Site, manifest: &SnapshotManifest) -> Result<(SnapshotLock, Vec<Part>)> {
    let dir = site.snapshot(manifest.id);
    let bytes = read_limited(&dir.join("snapshot.lock"), MAX_LOCK as u64)?;
    ensure!(Digest::of(&bytes) == manifest.id, "the lock file of snapshot {} was modified", manifest.id);
    let lock = SnapshotLock::parse(std::str::from_utf8(&bytes)?)?;
    let mut wanted: BTreeMap<Digest, ()> = lock.packages.iter().map(|p| (p.sha256, ())).collect();
    let mut parts = Vec::new();
    for component in &manifest.components {
        for arch in manifest.architectures.iter().filter(|a| *a != "all") {
            let path = dir.join("dists").join(&manifest.suite).join(format!("{component}/binary-{arch}/Packages"));
            if !path.is_file() {
                continue;
            }
            let text = String::from_utf8(read_limited(&path, MAX_INDEX)?).with_context(|| format!("reading {path}"))?;
            // A package for all architectures is in each index.
            parts.extend(parts_of_index(&text).into_iter().filter(|p| wanted.remove(&p.sha256).is_some()));
        }
    }
    if let Some(digest) = wanted.keys().next() {
        return Err(anyhow!("no index of the snapshot lists the package with sha256 {digest}"))
            .hint("`seedd darksite verify` shows what is damaged");
    }
    Ok((lock, parts))
}

fn subject(site: &Site, kind: &'static str, id: Digest, name: String, version: String, lock: &SnapshotLock) -> Result<Subject> {
    Ok(Subject {
        kind,
        name,
        id,
        version,
        created: lock.date(),
        tool: format!("seedd-{}", env!("CARGO_PKG_VERSION")),
        supplier: site.spec()?.metadata.name.to_string(),
    })
}

impl OfSnapshot {
    pub fn run(&self) -> Result<()> {
        let site = self.args.site();
        let store = site.open_store()?;
        let id = self.snapshot.map_or_else(|| snapshots::current(&store), Ok)?;
        let held = snapshots::one(&site, &store, id)?;
        let (lock, mut parts) = snapshot_parts(&site, &held.manifest)?;
        if self.extras {
            let found = extras::current(&site, &store)?;
            parts.extend(parts_of_extras(&found.ok_or_else(|| anyhow!("no extras are in use"))?));
        }
        let name = format!("Kubedos snapshot of Debian {}", held.manifest.suite);
        let subject = subject(&site, "snapshot", id, name, id.short(), &lock)?;
        put(self.out.as_ref(), &render(&subject, &parts)?)
    }
}

impl OfArtifact {
    pub fn run(&self) -> Result<()> {
        let site = self.args.site();
        let store = site.open_store()?;
        let found = artifacts::of_role(&site, &store, &self.role, &site.keys().public()?.site_key()?)?;
        let manifest =
            found.ok_or_else(|| anyhow!("role {:?} has no artifact", self.role)).hint("build it with `seedd image build`")?;
        put(self.out.as_ref(), &of_artifact(&site, &manifest)?)
    }
}

/// The bill of materials of an artifact.
pub fn of_artifact(site: &Site, manifest: &ArtifactManifest) -> Result<String> {
    let installed = installed(site, manifest.id)?;
    let held = snapshots::one(site, &site.open_store()?, manifest.spec.snapshot)
        .hint("a bill of materials needs the snapshot that the artifact was built from")?;
    let (lock, parts) = parts_of(site, &held.manifest, &installed)?;
    let name = format!("Kubedos artifact of role {}", manifest.spec.role);
    Ok(render(&subject(site, "artifact", manifest.id, name, manifest.id.short(), &lock)?, &parts)?)
}

/// The bill of materials of a snapshot, without extras.
pub fn of_snapshot(site: &Site, id: Digest) -> Result<String> {
    let held = snapshots::one(site, &site.open_store()?, id)?;
    let (lock, parts) = snapshot_parts(site, &held.manifest)?;
    let name = format!("Kubedos snapshot of Debian {}", held.manifest.suite);
    Ok(render(&subject(site, "snapshot", id, name, id.short(), &lock)?, &parts)?)
}

/// The installed packages, as the snapshot describes them.
fn parts_of(site: &Site, snapshot: &SnapshotManifest, installed: &ArtifactPackages) -> Result<(SnapshotLock, Vec<Part>)> {
    let (lock, all) = snapshot_parts(site, snapshot)?;
    let by_name: BTreeMap<_, _> = all.into_iter().map(|p| (format!("{} {} {}", p.name, p.version, p.arch), p)).collect();
    let find = |line: &String| {
        by_name.get(line).cloned().ok_or_else(|| anyhow!("the artifact has {line}, which is not in its snapshot"))
    };
    let parts = installed.packages.iter().map(find).collect::<Result<Vec<_>>>()?;
    Ok((lock, parts))
}

/// The list of packages that was written when the artifact was built.
fn installed(site: &Site, artifact: Digest) -> Result<ArtifactPackages> {
    let path = site.join("artifacts").join(artifact.to_string()).join("packages.json");
    if !path.is_file() {
        return Err(anyhow!("artifact {} has no package list", artifact.short()))
            .hint("it came from a medium or an older version; build it here with `seedd image build`");
    }
    let list: ArtifactPackages = sealed::read(&path, &site.keys().public()?.site_key()?, MAX_LIST)?;
    ensure!(list.artifact == artifact, "{path} belongs to another artifact");
    Ok(list)
}
