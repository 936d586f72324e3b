//! A layer (OCI image-spec 1.1, layer.md): a tar archive in ustar format with pax headers where needed, gzip-compressed.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;
use flate2::Compression;
use flate2::write::GzEncoder;
use host::files::{PUBLIC, Start, failed, open};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use super::root::{Entries, Entry, Kind, Root};
use crate::error::Error;

/// Part of the recipe: another level gives different bytes.
const LEVEL: u32 = 6;
/// Longest name in a ustar header, in bytes (POSIX.1-2024 pax, "ustar Interchange Format"). A prefix is not used.
const MAX_NAME: usize = 100;
/// Prefix of extended attributes in pax headers.
const ATTRIBUTE: &str = "SCHILY.xattr.";

/// A finished layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    pub path: Utf8PathBuf,
    /// Of the compressed file.
    pub digest: Digest,
    pub size: u64,
    /// Digest of the archive, uncompressed: the layer's DiffID.
    pub diff: Digest,
}

/// Passes bytes on, and counts and digests them.
struct Digesting<W> {
    inner: W,
    hash: Sha256,
    size: u64,
}

impl<W: Write> Digesting<W> {
    fn new(inner: W) -> Self {
        Digesting { inner, hash: Sha256::new(), size: 0 }
    }

    fn finish(self) -> (W, Digest, u64) {
        (self.inner, Digest(self.hash.finalize().into()), self.size)
    }
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hash.update(bytes.get(..n).unwrap_or(bytes));
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Writes entries of a root file system, under the names given here, as a layer to `to`. No time in it is later than `epoch`.
pub fn write(root: &Root, entries: &Entries, epoch: u64, to: &Utf8Path, progress: &dyn Progress) -> Result<Layer, Error> {
    let writing = failed("writing", to);
    let file = open(to, Start::New, PUBLIC).map_err(&writing)?;
    let packed = Digesting::new(BufWriter::new(file));
    let plain = Digesting::new(GzEncoder::new(packed, Compression::new(LEVEL)));
    let mut layer = Writer { archive: Builder::new(plain), first: HashMap::new(), epoch };
    for (name, entry) in entries {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        layer.add(name, entry, root).map_err(|e| e.at(to))?;
        progress.advance(entry.size);
    }
    let (gzip, diff, _) = layer.archive.into_inner().map_err(&writing)?.finish();
    let (buffer, digest, size) = gzip.finish().map_err(&writing)?.finish();
    let file: File = buffer.into_inner().map_err(|e| writing(e.into_error()))?;
    file.sync_all().map_err(&writing)?;
    Ok(Layer { path: to.to_owned(), digest, size, diff })
}

/// Why an entry could not be added.
enum Failed {
    Write(io::Error),
    Read(Error),
}

impl Failed {
    fn at(self, path: &Utf8Path) -> Error {
        match self {
            Failed::Write(e) => failed("writing", path)(e).into(),
            Failed::Read(e) => e,
        }
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Failed::Write(error)
    }
}

struct Writer<W: Write> {
    archive: Builder<W>,
    /// The first name of each file that is in the archive, by inode.
    first: HashMap<u32, String>,
    epoch: u64,
}

impl<W: Write> Writer<W> {
    fn add(&mut self, name: &str, entry: &Entry, root: &Root) -> Result<(), Failed> {
        let mut header = Header::new_ustar();
        header.set_mode(entry.mode);
        header.set_uid(entry.user.into());
        header.set_gid(entry.group.into());
        header.set_mtime(entry.modified.min(self.epoch));
        header.set_size(0);
        let mut extended: Vec<(String, Vec<u8>)> = Vec::new();
        let slash = if entry.kind == Kind::Dir { "/" } else { "" };
        put(&mut header.as_old_mut().name, "path", &format!("{name}{slash}"), &mut extended);
        let mut content = false;
        let kind = match &entry.kind {
            Kind::Dir => EntryType::Directory,
            Kind::Fifo => EntryType::Fifo,
            Kind::Symlink(target) => {
                put(&mut header.as_old_mut().linkname, "linkpath", target, &mut extended);
                EntryType::Symlink
            }
            Kind::Char { major, minor } => device(&mut header, *major, *minor, EntryType::Char)?,
            Kind::Block { major, minor } => device(&mut header, *major, *minor, EntryType::Block)?,
            Kind::File => match self.first.get(&entry.inode) {
                Some(first) => {
                    put(&mut header.as_old_mut().linkname, "linkpath", first, &mut extended);
                    EntryType::Link
                }
                None => {
                    self.first.insert(entry.inode, name.to_owned());
                    header.set_size(entry.size);
                    content = true;
                    EntryType::Regular
                }
            },
        };
        header.set_entry_type(kind);
        header.set_cksum();
        if kind != EntryType::Link {
            extended.extend(entry.attributes.iter().map(|(name, value)| (format!("{ATTRIBUTE}{name}"), value.clone())));
        }
        self.archive.append_pax_extensions(extended.iter().map(|(name, value)| (name.as_str(), value.as_slice())))?;
        if !content || entry.size == 0 {
            return Ok(self.archive.append(&header, io::empty())?);
        }
        let mut bytes = root.read(entry).map_err(Failed::Read)?.take(entry.size);
        self.archive.append(&header, &mut bytes)?;
        // The archive would be damaged from here on.
        let whole = bytes.limit() == 0;
        if whole { Ok(()) } else { Err(Failed::Read(Error::Content(format!("{name:?} in the root file system is cut short")))) }
    }
}

fn device(header: &mut Header, major: u32, minor: u32, kind: EntryType) -> io::Result<EntryType> {
    header.set_device_major(major)?;
    header.set_device_minor(minor)?;
    Ok(kind)
}

/// Writes a name into a field of the header; one that does not fit, or is not ASCII, goes to an extended header too.
fn put(field: &mut [u8; MAX_NAME], keyword: &str, name: &str, extended: &mut Vec<(String, Vec<u8>)>) {
    let bytes = name.as_bytes();
    for (to, from) in field.iter_mut().zip(bytes) {
        *to = *from;
    }
    if bytes.len() > MAX_NAME || !name.is_ascii() {
        extended.push((keyword.to_owned(), bytes.to_vec()));
    }
}
