//! Writing a capsule. An interrupted export resumes after the last sync; the file gets its name only when it is complete.

use std::fs::{self, File};
use std::io::Read as _;

use anyhow::{Context as _, Result, anyhow, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::capsule::{
    Assumed, CapsuleHeader, CapsuleManifest, Entry, FRAME, FileRow, Table, Tree, VERSION, header_bytes, seal_frame,
};
use cluster_seed::ids::Digest;
use cluster_seed::progress::{Progress, Quiet};
use cluster_seed::seal::{Sealed, SigningKey, key_text};
use cluster_seed::secret::AgeKey;
use host::files::{digest_file, read_limited, write_atomic};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use site::hint::Hint as _;
use site::store::Tx;
use site::{Site, snapshots};

use super::collect::{Contents, contents, rows_file, trees, write_files, write_tables};
use super::parts::PartWriter;
use super::records::{earlier, keep};
use super::{MAX_RECORD, STOPPED};
use crate::medium::record::Held;

/// Frames between two syncs: the most that a power cut can lose.
const SYNC_EVERY: u64 = 4;
const MAX_JSON: u64 = 1 << 20;
const PLAN: &str = "plan.json";
const MANIFEST: &str = "manifest.json";
const HEADER: &str = "header.json";
const STATE: &str = "state.json";

pub struct Export<'a> {
    pub site: &'a Site,
    pub operator: &'a AgeKey,
    pub site_key: &'a SigningKey,
    /// age recipient of the destination site.
    pub recipient: &'a str,
    /// Leave out the blobs of this capsule.
    pub since: Option<Digest>,
    /// Leave out what is on the medium from which this site was created.
    pub same_medium: bool,
    /// Maximum size of a part, in bytes.
    pub split: Option<u64>,
    pub out: &'a Utf8Path,
    /// Unix milliseconds.
    pub now_ms: u64,
    /// Writes to the event log that the export begins, before the database is read: the capsule has the event.
    pub on_start: &'a dyn Fn() -> Result<()>,
}

#[derive(Debug)]
pub struct Exported {
    pub id: Digest,
    pub files: Vec<Utf8PathBuf>,
    /// Bytes of content, and bytes written.
    pub bytes: u64,
    pub stored: u64,
    pub blobs: usize,
    pub left_out: usize,
    /// True if it resumed an earlier run.
    pub resumed: bool,
}

/// What an interrupted run was exporting; an export of something else starts from the beginning.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Plan {
    site: String,
    recipient: String,
    since: Option<Digest>,
    same_medium: bool,
    split: Option<u64>,
    out: Utf8PathBuf,
}

/// Progress; written to disk only after the bytes it counts.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct State {
    /// Data frames written.
    frames: u64,
    /// Bytes of the capsule.
    stored: u64,
    /// Everything is written; only the files must be renamed.
    whole: bool,
}

struct Job {
    dir: Utf8PathBuf,
    sealed: Vec<u8>,
    manifest: CapsuleManifest,
    header: Sealed<CapsuleHeader>,
    id: Digest,
    bytes: u64,
    state: State,
    resumed: bool,
}

