//! Working directories, and publishing what is finished: built in `tmp`, flushed, then renamed into place.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::seal::{Sealable, Sealed, SigningKey};
use host::files::{create_dirs, failed, sync_dir, write_synced};

use crate::error::Error;

/// Prefixes of the working directories in `tmp`. A killed job leaves its directory behind; it can be removed while no job
/// is running.
pub const WORKDIRS: &[&str] =
    &["artifact-", "prove-", "toolroot-", "seedroot-", "seediso-", "enrolliso-", "installer-", "netboot-", "output-"];

/// A working directory below `tmp`, removed with its content when dropped. `prefix` is one of [`WORKDIRS`].
pub(crate) fn workdir(tmp: &Utf8Path, prefix: &str) -> Result<(tempfile::TempDir, Utf8PathBuf), Error> {
    debug_assert!(WORKDIRS.contains(&prefix), "garbage collection does not know {prefix}");
    create_dirs(tmp)?;
    let dir = tempfile::Builder::new().prefix(prefix).tempdir_in(tmp).map_err(failed("creating a directory in", tmp))?;
    let path = Utf8Path::from_path(dir.path())
        .map(Utf8Path::to_owned)
        .ok_or_else(|| Error::Content("the name of the data directory is not UTF-8".into()))?;
    Ok((dir, path))
}

/// Renames a finished directory to `to`. If another job was faster, its result stays: the same name means the same bytes.
pub(crate) fn publish(from: &Utf8Path, to: &Utf8Path) -> Result<(), Error> {
    let parent = to.parent().unwrap_or(to);
    create_dirs(parent)?;
    sync_dir(from)?;
    if to.exists() {
        fs::remove_dir_all(from).map_err(failed("removing", from))?;
        return Ok(());
    }
    fs::rename(from, to).map_err(failed("renaming to", to))?;
    Ok(sync_dir(parent)?)
}

/// Signs a document and writes it to `path`.
pub(crate) fn write_sealed<T: Sealable>(path: &Utf8Path, document: &T, key: &SigningKey) -> Result<(), Error> {
    Ok(write_synced(path, &serde_json::to_vec(&Sealed::sign(document, key)?)?)?)
}
