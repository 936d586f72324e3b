//! The archive: tar, compressed by zstd. The same files give the same bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Write};

use anyhow::{Context as _, Result, ensure};
use camino::Utf8Path;
use cluster_seed::converge::payload::FileEntry;
use host::files::{digest_reader, read_limited};

use super::gather::{Origin, Part, Parts};

/// Of zstd. One thread, so that the bytes do not depend on the machine.
const LEVEL: i32 = 10;

/// Writes the archive; returns what is in it.
pub(super) fn write(parts: &Parts, to: File) -> Result<BTreeMap<String, FileEntry>> {
    let zstd = zstd::Encoder::new(to, LEVEL).context("starting the compression")?;
    let mut tar = tar::Builder::new(zstd);
    let mut files = BTreeMap::new();
    for (path, part) in parts {
        let bytes = bytes(part)?;
        ensure!(bytes.len() as u64 == part.size, "{path} was changed while it was read");
        let mut header = tar::Header::new_gnu();
        header.set_size(part.size);
        header.set_mode(if part.executable { 0o755 } else { 0o644 });
        header.set_entry_type(tar::EntryType::Regular);
        tar.append_data(&mut header, path, bytes.as_slice()).with_context(|| format!("packing {path}"))?;
        let (size, digest) = digest_reader(bytes.as_slice()).with_context(|| format!("packing {path}"))?;
        files.insert(path.clone(), FileEntry { digest, size, executable: part.executable });
    }
    let mut file = tar.into_inner().and_then(zstd::Encoder::finish).context("finishing the archive")?;
    file.flush().and_then(|()| file.sync_all()).context("writing the archive")?;
    Ok(files)
}

pub(super) fn bytes(part: &Part) -> Result<Vec<u8>> {
    Ok(match &part.origin {
        Origin::Disk(path) => read_limited(path, part.size.saturating_add(1))?,
        Origin::Platform(bytes) => bytes.to_vec(),
    })
}

/// Unpacks an archive that was made here, for checks. The agent has its own reader, which trusts nothing.
pub(super) fn unpack(parts: &Parts, to: &Utf8Path) -> Result<()> {
    for (path, part) in parts {
        let target = to.join(path);
        host::files::create_dirs(target.parent().unwrap_or(to))?;
        host::files::write_synced(&target, &bytes(part)?)?;
    }
    Ok(())
}

/// The bytes of one file of an archive.
pub fn read_file(archive: &Utf8Path, wanted: &str, limit: u64) -> Result<Option<Vec<u8>>> {
    let file = File::open(archive).with_context(|| format!("opening {archive}"))?;
    let mut tar = tar::Archive::new(zstd::Decoder::new(file).with_context(|| format!("reading {archive}"))?);
    for entry in tar.entries().with_context(|| format!("reading {archive}"))? {
        let entry = entry.with_context(|| format!("reading {archive}"))?;
        if entry.path_bytes().as_ref() == wanted.as_bytes() {
            let mut bytes = Vec::new();
            let read: io::Result<usize> = entry.take(limit).read_to_end(&mut bytes);
            read.with_context(|| format!("reading {archive}"))?;
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}
