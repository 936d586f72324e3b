//! Reading an ext4 file system as mke2fs makes it from a directory (Linux, Documentation/filesystems/ext4). Its checksums are not
//! verified: the bytes of the whole disk were, against the digest in the artifact's manifest.
//!
//! Own code because no crate reads all that a layer keeps: ext4-view gives no inode numbers, devices or extended attributes;
//! ext4 ends a directory at its first block and cannot read attributes that fill an inode.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;

/// The superblock is at this offset, whatever the size of a block.
const SUPERBLOCK: u64 = 1024;
const MAGIC: u16 = 0xef53;
/// Incompatible features that are understood: directories with types, extents, 64 bit, flexible groups, and a seed of checksums.
const FEATURES: u32 = 0x2 | 0x40 | 0x80 | 0x200 | 0x2000;
/// Flag of an inode: its blocks are listed as extents.
const EXTENTS: u32 = 0x8_0000;
/// Flags of an inode that is stored in a way not understood here: compressed, encrypted, a value of an attribute, inline data.
const STRANGE: u32 = 0x4 | 0x800 | 0x20_0000 | 0x1000_0000;
const EXTENT_MAGIC: u16 = 0xf30a;
/// Deepest tree of extents.
const MAX_DEPTH: u16 = 5;
/// An extent longer than this is allocated but not written: it reads as zeros.
const MAX_WRITTEN: u16 = 32_768;
const ATTRIBUTE_MAGIC: u32 = 0xea02_0000;
/// Size of an inode without its extension.
const OLD_INODE: usize = 128;
/// Most bytes of a symbolic link, and of a directory.
const MAX_LINK: u64 = 4096;
const MAX_DIRECTORY: u64 = 64 << 20;

/// An opened file system.
pub struct System {
    file: File,
    block: u64,
    /// Where the group descriptors begin, and the size of one.
    groups: (u64, u64),
    inodes_per_group: u32,
    inode: usize,
}

pub struct Inode {
    pub number: u32,
    bytes: Vec<u8>,
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

fn u16_at(bytes: &[u8], at: usize) -> io::Result<u16> {
    let found = bytes.get(at..).and_then(|b| b.first_chunk::<2>());
    found.map(|b| u16::from_le_bytes(*b)).ok_or_else(|| damaged("a structure is cut short"))
}

fn u32_at(bytes: &[u8], at: usize) -> io::Result<u32> {
    let found = bytes.get(at..).and_then(|b| b.first_chunk::<4>());
    found.map(|b| u32::from_le_bytes(*b)).ok_or_else(|| damaged("a structure is cut short"))
}

impl System {
    pub fn open(file: File) -> io::Result<Self> {
        let mut bytes = [0u8; 1024];
        file.read_exact_at(&mut bytes, SUPERBLOCK)?;
        if u16_at(&bytes, 0x38)? != MAGIC {
            return Err(damaged("it is not an ext4 file system"));
        }
        let features = u32_at(&bytes, 0x60)?;
        if features & !FEATURES != 0 {
            return Err(damaged(&format!("it has unknown features {:#x}", features & !FEATURES)));
        }
        let block = 1024u64.checked_shl(u32_at(&bytes, 0x18)?).filter(|b| (1024..=65_536).contains(b));
        let block = block.ok_or_else(|| damaged("its blocks have an unknown size"))?;
        let descriptor = if features & 0x80 == 0 { 32 } else { u64::from(u16_at(&bytes, 0xfe)?).max(32) };
        let (inodes_per_group, inode) = (u32_at(&bytes, 0x28)?, usize::from(u16_at(&bytes, 0x58)?));
        if inodes_per_group == 0 || inode < OLD_INODE {
            return Err(damaged("its inodes have an unknown size or number"));
        }
        let groups = ((u64::from(u32_at(&bytes, 0x14)?) + 1) * block, descriptor);
        Ok(System { file, block, groups, inodes_per_group, inode })
    }

