//! The last step of a change of keys, which may be repeated.

use std::fs::{self, File};

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use host::files::{PRIVATE, Start, open, read_limited, sync_dir};

use super::what::AfterStep;
use crate::store::Store;
use crate::{Site, setting};

/// Folder in `keys/` with the new files.
const FOLDER: &str = "rotate";
/// File in it, written last: the id of the change.
pub(super) const ID: &str = "id";
/// Held while a change of keys is made or finished.
const LOCK: &str = "tmp/rotate.lock";

pub(super) fn folder(site: &Site) -> Utf8PathBuf {
    site.join("keys").join(FOLDER)
}

/// Waits for another change of keys.
pub(super) fn lock(site: &Site) -> Result<File> {
    let path = site.join(LOCK);
    let file = open(&path, Start::Keep, PRIVATE).with_context(|| format!("opening {path}"))?;
    file.lock().with_context(|| format!("locking {path}"))?;
    Ok(file)
}

/// Ends an interrupted change of keys: forward if its transaction was committed, else back. Usually there is nothing to do,
/// which is cheap.
pub fn settle(site: &Site, store: &Store) -> Result<()> {
    if !folder(site).exists() {
        return Ok(());
    }
    let _lock = lock(site)?;
    finish(site, store)
}

/// The same, with the lock held.
pub(super) fn finish(site: &Site, store: &Store) -> Result<()> {
    let folder = folder(site);
    if !folder.exists() {
        return Ok(());
    }
    if is_committed(&folder, store)? {
        return put_in_place(site, &mut |_| Ok(()));
    }
    fs::remove_dir_all(&folder).with_context(|| format!("removing {folder}"))?;
    Ok(sync_dir(&site.join("keys"))?)
}

/// True if the database has what belongs to the staged files.
pub(super) fn is_committed(folder: &Utf8Path, store: &Store) -> Result<bool> {
    let id = read_limited(&folder.join(ID), 128).unwrap_or_default();
    let committed = store.setting(setting::ROTATED)?;
    Ok(!id.is_empty() && committed.is_some_and(|held| held.as_bytes() == id))
}

/// Moves the staged files into place. The id goes last: until then the change is committed, and this is repeated.
pub(super) fn put_in_place(site: &Site, after: AfterStep<'_>) -> Result<()> {
    let (keys, folder) = (site.join("keys"), folder(site));
    let mut names: Vec<String> = Vec::new();
    for entry in folder.read_dir_utf8().with_context(|| format!("listing {folder}"))? {
        names.push(entry?.file_name().to_owned());
    }
    // A hidden one is what a killed writer left.
    names.retain(|name| name != ID && !name.starts_with('.'));
    names.sort();
    for name in names {
        let to = keys.join(&name);
        fs::rename(folder.join(&name), &to).with_context(|| format!("moving {to} into place"))?;
        after(&name)?;
    }
    sync_dir(&keys)?;
    fs::remove_file(folder.join(ID)).with_context(|| format!("removing {folder}/{ID}"))?;
    after("id removed")?;
    fs::remove_dir_all(&folder).with_context(|| format!("removing {folder}"))?;
    sync_dir(&keys)?;
    after("folder removed")
}
