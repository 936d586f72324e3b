//! Writing an archive. An interrupted export resumes after the last sync; the file gets its name only when it is complete.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;

use anyhow::{Context as _, Result, anyhow, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::archive::{ArchiveHeader, ArchiveList, MAGIC, VERSION};
use cluster_seed::capsule::{Piece, Tree, framed_header};
use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;
use cluster_seed::seal::{Sealed, SigningKey};
use host::files::{read_limited, write_atomic};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use site::hint::Hint as _;
use site::store::Store;
use site::{Site, snapshots};

use crate::capsule::STOPPED;
use crate::capsule::collect::contents;
use crate::capsule::parts::PartWriter;

/// Bytes between two syncs: the most that a power cut can lose.
const SYNC_BYTES: u64 = 16 << 20;
const BUFFER: usize = 256 << 10;
const MAX_STATE: u64 = 4096;

/// What to write, and where.
pub struct Export<'a> {
    pub site: &'a Site,
    pub store: &'a Store,
    pub site_key: &'a SigningKey,
    pub snapshot: Digest,
    /// Leave out what this snapshot contains.
    pub since: Option<Digest>,
    /// Include the extras in use.
    pub extras: bool,
    /// Maximum size of a part, in bytes.
    pub split: Option<u64>,
    pub out: &'a Utf8Path,
}

#[derive(Debug)]
pub struct Exported {
    pub files: Vec<Utf8PathBuf>,
    /// Bytes written.
    pub stored: u64,
    pub list: ArchiveList,
    /// True if it resumed an earlier run.
    pub resumed: bool,
}

/// Progress; written to disk only after the bytes it counts.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    /// Digest of header and list: an export of something else starts from the beginning.
    head: Digest,
    split: Option<u64>,
    stored: u64,
}

impl Export<'_> {
    pub fn run(&self, progress: &dyn Progress) -> Result<Exported> {
        let _using = self.site.use_blobs()?;
        let (list, sources) = self.list(progress)?;
        let text = list.render()?;
        let header = ArchiveHeader {
            version: VERSION,
            snapshot: self.snapshot,
            list: Digest::of(text.as_bytes()),
            list_size: text.len() as u64,
            bytes: list.bytes(),
            since: self.since,
        };
        let head = [framed_header(MAGIC, &Sealed::sign(&header, self.site_key)?)?, text.into_bytes()].concat();
        let state_file = self.state_file()?;
        let mut stored = self.resume(&state_file, Digest::of(&head));
        let resumed = stored.is_some();
        if !resumed && let Some(there) = PartWriter::existing(self.out) {
            return Err(anyhow!("{there} already exists")).hint("choose another --out; an archive is never overwritten");
        }
        let total = head.len() as u64 + header.bytes;
        let at = *stored.get_or_insert(0);
        if at < total || !resumed {
            let writer = PartWriter::open(self.out, self.split, at)?;
            let mut out = Out { writer, head: Digest::of(&head), split: self.split, state_file: &state_file, synced: at };
            if at == 0 {
                out.writer.append(&head)?;
                out.save()?;
            }
            self.write(&mut out, &list, &sources, head.len() as u64, progress)?;
            out.save()?;
            ensure!(out.writer.position() == total, "the archive has {} bytes instead of {total}", out.writer.position());
        }
        let parts = self.split.map_or(1, |s| total.div_ceil(s));
        let files = PartWriter::finish(self.out, self.split, parts)?;
        std::fs::remove_file(&state_file).with_context(|| format!("removing {state_file}"))?;
        Ok(Exported { files, stored: total, list, resumed })
    }

    fn state_file(&self) -> Result<Utf8PathBuf> {
        let dir = self.out.parent().filter(|p| !p.as_str().is_empty()).unwrap_or(Utf8Path::new("."));
        let dir = dir.canonicalize_utf8().with_context(|| format!("opening {dir}"))?;
        let name = self.out.file_name().ok_or_else(|| anyhow!("{} is not a file name", self.out))?;
        let place = Digest::of(dir.join(name).as_str().as_bytes()).short();
        Ok(self.site.join("tmp").join(format!("archive-out-{place}.json")))
    }

    /// Bytes that an earlier run of the same export has written and synced.
    fn resume(&self, state_file: &Utf8Path, head: Digest) -> Option<u64> {
        let state: State = serde_json::from_slice(&read_limited(state_file, MAX_STATE).ok()?).ok()?;
        let same = state.head == head && state.split == self.split;
        // If the parts have their names already, there is nothing left to write.
        let there = PartWriter::existing(self.out).is_some() || PartWriter::open(self.out, self.split, state.stored).is_ok();
        (same && there).then_some(state.stored)
    }

    /// The list, and where each piece can be read.
    fn list(&self, progress: &dyn Progress) -> Result<(ArchiveList, BTreeMap<Digest, Utf8PathBuf>)> {
        snapshots::one(self.site, self.store, self.snapshot)?;
        let key = self.site_key.verifying_key();
        let mut trees = vec![(Tree::Snapshots, self.snapshot)];
        if self.site.proof_file(self.snapshot).is_file() {
            trees.push((Tree::Proofs, self.snapshot));
        }
        if self.extras {
            let id = self.store.extras()?;
            let id = id.ok_or_else(|| anyhow!("there are no extras")).hint("fetch them with `seedd darksite extras fetch`")?;
            trees.push((Tree::Extras, id));
        }
        let found = contents(self.site, &key, &trees, progress)?;
        let held = match self.since {
            None => BTreeMap::new(),
            Some(since) => {
                snapshots::one(self.site, self.store, since)
                    .hint("--since needs the id of a snapshot that exists on both seeds")?;
                ensure!(since != self.snapshot, "a snapshot has no difference from itself");
                let earlier = contents(self.site, &key, &[(Tree::Snapshots, since)], progress)?;
                earlier.blobs.into_iter().map(|(digest, (size, _))| (digest, size)).collect()
            }
        };
        let sources = found.blobs.into_iter().map(|(digest, (_, path))| (digest, path)).collect();
        Ok((ArchiveList::new(found.files, &held), sources))
    }

    fn write(
        &self,
        out: &mut Out<'_>,
        list: &ArchiveList,
        sources: &BTreeMap<Digest, Utf8PathBuf>,
        head: u64,
        progress: &dyn Progress,
    ) -> Result<()> {
        progress.begin("writing the archive", Some(list.bytes()));
        let mut skip = out.writer.position().saturating_sub(head);
        progress.advance(skip);
        for piece in &list.blobs {
            if skip >= piece.size && skip > 0 {
                skip -= piece.size;
                continue;
            }
            let path = sources.get(&piece.sha256).ok_or_else(|| anyhow!("no file has digest {}", piece.sha256))?;
            copy(out, piece, path, skip, progress)?;
            skip = 0;
        }
        progress.end();
        Ok(())
    }
}

