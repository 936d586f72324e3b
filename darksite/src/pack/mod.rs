//! Packing an index so that a change costs what changed.
//!
//! The text is cut into shards at packages that a hash of the package's name chooses, so that where the cuts are follows
//! from the content alone. Each shard is compressed by itself; the packed file is made of the shards: one xz stream with a
//! block per shard, one gzip member with a flush after each. Shards are kept under their digest in `<cache>/shards`.

mod gz;
mod xz;

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use sha2::{Digest as _, Sha256};

use crate::disk;

/// One name in so many begins a new shard: 100 KB on average, a good trade between ratio and what a change costs.
const ONE_IN: u32 = 128;
/// Bytes after which a shard ends in any case.
const MAX_SHARD: usize = 512 << 10;
/// Raised whenever the same text gives other packed bytes; a test holds them.
const FORMAT: &str = "2";

/// Where shards are kept from one publishing to the next, and which of them were of use.
pub struct ShardCache {
    dir: Utf8PathBuf,
    used: Mutex<BTreeSet<String>>,
}

/// A shard, compressed.
struct Packed {
    block: xz::Block,
    gz: gz::Part,
}

/// The stanzas of an index, each with the package name that decides about cuts.
pub type Stanzas<'a> = [(&'a str, &'a str)];

/// Parts of an index: stanzas from `.0` up to `.1`. A pure function of the stanzas.
fn cut(stanzas: &Stanzas<'_>) -> Vec<(usize, usize)> {
    let mut shards = Vec::new();
    let (mut start, mut size) = (0, 0);
    for (at, (name, stanza)) in stanzas.iter().enumerate() {
        let by = if name.is_empty() { stanza } else { name };
        let chosen = crc32fast::hash(by.as_bytes()).is_multiple_of(ONE_IN);
        if at > start && (chosen || size + stanza.len() > MAX_SHARD) {
            shards.push((start, at));
            (start, size) = (at, 0);
        }
        size += stanza.len() + 1;
    }
    if start < stanzas.len() {
        shards.push((start, stanzas.len()));
    }
    shards
}

/// An index in its three forms, with their digests. The plain form is not held: see [`write_plain`].
pub struct PackedIndex {
    pub xz: Vec<u8>,
    pub gz: Vec<u8>,
}

/// Writes stanzas as they stand in an index: each with its line end, and followed by an empty line. A stanza without a
/// name is a line of a list, and followed by nothing.
pub fn write_plain(stanzas: &Stanzas<'_>, out: &mut dyn io::Write) -> io::Result<()> {
    for (name, stanza) in stanzas {
        out.write_all(stanza.as_bytes())?;
        out.write_all(match (name.is_empty(), stanza.ends_with('\n')) {
            (true, _) => b"",
            (false, true) => b"\n",
            (false, false) => b"\n\n",
        })?;
    }
    Ok(())
}

/// Size and digest of the plain form.
pub fn plain_digest(stanzas: &Stanzas<'_>) -> (u64, Digest) {
    let mut sum = Sum::default();
    // Hashing cannot fail.
    let _ = write_plain(stanzas, &mut sum);
    (sum.size, Digest(sum.hasher.finalize().into()))
}

/// Writes the plain form to a new file; its size and digest.
pub fn write_plain_file(stanzas: &Stanzas<'_>, path: &Utf8Path) -> io::Result<(u64, Digest)> {
    let mut sum = Sum { file: Some(std::fs::File::create(path)?), ..Sum::default() };
    let mut out = io::BufWriter::with_capacity(1 << 20, &mut sum);
    write_plain(stanzas, &mut out)?;
    out.flush()?;
    drop(out);
    Ok((sum.size, Digest(sum.hasher.finalize().into())))
}

#[derive(Default)]
struct Sum {
    file: Option<std::fs::File>,
    hasher: Sha256,
    size: u64,
}