impl Export<'_> {
    pub fn run(&self, progress: &dyn Progress) -> Result<Exported> {
        let _using = self.site.use_blobs()?;
        cluster_seed::secret::seal_to(self.recipient, b"")
            .context("reading the recipient")
            .hint("use the recipient of the other site, age1…; run `seedd status` there")?;
        let job = match self.resume()? {
            Some(job) => job,
            None => self.prepare(progress)?,
        };
        let state = if job.state.whole { job.state } else { self.write(&job, progress)? };
        let parts = self.split.map_or(1, |s| state.stored.div_ceil(s));
        keep(self.site, job.id, &job.sealed)?;
        let files = PartWriter::finish(self.out, self.split, parts)?;
        fs::remove_dir_all(&job.dir).with_context(|| format!("removing {}", job.dir))?;
        Ok(Exported {
            id: job.id,
            files,
            bytes: job.bytes,
            stored: state.stored,
            blobs: job.manifest.entries.len() - Table::ALL.len(),
            left_out: job.manifest.assumed.len(),
            resumed: job.resumed,
        })
    }

    fn plan(&self) -> Result<Plan> {
        let dir = self.out.parent().filter(|p| !p.as_str().is_empty()).unwrap_or(Utf8Path::new("."));
        let dir = dir.canonicalize_utf8().with_context(|| format!("opening {dir}"))?;
        let name = self.out.file_name().ok_or_else(|| anyhow!("{} is not a file name", self.out))?;
        Ok(Plan {
            site: key_text(&self.site_key.verifying_key()),
            recipient: self.recipient.to_owned(),
            since: self.since,
            same_medium: self.same_medium,
            split: self.split,
            out: dir.join(name),
        })
    }

    fn workdir(&self, plan: &Plan) -> Utf8PathBuf {
        self.site.join("tmp").join(format!("export-{}", Digest::of(plan.out.as_str().as_bytes()).short()))
    }

    /// What an earlier run of the same export left, if it can be resumed.
    fn resume(&self) -> Result<Option<Job>> {
        let plan = self.plan()?;
        let dir = self.workdir(&plan);
        let read = |name: &str, limit| read_limited(&dir.join(name), limit).ok();
        let (Some(found), Some(state)) = (read(PLAN, MAX_JSON), read(STATE, MAX_JSON)) else { return Ok(None) };
        let same = serde_json::from_slice::<Plan>(&found).is_ok_and(|p| p == plan);
        let (Ok(state), Some(sealed), Some(header)) =
            (serde_json::from_slice::<State>(&state), read(MANIFEST, MAX_RECORD), read(HEADER, MAX_JSON))
        else {
            return Ok(None);
        };
        let whole_parts = state.whole || PartWriter::open(self.out, self.split, state.stored).is_ok();
        if !same || !whole_parts {
            return Ok(None);
        }
        let header: Sealed<CapsuleHeader> = serde_json::from_slice(&header).context("reading the interrupted export")?;
        let key = self.site_key.verifying_key();
        let opened = CapsuleHeader::open(&header, &key)?;
        let manifest = CapsuleManifest::open(&sealed, &opened, &key)?;
        Ok(Some(Job { dir, sealed, manifest, header, id: opened.id, bytes: opened.bytes, state, resumed: true }))
    }

    fn prepare(&self, progress: &dyn Progress) -> Result<Job> {
        if let Some(there) = PartWriter::existing(self.out) {
            return Err(anyhow!("{there} already exists")).hint("choose another --out; a capsule is never overwritten");
        }
        let plan = self.plan()?;
        let dir = self.workdir(&plan);
        if dir.exists() {
            fs::remove_dir_all(&dir).with_context(|| format!("removing {dir}"))?;
        }
        fs::create_dir_all(&dir).with_context(|| format!("creating {dir}"))?;
        let store = self.site.open_store()?;
        (self.on_start)()?;
        let key = self.site_key.verifying_key();
        // One view of the database for the rows and for what is in use; the files that it refers to are immutable.
        let (used, facts) = store.read(|tx| {
            write_tables(tx, &dir)?;
            Ok::<_, anyhow::Error>((trees(tx)?, facts(tx)?))
        })?;
        let proven = |(tree, id): &(Tree, Digest)| *tree == Tree::Snapshots && snapshots::proof(self.site, *id, &[key]).is_some();
        let proofs: Vec<_> = used.iter().filter(|t| proven(t)).map(|(_, id)| (Tree::Proofs, *id)).collect();
        let found = contents(self.site, &key, &[used, proofs].concat(), progress)?;
        write_files(self.site, self.operator, self.recipient, &found.files, &dir)?;
        let manifest = self.manifest(&dir, &found, facts)?;
        let bytes = manifest.check()?;
        let sealed = serde_json::to_vec(&Sealed::sign(&manifest, self.site_key)?)?;
        let id = Digest::of(&sealed);
        let header = CapsuleHeader {
            version: VERSION,
            id,
            recipient: self.recipient.to_owned(),
            created: manifest.created,
            bytes,
            since: self.since,
        };
        let header = Sealed::sign(&header, self.site_key)?;
        let state = State::default();
        for (name, bytes) in [
            (MANIFEST, sealed.clone()),
            (HEADER, serde_json::to_vec(&header)?),
            (STATE, serde_json::to_vec(&state)?),
            (PLAN, serde_json::to_vec(&plan)?),
        ] {
            write_atomic(&dir.join(name), &bytes, 0o600)?;
        }
        Ok(Job { dir, sealed, manifest, header, id, bytes, state, resumed: false })
    }

    fn manifest(&self, dir: &Utf8Path, found: &Contents, facts: Facts) -> Result<CapsuleManifest> {
        let mut entries = Vec::new();
        for table in Table::ALL {
            let (size, sha256) = digest_file(&rows_file(dir, table), &Quiet)?;
            entries.push(Entry::Rows { table, size, sha256 });
        }
        let earlier = self.since.map(|id| earlier(self.site, self.site_key, id)).transpose()?;
        let medium = self.medium()?;
        let mut assumed = Vec::new();
        for (sha256, (size, _)) in &found.blobs {
            let there = earlier.as_ref().and_then(|e| e.size_of(*sha256)) == Some(*size)
                || medium.as_ref().is_some_and(|m| m.has(*sha256, *size));
            match there {
                true => assumed.push(Assumed { size: *size, sha256: *sha256 }),
                false => entries.push(Entry::Blob { size: *size, sha256: *sha256 }),
            }
        }
        Ok(CapsuleManifest {
            version: VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            site: self.site.spec()?.metadata.name.to_string(),
            site_key: key_text(&self.site_key.verifying_key()),
            recipient: self.recipient.to_owned(),
            created: self.now_ms / 1000,
            epoch: facts.epoch,
            event: facts.event,
            since: self.since,
            medium: medium.map(|m| m.id),
            entries,
            assumed,
        })
    }

    /// The medium whose files are left out of the capsule.
    fn medium(&self) -> Result<Option<Held>> {
        if !self.same_medium {
            return Ok(None);
        }
        let held = Held::of(self.site)?.ok_or_else(|| anyhow!("this site was not created from a medium"));
        held.hint("export without --same-medium").map(Some)
    }

    fn write(&self, job: &Job, progress: &dyn Progress) -> Result<State> {
        let sources = sources(self.site, &job.dir)?;
        let mut writer = PartWriter::open(self.out, self.split, job.state.stored)?;
        if job.state.stored == 0 {
            writer.append(&header_bytes(&job.header)?)?;
            writer.append(&seal_frame(self.recipient, &job.id, 0, &job.sealed)?)?;
        }
        progress.begin("writing the capsule", Some(job.bytes));
        progress.advance(job.state.frames * FRAME);
        let mut frames = Frames { export: self, job, writer, progress, frames: job.state.frames, buffer: Vec::new() };
        let mut skip = job.state.frames * FRAME;
        for entry in &job.manifest.entries {
            // A piece that ends with the last written frame is read again: its digest may not have been checked.
            if skip > entry.size() {
                skip -= entry.size();
                continue;
            }
            let path = match entry {
                Entry::Rows { table, .. } => rows_file(&job.dir, *table),
                Entry::Blob { sha256, .. } => sources.get(sha256).cloned().unwrap_or_else(|| self.site.blob(*sha256)),
            };
            frames.entry(entry, &path, skip)?;
            skip = 0;
        }
        let state = frames.finish()?;
        progress.end();
        Ok(state)
    }
}

