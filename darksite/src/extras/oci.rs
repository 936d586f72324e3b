//! OCI images: from a layout archive (image-spec, "image-layout") into blobs named by their digests.
//!
//! An archive cannot choose where files are written: an entry is used only if it is `index.json` or has its digest as name.
//! Links, devices, names that leave the archive and duplicate names are rejected, not skipped.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::extras::OciManifest;
use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;
use host::blobs::blob_path;
use host::files::{self, FileError, PUBLIC, Start, failed, open};
use sha2::{Digest as _, Sha256};
use tar::EntryType;

use super::error::ExtrasError;
use super::oci_choice::{choose, index_of};
use super::oci_document::is_document;
pub use super::oci_document::{Descriptor, Document, Platform, document};
use crate::upstream::pool;

/// Bytes of a manifest or an index (distribution-spec: a registry need not take more than 4 MiB).
pub const MAX_MANIFEST: u64 = 4 << 20;
/// Entries of an archive.
pub const MAX_ENTRIES: usize = 100_000;
/// Manifests and layers of one image.
pub const MAX_DESCRIPTORS: usize = 10_000;
/// Indexes inside indexes.
const MAX_DEPTH: usize = 4;

/// An image with its manifests and blobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub digest: Digest,
    pub manifests: Vec<OciManifest>,
    /// Every blob with its size, manifests included.
    pub blobs: BTreeMap<Digest, u64>,
}

/// Reads a small blob; None if it is absent.
type ReadBlob<'a> = &'a mut dyn FnMut(&Digest) -> Result<Option<Vec<u8>>, ExtrasError>;

/// Follows descriptors from `top`. `read` reads a small blob, `size` returns the size of any blob; None if it is absent.
pub fn walk(
    top: &Descriptor,
    read: ReadBlob<'_>,
    size: &dyn Fn(&Digest) -> Option<u64>,
    name: &str,
) -> Result<Image, ExtrasError> {
    let bad = |why: String| ExtrasError::content(name, why);
    let digest = top.sha256().map_err(bad)?;
    let mut image = Image { digest, manifests: Vec::new(), blobs: BTreeMap::new() };
    let mut waiting = vec![(top.clone(), 0usize)];
    while let Some((descriptor, depth)) = waiting.pop() {
        let digest = descriptor.sha256().map_err(bad)?;
        let found = size(&digest).ok_or_else(|| bad(format!("blob {digest} is missing")))?;
        if found != descriptor.size {
            return Err(bad(format!("blob {digest} has {found} bytes, but its descriptor says {}", descriptor.size)));
        }
        if image.blobs.insert(digest, found).is_some() {
            continue;
        }
        if image.blobs.len() > MAX_DESCRIPTORS || waiting.len() > MAX_DESCRIPTORS {
            return Err(bad("the image has too many manifests and layers".to_owned()));
        }
        if depth > 0 && !is_document(&descriptor.media_type) {
            continue;
        }
        if depth > MAX_DEPTH || found > MAX_MANIFEST {
            return Err(bad(format!("manifest {digest} is too large, or nested too deeply")));
        }
        let bytes = read(&digest)?.ok_or_else(|| bad(format!("blob {digest} is missing")))?;
        if Digest::of(&bytes) != digest {
            return Err(bad(format!("blob {digest} does not match its digest")));
        }
        let document = document(&bytes, &descriptor.media_type).map_err(bad)?;
        image.manifests.push(OciManifest { digest, size: found, media_type: document.media_type });
        let mut children = document.children;
        if document.index {
            let count = children.len();
            children.retain(|c| c.sha256().is_ok_and(|d| size(&d).is_some()));
            if children.is_empty() && count > 0 {
                return Err(bad("the archive contains none of its platforms".to_owned()));
            }
        }
        waiting.extend(children.into_iter().map(|c| (c, depth + 1)));
    }
    image.manifests.sort_by_key(|m| m.digest);
    Ok(image)
}

/// A layout archive: the offset and size of each blob.
pub struct Layout {
    file: File,
    path: Utf8PathBuf,
    name: String,
    blobs: BTreeMap<Digest, (u64, u64)>,
    index: (u64, u64),
}

