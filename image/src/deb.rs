//! Unpacking Debian binary packages (deb(5)): an `ar` archive with `debian-binary`, `control.tar.*` and `data.tar.*`.

use std::io::{self, BufReader, Read};

use tar::EntryType;

use crate::tree::{Meta, Tree, TreeError};

/// Bytes one package may unpack to.
pub const MAX_UNPACKED: u64 = 4 << 30;
/// Entries of one package.
pub const MAX_ENTRIES: u32 = 200_000;
/// Members of the outer archive.
const MAX_MEMBERS: u32 = 16;
const AR_MAGIC: &[u8; 8] = b"!<arch>\n";

/// Why a package was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    #[error("not a Debian package: {0}")]
    Format(&'static str),
    #[error("compressed in a way that is not known: {0:?}")]
    Compression(String),
    #[error("entry {name:?} is a {kind}, which no package may bring")]
    Kind { name: String, kind: &'static str },
    #[error("unpacks to more than is allowed")]
    TooLarge,
    #[error("an entry was refused")]
    Entry(#[from] TreeError),
    #[error("reading the package")]
    Read(#[from] io::Error),
}

/// How entries get their owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// As the package says (needs root).
    Package,
    /// The caller's own.
    Caller,
}

/// Finds `data.tar.*` and returns it decompressed.
pub fn data_tar<R: Read + 'static>(mut deb: R) -> Result<Box<dyn Read>, DebError> {
    let mut magic = [0u8; 8];
    deb.read_exact(&mut magic)?;
    if &magic != AR_MAGIC {
        return Err(DebError::Format("no ar archive"));
    }
    for member in 0..MAX_MEMBERS {
        let mut header = [0u8; 60];
        deb.read_exact(&mut header).map_err(|_| DebError::Format("no data.tar"))?;
        if &header[58..] != b"`\n" {
            return Err(DebError::Format("a broken ar header"));
        }
        let text = |range: std::ops::Range<usize>| std::str::from_utf8(&header[range]).map_or("", str::trim_end);
        let name = text(0..16).trim_end_matches('/').to_owned();
        let size: u64 = text(48..58).parse().map_err(|_| DebError::Format("a broken member size"))?;
        if member == 0 && name != "debian-binary" {
            return Err(DebError::Format("debian-binary does not come first"));
        }
        if let Some(ending) = name.strip_prefix("data.tar") {
            return decompress(ending, deb.take(size));
        }
        // Members start at even offsets.
        let padded = size + size % 2;
        if io::copy(&mut (&mut deb).take(padded), &mut io::sink())? != padded {
            return Err(DebError::Format("cut short"));
        }
    }
    Err(DebError::Format("too many members"))
}

fn decompress<R: Read + 'static>(ending: &str, data: R) -> Result<Box<dyn Read>, DebError> {
    let data = BufReader::with_capacity(256 << 10, data);
    Ok(match ending {
        "" => Box::new(data),
        ".xz" => Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(data)),
        ".gz" => Box::new(flate2::bufread::MultiGzDecoder::new(data)),
        ".zst" => Box::new(zstd::stream::read::Decoder::with_buffer(data)?),
        other => return Err(DebError::Compression(other.chars().take(16).collect())),
    })
}

/// Unpacks the entries that `wanted` says yes to (names without `./`) below `tree`.
pub fn unpack(tar: impl Read, tree: &Tree, owners: Owners, wanted: &dyn Fn(&str) -> bool) -> Result<u64, DebError> {
    // tar's reader hands out names and sizes; where an entry goes is decided by Tree alone.
    let mut archive = tar::Archive::new(tar);
    let mut left = MAX_UNPACKED;
    for (count, entry) in archive.entries()?.enumerate() {
        if count >= MAX_ENTRIES as usize {
            return Err(DebError::TooLarge);
        }
        let mut entry = entry?;
        let name =
            String::from_utf8(entry.path_bytes().into_owned()).map_err(|_| DebError::Format("a name that is not UTF-8"))?;
        let parts = crate::tree::parts(&name)?;
        if parts.is_empty() || !wanted(&parts.join("/")) {
            continue;
        }
        let size = entry.size();
        left = left.checked_sub(size).ok_or(DebError::TooLarge)?;
        place(&mut entry, &name, tree, owners)?;
    }
    Ok(MAX_UNPACKED - left)
}

fn place<R: Read>(entry: &mut tar::Entry<'_, R>, name: &str, tree: &Tree, owners: Owners) -> Result<(), DebError> {
    let header = entry.header();
    let number = |n: u64| u32::try_from(n).map_err(|_| DebError::Format("an owner out of range"));
    let owner = match owners {
        Owners::Package => Some((number(header.uid()?)?, number(header.gid()?)?)),
        Owners::Caller => None,
    };
    let meta = Meta { mode: header.mode()?, owner, mtime: header.mtime()? };
    let kind = header.entry_type();
    let link = || -> Result<String, DebError> {
        let bytes = entry.link_name_bytes().ok_or(DebError::Format("a link without a target"))?;
        String::from_utf8(bytes.into_owned()).map_err(|_| DebError::Format("a link that is not UTF-8"))
    };
    match kind {
        EntryType::Directory => tree.dir(name, meta)?,
        EntryType::Symlink => tree.symlink(name, &link()?)?,
        EntryType::Link => tree.hardlink(name, &link()?)?,
        EntryType::Regular | EntryType::Continuous => {
            let size = entry.size();
            if tree.file(name, meta, entry, size)? != size {
                return Err(DebError::Format("cut short"));
            }
        }
        other => return Err(DebError::Kind { name: name.chars().take(120).collect(), kind: kind_name(other) }),
    }
    Ok(())
}

fn kind_name(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Char | EntryType::Block => "device",
        EntryType::Fifo => "named pipe",
        _ => "thing without a name",
    }
}

#[cfg(test)]
#[path = "deb_tests.rs"]
mod tests;
