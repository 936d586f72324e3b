//! A capsule's bytes as one stream, stored in one file or in `FILE.001`, `FILE.002`, …

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek as _, SeekFrom, Write as _};

use anyhow::{Context as _, Result, anyhow, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use host::files::{PRIVATE, Start, open};
use site::hint::Hint as _;

/// Maximum number of parts of a capsule: their names have three digits.
pub const MAX_PARTS: u64 = 999;
/// Minimum size of a part, in bytes.
pub const MIN_PART: u64 = 1 << 20;

fn numbered(base: &Utf8Path, index: u64) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{base}.{:03}", index + 1))
}

fn unfinished(path: &Utf8Path) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{path}.part"))
}

fn sync_dir_of(path: &Utf8Path) -> Result<()> {
    let dir = path.parent().filter(|p| !p.as_str().is_empty()).unwrap_or(Utf8Path::new("."));
    File::open(dir).and_then(|d| d.sync_all()).with_context(|| format!("syncing {dir}"))
}

/// Reads the parts in order.
pub struct PartReader {
    parts: Vec<(Utf8PathBuf, u64)>,
    at: u64,
    open: Option<(usize, File)>,
}

impl PartReader {
    /// `path` is the capsule, its first part, or the name without the parts' numbers.
    pub fn open(path: &Utf8Path) -> Result<Self> {
        let base = path.as_str().strip_suffix(".001").map(Utf8Path::new).unwrap_or(path);
        let split = numbered(base, 0).is_file();
        let names: Vec<Utf8PathBuf> = match split {
            true => (0..MAX_PARTS).map(|i| numbered(base, i)).take_while(|p| p.is_file()).collect(),
            false => vec![path.to_owned()],
        };
        let mut parts = Vec::new();
        for name in names {
            let size =
                fs::metadata(&name).with_context(|| format!("opening {name}")).hint("check the name of the capsule")?.len();
            parts.push((name, size));
        }
        Ok(PartReader { parts, at: 0, open: None })
    }

    pub fn size(&self) -> u64 {
        self.parts.iter().map(|(_, size)| size).sum()
    }

    pub fn count(&self) -> usize {
        self.parts.len()
    }

    pub fn position(&self) -> u64 {
        self.at
    }

    pub fn seek_to(&mut self, at: u64) {
        (self.at, self.open) = (at, None);
    }

    /// True if everything was read.
    pub fn at_end(&self) -> bool {
        self.at >= self.size()
    }

    fn part(&self) -> Option<(usize, u64)> {
        let mut begin = 0;
        for (i, (_, size)) in self.parts.iter().enumerate() {
            if self.at < begin + size {
                return Some((i, self.at - begin));
            }
            begin += size;
        }
        None
    }
}

impl Read for PartReader {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let Some((index, offset)) = self.part() else { return Ok(0) };
        if self.open.as_ref().is_none_or(|(i, _)| *i != index) {
            let mut file = File::open(&self.parts[index].0)?;
            file.seek(SeekFrom::Start(offset))?;
            self.open = Some((index, file));
        }
        let left = usize::try_from(self.parts[index].1 - offset).unwrap_or(usize::MAX);
        let most = buf.len().min(left);
        let Some((_, file)) = &mut self.open else { return Ok(0) };
        let n = file.read(&mut buf[..most])?;
        if n == 0 && most > 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.at += n as u64;
        Ok(n)
    }
}

/// Writes parts under names that end in `.part` until [`PartWriter::finish`].
pub struct PartWriter {
    base: Utf8PathBuf,
    split: Option<u64>,
    at: u64,
    open: Option<(u64, File)>,
}

impl PartWriter {
    /// Resumes at byte `at`; 0 starts from the beginning and deletes what an earlier run left.
    pub fn open(base: &Utf8Path, split: Option<u64>, at: u64) -> Result<Self> {
        let writer = PartWriter { base: base.to_owned(), split, at, open: None };
        ensure!(split.is_none_or(|s| s >= MIN_PART), "a part must have at least {MIN_PART} bytes");
        let (index, offset) = writer.place(at);
        for earlier in 0..index {
            let path = unfinished(&writer.name(earlier));
            let size = fs::metadata(&path).with_context(|| format!("opening {path}"))?.len();
            ensure!(Some(size) == split, "{path} has {size} bytes, which is not the size of a complete part");
        }
        let path = unfinished(&writer.name(index));
        if at > 0 && offset > 0 {
            let size = fs::metadata(&path).with_context(|| format!("opening {path}"))?.len();
            ensure!(size >= offset, "{path} has {size} bytes, but {offset} were written");
        }
        let file = open(&path, Start::Keep, PRIVATE);
        file.and_then(|f| f.set_len(offset)).with_context(|| format!("opening {path}"))?;
        if split.is_some() {
            for later in (index + 1..MAX_PARTS).map(|i| unfinished(&writer.name(i))).take_while(|p| p.exists()) {
                fs::remove_file(&later).with_context(|| format!("removing {later}"))?;
            }
        }
        Ok(writer)
    }

    fn name(&self, index: u64) -> Utf8PathBuf {
        if self.split.is_some() { numbered(&self.base, index) } else { self.base.clone() }
    }

    fn place(&self, at: u64) -> (u64, u64) {
        self.split.map_or((0, at), |s| (at / s, at % s))
    }

    /// Names of the parts of a finished capsule.
    pub fn existing(base: &Utf8Path) -> Option<Utf8PathBuf> {
        [base.to_owned(), numbered(base, 0)].into_iter().find(|p| p.exists())
    }