impl Layout {
    /// Reads the headers of the archive. `name` is for messages.
    pub fn open(path: &Utf8Path, name: &str) -> Result<Self, ExtrasError> {
        let file = File::open(path).map_err(failed("opening", path))?;
        let len = file.metadata().map_err(failed("opening", path))?.len();
        let bad = |why: String| ExtrasError::content(name, format!("not a valid OCI archive: {why}"));
        let mut handle = file.try_clone().map_err(failed("opening", path))?;
        let mut magic = Vec::new();
        Read::by_ref(&mut handle).take(6).read_to_end(&mut magic).map_err(failed("reading", path))?;
        if let Some((tool, undo)) = compressed(&magic) {
            return Err(bad(format!("it is compressed with {tool}; unpack it with `{undo}`, and change the digest")));
        }
        handle.seek(SeekFrom::Start(0)).map_err(failed("reading", path))?;
        let mut archive = tar::Archive::new(handle);
        let mut seen: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        let entries = archive.entries_with_seek().map_err(|e| bad(e.to_string()))?;
        for (count, entry) in entries.enumerate() {
            let entry = entry.map_err(|e| bad(e.to_string()))?;
            if count >= MAX_ENTRIES {
                return Err(bad(format!("more than {MAX_ENTRIES} entries")));
            }
            let (entry_name, place) = (clean(&entry.path_bytes()).map_err(bad)?, entry.raw_file_position());
            let shown: String = entry_name.chars().take(120).collect();
            match entry.header().entry_type() {
                EntryType::Directory => continue,
                EntryType::Regular => {}
                other => return Err(bad(format!("entry {shown:?} is not a regular file ({other:?})"))),
            }
            let end = place.checked_add(entry.size()).filter(|end| *end <= len);
            if end.is_none() {
                return Err(bad(format!("entry {shown:?} extends beyond the end of the archive")));
            }
            if seen.insert(entry_name, (place, entry.size())).is_some() {
                return Err(bad(format!("duplicate entry {shown:?}")));
            }
        }
        if !seen.contains_key("oci-layout") {
            return Err(bad(
                "oci-layout is missing; create the archive with `skopeo copy docker://… oci-archive:FILE`".to_owned()
            ));
        }
        let index = seen.remove("index.json").ok_or_else(|| bad("index.json is missing".to_owned()))?;
        let blobs = seen.iter().filter_map(|(n, place)| Some((n.strip_prefix("blobs/sha256/")?.parse().ok()?, *place)));
        Ok(Layout { blobs: blobs.collect(), file, path: path.to_owned(), name: name.to_owned(), index })
    }

    fn bytes(&mut self, (place, size): (u64, u64)) -> Result<Vec<u8>, ExtrasError> {
        let io = failed("reading", &self.path);
        if size > MAX_MANIFEST {
            return Err(ExtrasError::content(&self.name, format!("a manifest of {size} bytes is too large")));
        }
        self.file.seek(SeekFrom::Start(place)).map_err(&io)?;
        let mut bytes = Vec::new();
        Read::by_ref(&mut self.file).take(size).read_to_end(&mut bytes).map_err(&io)?;
        Ok(bytes)
    }

    /// The descriptors of `name:tag`: one, or one for each platform.
    fn top(&mut self, name: &str, tag: &str) -> Result<Vec<Descriptor>, ExtrasError> {
        let bytes = self.bytes(self.index)?;
        let bad = |why: String| ExtrasError::content(&self.name, why);
        let list = document(&bytes, "").map_err(bad)?;
        if !list.index {
            return Err(bad("index.json is not an index".to_owned()));
        }
        choose(&list.children, name, tag).map_err(bad)
    }

    /// Stores the image `tag` with everything it needs as blobs, in an archive with one image of that tag.
    pub fn take(&mut self, tag: &str, store: &Store<'_>) -> Result<Image, ExtrasError> {
        self.take_named("", tag, store)
    }

