//! The end of an import. The database's commit decides; the files that belong to it are moved into place afterwards,
//! by whoever opens the site next if the importer was killed between the two.

use std::fs::{self, File};

use anyhow::{Context as _, Result};
use camino::Utf8Path;
use cluster_seed::capsule::Tree;

use crate::fsio::read_limited;
use crate::site::{Site, setting};
use crate::store::Store;

/// Folder of the data directory with what an import puts in place.
pub const STAGED: &str = "import.ready";
/// File in it: the capsule's id.
pub const ID: &str = "id";
/// Folder in it: what was replaced, until all of it is.
const REPLACED: &str = "replaced";
/// Held while a site's files are exchanged.
const LOCK: &str = "tmp/import.lock";

/// Puts in place what a committed import left to be done. Nothing to do is the usual case, and cheap.
pub fn settle(site: &Site, store: &Store) -> Result<()> {
    let staged = site.join(STAGED);
    if !staged.exists() {
        return Ok(());
    }
    let path = site.join(LOCK);
    let lock = File::create(&path).with_context(|| format!("opening {path}"))?;
    lock.lock().with_context(|| format!("locking {path}"))?;
    if !committed(&staged, store)? {
        return Ok(());
    }
    let replaced = staged.join(REPLACED);
    fs::create_dir_all(&replaced).with_context(|| format!("making {replaced}"))?;
    for tree in Tree::ALL {
        let from = staged.join(tree.as_str());
        if !from.is_dir() {
            continue;
        }
        for entry in from.read_dir_utf8().with_context(|| format!("listing {from}"))? {
            let name = entry?.file_name().to_owned();
            put(&from.join(&name), &site.join(tree.as_str()).join(&name), &replaced.join(format!("{}-{name}", tree.as_str())))?;
        }
    }
    put(&staged.join("cluster.yaml"), &site.cluster_file(), &replaced.join("cluster.yaml"))?;
    put(&staged.join("keys"), &site.join("keys"), &replaced.join("keys"))?;
    nix::unistd::syncfs(&File::open(&site.data)?).context("writing the imported site to the disk")?;
    // Renamed first: a folder that is half removed must not look like an import.
    let gone = site.join("tmp").join("import.done");
    if gone.exists() {
        fs::remove_dir_all(&gone).with_context(|| format!("removing {gone}"))?;
    }
    fs::rename(&staged, &gone).with_context(|| format!("removing {staged}"))?;
    fs::remove_dir_all(&gone).with_context(|| format!("removing {gone}"))
}

/// True if the database took over the rows of what is staged.
pub fn committed(staged: &Utf8Path, store: &Store) -> Result<bool> {
    let id = read_limited(&staged.join(ID), 128).unwrap_or_default();
    let imported = store.setting(setting::IMPORTED)?;
    Ok(!id.is_empty() && imported.is_some_and(|held| held.as_bytes() == id))
}

/// Moves `from` to `to`; what stood there goes aside. Safe to run again after any of its steps.
fn put(from: &Utf8Path, to: &Utf8Path, aside: &Utf8Path) -> Result<()> {
    if !from.exists() {
        return Ok(());
    }
    if fs::symlink_metadata(to).is_ok() {
        if fs::symlink_metadata(aside).is_ok() {
            let meta = fs::symlink_metadata(aside)?;
            let gone = if meta.is_dir() { fs::remove_dir_all(aside) } else { fs::remove_file(aside) };
            gone.with_context(|| format!("removing {aside}"))?;
        }
        fs::rename(to, aside).with_context(|| format!("putting {to} aside"))?;
    } else if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).with_context(|| format!("making {parent}"))?;
    }
    fs::rename(from, to).with_context(|| format!("placing {to}"))
}