/// Splits the content into frames.
struct Frames<'a> {
    export: &'a Export<'a>,
    job: &'a Job,
    writer: PartWriter,
    progress: &'a dyn Progress,
    frames: u64,
    buffer: Vec<u8>,
}

impl Frames<'_> {
    /// Adds a file. An earlier run wrote its first `skip` bytes; they are only read for the digest.
    fn entry(&mut self, entry: &Entry, path: &Utf8Path, skip: u64) -> Result<()> {
        let gone = "a file has changed; run `seedd darksite verify` and `seedd image build`";
        let file = File::open(path).with_context(|| format!("opening {path}")).hint(gone)?;
        let mut file = file.take(entry.size().saturating_add(1));
        let (mut hash, mut size) = (Sha256::new(), 0u64);
        let mut piece = vec![0u8; 256 << 10];
        loop {
            let n = file.read(&mut piece).with_context(|| format!("reading {path}"))?;
            if n == 0 {
                break;
            }
            hash.update(&piece[..n]);
            let old = usize::try_from(skip.saturating_sub(size)).unwrap_or(usize::MAX).min(n);
            size += n as u64;
            self.push(&piece[old..n])?;
        }
        if size == entry.size() && Digest(hash.finalize().into()) == entry.sha256() {
            return Ok(());
        }
        // Frames with wrong bytes were written: the next run must start from the beginning.
        let state = self.job.dir.join(STATE);
        fs::remove_file(&state).with_context(|| format!("removing {state}"))?;
        Err(anyhow!("{path} no longer matches the manifest")).hint(gone)
    }

    fn push(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let room = usize::try_from(FRAME).unwrap_or(usize::MAX) - self.buffer.len();
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() as u64 == FRAME {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.frames += 1;
        self.writer.append(&seal_frame(self.export.recipient, &self.job.id, self.frames, &self.buffer)?)?;
        self.progress.advance(self.buffer.len() as u64);
        self.buffer.clear();
        let stop = self.progress.cancelled();
        if stop || self.frames.is_multiple_of(SYNC_EVERY) {
            self.save(false)?;
        }
        ensure!(!stop, STOPPED);
        Ok(())
    }

    fn save(&mut self, whole: bool) -> Result<State> {
        self.writer.sync()?;
        let state = State { frames: self.frames, stored: self.writer.position(), whole };
        write_atomic(&self.job.dir.join(STATE), &serde_json::to_vec(&state)?, 0o600)?;
        Ok(state)
    }

    fn finish(mut self) -> Result<State> {
        if !self.buffer.is_empty() {
            self.flush()?;
        }
        self.save(true)
    }
}

struct Facts {
    epoch: u64,
    event: i64,
}

fn facts(tx: &Tx<'_>) -> Result<Facts> {
    Ok(Facts { epoch: tx.epoch()?, event: tx.last_event()? })
}

/// Paths of blobs that are not in the blob store: files of netboot sets and manifests.
fn sources(site: &Site, dir: &Utf8Path) -> Result<std::collections::BTreeMap<Digest, Utf8PathBuf>> {
    let path = rows_file(dir, Table::File);
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let mut map = std::collections::BTreeMap::new();
    for line in text.lines().skip(1) {
        let row = FileRow::parse(line)?;
        map.entry(row.sha256).or_insert_with(|| site.join(row.tree.as_str()).join(row.id.to_string()).join(row.path));
    }
    Ok(map)
}
