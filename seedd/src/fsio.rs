//! Files that are either wholly there or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use anyhow::{Context as _, Result};
use camino::Utf8Path;

/// Writes to a temporary name, syncs, renames, syncs the directory. `mode` is the file's permission bits.
pub fn write_whole(path: &Utf8Path, bytes: &[u8], mode: u32) -> Result<()> {
    let dir = path.parent().filter(|p| !p.as_str().is_empty()).unwrap_or(Utf8Path::new("."));
    let temporary = path.with_file_name(format!(".{}.{}.part", path.file_name().unwrap_or("file"), std::process::id()));
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(dir)?.sync_all()
    };
    write().inspect_err(|_| drop(fs::remove_file(&temporary))).with_context(|| format!("writing {path}"))
}

/// Reads a file of at most `limit` bytes.
pub fn read_limited(path: &Utf8Path, limit: u64) -> Result<Vec<u8>> {
    use std::io::Read as _;
    let file = File::open(path).with_context(|| format!("opening {path}"))?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).with_context(|| format!("reading {path}"))?;
    anyhow::ensure!(bytes.len() as u64 <= limit, "{path} is larger than {limit} bytes");
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_modes() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = camino::Utf8PathBuf::from_path_buf(dir.path().join("f")).unwrap();
        write_whole(&path, b"12345", 0o600).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read_limited(&path, 5).unwrap(), b"12345");
        assert!(read_limited(&path, 4).is_err());
        assert!(write_whole(&path.join("below-a-file"), b"x", 0o600).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