    fn block(&self, number: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.block as usize];
        let at = number.checked_mul(self.block).ok_or_else(|| damaged("a block is outside"))?;
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }

    pub fn inode(&self, number: u32) -> io::Result<Inode> {
        let index = number.checked_sub(1).ok_or_else(|| damaged("inode 0 is used"))?;
        let (group, index) = (index / self.inodes_per_group, index % self.inodes_per_group);
        let (groups, size) = self.groups;
        let mut descriptor = vec![0; size as usize];
        self.file.read_exact_at(&mut descriptor, groups + u64::from(group) * size)?;
        let high = if size < 64 { 0 } else { u32_at(&descriptor, 0x28)? };
        let table = u64::from(high) << 32 | u64::from(u32_at(&descriptor, 0x8)?);
        let at = table.checked_mul(self.block).and_then(|t| t.checked_add(u64::from(index) * self.inode as u64));
        let mut bytes = vec![0; self.inode];
        self.file.read_exact_at(&mut bytes, at.ok_or_else(|| damaged("an inode is outside"))?)?;
        Ok(Inode { number, bytes })
    }

    /// The content of a file, directory or long link.
    pub fn read(&self, inode: &Inode) -> io::Result<Content<'_>> {
        let flags = inode.flags()?;
        if flags & STRANGE != 0 || flags & EXTENTS == 0 {
            return Err(damaged(&format!("inode {} is stored in an unknown way ({flags:#x})", inode.number)));
        }
        let mut extents = Vec::new();
        self.extents(inode.blocks()?, MAX_DEPTH, &mut extents)?;
        extents.sort_unstable();
        Ok(Content { system: self, extents, at: 0, size: inode.size()? })
    }

    /// First block in the file, number of blocks, first block on the disk; of the written extents below a node.
    fn extents(&self, node: &[u8], depth: u16, found: &mut Vec<(u64, u64, u64)>) -> io::Result<()> {
        let (entries, own) = (u16_at(node, 2)?, u16_at(node, 6)?);
        if u16_at(node, 0)? != EXTENT_MAGIC || own > depth {
            return Err(damaged("a tree of extents is damaged"));
        }
        for at in (1..=usize::from(entries)).map(|n| n * 12) {
            let first = u64::from(u32_at(node, at)?);
            if own > 0 {
                let child = u64::from(u16_at(node, at + 8)?) << 32 | u64::from(u32_at(node, at + 4)?);
                self.extents(&self.block(child)?, own - 1, found)?;
                continue;
            }
            let length = u16_at(node, at + 4)?;
            let start = u64::from(u16_at(node, at + 6)?) << 32 | u64::from(u32_at(node, at + 8)?);
            if length <= MAX_WRITTEN {
                found.push((first, length.into(), start));
            }
        }
        Ok(())
    }

    /// All of a directory's blocks.
    pub fn directory(&self, inode: &Inode) -> io::Result<Vec<u8>> {
        self.whole(inode, MAX_DIRECTORY)
    }

    pub fn link(&self, inode: &Inode) -> io::Result<String> {
        // A short one is in the inode.
        let short = inode.flags()? & EXTENTS == 0;
        let bytes = if short {
            let length = usize::try_from(inode.size()?).map_err(|_| damaged("a link is too long"))?;
            inode.blocks()?.get(..length).ok_or_else(|| damaged("a link is too long"))?.to_vec()
        } else {
            self.whole(inode, MAX_LINK)?
        };
        String::from_utf8(bytes).map_err(|_| damaged("a link is not UTF-8"))
    }

    fn whole(&self, inode: &Inode, limit: u64) -> io::Result<Vec<u8>> {
        if inode.size()? > limit {
            return Err(damaged(&format!("inode {} has {} bytes, at most {limit} are allowed", inode.number, inode.size()?)));
        }
        let mut bytes = Vec::new();
        self.read(inode)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Extended attributes by full name, with the values that are on the disk.
    pub fn attributes(&self, inode: &Inode) -> io::Result<BTreeMap<String, Vec<u8>>> {
        let mut found = BTreeMap::new();
        let extra = if inode.bytes.len() > OLD_INODE { usize::from(u16_at(&inode.bytes, OLD_INODE)?) } else { 0 };
        if let Some(own) = inode.bytes.get(OLD_INODE + extra..).filter(|own| u32_at(own, 0).is_ok_and(|m| m == ATTRIBUTE_MAGIC)) {
            let own = own.get(4..).unwrap_or_default();
            attributes(own, own, &mut found)?;
        }
        let block = u64::from(u16_at(&inode.bytes, 0x76)?) << 32 | u64::from(u32_at(&inode.bytes, 0x68)?);
        if block != 0 {
            let bytes = self.block(block)?;
            if u32_at(&bytes, 0)? != ATTRIBUTE_MAGIC {
                return Err(damaged("a block of extended attributes is damaged"));
            }
            attributes(bytes.get(32..).unwrap_or_default(), &bytes, &mut found)?;
        }
        Ok(found)
    }
}