struct Out<'a> {
    writer: PartWriter,
    head: Digest,
    split: Option<u64>,
    state_file: &'a Utf8Path,
    synced: u64,
}

impl Out<'_> {
    fn save(&mut self) -> Result<()> {
        self.writer.sync()?;
        self.synced = self.writer.position();
        let state = State { head: self.head, split: self.split, stored: self.synced };
        Ok(write_atomic(self.state_file, &serde_json::to_vec(&state)?, 0o600)?)
    }
}

/// Appends a piece; its first `skip` bytes were written by an earlier run, and are read for the digest only.
fn copy(out: &mut Out<'_>, piece: &Piece, path: &Utf8Path, skip: u64, progress: &dyn Progress) -> Result<()> {
    let hint = "a file of the snapshot has changed; `seedd darksite verify` finds it";
    let file = File::open(path).with_context(|| format!("opening {path}")).hint(hint)?;
    let mut file = file.take(piece.size.saturating_add(1));
    let (mut hash, mut size) = (Sha256::new(), 0u64);
    let mut buffer = vec![0u8; BUFFER];
    loop {
        let n = file.read(&mut buffer).with_context(|| format!("reading {path}"))?;
        if n == 0 {
            break;
        }
        hash.update(&buffer[..n]);
        let old = usize::try_from(skip.saturating_sub(size)).unwrap_or(usize::MAX).min(n);
        size += n as u64;
        out.writer.append(&buffer[old..n])?;
        progress.advance((n - old) as u64);
        let stop = progress.cancelled();
        if stop || out.writer.position() - out.synced >= SYNC_BYTES {
            out.save()?;
        }
        ensure!(!stop, STOPPED);
    }
    if size == piece.size && Digest(hash.finalize().into()) == piece.sha256 {
        return Ok(());
    }
    // Wrong bytes were written: the next run must start from the beginning.
    std::fs::remove_file(out.state_file).with_context(|| format!("removing {}", out.state_file))?;
    Err(anyhow!("{path} has changed")).hint(hint)
}