impl io::Write for Sum {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(file) = &mut self.file {
            file.write_all(bytes)?;
        }
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Compresses an index on all cores; shards that are kept are not compressed again.
pub fn pack(stanzas: &Stanzas<'_>, cache: Option<&ShardCache>) -> io::Result<PackedIndex> {
    let shards = cut(stanzas);
    let next = AtomicUsize::new(0);
    let done: Vec<Mutex<Option<io::Result<Packed>>>> = shards.iter().map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        for _ in 0..threads().min(shards.len()) {
            scope.spawn(|| {
                while let Some((at, &(from, to))) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|n| Some((n, shards.get(n)?)))
                {
                    let packed = pack_shard(&stanzas[from..to], cache);
                    *done[at].lock().unwrap_or_else(PoisonError::into_inner) = Some(packed);
                }
            });
        }
    });
    let mut xz = xz::Stream::new();
    let mut gz = gz::Member::new();
    for one in done {
        let packed = one.into_inner().unwrap_or_else(PoisonError::into_inner);
        let packed = packed.unwrap_or_else(|| Err(io::Error::other("a shard was not packed")))?;
        xz.add(&packed.block);
        gz.add(&packed.gz);
    }
    Ok(PackedIndex { xz: xz.finish(), gz: gz.finish() })
}

/// How many threads work at once: as many as there are cores.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

fn pack_shard(stanzas: &Stanzas<'_>, cache: Option<&ShardCache>) -> io::Result<Packed> {
    let mut text = Vec::with_capacity(MAX_SHARD / 2);
    write_plain(stanzas, &mut text)?;
    let digest = Digest::of(&text);
    if let Some(packed) = cache.and_then(|c| c.get(&digest)) {
        return Ok(packed);
    }
    let packed = Packed { block: xz::Block::pack(&text)?, gz: gz::Part::pack(&text)? };
    if let Some(cache) = cache {
        cache.put(&digest, &packed);
    }
    Ok(packed)
}

impl ShardCache {
    pub fn new(cache: &Utf8Path) -> Self {
        let version = format!("shards/{FORMAT}");
        ShardCache { dir: cache.join(version), used: Mutex::new(BTreeSet::new()) }
    }

    fn get(&self, digest: &Digest) -> Option<Packed> {
        let name = digest.to_string();
        let bytes = disk::read_limited(&self.dir.join(&name), 4 * MAX_SHARD as u64).ok()?;
        let packed = Packed::read(&bytes)?;
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
        Some(packed)
    }

    fn put(&self, digest: &Digest, packed: &Packed) {
        let name = digest.to_string();
        // A shard that could not be kept is made again the next time.
        if disk::replace_file(&self.dir.join(&name), &packed.write()).is_ok() {
            self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
        }
    }

    /// Removes what this publishing did not need. Nothing depends on it.
    pub fn prune(&self) {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in self.dir.read_dir_utf8().into_iter().flatten().flatten() {
            if !used.contains(entry.file_name()) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

impl Packed {
    /// Both parts, each behind its length, and the digest of it all: a torn file is not believed.
    fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for part in [self.block.to_bytes(), self.gz.to_bytes()] {
            out.extend_from_slice(&(part.len() as u64).to_le_bytes());
            out.extend_from_slice(&part);
        }
        let digest = Digest::of(&out);
        out.extend_from_slice(&digest.0);
        out
    }

    fn read(bytes: &[u8]) -> Option<Packed> {
        let (bytes, digest) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
        if Digest::of(bytes).0 != digest {
            return None;
        }
        let part = |bytes: &[u8]| -> Option<(Vec<u8>, usize)> {
            let (length, rest) = bytes.split_first_chunk::<8>()?;
            let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
            Some((rest.get(..length)?.to_vec(), 8 + length))
        };
        let (block, end) = part(bytes)?;
        let (gz, _) = part(bytes.get(end..)?)?;
        Some(Packed { block: xz::Block::from_bytes(&block)?, gz: gz::Part::from_bytes(&gz)? })
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