/// `entries` end with four zero bytes, or with their room; offsets of values count from the beginning of `values`.
fn attributes(entries: &[u8], values: &[u8], found: &mut BTreeMap<String, Vec<u8>>) -> io::Result<()> {
    let bad = || damaged("an extended attribute is damaged");
    let mut at = 0;
    while u32_at(entries, at).is_ok_and(|word| word != 0) {
        let (length, kind) = (usize::from(entries.get(at).copied().unwrap_or(0)), entries.get(at + 1).copied());
        let (offset, size) = (usize::from(u16_at(entries, at + 2)?), u32_at(entries, at + 8)?);
        let name = entries.get(at + 16..at + 16 + length).and_then(|n| std::str::from_utf8(n).ok()).ok_or_else(bad)?;
        let prefix = match kind {
            Some(1) => "user.",
            Some(2) => "system.posix_acl_access",
            Some(3) => "system.posix_acl_default",
            Some(4) => "trusted.",
            Some(6) => "security.",
            Some(7) => "system.",
            _ => return Err(damaged("an extended attribute is of an unknown kind")),
        };
        if u32_at(entries, at + 4)? != 0 {
            return Err(damaged("an extended attribute has its value in an inode"));
        }
        let end = usize::try_from(size).ok().and_then(|size| offset.checked_add(size)).ok_or_else(bad)?;
        found.insert(format!("{prefix}{name}"), values.get(offset..end).ok_or_else(bad)?.to_vec());
        at += (16 + length).next_multiple_of(4);
    }
    Ok(())
}

impl Inode {
    /// Type and permissions (inode(7)).
    pub fn mode(&self) -> io::Result<u16> {
        u16_at(&self.bytes, 0)
    }

    pub fn user(&self) -> io::Result<u32> {
        Ok(u32::from(u16_at(&self.bytes, 0x78)?) << 16 | u32::from(u16_at(&self.bytes, 0x2)?))
    }

    pub fn group(&self) -> io::Result<u32> {
        Ok(u32::from(u16_at(&self.bytes, 0x7a)?) << 16 | u32::from(u16_at(&self.bytes, 0x18)?))
    }

    pub fn size(&self) -> io::Result<u64> {
        Ok(u64::from(u32_at(&self.bytes, 0x6c)?) << 32 | u64::from(u32_at(&self.bytes, 0x4)?))
    }

    /// Of the content, in seconds since 1970, until 2106.
    pub fn modified(&self) -> io::Result<u32> {
        u32_at(&self.bytes, 0x10)
    }