    pub fn position(&self) -> u64 {
        self.at
    }

    pub fn append(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let (index, offset) = self.place(self.at);
            let path = unfinished(&self.name(index));
            if self.open.as_ref().is_none_or(|(i, _)| *i != index) {
                self.sync()?;
                if index >= MAX_PARTS {
                    return Err(anyhow!("the capsule would have more than {MAX_PARTS} parts")).hint("use a larger --split-size");
                }
                let mut file = open(&path, Start::Keep, PRIVATE).with_context(|| format!("opening {path}"))?;
                file.seek(SeekFrom::Start(offset)).with_context(|| format!("opening {path}"))?;
                self.open = Some((index, file));
            }
            let room = self.split.map_or(u64::MAX, |s| s - offset);
            let (now, later) = bytes.split_at(bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
            if let Some((_, file)) = &mut self.open {
                let written = file.write_all(now);
                let is_full = written.as_ref().is_err_and(|e| e.kind() == ErrorKind::StorageFull);
                let written = written.with_context(|| format!("writing {path}"));
                if is_full { written.hint("the medium is full: use a larger one, or --split-size")? } else { written? }
            }
            self.at += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    /// Syncs, so that what was appended survives a power cut.
    pub fn sync(&mut self) -> Result<()> {
        if let Some((index, file)) = &self.open {
            file.sync_all().with_context(|| format!("syncing part {}", index + 1))?;
        }
        Ok(())
    }

    /// Parts of a capsule with `bytes` bytes.
    pub fn parts(&self, bytes: u64) -> u64 {
        self.split.map_or(1, |s| bytes.div_ceil(s))
    }

    /// Renames the parts to their final names, the first part last: without it the files are not a capsule. Safe to run again.
    pub fn finish(base: &Utf8Path, split: Option<u64>, parts: u64) -> Result<Vec<Utf8PathBuf>> {
        let writer = PartWriter { base: base.to_owned(), split, at: 0, open: None };
        for index in (0..parts).rev() {
            let (to, from) = (writer.name(index), unfinished(&writer.name(index)));
            if from.exists() {
                sync_dir_of(&to)?;
                fs::rename(&from, &to).with_context(|| format!("renaming a part to {to}"))?;
            }
            ensure!(to.is_file(), "{to} no longer exists");
        }
        sync_dir_of(base)?;
        Ok((0..parts).map(|i| writer.name(i)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir() -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().join("site.capsule")).unwrap();
        (dir, path)
    }

    fn content() -> Vec<u8> {
        (0..2 * MIN_PART + 5).map(|i| (i % 251) as u8).collect()
    }

    fn read(path: &Utf8Path) -> Vec<u8> {
        let mut bytes = Vec::new();
        PartReader::open(path).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn parts_read_as_one_stream_and_nothing_looks_whole_before_its_end() {
        for (split, count) in [(None, 1), (Some(MIN_PART), 3), (Some(2 * MIN_PART + 5), 1)] {
            let (_keep, path) = dir();
            let mut writer = PartWriter::open(&path, split, 0).unwrap();
            writer.append(&content()).unwrap();
            writer.sync().unwrap();
            assert!(PartWriter::existing(&path).is_none());
            let parts = PartWriter::finish(&path, split, writer.parts(writer.position())).unwrap();
            assert_eq!(parts.len(), count);
            assert_eq!(read(&path), content());
            assert_eq!(read(&parts[0]), content(), "also by the name of the first part");
            assert!(PartWriter::existing(&path).is_some());
            assert_eq!(PartWriter::finish(&path, split, count as u64).unwrap(), parts, "twice is once");
        }
    }

    #[test]
    fn writing_goes_on_where_it_was_synced() {
        for split in [None, Some(MIN_PART)] {
            for at in [0, 1, MIN_PART - 1, MIN_PART, MIN_PART + 1, 2 * MIN_PART] {
                let (_keep, path) = dir();
                let mut writer = PartWriter::open(&path, split, 0).unwrap();
                writer.append(&content()).unwrap();
                drop(writer);
                let mut writer = PartWriter::open(&path, split, at).unwrap();
                writer.append(&content()[at as usize..]).unwrap();
                PartWriter::finish(&path, split, writer.parts(writer.position())).unwrap();
                assert_eq!(read(&path), content(), "{split:?} {at}");
            }
        }
    }

    #[test]
    fn what_is_not_there_is_not_gone_on_with() {
        let (_keep, path) = dir();
        assert!(PartWriter::open(&path, None, 7).is_err());
        assert!(PartWriter::open(&path, Some(MIN_PART), MIN_PART + 7).is_err());
        assert!(PartWriter::open(&path, Some(MIN_PART - 1), 0).is_err());
        assert!(PartReader::open(&path).is_err());
    }

    #[test]
    fn seeking_crosses_parts() {
        let (_keep, path) = dir();
        let mut writer = PartWriter::open(&path, Some(MIN_PART), 0).unwrap();
        writer.append(&content()).unwrap();
        PartWriter::finish(&path, Some(MIN_PART), 3).unwrap();
        let mut reader = PartReader::open(&path).unwrap();
        for at in [MIN_PART - 1, 0, 2 * MIN_PART, 2 * MIN_PART + 5] {
            reader.seek_to(at);
            let mut rest = Vec::new();
            reader.read_to_end(&mut rest).unwrap();
            assert_eq!(rest, &content()[at as usize..]);
            assert!(reader.at_end());
        }
    }
}
