//! Unpacking Debian binary packages (deb(5)): an `ar` archive with `debian-binary`, `control.tar.*` and `data.tar.*`.

use std::io::{self, BufReader, Read};

use tar::EntryType;

use crate::tree::{Meta, Tree, TreeError};

/// Largest unpacked size of one package, in bytes.
pub const MAX_UNPACKED: u64 = 4 << 30;
/// Most entries of one package.
pub const MAX_ENTRIES: u32 = 200_000;
/// Most members of the outer archive.
const MAX_MEMBERS: u32 = 16;
const AR_MAGIC: &[u8; 8] = b"!<arch>\n";

/// Why a package could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    #[error("not a Debian package: {0}")]
    Format(&'static str),
    #[error("unknown compression {0:?}")]
    Compression(String),
    #[error("entry {name:?} is a {kind}, which a package must not contain")]
    Kind { name: String, kind: &'static str },
    #[error("unpacks to more than {MAX_ENTRIES} entries or {MAX_UNPACKED} bytes")]
    TooLarge,
    #[error("unpacking an entry")]
    Entry(#[from] TreeError),
    #[error("reading the package")]
    Read(#[from] io::Error),
}

/// Who owns the unpacked files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// The owners recorded in the package (needs root).
    Package,
    /// The calling user.
    Caller,
}

/// The content of `data.tar.*`, decompressed.
pub fn data_tar<R: Read + 'static>(mut deb: R) -> Result<Box<dyn Read>, DebError> {
    let mut magic = [0u8; 8];
    deb.read_exact(&mut magic)?;
    if &magic != AR_MAGIC {
        return Err(DebError::Format("not an ar archive"));
    }
    for member in 0..MAX_MEMBERS {
        let mut header = [0u8; 60];
        deb.read_exact(&mut header).map_err(|_| DebError::Format("no data.tar"))?;
        if &header[58..] != b"`\n" {
            return Err(DebError::Format("an invalid ar header"));
        }
        let text = |range: std::ops::Range<usize>| std::str::from_utf8(&header[range]).map_or("", str::trim_end);
        let name = text(0..16).trim_end_matches('/').to_owned();
        let size: u64 = text(48..58).parse().map_err(|_| DebError::Format("an invalid member size"))?;
        if member == 0 && name != "debian-binary" {
            return Err(DebError::Format("debian-binary is not the first member"));
        }
        if let Some(ending) = name.strip_prefix("data.tar") {
            return decompress(ending, deb.take(size));
        }
        // Members start at even offsets.
        let padded = size + size % 2;
        if io::copy(&mut (&mut deb).take(padded), &mut io::sink())? != padded {
            return Err(DebError::Format("truncated"));
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

/// Unpacks the entries that `wanted` accepts (by their names without `./`) below `tree`. Returns their size in bytes.
pub fn unpack(tar: impl Read, tree: &Tree, owners: Owners, wanted: &dyn Fn(&str) -> bool) -> Result<u64, DebError> {
    // The tar reader only yields names and sizes; Tree alone decides where an entry goes.
    let mut archive = tar::Archive::new(tar);
    let mut left = MAX_UNPACKED;
    for (count, entry) in archive.entries()?.enumerate() {
        if count >= MAX_ENTRIES as usize {
            return Err(DebError::TooLarge);
        }
        let mut entry = entry?;
        let name = String::from_utf8(entry.path_bytes().into_owned()).map_err(|_| DebError::Format("a name is not UTF-8"))?;
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
    let number = |n: u64| u32::try_from(n).map_err(|_| DebError::Format("an owner is out of range"));
    let owner = match owners {
        Owners::Package => Some((number(header.uid()?)?, number(header.gid()?)?)),
        Owners::Caller => None,
    };
    let meta = Meta { mode: header.mode()?, owner, mtime: header.mtime()? };
    let kind = header.entry_type();
    let link = || -> Result<String, DebError> {
        let bytes = entry.link_name_bytes().ok_or(DebError::Format("a link has no target"))?;
        String::from_utf8(bytes.into_owned()).map_err(|_| DebError::Format("a link is not UTF-8"))
    };
    match kind {
        EntryType::Directory => tree.dir(name, meta)?,
        EntryType::Symlink => tree.symlink(name, &link()?)?,
        EntryType::Link => tree.hardlink(name, &link()?)?,
        EntryType::Regular | EntryType::Continuous => {
            let size = entry.size();
            if tree.file(name, meta, entry, size)? != size {
                return Err(DebError::Format("truncated"));
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
        _ => "special file",
    }
}

#[cfg(test)]
#[path = "deb_tests.rs"]
mod tests;
