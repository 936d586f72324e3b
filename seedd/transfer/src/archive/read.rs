//! Importing an archive: everything is verified under temporary names, then renamed into place. An interrupted import resumes
//! after the last sync, and its leftovers are never listed or served.

use std::fs::{self, File};
use std::io::Read as _;

use anyhow::{Context as _, Result, anyhow, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::archive::{ArchiveError, ArchiveHeader, ArchiveList, MAGIC};
use cluster_seed::capsule::{CapsuleError, PREFIX, Tree, framed_len};
use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;
use cluster_seed::seal::{Sealed, VerifyingKey};
use darksite::Keyring;
use host::files::{free_space, read_limited, write_atomic};
use site::hint::Hint as _;
use site::putting::InUse;
use site::store::Store;
use site::{Site, snapshots};

use crate::capsule::STOPPED;
use crate::capsule::intake::Intake;
use crate::capsule::parts::PartReader;
use crate::capsule::pieces::{Discard, Pieces, Sink};
use crate::capsule::read::read_exact;

const BUFFER: usize = 1 << 20;
const MAX_KEYRING: u64 = 1 << 20;
/// Free space that an import needs beyond the content, in bytes.
const SLACK: u64 = 16 << 20;

/// An archive whose header was read, but not verified.
pub struct Clear {
    reader: PartReader,
    sealed: Sealed<ArchiveHeader>,
}

/// An archive whose header and list are signed by the pinned key.
pub struct Archive {
    reader: PartReader,
    pub header: ArchiveHeader,
    pub list: ArchiveList,
    pin: VerifyingKey,
    content: u64,
}

impl Clear {
    pub fn open(path: &Utf8Path) -> Result<Self> {
        let mut reader = PartReader::open(path)?;
        let mut prefix = [0u8; PREFIX];
        read_exact(&mut reader, &mut prefix)?;
        let length = framed_len(MAGIC, &prefix).ok_or(ArchiveError::Magic).with_context(|| format!("reading {path}"))??;
        let mut json = vec![0u8; length];
        read_exact(&mut reader, &mut json)?;
        let sealed = serde_json::from_slice(&json).map_err(|e| CapsuleError::Json("header", e))?;
        Ok(Clear { reader, sealed })
    }

    /// The key with which it claims to be signed, in hex.
    pub fn claimed_key(&self) -> &str {
        self.sealed.claimed_key()
    }

    pub fn verified(mut self, pin: &VerifyingKey) -> Result<Archive> {
        let header = ArchiveHeader::open(&self.sealed, pin)
            .hint("use the site key of the seed that made it as --pin (run `seedd status` there)")?;
        // The size of the file limits what is kept in memory.
        let left = self.reader.size() - self.reader.position();
        ensure!(left == header.list_size.saturating_add(header.bytes), "the archive is truncated, or has extra data at its end");
        let mut text = vec![0u8; usize::try_from(header.list_size)?];
        read_exact(&mut self.reader, &mut text)?;
        let list = ArchiveList::open(&text, &header)?;
        let content = self.reader.position();
        Ok(Archive { reader: self.reader, header, list, pin: *pin, content })
    }
}

impl Archive {
    /// Passes the content to `sink`; the `done` pieces that an earlier run passed are skipped.
    pub fn content(&mut self, done: usize, sink: &mut dyn Sink, progress: &dyn Progress) -> Result<()> {
        let before: u64 = self.list.blobs.iter().take(done).map(|p| p.size).sum();
        self.reader.seek_to(self.content + before);
        let mut pieces = Pieces::new(&self.list.blobs, done, sink)?;
        progress.begin("reading the archive", Some(self.header.bytes));
        progress.advance(before);
        let mut buffer = vec![0u8; BUFFER];
        loop {
            ensure!(!progress.cancelled(), STOPPED);
            let n = self.reader.read(&mut buffer).context("reading the archive")?;
            if n == 0 {
                break;
            }
            pieces.take(&buffer[..n])?;
            progress.advance(n as u64);
        }
        pieces.finish()?;
        progress.end();
        Ok(())
    }

    /// Reads every byte and stores nothing.
    pub fn verify(&mut self, progress: &dyn Progress) -> Result<()> {
        self.content(0, &mut Discard, progress)
    }
}

pub struct Import<'a> {
    pub site: &'a Site,
    pub store: &'a Store,
    pub archive: Archive,
    /// Put the snapshot in use; without it, only if none was in use.
    pub put_in_use: bool,
    /// Writes what is in use, and who made what, to the database.
    pub keep: &'a dyn Fn(&InUse) -> Result<()>,
}

#[derive(Debug)]
pub struct Imported {
    pub snapshot: Digest,
    /// Blobs that were copied, and blobs that existed already.
    pub copied: usize,
    pub held: usize,
    /// True if the snapshot existed already.
    pub already: bool,
    pub in_use: bool,
}

