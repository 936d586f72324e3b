//! Reading a capsule: header, manifest, then content; each is used only after it was verified.

use std::io::Read as _;

use anyhow::{Context as _, Result, anyhow, ensure};
use camino::Utf8Path;
use cluster_seed::capsule::{
    CapsuleError, CapsuleHeader, CapsuleManifest, Entry, FRAME, PREFIX, Piece, frame_count, frame_len, frame_payload, header_len,
    open_frame,
};
use cluster_seed::progress::Progress;
use cluster_seed::seal::{Sealed, VerifyingKey, key_from_text};
use cluster_seed::secret::AgeKey;
use site::hint::Hint as _;

use super::STOPPED;
use super::parts::PartReader;
use super::pieces::{Pieces, Sink};

/// A capsule whose unencrypted header was read, but not verified.
pub struct Clear {
    reader: PartReader,
    sealed: Sealed<CapsuleHeader>,
}

/// A capsule whose header is signed by the pinned key.
pub struct Capsule<'a> {
    reader: PartReader,
    pub header: CapsuleHeader,
    site_key: VerifyingKey,
    key: &'a AgeKey,
    next: u64,
}

impl Clear {
    pub fn open(path: &Utf8Path) -> Result<Self> {
        let mut reader = PartReader::open(path)?;
        let mut prefix = [0u8; PREFIX];
        read_exact(&mut reader, &mut prefix)?;
        let mut json = vec![0u8; header_len(&prefix).with_context(|| format!("reading {path}"))?];
        read_exact(&mut reader, &mut json)?;
        let sealed = serde_json::from_slice(&json).map_err(|e| CapsuleError::Json("header", e))?;
        Ok(Clear { reader, sealed })
    }

    /// The key with which it claims to be signed, in hex.
    pub fn claimed_key(&self) -> &str {
        self.sealed.claimed_key()
    }

    pub fn stored(&self) -> u64 {
        self.reader.size()
    }

    pub fn parts(&self) -> usize {
        self.reader.count()
    }

    /// The header, verified with the key that it contains: this shows that it is undamaged, but not who made it.
    pub fn unpinned(&self) -> Result<CapsuleHeader> {
        let key = key_from_text(self.claimed_key()).context("reading the capsule's site key")?;
        Ok(CapsuleHeader::open(&self.sealed, &key)?)
    }

    pub fn pinned(&self, pin: &VerifyingKey) -> Result<CapsuleHeader> {
        Ok(CapsuleHeader::open(&self.sealed, pin)?)
    }

    /// Verifies the header's signature; `key` is the operator's key of the destination site.
    pub fn verified<'a>(self, pin: &VerifyingKey, key: &'a AgeKey) -> Result<Capsule<'a>> {
        let header = CapsuleHeader::open(&self.sealed, pin)
            .hint("use the site key of the seed that made it as --pin (run `seedd status` there)")?;
        if header.recipient != key.recipient() {
            return Err(anyhow!("the capsule is for {}, this site is {}", header.recipient, key.recipient()))
                .hint("export it again with --recipient of this site (run `seedd status` here)");
        }
        Ok(Capsule { reader: self.reader, header, site_key: *pin, key, next: 0 })
    }

    /// Checks, without a key, that the frames are complete up to the end of the file.
    pub fn check_frames(&mut self, header: &CapsuleHeader) -> Result<()> {
        for index in 0..=frame_count(header.bytes) {
            let size = next_len(&mut self.reader, index)?;
            let end = self.reader.position().saturating_add(size as u64);
            ensure!(end <= self.reader.size(), "the capsule ends within frame {index}");
            self.reader.seek_to(end);
        }
        at_end(&self.reader)
    }
}

pub fn read_exact(reader: &mut PartReader, buffer: &mut [u8]) -> Result<()> {
    reader.read_exact(buffer).context("reading the file").hint("the file ends too early; check that no part is missing")
}

fn next_len(reader: &mut PartReader, index: u64) -> Result<usize> {
    let mut field = [0u8; 4];
    read_exact(reader, &mut field)?;
    Ok(frame_len(index, field)?)
}

fn at_end(reader: &PartReader) -> Result<()> {
    ensure!(reader.at_end(), "the capsule has extra data at its end");
    Ok(())
}

impl Capsule<'_> {
    fn frame(&mut self) -> Result<Vec<u8>> {
        let index = self.next;
        let mut ciphertext = vec![0u8; next_len(&mut self.reader, index)?];
        read_exact(&mut self.reader, &mut ciphertext)?;
        self.next += 1;
        Ok(open_frame(self.key, &self.header.id, index, &ciphertext)?)
    }

    fn skip_frame(&mut self) -> Result<()> {
        let size = next_len(&mut self.reader, self.next)?;
        let end = self.reader.position().saturating_add(size as u64);
        ensure!(end <= self.reader.size(), "the capsule ends within frame {}", self.next);
        self.reader.seek_to(end);
        self.next += 1;
        Ok(())
    }

    /// The signed list of the content. Must be called first.
    pub fn manifest(&mut self) -> Result<CapsuleManifest> {
        let text = self.frame()?;
        Ok(CapsuleManifest::open(&text, &self.header, &self.site_key)?)
    }

    /// Passes the content to `sink`, entry by entry; the `done` entries that an earlier run passed are skipped.
    pub fn content(
        mut self,
        manifest: &CapsuleManifest,
        done: usize,
        sink: &mut dyn Sink,
        progress: &dyn Progress,
    ) -> Result<()> {
        let before: u64 = manifest.entries.iter().take(done).map(Entry::size).sum();
        while self.next.saturating_mul(FRAME) <= before && self.next <= frame_count(self.header.bytes) {
            self.skip_frame()?;
        }
        let mut at = (self.next - 1) * FRAME;
        let pieces: Vec<Piece> = manifest.entries.iter().map(Entry::piece).collect();
        let mut open = Pieces::new(&pieces, done, sink)?;
        progress.begin("reading the capsule", Some(self.header.bytes));
        progress.advance(before);
        while self.next <= frame_count(self.header.bytes) {
            ensure!(!progress.cancelled(), STOPPED);
            let index = self.next;
            let data = self.frame()?;
            if data.len() as u64 != frame_payload(self.header.bytes, index) {
                return Err(CapsuleError::FrameLength { index }.into());
            }
            let skip = usize::try_from(before.saturating_sub(at)).unwrap_or(usize::MAX).min(data.len());
            open.take(&data[skip..])?;
            progress.advance((data.len() - skip) as u64);
            at += data.len() as u64;
        }
        at_end(&self.reader)?;
        progress.end();
        open.finish()
    }
}
