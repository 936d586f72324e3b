//! Reads from a set of extras and a snapshot what [`crate::kubernetes::lint`] compares.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::extras::{ExtrasManifest, ImageTag, OCI, Origin, TREE};
use cluster_seed::ids::Digest;
use host::files::{self, FileError};
use serde::Deserialize;

use crate::extras::ExtrasError;
use crate::extras::charts;
use crate::extras::debs::{COMPONENT, SUITE};
use crate::extras::oci::{MAX_DESCRIPTORS, MAX_MANIFEST, document};
use crate::format::index::{self, IndexError, MAX_INDEX};
use crate::format::lock::{LockError, MAX_LOCK, SnapshotLock};
use crate::kubernetes::have::{Chart, Have, Image, Package};

/// Architecture of the nodes.
const ARCH: &str = "amd64";

#[derive(Debug, thiserror::Error)]
pub enum GatherError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Extras(#[from] ExtrasError),
    #[error("reading the index {path}")]
    Index {
        path: Utf8PathBuf,
        #[source]
        source: IndexError,
    },
    #[error("reading lock file {path}")]
    Lock {
        path: Utf8PathBuf,
        #[source]
        source: LockError,
    },
    #[error("{path} is not UTF-8 text")]
    NotUtf8 { path: Utf8PathBuf },
    #[error("image {image}: {why}")]
    Image { image: String, why: String },
}

/// Adds what a set has. `set` is its folder.
pub fn of_extras(set: &Utf8Path, manifest: &ExtrasManifest, have: &mut Have) -> Result<(), GatherError> {
    let tree = set.join(TREE);
    for origin in &manifest.origins {
        match origin.kind.as_str() {
            "file" => _ = have.files.insert(origin.name.clone(), origin.sha256),
            "chart" => have.charts.push(chart(&tree, origin)?),
            _ => {}
        }
    }
    for tag in &manifest.images {
        have.images.push(image(set, tag)?);
    }
    let index = tree.join("apt/dists").join(SUITE).join(COMPONENT).join(format!("binary-{ARCH}/Packages"));
    if index.is_file() {
        packages(&index, true, have)?;
    }
    Ok(())
}

/// Adds the packages of a snapshot. `dir` is its folder.
pub fn of_snapshot(dir: &Utf8Path, have: &mut Have) -> Result<(), GatherError> {
    let path = dir.join("snapshot.lock");
    let lock = SnapshotLock::parse(&text(&path, MAX_LOCK as u64)?).map_err(|source| GatherError::Lock { path, source })?;
    let wanted = format!("/binary-{ARCH}/Packages");
    for file in lock.indexes.iter().filter(|f| f.path.ends_with(&wanted) && !f.path.contains("debian-installer")) {
        packages(&dir.join("dists").join(&lock.suite).join(&file.path), false, have)?;
    }
    Ok(())
}

fn text(path: &Utf8Path, limit: u64) -> Result<String, GatherError> {
    String::from_utf8(files::read_limited(path, limit)?).map_err(|_| GatherError::NotUtf8 { path: path.to_owned() })
}

fn packages(path: &Utf8Path, extra: bool, have: &mut Have) -> Result<(), GatherError> {
    let text = text(path, MAX_INDEX)?;
    let entries = index::parse(&text, ARCH, 0).map_err(|source| GatherError::Index { path: path.to_owned(), source })?;
    have.packages.extend(entries.iter().map(|e| Package {
        name: e.name.to_owned(),
        version: e.version.to_owned(),
        // A snapshot's dependencies were resolved when it was planned.
        depends: if extra { vec![e.pre_depends.to_owned(), e.depends.to_owned()] } else { Vec::new() },
        provides: e.provides.to_owned(),
        extra,
    }));
    Ok(())
}

fn chart(tree: &Utf8Path, origin: &Origin) -> Result<Chart, GatherError> {
    let (name, version) = (origin.name.as_str(), origin.version.as_str());
    let path = tree.join("charts").join(format!("{name}-{version}.tgz"));
    let (yaml, _) = charts::read(&path, name, version)?;
    let values = charts::values(&path, name, version)?;
    Ok(Chart {
        name: yaml.name,
        version: yaml.version,
        app_version: yaml.app_version.unwrap_or_default(),
        sha256: origin.sha256,
        values,
    })
}

/// An image's configuration (image-spec, "config"), as far as it says what it runs on.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    os: String,
    architecture: String,
}

/// Follows an image's documents: they were checked when the set was published, and are signed with it.
fn image(set: &Utf8Path, tag: &ImageTag) -> Result<Image, GatherError> {
    let bad = |why: String| GatherError::Image { image: format!("{}:{}", tag.name, tag.tag), why };
    let blob = |digest: &Digest| set.join(OCI).join("sha256").join(digest.to_string());
    let (mut manifests, mut platforms) = (BTreeSet::new(), BTreeSet::new());
    let mut waiting = vec![tag.digest];
    while let Some(digest) = waiting.pop() {
        if !manifests.insert(digest) {
            continue;
        }
        if manifests.len() > MAX_DESCRIPTORS {
            return Err(bad("the image has too many manifests".to_owned()));
        }
        let bytes = files::read_limited(&blob(&digest), MAX_MANIFEST)?;
        let document = document(&bytes, "").map_err(bad)?;
        let children = document.children.iter().filter_map(|c| c.digest.strip_prefix("sha256:")?.parse::<Digest>().ok());
        if document.index {
            // Other platforms may be absent.
            waiting.extend(children.filter(|d| blob(d).is_file()));
            continue;
        }
        // The first child is the configuration. A helm chart or a signature as an image has another one.
        let Some(config) = children.take(1).find(|d| blob(d).is_file()) else { continue };
        let bytes = files::read_limited(&blob(&config), MAX_MANIFEST)?;
        let config: Config = serde_json::from_slice(&bytes).unwrap_or_default();
        if !config.os.is_empty() && !config.architecture.is_empty() {
            platforms.insert(format!("{}/{}", config.os, config.architecture));
        }
    }
    Ok(Image { name: tag.name.clone(), tag: tag.tag.clone(), digest: tag.digest, manifests, platforms })
}
