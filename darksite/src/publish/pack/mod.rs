//! Compresses an index so that a small change is cheap.
//!
//! The text is cut into shards at packages chosen by a hash of their name, so that the cuts depend on the content only. Each
//! shard is compressed separately, and the packed file is composed of the shards: an xz stream with one block per shard, a gzip
//! member with a flush after each. Shards are cached under their digest in `<cache>/shards`.

mod gz;
mod xz;

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use host::files;
use host::parallel::{cores, try_each};

use crate::format::texts::{Stanzas, Sum, write_plain};

/// One name in this many begins a new shard: 100 KB on average, a compromise between compression ratio and the cost of a change.
const ONE_IN: u32 = 128;
/// Bytes of a shard, if it has more than one stanza.
const MAX_SHARD: usize = 512 << 10;
/// Changes whenever the same text gives different packed bytes; a test pins them.
const FORMAT: &str = "2";

/// Shards cached from one build to the next, and which of them were used.
pub struct ShardCache {
    dir: Utf8PathBuf,
    used: Mutex<BTreeSet<String>>,
}

/// A compressed shard.
struct Packed {
    block: xz::Block,
    gz: gz::Part,
}

/// The shards of an index: stanzas `.0` up to `.1`. A pure function of the stanzas.
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

/// The compressed forms of an index.
pub struct PackedIndex {
    pub xz: Vec<u8>,
    pub gz: Vec<u8>,
}

/// Writes the plain form to a new file; returns its size and digest.
pub fn write_plain_file(stanzas: &Stanzas<'_>, path: &Utf8Path) -> io::Result<(u64, Digest)> {
    let mut sum = Sum::new(files::open(path, files::Start::Empty, files::PUBLIC)?);
    let mut out = io::BufWriter::with_capacity(1 << 20, &mut sum);
    write_plain(stanzas, &mut out)?;
    out.flush()?;
    drop(out);
    Ok(sum.finish())
}

/// Compresses an index on all cores; cached shards are not compressed again.
pub fn pack(stanzas: &Stanzas<'_>, cache: Option<&ShardCache>) -> io::Result<PackedIndex> {
    let shards = cut(stanzas);
    let packed = try_each(cores(), &shards, |_, &(from, to)| pack_shard(&stanzas[from..to], cache))?;
    let mut xz = xz::Stream::new();
    let mut gz = gz::Member::new();
    for shard in packed {
        xz.add(&shard.block);
        gz.add(&shard.gz);
    }
    Ok(PackedIndex { xz: xz.finish(), gz: gz.finish() })
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
        let bytes = files::read_limited(&self.dir.join(&name), 4 * MAX_SHARD as u64).ok()?;
        let packed = Packed::read(&bytes)?;
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
        Some(packed)
    }

    fn put(&self, digest: &Digest, packed: &Packed) {
        let name = digest.to_string();
        // A shard that could not be cached is compressed again next time.
        if files::replace_unsynced(&self.dir.join(&name), &packed.write()).is_ok() {
            self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
        }
    }

    /// Removes what this build did not use.
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
    /// Both parts, each after its length, and the digest of both: a torn file is detected.
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
mod tests;
