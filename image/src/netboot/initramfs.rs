//! A deterministic `newc` cpio archive (Linux, Documentation/driver-api/early-userspace/buffer-format.rst).
//!
//! Entries are sorted, times are 0, the owner is root, inode numbers are consecutive: same files, same bytes.

use std::collections::BTreeMap;
use std::io::{self, Write};

const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;
const S_IFLNK: u32 = 0o120_000;
const S_IFCHR: u32 = 0o020_000;

enum Entry {
    Dir,
    File { mode: u32, content: Vec<u8> },
    Link(String),
    Char { mode: u32, major: u32, minor: u32 },
}

/// The content of the archive; parent directories are added automatically.
#[derive(Default)]
pub struct Initramfs {
    entries: BTreeMap<String, Entry>,
}

impl Initramfs {
    fn put(&mut self, name: &str, entry: Entry) {
        let name = name.trim_start_matches('/');
        for (at, _) in name.match_indices('/') {
            self.entries.entry(name[..at].to_owned()).or_insert(Entry::Dir);
        }
        self.entries.insert(name.to_owned(), entry);
    }

    pub fn dir(&mut self, name: &str) {
        self.put(name, Entry::Dir);
    }

    pub fn file(&mut self, name: &str, mode: u32, content: Vec<u8>) {
        self.put(name, Entry::File { mode, content });
    }

    pub fn link(&mut self, name: &str, target: &str) {
        self.put(name, Entry::Link(target.to_owned()));
    }

    /// A character device.
    pub fn device(&mut self, name: &str, mode: u32, major: u32, minor: u32) {
        self.put(name, Entry::Char { mode, major, minor });
    }

    /// Size of all file content in bytes.
    pub fn size(&self) -> u64 {
        self.entries.values().map(|e| if let Entry::File { content, .. } = e { content.len() as u64 } else { 0 }).sum()
    }

    /// Writes the archive. Fails for a file of 4 GiB or more, which the format does not allow.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        for (inode, (name, entry)) in (1u32..).zip(&self.entries) {
            let (mode, content, device): (u32, &[u8], (u32, u32)) = match entry {
                Entry::Dir => (S_IFDIR | 0o755, &[], (0, 0)),
                Entry::File { mode, content } => (S_IFREG | mode, content, (0, 0)),
                Entry::Link(target) => (S_IFLNK | 0o777, target.as_bytes(), (0, 0)),
                Entry::Char { mode, major, minor } => (S_IFCHR | mode, &[], (*major, *minor)),
            };
            record(out, inode, name, mode, content, device)?;
        }
        record(out, 0, "TRAILER!!!", 0, &[], (0, 0))
    }
}

fn record(out: &mut dyn Write, inode: u32, name: &str, mode: u32, content: &[u8], device: (u32, u32)) -> io::Result<()> {
    let size = u32::try_from(content.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let links = 1 + u32::from(mode & 0o170_000 == S_IFDIR);
    let name_size = name.len() as u32 + 1;
    out.write_all(b"070701")?;
    for field in [inode, mode, 0, 0, links, 0, size, 0, 0, device.0, device.1, name_size, 0] {
        write!(out, "{field:08x}")?;
    }
    out.write_all(name.as_bytes())?;
    out.write_all(&[0])?;
    // The header has 110 bytes; name and content are each padded to a multiple of four.
    pad(out, 110 + name.len() + 1)?;
    out.write_all(content)?;
    pad(out, content.len())
}

fn pad(out: &mut dyn Write, len: usize) -> io::Result<()> {
    out.write_all(&[0; 3][..(4 - len % 4) % 4])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(i: &Initramfs) -> Vec<u8> {
        let mut out = Vec::new();
        i.write(&mut out).unwrap();
        out
    }

    #[test]
    fn insertion_order_does_not_matter_and_parents_come_first() {
        let mut a = Initramfs::default();
        a.file("usr/bin/x", 0o755, b"hello".to_vec());
        a.link("bin", "usr/bin");
        a.device("dev/console", 0o600, 5, 1);
        let mut b = Initramfs::default();
        b.device("dev/console", 0o600, 5, 1);
        b.link("bin", "usr/bin");
        b.file("/usr/bin/x", 0o755, b"hello".to_vec());
        assert_eq!(bytes(&a), bytes(&b));
        let names: Vec<&String> = a.entries.keys().collect();
        assert_eq!(names, ["bin", "dev", "dev/console", "usr", "usr/bin", "usr/bin/x"]);
        assert_eq!(a.size(), 5);
    }

    #[test]
    fn the_archive_has_the_expected_bytes() {
        let mut i = Initramfs::default();
        i.file("ab", 0o644, b"hi".to_vec());
        let out = bytes(&i);
        let head = "07070100000001000081a4";
        assert!(out.starts_with(head.as_bytes()), "{}", String::from_utf8_lossy(&out[..30]));
        assert_eq!(&out[110..120], b"ab\0\0\0\0hi\0\0");
        assert_eq!(out.len() % 4, 0);
    }
}
