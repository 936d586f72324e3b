//! The entries of an ext4 root file system, with everything that a layer keeps of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};

use camino::Utf8Path;
use host::files::failed;

use super::ext4::System;
use crate::error::Error;

/// Most entries of a root file system.
const MAX_ENTRIES: usize = 2_000_000;
/// Inode of the root directory.
const TOP: u32 = 2;
/// Permission bits, and those for set-user-id, set-group-id and sticky.
const MODE: u16 = 0o7777;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Dir,
    File,
    Symlink(String),
    Fifo,
    Char { major: u32, minor: u32 },
    Block { major: u32, minor: u32 },
}

/// One entry of the file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub kind: Kind,
    /// Entries with the same inode are hard links of one file.
    pub inode: u32,
    pub mode: u32,
    pub user: u32,
    pub group: u32,
    /// Seconds since 1970.
    pub modified: u64,
    /// Of a file, in bytes.
    pub size: u64,
    /// By full name, as getxattr(2) returns them.
    pub attributes: BTreeMap<String, Vec<u8>>,
}

/// Entries by path below the root. A directory sorts before what is in it.
pub type Entries = BTreeMap<String, Entry>;

/// An opened file system.
pub struct Root {
    system: System,
    pub entries: Entries,
}

fn broken(error: impl std::fmt::Display) -> Error {
    Error::Content(format!("reading the root file system: {error}"))
}

impl Root {
    /// Reads all directories of the file system image `path`.
    pub fn open(path: &Utf8Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(failed("opening", path))?;
        let mut root = Root { system: System::open(file).map_err(broken)?, entries: Entries::new() };
        let mut waiting = vec![(String::new(), TOP)];
        while let Some((dir, number)) = waiting.pop() {
            let inode = root.system.inode(number).map_err(broken)?;
            let blocks = root.system.directory(&inode).map_err(broken)?;
            for (number, name) in names(&blocks).ok_or_else(|| broken(format!("directory {dir:?} is damaged")))? {
                let name = if dir.is_empty() { name } else { format!("{dir}/{name}") };
                let entry = root.entry(number).map_err(|e| broken(format!("{name:?}: {e}")))?;
                if let Some(entry) = entry {
                    if entry.kind == Kind::Dir {
                        waiting.push((name.clone(), number));
                    }
                    root.entries.insert(name, entry);
                }
                if root.entries.len() > MAX_ENTRIES {
                    return Err(broken(format!("it has more than {MAX_ENTRIES} entries")));
                }
            }
        }
        Ok(root)
    }

    /// None for a socket, which tar(5) cannot hold and nobody listens at.
    fn entry(&self, number: u32) -> io::Result<Option<Entry>> {
        let inode = self.system.inode(number)?;
        let mode = inode.mode()?;
        let kind = match mode >> 12 {
            0x1 => Kind::Fifo,
            0x2 => inode.device().map(|(major, minor)| Kind::Char { major, minor })?,
            0x4 => Kind::Dir,
            0x6 => inode.device().map(|(major, minor)| Kind::Block { major, minor })?,
            0x8 => Kind::File,
            0xa => Kind::Symlink(self.system.link(&inode)?),
            0xc => return Ok(None),
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "it is of an unknown type")),
        };
        Ok(Some(Entry {
            inode: number,
            mode: u32::from(mode & MODE),
            user: inode.user()?,
            group: inode.group()?,
            modified: inode.modified()?.into(),
            size: if kind == Kind::File { inode.size()? } else { 0 },
            attributes: attributes(self.system.attributes(&inode)?)?,
            kind,
        }))
    }

    /// The content of a file.
    pub fn read(&self, entry: &Entry) -> Result<impl Read + '_, Error> {
        self.system.inode(entry.inode).and_then(|inode| self.system.read(&inode)).map_err(broken)
    }
}

