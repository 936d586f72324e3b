//! Stores the content of a capsule or archive while it is read: rows in the working folder, blobs in the blob store.

use std::fs::{self, File};
use std::io::Write as _;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::capsule::Piece;
use cluster_seed::ids::Digest;
use cluster_seed::progress::Quiet;
use host::files::{Start, digest_file, open, read_limited, write_atomic};
use serde::{Deserialize, Serialize};
use site::Site;

use super::pieces::Sink;

const STATE: &str = "state.json";
const MAX_STATE: u64 = 4096;
/// Bytes and entries between two syncs: the most that a power cut can lose.
const SYNC_BYTES: u64 = 16 << 20;
const SYNC_ENTRIES: usize = 256;

/// Progress; written to disk only after what it counts.
#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    done: usize,
    copied: usize,
    held: usize,
}

pub struct Intake<'a> {
    site: &'a Site,
    dir: &'a Utf8Path,
    /// Paths for the first pieces, which are files of rows; the others are blobs.
    rows: Vec<Utf8PathBuf>,
    state: State,
    file: Option<(Utf8PathBuf, File)>,
    /// Blobs that are complete but not yet synced and renamed.
    waiting: Vec<Digest>,
    entries: usize,
    bytes: u64,
    done: usize,
}

impl<'a> Intake<'a> {
    /// Resumes an earlier run from what it left in `dir`.
    pub fn open(site: &'a Site, dir: &'a Utf8Path, rows: Vec<Utf8PathBuf>) -> Result<Self> {
        let state: State = match read_limited(&dir.join(STATE), MAX_STATE) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
            Err(_) => State::default(),
        };
        let done = state.done;
        Ok(Intake { site, dir, rows, state, file: None, waiting: Vec::new(), entries: 0, bytes: 0, done })
    }

    /// Entries that an earlier run has stored.
    pub fn done(&self) -> usize {
        self.state.done
    }

    /// Stores the rest; returns the number of blobs that were copied, and of those that existed already.
    pub fn finish(mut self) -> Result<(usize, usize)> {
        self.put_away()?;
        Ok((self.state.copied, self.state.held))
    }

    fn part(&self, blob: Digest) -> Utf8PathBuf {
        self.dir.join(blob.to_string())
    }

    /// Syncs under a temporary name, renames, syncs and counts, in this order.
    fn put_away(&mut self) -> Result<()> {
        let sync = || -> Result<()> {
            let data = File::open(&self.site.data).with_context(|| format!("opening {}", self.site.data))?;
            nix::unistd::syncfs(&data).context("writing to the disk")
        };
        sync()?;
        for blob in &self.waiting {
            let to = self.site.blob(*blob);
            let folder = to.parent().unwrap_or(&self.site.data);
            fs::create_dir_all(folder).with_context(|| format!("creating {folder}"))?;
            fs::rename(self.part(*blob), &to).with_context(|| format!("renaming a file to {to}"))?;
        }
        sync()?;
        self.state.copied += self.waiting.len();
        self.state.done = self.done;
        self.waiting.clear();
        (self.entries, self.bytes) = (0, 0);
        Ok(write_atomic(&self.dir.join(STATE), &serde_json::to_vec(&self.state)?, 0o600)?)
    }
}

impl Sink for Intake<'_> {
    fn begin(&mut self, index: usize, piece: &Piece) -> Result<()> {
        let (path, mode) = match self.rows.get(index) {
            Some(path) => (path.clone(), 0o600),
            // An existing blob is verified: a damaged one is written again.
            None => match digest_file(&self.site.blob(piece.sha256), &Quiet) {
                Ok(found) if found == (piece.size, piece.sha256) => {
                    self.file = None;
                    return Ok(());
                }
                _ => (self.part(piece.sha256), 0o644),
            },
        };
        let file = open(&path, Start::Empty, mode);
        self.file = Some((path.clone(), file.with_context(|| format!("creating {path}"))?));
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some((path, file)) = &mut self.file {
            file.write_all(bytes).with_context(|| format!("writing {path}"))?;
            self.bytes += bytes.len() as u64;
        }
        Ok(())
    }

    fn end(&mut self, index: usize, piece: &Piece) -> Result<()> {
        match (index < self.rows.len(), self.file.take()) {
            (true, _) => {}
            (false, Some(_)) => self.waiting.push(piece.sha256),
            (false, None) => self.state.held += 1,
        }
        (self.done, self.entries) = (index + 1, self.entries + 1);
        if self.bytes >= SYNC_BYTES || self.entries >= SYNC_ENTRIES { self.put_away() } else { Ok(()) }
    }
}
