//! The documents of OCI images, and an image layout as one tar archive (OCI image-spec 1.1: config.md, manifest.md,
//! image-index.md, image-layout.md).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write as _};

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;
use host::files::{PUBLIC, Start, failed, open};
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use super::about::About;
use super::layer::Layer;
use crate::error::Error;

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// The annotation with an image's tag (image-spec, annotations.md).
const TAG: &str = "org.opencontainers.image.ref.name";
/// The file that says it is a layout (image-layout.md, "oci-layout").
const VERSION: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
const OS: &str = "linux";
/// systemd shuts down on this signal (systemd(1), "SIGNALS"), not on SIGTERM.
const STOP: &str = "SIGRTMIN+3";
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One image of the layout.
pub struct Image<'a> {
    pub tag: String,
    /// From the bottom up, with what each is.
    pub layers: Vec<(&'a Layer, &'a str)>,
    pub labels: BTreeMap<&'static str, String>,
}

/// The content of a layout: images, and the blobs they refer to.
#[derive(Default)]
struct Layout {
    blobs: BTreeMap<Digest, Blob>,
    images: Vec<Value>,
}

enum Blob {
    Text(Vec<u8>),
    File(Utf8PathBuf, u64),
}

fn descriptor(media_type: &str, digest: Digest, size: u64) -> Value {
    json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": size})
}

impl Layout {
    /// Adds a document and returns its descriptor.
    fn document(&mut self, media_type: &str, value: &Value) -> Result<Value, Error> {
        let bytes = serde_json::to_vec(value)?;
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        self.blobs.insert(digest, Blob::Text(bytes));
        Ok(descriptor(media_type, digest, size))
    }

    fn add(&mut self, image: &Image, about: &About, created: &str) -> Result<(), Error> {
        let diffs: Vec<String> = image.layers.iter().map(|(layer, _)| format!("sha256:{}", layer.diff)).collect();
        let history: Vec<Value> =
            image.layers.iter().map(|(_, what)| json!({"created": created, "created_by": "seedd", "comment": what})).collect();
        let config = json!({
            "created": created, "architecture": about.arch, "os": OS,
            "config": {"Cmd": ["/sbin/init"], "Env": [PATH], "StopSignal": STOP, "Labels": image.labels},
            "rootfs": {"type": "layers", "diff_ids": diffs}, "history": history,
        });
        let config = self.document(CONFIG, &config)?;
        let mut layers = Vec::new();
        for (layer, _) in &image.layers {
            layers.push(descriptor(LAYER, layer.digest, layer.size));
            self.blobs.insert(layer.digest, Blob::File(layer.path.clone(), layer.size));
        }
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers, "annotations": image.labels,
        });
        let mut entry = self.document(MANIFEST, &manifest)?;
        entry["annotations"] = json!({TAG: image.tag});
        entry["platform"] = json!({"architecture": about.arch, "os": OS});
        self.images.push(entry);
        Ok(())
    }
}

/// Writes a layout with these images to the file `to`.
pub fn write(images: &[Image], about: &About, created: &str, to: &Utf8Path, progress: &dyn Progress) -> Result<(), Error> {
    let mut layout = Layout::default();
    for image in images {
        layout.add(image, about, created)?;
    }
    let index = serde_json::to_vec(&json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": layout.images}))?;
    let writing = failed("writing", to);
    let file = open(to, Start::New, PUBLIC).map_err(&writing)?;
    let mut archive = Archive { archive: Builder::new(BufWriter::new(file)), epoch: about.epoch };
    let first = archive.put("oci-layout", VERSION.len() as u64, VERSION);
    first.and_then(|()| archive.put("index.json", index.len() as u64, index.as_slice())).map_err(&writing)?;
    archive.dir("blobs/").and_then(|()| archive.dir("blobs/sha256/")).map_err(&writing)?;
    for (digest, blob) in &layout.blobs {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        let name = format!("blobs/sha256/{digest}");
        match blob {
            Blob::Text(bytes) => archive.put(&name, bytes.len() as u64, bytes.as_slice()).map_err(&writing)?,
            Blob::File(path, size) => {
                let layer = File::open(path).map_err(failed("opening", path))?;
                archive.put(&name, *size, layer).map_err(&writing)?;
                progress.advance(*size);
            }
        }
    }
    let buffer = archive.archive.into_inner().map_err(&writing)?;
    let mut file = buffer.into_inner().map_err(|e| writing(e.into_error()))?;
    file.flush().and_then(|()| file.sync_all()).map_err(writing)?;
    Ok(())
}

struct Archive {
    archive: Builder<BufWriter<File>>,
    epoch: u64,
}

impl Archive {
    fn header(&self, name: &str, mode: u32, size: u64) -> io::Result<Header> {
        let mut header = Header::new_ustar();
        header.set_path(name)?;
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(self.epoch);
        header.set_size(size);
        Ok(header)
    }

    fn put(&mut self, name: &str, size: u64, content: impl Read) -> io::Result<()> {
        let mut header = self.header(name, PUBLIC, size)?;
        header.set_entry_type(EntryType::Regular);
        header.set_cksum();
        self.archive.append(&header, content)
    }

    fn dir(&mut self, name: &str) -> io::Result<()> {
        let mut header = self.header(name, 0o755, 0)?;
        header.set_entry_type(EntryType::Directory);
        header.set_cksum();
        self.archive.append(&header, io::empty())
    }
}