/// Inodes and names in the blocks of a directory (ext4(5), `struct ext4_dir_entry_2`): inode in 32 bits, length of the record in
/// 16, of the name in 8, type in 8, name. Records without an inode are unused space, checksums and nodes of the hash tree.
fn names(mut blocks: &[u8]) -> Option<Vec<(u32, String)>> {
    let mut found = Vec::new();
    while let Some(([a, b, c, d, low, high, len, _], rest)) = blocks.split_first_chunk::<8>() {
        let inode = u32::from_le_bytes([*a, *b, *c, *d]);
        let record = usize::from(u16::from_le_bytes([*low, *high]));
        let name = rest.get(..usize::from(*len))?;
        if inode != 0 && name != b"." && name != b".." {
            found.push((inode, std::str::from_utf8(name).ok().filter(|n| !n.is_empty() && !n.contains('/'))?.to_owned()));
        }
        blocks = blocks.get(record.max(8)..)?;
    }
    blocks.is_empty().then_some(found)
}

fn attributes(disk: BTreeMap<String, Vec<u8>>) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let one = |(name, value): (String, Vec<u8>)| {
        let value = if name.starts_with("system.posix_acl_") { acl(&value) } else { Some(value) };
        let bad = || io::Error::new(io::ErrorKind::InvalidData, "it has an access control list of an unknown form");
        Ok((name, value.ok_or_else(bad)?))
    };
    disk.into_iter().map(one).collect()
}

/// An access control list as getxattr(2) returns it (include/uapi/linux/posix_acl_xattr.h): version 2, entries of tag,
/// permissions and id. On an ext4 disk it is version 1, and only entries of named users and groups have an id.
fn acl(disk: &[u8]) -> Option<Vec<u8>> {
    const NAMED: [u16; 2] = [0x02, 0x08];
    const NO_ID: [u8; 4] = [0xff; 4];
    let mut rest = disk.strip_prefix(&1u32.to_le_bytes())?;
    let mut out = 2u32.to_le_bytes().to_vec();
    while let Some((head, after)) = rest.split_first_chunk::<4>() {
        let [tag, tag_high, ..] = *head;
        let (id, after) =
            if NAMED.contains(&u16::from_le_bytes([tag, tag_high])) { after.split_first_chunk::<4>()? } else { (&NO_ID, after) };
        out.extend(head);
        out.extend(id);
        rest = after;
    }
    rest.is_empty().then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(inode: u32, length: u16, name: &str) -> Vec<u8> {
        let mut bytes = [&inode.to_le_bytes()[..], &length.to_le_bytes(), &[name.len() as u8, 1], name.as_bytes()].concat();
        bytes.resize(length.into(), 0);
        bytes
    }

    #[test]
    fn a_directory_of_several_blocks_is_read_to_its_end() {
        let first = [record(2, 12, "."), record(2, 12, ".."), record(11, 20, "one"), record(0, 12, "")].concat();
        let second = [record(0, 24, ""), record(12, 16, "two"), record(0, 12, "")].concat();
        let both = [first, second].concat();
        assert_eq!(names(&both).unwrap(), [(11, "one".to_owned()), (12, "two".to_owned())]);
        for cut in [1, 11, both.len() - 1] {
            assert_eq!(names(&both[..both.len() - cut]), None, "{cut}");
        }
        for bad in [record(11, 12, "a/b"), record(11, 12, "")] {
            assert_eq!(names(&bad), None, "{bad:?}");
        }
    }

    #[test]
    fn an_access_control_list_is_as_the_kernel_gives_it() {
        // setfacl -m u:1000:r on a file of mode 0640: user::rw-, user:1000:r--, group::r--, mask::r--, other::---
        let disk = "01000000 01000600 02000400e8030000 04000400 10000400 20000000";
        let kernel = "02000000 01000600ffffffff 02000400e8030000 04000400ffffffff 10000400ffffffff 20000000ffffffff";
        let bytes = |text: &str| hex::decode(text.replace(' ', "")).unwrap();
        assert_eq!(acl(&bytes(disk)).unwrap(), bytes(kernel));
        for bad in ["", "02000000", "01000000 0100", "01000000 02000400e803"] {
            assert_eq!(acl(&bytes(bad)), None, "{bad}");
        }
    }
}
