//! Writing results: a temporary folder in `tmp`, synced, then renamed into its place.

use std::fs::{self, File};
use std::io::{Read, Write};

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::seal::{Sealable, Sealed, SigningKey};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, io};

/// A signed manifest read back is at most this long.
const MAX_MANIFEST: u64 = 32 << 20;

/// What the names of working folders begin with. A job that was killed leaves one; whoever knows that no job runs may
/// remove it.
pub const WORKDIRS: &[&str] = &["artifact-", "prove-", "toolroot-", "seedroot-", "seediso-", "installer-", "netboot-"];
/// What the name of a chunk in the making begins with.
pub const CHUNK_FILE: &str = "chunk-";

/// A working folder below `tmp`, removed with all in it when dropped. `prefix` is one of [`WORKDIRS`].
pub(crate) fn workdir(tmp: &Utf8Path, prefix: &str) -> Result<(tempfile::TempDir, Utf8PathBuf), Error> {
    debug_assert!(WORKDIRS.contains(&prefix), "{prefix} is not known to whoever cleans up");
    fs::create_dir_all(tmp).map_err(io("make", tmp))?;
    let dir = tempfile::Builder::new().prefix(prefix).tempdir_in(tmp).map_err(io("make a folder in", tmp))?;
    let path = Utf8Path::from_path(dir.path())
        .map(Utf8Path::to_owned)
        .ok_or_else(|| Error::Content("the data directory's name is not UTF-8".into()))?;
    Ok((dir, path))
}

pub(crate) fn write_synced(path: &Utf8Path, bytes: &[u8]) -> Result<(), Error> {
    let mut file = File::create(path).map_err(io("create", path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io("write", path))
}

pub(crate) fn sync_dir(path: &Utf8Path) -> Result<(), Error> {
    File::open(path).and_then(|d| d.sync_all()).map_err(io("sync", path))
}

/// Renames a finished folder to `to`. If somebody else was faster, theirs stays: it has the same name, so the same bytes.
pub(crate) fn publish(from: &Utf8Path, to: &Utf8Path) -> Result<(), Error> {
    let parent = to.parent().unwrap_or(to);
    fs::create_dir_all(parent).map_err(io("make", parent))?;
    sync_dir(from)?;
    if to.exists() {
        return fs::remove_dir_all(from).map_err(io("remove", from));
    }
    fs::rename(from, to).map_err(io("rename to", to))?;
    sync_dir(parent)
}

/// Digest and length of all that is left to read.
pub(crate) fn digest_rest(reader: &mut dyn Read) -> std::io::Result<(Digest, u64)> {
    let mut hash = Sha256::new();
    let mut size = 0;
    let mut buf = vec![0u8; 256 << 10];
    loop {
        let n = reader.read(&mut buf)?;
        if n == 0 {
            return Ok((Digest(hash.finalize().into()), size));
        }
        hash.update(&buf[..n]);
        size += n as u64;
    }
}

pub(crate) fn digest_file(path: &Utf8Path) -> Result<(Digest, u64), Error> {
    let mut file = File::open(path).map_err(io("open", path))?;
    digest_rest(&mut file).map_err(io("read", path))
}

pub(crate) fn write_sealed<T: Sealable>(path: &Utf8Path, document: &T, key: &SigningKey) -> Result<(), Error> {
    write_synced(path, &serde_json::to_vec(&Sealed::sign(document, key)?)?)
}

/// The document at `path` if it is there and signed by `key`.
pub(crate) fn read_sealed<T: Sealable>(path: &Utf8Path, key: &SigningKey) -> Option<T> {
    let mut text = Vec::new();
    File::open(path).ok()?.take(MAX_MANIFEST).read_to_end(&mut text).ok()?;
    serde_json::from_slice::<Sealed<T>>(&text).ok()?.open(&key.verifying_key()).ok()
}