impl Import<'_> {
    pub fn run(mut self, progress: &dyn Progress) -> Result<Imported> {
        self.site.make_folders()?;
        let _lock = self.site.importing()?;
        let _using = self.site.use_blobs()?;
        let id = self.archive.header.snapshot;
        let already = self.site.snapshot(id).is_dir();
        let (mut copied, mut held) = (0, 0);
        let trees = self.missing();
        if !trees.is_empty() {
            self.check_held()?;
            self.room()?;
            let dir = self.site.join("tmp").join(format!("archive-{}", self.archive.header.list.short()));
            fs::create_dir_all(&dir).with_context(|| format!("creating {dir}"))?;
            let mut intake = Intake::open(self.site, &dir, Vec::new())?;
            let done = intake.done();
            self.archive.content(done, &mut intake, progress)?;
            (copied, held) = intake.finish()?;
            let staged = dir.join("staged");
            self.stage(&staged, &trees)?;
            self.check(&staged, &trees, progress)?;
            self.place(&staged, &trees)?;
            fs::remove_dir_all(&dir).with_context(|| format!("removing {dir}"))?;
        }
        snapshots::one(self.site, self.store, id).context("inspecting the imported files")?;
        let free = self.store.snapshot()?.is_none();
        if self.put_in_use || free {
            let extras = self.archive.list.files.iter().find(|f| f.tree == Tree::Extras).map(|f| f.id);
            (self.keep)(&InUse { snapshot: Some(id), extras, ..InUse::default() })?;
        }
        let in_use = self.store.snapshot()? == Some(id);
        Ok(Imported { snapshot: id, copied, held, already, in_use })
    }

    /// The trees that do not exist yet, snapshots last: they are moved into place in this order.
    fn missing(&self) -> Vec<(Tree, Digest)> {
        let mut trees: Vec<(Tree, Digest)> = self.archive.list.files.iter().map(|f| (f.tree, f.id)).collect();
        trees.sort_by_key(|(tree, id)| (*tree == Tree::Snapshots, *tree, *id));
        trees.dedup();
        trees.retain(|(tree, id)| !self.site.join(tree.as_str()).join(id.to_string()).is_dir());
        trees
    }

    /// Checks that everything the archive leaves out exists here.
    fn check_held(&self) -> Result<()> {
        let gone = |p: &&cluster_seed::capsule::Piece| {
            !fs::metadata(self.site.blob(p.sha256)).is_ok_and(|m| m.is_file() && m.len() == p.size)
        };
        let missing: Vec<_> = self.archive.list.held.iter().filter(gone).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let bytes: u64 = missing.iter().map(|p| p.size).sum();
        let since = self.archive.header.since.map(|d| d.to_string()).unwrap_or_default();
        Err(anyhow!("{} files ({bytes} bytes) that the archive leaves out are missing on this site", missing.len()))
            .hint(format!("import snapshot {since} first, or export without --since"))
    }

    /// Refuses an archive that does not fit on the disk.
    fn room(&self) -> Result<()> {
        let absent = self.archive.list.blobs.iter().filter(|p| !self.site.blob(p.sha256).exists());
        let needed: u64 = absent.map(|p| p.size).sum::<u64>().saturating_add(SLACK);
        let free = free_space(&self.site.data)?;
        if needed > free {
            return Err(anyhow!("the archive needs {needed} bytes in {}, but only {free} are free", self.site.data))
                .hint("`seedd darksite gc` lists what can be deleted");
        }
        Ok(())
    }

    fn stage(&self, staged: &Utf8Path, trees: &[(Tree, Digest)]) -> Result<()> {
        if staged.exists() {
            fs::remove_dir_all(staged).with_context(|| format!("removing {staged}"))?;
        }
        for row in self.archive.list.files.iter().filter(|f| trees.contains(&(f.tree, f.id))) {
            let to = staged.join(row.tree.as_str()).join(row.id.to_string()).join(&row.path);
            // Creates folders, and copies where the file system cannot link.
            host::files::link_creating(&self.site.blob(row.sha256), &to)?;
        }
        nix::unistd::syncfs(&File::open(staged)?).context("writing to the disk")
    }

    /// Verifies every signature, and every byte again, as it will be served.
    fn check(&self, staged: &Utf8Path, trees: &[(Tree, Digest)], progress: &dyn Progress) -> Result<()> {
        let pin = &self.archive.pin;
        for (tree, id) in trees {
            let dir = staged.join(tree.as_str()).join(id.to_string());
            match tree {
                Tree::Snapshots => {
                    let keyring = Keyring::from_bytes(&read_limited(&dir.join("keyring.gpg"), MAX_KEYRING)?)?;
                    let report = darksite::verify(&dir, &keyring, pin, progress)
                        .context("checking the snapshot")
                        .hint("nothing of the archive was put in use; export it again from an undamaged snapshot")?;
                    ensure!(report.manifest.id == *id, "the snapshot is {}, but its folder is named {id}", report.manifest.id);
                }
                Tree::Proofs => crate::capsule::stage::check_proof(&dir, *id, pin)?,
                Tree::Extras => site::extras::check(&dir, *id, pin)?,
                other => return Err(anyhow!("an archive cannot contain {}", other.as_str())),
            }
        }
        Ok(())
    }

    /// Stores the maker's keys first: without them nobody could verify the snapshot.
    fn place(&self, staged: &Utf8Path, trees: &[(Tree, Digest)]) -> Result<()> {
        if self.archive.pin != self.site.keys().public()?.site_key()? {
            for (tree, id) in trees.iter().filter(|(tree, _)| *tree == Tree::Snapshots) {
                let keyring = staged.join(tree.as_str()).join(id.to_string()).join("keyring.gpg");
                let keyring = read_limited(&keyring, MAX_KEYRING)?;
                write_atomic(&self.site.keys().snapshot_keyring_path(*id), &keyring, 0o644)?;
            }
            let made = trees.iter().filter(|(tree, _)| *tree != Tree::Proofs).map(|(_, id)| *id);
            (self.keep)(&InUse::made_by(&self.archive.pin, made)).context("writing the maker's key")?;
        }
        for (tree, id) in trees {
            let from = staged.join(tree.as_str()).join(id.to_string());
            let to = self.site.join(tree.as_str()).join(id.to_string());
            let folder: Utf8PathBuf = self.site.join(tree.as_str());
            fs::rename(&from, &to).with_context(|| format!("moving {to} into place"))?;
            File::open(&folder).and_then(|d| d.sync_all()).with_context(|| format!("syncing {folder}"))?;
        }
        Ok(())
    }
}
