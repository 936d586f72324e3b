//! Unpacking the files of a Debian package below a directory.

use std::io::{self, Read};

use host::deb::{DebError, member};
use tar::EntryType;

use crate::tree::{Meta, Tree, TreeError};

/// Largest unpacked size of one package, in bytes.
pub const MAX_UNPACKED: u64 = 4 << 30;
/// Most entries of one package.
pub const MAX_ENTRIES: u32 = 200_000;

/// Why a package could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    #[error(transparent)]
    Package(#[from] DebError),
    #[error("the package is invalid: {0}")]
    Format(&'static str),
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

/// The archive of a package's files, decompressed.
pub fn data_tar<'a>(deb: impl Read + 'a) -> Result<tar::Archive<Box<dyn Read + 'a>>, UnpackError> {
    Ok(tar::Archive::new(member(deb, "data.tar")?))
}

/// Unpacks the entries that `wanted` accepts (by their names without `./`) below `tree`. Returns their size in bytes.
pub fn unpack<R: Read>(
    mut archive: tar::Archive<R>,
    tree: &Tree,
    owners: Owners,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<u64, UnpackError> {
    // The tar reader only yields names and sizes; Tree alone decides where an entry goes.
    let mut left = MAX_UNPACKED;
    for (count, entry) in archive.entries()?.enumerate() {
        if count >= MAX_ENTRIES as usize {
            return Err(UnpackError::TooLarge);
        }
        let mut entry = entry?;
        let name = String::from_utf8(entry.path_bytes().into_owned()).map_err(|_| UnpackError::Format("a name is not UTF-8"))?;
        let parts = crate::tree::parts(&name)?;
        if parts.is_empty() || !wanted(&parts.join("/")) {
            continue;
        }
        let size = entry.size();
        left = left.checked_sub(size).ok_or(UnpackError::TooLarge)?;
        place(&mut entry, &name, tree, owners)?;
    }
    Ok(MAX_UNPACKED - left)
}

fn place<R: Read>(entry: &mut tar::Entry<'_, R>, name: &str, tree: &Tree, owners: Owners) -> Result<(), UnpackError> {
    let header = entry.header();
    let number = |n: u64| u32::try_from(n).map_err(|_| UnpackError::Format("an owner is out of range"));
    let owner = match owners {
        Owners::Package => Some((number(header.uid()?)?, number(header.gid()?)?)),
        Owners::Caller => None,
    };
    let meta = Meta { mode: header.mode()?, owner, mtime: header.mtime()? };
    let kind = header.entry_type();
    let link = || -> Result<String, UnpackError> {
        let bytes = entry.link_name_bytes().ok_or(UnpackError::Format("a link has no target"))?;
        String::from_utf8(bytes.into_owned()).map_err(|_| UnpackError::Format("a link is not UTF-8"))
    };
    match kind {
        EntryType::Directory => tree.dir(name, meta)?,
        EntryType::Symlink => tree.symlink(name, &link()?)?,
        EntryType::Link => tree.hardlink(name, &link()?)?,
        EntryType::Regular | EntryType::Continuous => {
            let size = entry.size();
            if tree.file(name, meta, entry, size)? != size {
                return Err(UnpackError::Format("truncated"));
            }
        }
        other => return Err(UnpackError::Kind { name: name.chars().take(120).collect(), kind: kind_name(other) }),
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
#[path = "unpack_tests.rs"]
mod tests;