    /// Stores the image `name:tag` with everything it needs as blobs.
    pub fn take_named(&mut self, image: &str, tag: &str, store: &Store<'_>) -> Result<Image, ExtrasError> {
        let tops = self.top(image, tag)?;
        let mut places = self.blobs.clone();
        let name = self.name.clone();
        let (top, made) = match &tops[..] {
            [top] => (top.clone(), None),
            // Platforms that no index of the archive lists together: an index of our own does.
            all => index_of(all).map_err(|why| ExtrasError::content(&name, why))?,
        };
        let made = made.map(|bytes: Vec<u8>| (Digest::of(&bytes), bytes));
        if let Some((digest, bytes)) = &made {
            places.remove(digest);
            files::create_dirs(store.tmp)?;
            pool::keep(store.blobs, store.tmp, bytes, digest)?;
        }
        let made = |d: &Digest| made.as_ref().filter(|(digest, _)| digest == d).map(|(_, bytes)| bytes);
        let size = |d: &Digest| made(d).map(|b| b.len() as u64).or_else(|| places.get(d).map(|(_, size)| *size));
        let mut read = |d: &Digest| match made(d) {
            Some(bytes) => Ok(Some(bytes.clone())),
            None => places.get(d).map(|p| self.bytes(*p)).transpose(),
        };
        let image = walk(&top, &mut read, &size, &name)?;
        for digest in image.blobs.keys() {
            let Some(place) = places.get(digest) else { continue };
            store.put(&mut self.file, *place, digest, &name)?;
        }
        Ok(image)
    }
}

/// The compression of a file that begins so, and the command that undoes it.
fn compressed(magic: &[u8]) -> Option<(&'static str, &'static str)> {
    match magic {
        [0x1f, 0x8b, ..] => Some(("gzip", "gunzip")),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(("zstd", "unzstd")),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Some(("xz", "unxz")),
        [b'B', b'Z', b'h', ..] => Some(("bzip2", "bunzip2")),
        _ => None,
    }
}

/// A name inside the archive, without `./`.
fn clean(bytes: &[u8]) -> Result<String, String> {
    let name = std::str::from_utf8(bytes).map_err(|_| "a file name is not UTF-8".to_owned())?;
    let name = name.strip_prefix("./").unwrap_or(name).trim_end_matches('/');
    let plain = !name.starts_with('/') && !name.split('/').any(|part| part == "..") && !name.contains(['\\', '\0']);
    if plain && name.len() <= 512 {
        Ok(name.to_owned())
    } else {
        Err(format!("entry {:?} leaves the archive", name.chars().take(120).collect::<String>()))
    }
}

/// The blob store, and the folder of unfinished files.
pub struct Store<'a> {
    pub blobs: &'a Utf8Path,
    pub tmp: &'a Utf8Path,
    pub progress: &'a dyn Progress,
}

impl Store<'_> {
    fn put(&self, from: &mut File, (place, size): (u64, u64), digest: &Digest, name: &str) -> Result<(), ExtrasError> {
        if fs::metadata(blob_path(self.blobs, digest)).is_ok_and(|m| m.is_file() && m.len() == size) {
            return Ok(());
        }
        files::create_dirs(self.tmp)?;
        let part = self.tmp.join(format!("{digest}.part"));
        let io = failed("writing", &part);
        from.seek(SeekFrom::Start(place)).map_err(&io)?;
        let mut to = open(&part, Start::Empty, PUBLIC).map_err(&io)?;
        let (mut left, mut hash, mut buffer) = (size, Sha256::new(), vec![0u8; 256 << 10]);
        while left > 0 {
            if self.progress.cancelled() {
                return Err(FileError::Cancelled.into());
            }
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let n = from.read(&mut buffer[..most]).map_err(&io)?;
            if n == 0 {
                return Err(ExtrasError::content(name, "the archive is cut short"));
            }
            to.write_all(&buffer[..n]).map_err(&io)?;
            hash.update(&buffer[..n]);
            left -= n as u64;
        }
        if Digest(hash.finalize().into()) != *digest {
            let _ = fs::remove_file(&part);
            return Err(ExtrasError::content(name, format!("blob {digest} does not match its digest")));
        }
        to.sync_all().map_err(&io)?;
        Ok(pool::place(&part, self.blobs, digest)?)
    }

    /// An image whose blobs are all in the store.
    pub fn again(&self, top: &OciManifest, name: &str) -> Result<Image, ExtrasError> {
        let size = |d: &Digest| fs::metadata(blob_path(self.blobs, d)).ok().filter(|m| m.is_file()).map(|m| m.len());
        let top = Descriptor {
            media_type: top.media_type.clone(),
            digest: format!("sha256:{}", top.digest),
            size: top.size,
            annotations: BTreeMap::new(),
            platform: None,
        };
        walk(&top, &mut |d| Ok(Some(files::read_limited(&blob_path(self.blobs, d), MAX_MANIFEST)?)), &size, name)
    }
}
