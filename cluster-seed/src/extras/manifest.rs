//! The signed list of a set of extras.

use serde::{Deserialize, Serialize};

use super::VERSION;
use crate::ids::Digest;
use crate::manifest::BootFile;
use crate::seal::Sealable;

/// One tag of one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageTag {
    pub name: String,
    pub tag: String,
    /// Of the manifest or index that the tag means.
    pub digest: Digest,
}

/// A manifest or an index, with the media type it is served as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OciManifest {
    pub digest: Digest,
    pub size: u64,
    pub media_type: String,
}

/// Source and upstream signature of an extra.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Origin {
    /// `file`, `image`, `chart`, `package` or `deb`.
    pub kind: String,
    pub name: String,
    pub version: String,
    pub url: String,
    pub sha256: Digest,
    pub size: u64,
    /// Fingerprint of the OpenPGP certificate that signed it upstream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
}

/// A site's extras, signed by the site key; `id` is the digest of [`ExtrasManifest::naming`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExtrasManifest {
    pub version: u32,
    pub id: Digest,
    /// Counts the sets with other packages than the one before; the suite's date follows it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub serial: u64,
    pub origins: Vec<Origin>,
    pub images: Vec<ImageTag>,
    pub manifests: Vec<OciManifest>,
    /// All files of the set except this one, by path, sorted.
    pub files: Vec<BootFile>,
}

/// Sets of earlier versions have no serial.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(serial: &u64) -> bool {
    *serial == 0
}

impl Sealable for ExtrasManifest {
    const PURPOSE: &'static str = "extras-manifest";
}

impl ExtrasManifest {
    /// Input of the id's digest: everything except the id.
    pub fn naming(&self) -> String {
        let bare = ExtrasManifest { id: Digest([0; 32]), ..self.clone() };
        // Strings and numbers always serialise.
        serde_json::to_string(&bare).unwrap_or_default()
    }

    /// Checks what the signature does not cover.
    pub fn check(&self) -> Result<(), String> {
        if self.version != VERSION {
            return Err(format!("the extras have format {}, but this program supports format {VERSION}", self.version));
        }
        if self.id != Digest::of(self.naming().as_bytes()) {
            return Err("the extras' id does not match their contents".to_owned());
        }
        if !self.files.is_sorted_by(|a, b| a.name < b.name) {
            return Err("files are out of order or listed twice".to_owned());
        }
        let place = |name: &str| {
            let blob = name.strip_prefix("oci/sha256/").is_some_and(|d| d.parse::<Digest>().is_ok());
            blob || name.strip_prefix("tree/").is_some_and(is_plain_tree_path)
        };
        match self.files.iter().find(|f| !place(&f.name)) {
            Some(bad) => Err(format!("{:?} is not a valid path of a file", bad.name.chars().take(120).collect::<String>())),
            None => Ok(()),
        }
    }

    /// The file at a path of the set.
    pub fn file(&self, name: &str) -> Option<&BootFile> {
        let at = self.files.binary_search_by(|f| f.name.as_str().cmp(name)).ok()?;
        self.files.get(at)
    }

    /// The blob of an image, if it is in the set.
    pub fn blob(&self, digest: &Digest) -> Option<&BootFile> {
        self.file(&format!("oci/sha256/{digest}"))
    }
}

/// As `is_plain_path`, with the depth and the characters that an apt repository needs.
fn is_plain_tree_path(path: &str) -> bool {
    let name_ok = |n: &str| {
        !n.is_empty()
            && !n.starts_with('.')
            && n.len() <= 255
            && n.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-~:%".contains(&b))
    };
    path.len() <= 500 && path.split('/').count() <= 15 && path.split('/').all(name_ok)
}
