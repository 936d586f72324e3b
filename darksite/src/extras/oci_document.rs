//! Manifests and indexes of OCI images (image-spec), and Docker's.

use std::collections::BTreeMap;

use cluster_seed::ids::Digest;
use serde::{Deserialize, Serialize};

/// A reference to content (image-spec, "descriptor"); other fields are not needed.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: String,
    pub size: u64,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    #[serde(default)]
    pub platform: Option<Platform>,
}

/// What an image runs on; other fields are not needed.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(default)]
pub struct Platform {
    pub architecture: String,
    pub os: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Descriptor {
    pub(super) fn sha256(&self) -> Result<Digest, String> {
        let hex = self.digest.strip_prefix("sha256:").and_then(|d| d.parse().ok());
        hex.ok_or_else(|| format!("{:?} is not a sha256 digest", self.digest.chars().take(100).collect::<String>()))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
}

/// A parsed manifest or index.
pub struct Document {
    pub media_type: String,
    pub children: Vec<Descriptor>,
    /// True for an index: some of its children, other platforms, may be absent.
    pub index: bool,
}

/// Parses a manifest or an index. `said` is the media type in its descriptor; empty if there is none.
pub fn document(bytes: &[u8], said: &str) -> Result<Document, String> {
    let body: Body = serde_json::from_slice(bytes).map_err(|e| format!("malformed manifest: {e}"))?;
    if body.schema_version != 2 {
        return Err(format!("a manifest has schema version {}, expected 2", body.schema_version));
    }
    let index = body.manifests.is_some();
    let kind = if index { "application/vnd.oci.image.index.v1+json" } else { "application/vnd.oci.image.manifest.v1+json" };
    let media_type = match (body.media_type, said) {
        (Some(own), "") => own,
        (Some(own), said) if own == said || same_kind(&own, said) => own,
        (Some(own), said) => return Err(format!("a manifest has media type {own:?}, but its descriptor says {said:?}")),
        (None, "") => kind.to_owned(),
        (None, said) => said.to_owned(),
    };
    let printable = media_type.len() <= 255 && media_type.bytes().all(|b| b.is_ascii_graphic());
    if !printable || !media_type.contains('/') {
        return Err("a manifest has an invalid media type".to_owned());
    }
    let children = match (body.manifests, body.config) {
        (Some(list), None) => list,
        (None, Some(config)) => std::iter::once(config).chain(body.layers.unwrap_or_default()).collect(),
        _ => return Err("a manifest is neither an index nor an image".to_owned()),
    };
    Ok(Document { media_type, children, index })
}

/// True for the two names of one kind of document: Docker's and OCI's. Some tools mix them; containerd and skopeo follow the
/// document itself.
fn same_kind(own: &str, said: &str) -> bool {
    let kind = |media_type: &str| match media_type {
        "application/vnd.oci.image.index.v1+json" | "application/vnd.docker.distribution.manifest.list.v2+json" => Some(true),
        "application/vnd.oci.image.manifest.v1+json" | "application/vnd.docker.distribution.manifest.v2+json" => Some(false),
        _ => None,
    };
    kind(own).is_some() && kind(own) == kind(said)
}

pub(super) fn is_document(media_type: &str) -> bool {
    ["image.index.v1+json", "image.manifest.v1+json", "manifest.list.v2+json", "distribution.manifest.v2+json"]
        .iter()
        .any(|end| media_type.ends_with(end))
}
