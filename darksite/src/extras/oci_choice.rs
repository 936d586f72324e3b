//! Which image of an archive is meant by a name and a tag.

use std::collections::{BTreeMap, BTreeSet};

use cluster_seed::ids::Digest;

use super::oci_document::Descriptor;

/// The annotation with the tag, or with the full name (image-spec, "annotations").
const TAG: &str = "org.opencontainers.image.ref.name";
/// containerd's and Docker's annotation with the full name.
const FULL_NAME: &str = "io.containerd.image.name";

/// The descriptors of `name:tag`: one, or one for each platform. With one image in the archive, that one. An empty `name` asks
/// for the tag only.
pub(super) fn choose(all: &[Descriptor], name: &str, tag: &str) -> Result<Vec<Descriptor>, String> {
    let different: BTreeSet<&String> = all.iter().map(|d| &d.digest).collect();
    if different.len() == 1 {
        return Ok(all[..1].to_vec());
    }
    let called = |d: &&Descriptor| {
        let name = d.annotations.get(TAG).map(String::as_str).unwrap_or_default();
        name == tag || name.rsplit(':').next() == Some(tag)
    };
    let full: Vec<&Descriptor> = all.iter().filter(|d| is_called(d, name, tag)).collect();
    let tagged = || all.iter().filter(called).filter(|d| name.is_empty() || !has_full_name(d)).collect();
    let mut fitting: Vec<&Descriptor> = if full.is_empty() { tagged() } else { full };
    fitting.sort_by(|a, b| (&a.platform, &a.digest).cmp(&(&b.platform, &b.digest)));
    fitting.dedup_by(|a, b| a.digest == b.digest);
    let platforms: BTreeSet<_> = fitting.iter().filter_map(|d| d.platform.as_ref()).collect();
    if fitting.len() == 1 || !fitting.is_empty() && platforms.len() == fitting.len() {
        return Ok(fitting.into_iter().cloned().collect());
    }
    let wanted = if name.is_empty() { format!("{tag:?}") } else { format!("{name}:{tag}, or {tag:?} without a full name") };
    Err(format!("the archive has {} images, but not exactly one named {wanted}", all.len()))
}

/// True if it is called `name:tag` in full. Docker leaves out its own registry.
fn is_called(d: &Descriptor, name: &str, tag: &str) -> bool {
    let names = [FULL_NAME, TAG].into_iter().filter_map(|key| d.annotations.get(key));
    names.filter_map(|full| full.rsplit_once(':')).any(|(found, its)| {
        let first = found.split('/').next().unwrap_or_default();
        let host = found.contains('/') && (first.contains(['.', ':']) || first == "localhost");
        let docker = match found.contains('/') {
            true => format!("docker.io/{found}"),
            false => format!("docker.io/library/{found}"),
        };
        its == tag && (found == name || !host && docker == name)
    })
}

/// True if its full name is that of some image.
fn has_full_name(d: &Descriptor) -> bool {
    d.annotations.get(FULL_NAME).is_some_and(|full| !full.is_empty())
}

/// An index of images for several platforms, and its descriptor. The same images give the same bytes.
pub(super) fn index_of(images: &[Descriptor]) -> Result<(Descriptor, Option<Vec<u8>>), String> {
    let entry = |d: &Descriptor| serde_json::json!({"mediaType": d.media_type, "digest": d.digest, "size": d.size, "platform": d.platform});
    let manifests: Vec<serde_json::Value> = images.iter().map(entry).collect();
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests});
    let bytes = serde_json::to_vec(&index).map_err(|e| e.to_string())?;
    let top = Descriptor {
        media_type: media_type.to_owned(),
        digest: format!("sha256:{}", Digest::of(&bytes)),
        size: bytes.len() as u64,
        annotations: BTreeMap::new(),
        platform: None,
    };
    Ok((top, Some(bytes)))
}
