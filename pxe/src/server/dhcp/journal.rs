//! Leases on disk before their ACK: an append-only file, one synced write per group.
//!
//! A new file is filled with zeros first: the sync of a group then writes only data, no metadata, and does not wait for other
//! programs' changes in the file system's journal. Files are numbered; [`Journal::seal`] starts a new one and returns the
//! contents of the older ones, and [`Sealed::remove`] deletes those once their contents are stored elsewhere. Reading them
//! twice is harmless: the last line of an address wins. [`crate::dhcp::lease_line`] defines the format.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::net::Ipv4Addr;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::dhcp::lease_line::{read_line, write_line};
use crate::dhcp::leases::LeaseRecord;

/// The longest journal file read, in bytes; files are folded long before they reach this size.
pub const MAX_FILE: u64 = 256 << 20;
/// Zeros written to a new file, in bytes, and again whenever they are used up.
pub const CAPACITY: u64 = 4 << 20;

/// The open journal of one interface.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    number: u64,
    file: File,
    /// Length up to the end of the last line, in bytes.
    length: u64,
    /// Allocated length including zeros, in bytes.
    room: u64,
    /// A write or sync failed: the kernel may have dropped pages, so nothing more is written to this file.
    broken: bool,
    older: Vec<PathBuf>,
    /// The last record of every address since the last seal.
    latest: BTreeMap<Ipv4Addr, LeaseRecord>,
    line: String,
}

/// The next file of the journal. Creating it takes as long as many appends, so it is prepared without blocking them.
#[derive(Debug)]
pub struct NextFile {
    dir: PathBuf,
    number: u64,
    file: Option<File>,
}

impl NextFile {
    /// Creates the file without locking the journal, so appends continue.
    pub fn make(mut self) -> io::Result<Self> {
        let (number, file) = create(&self.dir, self.number)?;
        (self.number, self.file) = (number, Some(file));
        Ok(self)
    }
}

/// Completed files, and their records.
#[derive(Debug)]
pub struct Sealed {
    pub records: Vec<LeaseRecord>,
    files: Vec<PathBuf>,
}

impl Sealed {
    /// Deletes the files, oldest first. After an error the remaining ones are read again at the next start.
    pub fn remove(self) -> io::Result<()> {
        for file in self.files {
            fs::remove_file(file)?;
        }
        Ok(())
    }
}

impl Journal {
    /// Opens a new file in `dir` and returns the records of the older ones, in order.
    pub fn open(dir: &Path) -> io::Result<(Self, Vec<LeaseRecord>)> {
        fs::create_dir_all(dir)?;
        let mut numbers: Vec<u64> = fs::read_dir(dir)?.filter_map(|e| number_of(&e.ok()?.path())).collect();
        numbers.sort_unstable();
        let (mut records, mut older) = (Vec::new(), Vec::new());
        for file in numbers.iter().map(|n| path(dir, *n)) {
            let mut bytes = Vec::new();
            File::open(&file)?.take(MAX_FILE).read_to_end(&mut bytes)?;
            let before = records.len();
            records.extend(bytes.split_inclusive(|b| *b == b'\n').filter_map(read_line));
            if records.len() > before {
                older.push(file);
            } else {
                // No lease in it was acknowledged, so it can be deleted; otherwise files would accumulate with every start.
                fs::remove_file(file)?;
            }
        }
        let (number, file) = create(dir, numbers.last().map_or(1, |n| n + 1))?;
        let latest = records.iter().map(|r| (r.ip, r.clone())).collect();
        let (dir, line) = (dir.to_owned(), String::new());
        let journal = Journal { dir, number, file, length: 0, room: CAPACITY, broken: false, older, latest, line };
        Ok((journal, records))
    }

    /// Appends the records and syncs. After an error none of them may be acknowledged, even if a later start finds them
    /// on the disk.
    pub fn append(&mut self, records: &[LeaseRecord]) -> io::Result<()> {
        if self.broken {
            self.next_file()?;
        }
        self.line.clear();
        for record in records {
            write_line(record, &mut self.line);
        }
        if self.length + self.line.len() as u64 > self.room {
            fill(&self.file, self.room);
            self.room += CAPACITY;
        }
        let written = self.file.write_all_at(self.line.as_bytes(), self.length).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            self.broken = true;
            return Err(error);
        }
        self.length += self.line.len() as u64;
        for record in records {
            self.latest.insert(record.ip, record.clone());
        }
        Ok(())
    }

    /// Bytes appended since the last seal.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether there is anything to fold.
    pub fn is_empty(&self) -> bool {
        self.latest.is_empty()
    }

    /// The next file for [`Journal::seal`], not created yet.
    pub fn next(&self) -> NextFile {
        NextFile { dir: self.dir.clone(), number: self.number + 1, file: None }
    }

    /// Continues in `next` and returns everything before it.
    pub fn seal(&mut self, next: NextFile) -> io::Result<Sealed> {
        match next.file {
            Some(file) if next.number > self.number => self.go_on_in(next.number, file),
            // The journal failed in the meantime and continued in a file with a higher number.
            _ => self.next_file()?,
        }
        let records = std::mem::take(&mut self.latest).into_values().collect();
        Ok(Sealed { records, files: std::mem::take(&mut self.older) })
    }

    fn next_file(&mut self) -> io::Result<()> {
        let (number, file) = create(&self.dir, self.number + 1)?;
        self.go_on_in(number, file);
        Ok(())
    }

    fn go_on_in(&mut self, number: u64, file: File) {
        self.older.push(path(&self.dir, self.number));
        (self.number, self.file, self.length, self.room, self.broken) = (number, file, 0, CAPACITY, false);
    }
}

fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("leases-{number:010}.journal"))
}

fn number_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix("leases-")?.strip_suffix(".journal")?.parse().ok()
}

/// A new file with this number, or the next free one: a file may have been created but never used.
fn create(dir: &Path, number: u64) -> io::Result<(u64, File)> {
    let mut number = number;
    let file = loop {
        match File::options().create_new(true).write(true).open(path(dir, number)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            opened => break opened?,
        }
    };
    fill(&file, 0);
    file.sync_all()?;
    // The directory entry must survive a power failure too.
    File::open(dir)?.sync_all()?;
    Ok((number, file))
}

/// Best effort: on a full disk the file stays short, and the append fails.
fn fill(file: &File, from: u64) {
    let zeros = vec![0u8; 1 << 20];
    for at in (from..from + CAPACITY).step_by(zeros.len()) {
        if file.write_all_at(&zeros, at).is_err() {
            break;
        }
    }
}

#[cfg(test)]
mod tests;
