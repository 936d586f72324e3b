//! Images from a registry into OCI layout archives (image-spec, "image-layout"). The digest of the index is kept, so that charts
//! that name images by digest find them; of its platforms, only one is taken.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;
use host::files::{self, FileError, PUBLIC, Start, failed, open};

use super::error::ExtrasError;
use super::get::Getter;
use super::oci::{Descriptor, Document, MAX_DESCRIPTORS, MAX_MANIFEST, document};
use crate::kubernetes::reference::Reference;
use crate::upstream::fetch;
use crate::upstream::registry::Registries;

/// What nodes run.
const OS: &str = "linux";
const ARCH: &str = "amd64";

/// An image in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    pub tag: String,
    /// Of the manifest or index that the registry has for the reference.
    pub digest: Digest,
    pub archive: Utf8PathBuf,
    /// Of the archive.
    pub sha256: Digest,
}

/// Pulls an image into an archive in `dir`. An archive of an earlier run with the same digest is used again; blobs that were
/// fetched are kept by `get`. The archive gets its name when it is complete.
pub(crate) fn pull(get: &Getter<'_>, from: &Registries<'_>, image: &Reference, dir: &Utf8Path) -> Result<Pulled, ExtrasError> {
    let label = format!("image {image}");
    let bad = |why: String| ExtrasError::content(&label, why);
    let asked = match (&image.digest, &image.tag) {
        (Some(digest), _) => format!("sha256:{digest}"),
        (None, Some(tag)) => tag.clone(),
        (None, None) => return Err(bad("it has neither a tag nor a digest".to_owned())),
    };
    let top = fetch::get_all(get.fetch, &from.manifest(&image.name, &asked), MAX_MANIFEST)?;
    let digest = Digest::of(&top);
    if image.digest.is_some_and(|wanted| wanted != digest) {
        return Err(bad(format!("the registry's manifest has digest sha256:{digest}")));
    }
    let tag = image.tag.clone().unwrap_or_else(|| format!("sha256-{digest}"));
    let archive = dir.join(file_name(image, &tag, &digest));
    if !archive.is_file() {
        let parsed = document(&top, "").map_err(bad)?;
        let media_type = parsed.media_type.clone();
        let mut image = Image { name: &image.name, label: &label, get, from, blobs: BTreeMap::new(), documents: BTreeMap::new() };
        let index = index_json(&media_type, &digest, top.len(), &tag, image.name)?;
        image.documents.insert(digest, top);
        image.follow(parsed)?;
        let part = Utf8PathBuf::from(format!("{archive}.part"));
        if let Err(error) = write(&part, index, &image) {
            // The archive's error is the one to report; its blobs are kept for the next run.
            let _ = fs::remove_file(&part);
            return Err(error);
        }
        fs::rename(&part, &archive).map_err(failed("naming", &archive))?;
        files::sync_dir(dir)?;
    }
    let (_, sha256) = files::digest_file(&archive, get.progress)?;
    Ok(Pulled { tag, digest, archive, sha256 })
}

/// `registry.k8s.io_pause_3.10.2_0123456789ab.tar`
fn file_name(image: &Reference, tag: &str, digest: &Digest) -> String {
    let name: String = image.name.chars().map(|c| if matches!(c, '/' | ':') { '_' } else { c }).collect();
    let short: String = digest.to_string().chars().take(12).collect();
    format!("{name}_{tag}_{short}.tar")
}

struct Image<'a> {
    name: &'a str,
    label: &'a str,
    get: &'a Getter<'a>,
    from: &'a Registries<'a>,
    /// Configuration and layers, as files of the blob store.
    blobs: BTreeMap<Digest, (Utf8PathBuf, u64)>,
    /// Index and manifest.
    documents: BTreeMap<Digest, Vec<u8>>,
}