    /// Major and minor number of a device.
    pub fn device(&self) -> io::Result<(u32, u32)> {
        let (old, new) = (u32_at(self.blocks()?, 0)?, u32_at(self.blocks()?, 4)?);
        Ok(match old {
            0 => ((new >> 8) & 0xfff, new & 0xff | (new >> 12) & 0xfff00),
            old => ((old >> 8) & 0xff, old & 0xff),
        })
    }

    fn flags(&self) -> io::Result<u32> {
        u32_at(&self.bytes, 0x20)
    }

    fn blocks(&self) -> io::Result<&[u8]> {
        self.bytes.get(0x28..0x64).ok_or_else(|| damaged("an inode is cut short"))
    }
}

/// The content of an inode; holes read as zeros.
pub struct Content<'a> {
    system: &'a System,
    extents: Vec<(u64, u64, u64)>,
    at: u64,
    size: u64,
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let block = self.system.block;
        let wanted = self.at / block;
        let after = self.extents.partition_point(|(first, ..)| *first <= wanted);
        let inside = after.checked_sub(1).and_then(|n| self.extents.get(n)).filter(|(first, length, _)| wanted < first + length);
        // Where this piece ends: with its extent, or with the hole.
        let next = self.extents.get(after).map_or(u64::MAX, |(first, ..)| first.saturating_mul(block));
        let end = inside.map_or(next, |(first, length, _)| (first + length) * block).min(self.size);
        let room = usize::try_from(end.saturating_sub(self.at)).unwrap_or(usize::MAX).min(buffer.len());
        let Some(piece) = buffer.get_mut(..room).filter(|piece| !piece.is_empty()) else { return Ok(0) };
        match inside {
            Some((first, _, start)) => self.system.file.read_exact_at(piece, start * block + (self.at - first * block))?,
            None => piece.fill(0),
        }
        self.at += room as u64;
        Ok(room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, kind: u8, offset: u16, size: u32) -> Vec<u8> {
        let mut bytes = vec![name.len() as u8, kind];
        bytes.extend(offset.to_le_bytes());
        bytes.extend(0u32.to_le_bytes());
        bytes.extend(size.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(name.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn read(bytes: &[u8]) -> io::Result<BTreeMap<String, Vec<u8>>> {
        let mut found = BTreeMap::new();
        attributes(bytes, bytes, &mut found).map(|()| found)
    }

    #[test]
    fn values_may_follow_the_end_of_the_entries_at_once() {
        let mut bytes = [entry("", 2, 44, 4), entry("capability", 6, 48, 3)].concat();
        assert_eq!(bytes.len(), 44);
        // Four zero bytes end the entries; here they are the beginning of a value too.
        bytes.extend([0, 0, 0, 0, 7, 8, 9]);
        let found = read(&bytes).unwrap();
        assert_eq!(found["system.posix_acl_access"], [0, 0, 0, 0]);
        assert_eq!(found["security.capability"], [7, 8, 9]);
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn attributes_outside_their_room_or_of_unknown_kinds_are_refused() {
        for bad in
            [entry("x", 1, 20, 1), entry("x", 1, u16::MAX, u32::MAX), entry("x", 9, 0, 1), entry("x", 1, 0, 1)[..16].to_vec()]
        {
            assert!(read(&bad).is_err(), "{bad:?}");
        }
        assert!(read(&[]).unwrap().is_empty());
    }

    #[test]
    fn numbers_of_devices_are_read_in_both_forms() {
        let device = |old: u32, new: u32| {
            let mut bytes = vec![0; OLD_INODE];
            bytes[0x28..0x2c].copy_from_slice(&old.to_le_bytes());
            bytes[0x2c..0x30].copy_from_slice(&new.to_le_bytes());
            Inode { number: 1, bytes }.device().unwrap()
        };
        assert_eq!(device(0x0103, 0), (1, 3));
        // 259:70000 as makedev(3) packs it.
        assert_eq!(device(0, 70_000 & 0xff | 259 << 8 | (70_000 & 0xfff00) << 12), (259, 70_000));
    }
}