impl Image<'_> {
    fn bad(&self, why: impl std::fmt::Display) -> ExtrasError {
        ExtrasError::content(self.label, why)
    }

    /// Fetches what a document names: of an index the manifest of our platform, and what that names.
    fn follow(&mut self, top: Document) -> Result<(), ExtrasError> {
        let manifest = if top.index { self.platform(&top.children)? } else { top };
        if manifest.children.len() > MAX_DESCRIPTORS {
            return Err(self.bad("it has too many layers"));
        }
        for child in &manifest.children {
            let digest = child.sha256().map_err(|why| self.bad(why))?;
            let (path, size) = self.get.blob(&self.from.blob(self.name, &digest), digest)?;
            if size != child.size {
                return Err(self.bad(format!("blob {digest} has {size} bytes, but its descriptor says {}", child.size)));
            }
            self.blobs.insert(digest, (path, size));
        }
        Ok(())
    }

    fn platform(&mut self, all: &[Descriptor]) -> Result<Document, ExtrasError> {
        let fits = |d: &&Descriptor| d.platform.as_ref().is_some_and(|p| p.os == OS && p.architecture == ARCH);
        let Some(found) = all.iter().find(fits) else {
            return Err(self.bad(format!("it has no manifest for {OS}/{ARCH}")));
        };
        let digest = found.sha256().map_err(|why| self.bad(why))?;
        let url = self.from.manifest(self.name, &format!("sha256:{digest}"));
        let bytes = fetch::get_all(self.get.fetch, &url, MAX_MANIFEST)?;
        if Digest::of(&bytes) != digest {
            return Err(self.bad(format!("the manifest at {url} does not match its digest")));
        }
        let manifest = document(&bytes, &found.media_type).map_err(|why| self.bad(why))?;
        if manifest.index {
            return Err(self.bad(format!("{OS}/{ARCH} is an index of its own, which is not supported")));
        }
        self.documents.insert(digest, bytes);
        Ok(manifest)
    }
}

fn index_json(media_type: &str, digest: &Digest, size: usize, tag: &str, name: &str) -> Result<Vec<u8>, ExtrasError> {
    let annotations = serde_json::json!({
        "org.opencontainers.image.ref.name": tag,
        "io.containerd.image.name": format!("{name}:{tag}"),
    });
    let top = serde_json::json!({
        "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": size, "annotations": annotations,
    });
    let index =
        serde_json::json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [top]});
    serde_json::to_vec(&index).map_err(|e| ExtrasError::content("index.json", e))
}

/// Writes the archive: the same image gives the same bytes.
fn write(part: &Utf8Path, index: Vec<u8>, image: &Image<'_>) -> Result<(), ExtrasError> {
    let io = failed("writing", part);
    let mut builder = tar::Builder::new(open(part, Start::Empty, PUBLIC).map_err(&io)?);
    let layout = br#"{"imageLayoutVersion":"1.0.0"}"#;
    add(&mut builder, "oci-layout", layout.len() as u64, &layout[..]).map_err(&io)?;
    add(&mut builder, "index.json", index.len() as u64, &index[..]).map_err(&io)?;
    for (digest, bytes) in &image.documents {
        add(&mut builder, &format!("blobs/sha256/{digest}"), bytes.len() as u64, &bytes[..]).map_err(&io)?;
    }
    for (digest, (path, size)) in &image.blobs {
        let file = File::open(path).map_err(failed("opening", path))?;
        let reader = Stoppable { file, progress: image.get.progress };
        add(&mut builder, &format!("blobs/sha256/{digest}"), *size, reader).map_err(|e| {
            match image.get.progress.cancelled() {
                true => FileError::Cancelled,
                false => io(e),
            }
        })?;
    }
    let file = builder.into_inner().map_err(&io)?;
    Ok(file.sync_all().map_err(&io)?)
}

fn add(builder: &mut tar::Builder<File>, name: &str, size: u64, content: impl Read) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    builder.append_data(&mut header, name, content)
}

/// Ends with an error once a stop was requested.
struct Stoppable<'a> {
    file: File,
    progress: &'a dyn Progress,
}

impl Read for Stoppable<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.progress.cancelled() {
            return Err(io::Error::from(io::ErrorKind::ConnectionAborted));
        }
        self.file.read(buffer)
    }
}
