//! The record of the medium from which this site imported packages and images. It is used to leave these files out of a capsule,
//! and to find them again when importing such a capsule.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use camino::Utf8PathBuf;
use cluster_seed::ids::Digest;
use cluster_seed::medium::MediumManifest;
use cluster_seed::seal::{Sealed, VerifyingKey, key_from_text, key_text};
use host::files::{read_limited, write_atomic};
use serde::{Deserialize, Serialize};
use site::Site;

use crate::medium::links::{is_clean, link};

/// File of the data directory.
const RECORD: &str = "medium.json";
const MAX_RECORD: u64 = 64 << 20;

#[derive(Serialize, Deserialize)]
struct Record {
    /// Where it is mounted.
    root: Utf8PathBuf,
    /// Site key of its maker, in hex.
    maker: String,
    manifest: Sealed<MediumManifest>,
}

/// The files of a medium by digest.
pub struct Held {
    pub id: Digest,
    files: HashMap<Digest, (u64, Utf8PathBuf)>,
}

/// Stores the record of the medium that is adopted.
pub fn note(site: &Site, root: &camino::Utf8Path, maker: &VerifyingKey, manifest: &Sealed<MediumManifest>) -> Result<()> {
    let record = Record { root: root.to_owned(), maker: key_text(maker), manifest: manifest.clone() };
    Ok(write_atomic(&site.join(RECORD), &serde_json::to_vec(&record)?, 0o644)?)
}

impl Held {
    /// The medium adopted last, if any.
    pub fn of(site: &Site) -> Result<Option<Self>> {
        let path = site.join(RECORD);
        if !path.exists() {
            return Ok(None);
        }
        let record: Record =
            serde_json::from_slice(&read_limited(&path, MAX_RECORD)?).with_context(|| format!("reading {path}"))?;
        let maker = key_from_text(&record.maker).with_context(|| format!("reading {path}"))?;
        let manifest = record.manifest.open(&maker).with_context(|| format!("checking {path}"))?;
        let clean = manifest.files.iter().filter(|f| is_clean(&f.name));
        let files = clean.map(|f| (f.sha256, (f.size, record.root.join(&f.name)))).collect();
        Ok(Some(Held { id: manifest.id, files }))
    }

    /// True if the medium has this file.
    pub fn has(&self, sha256: Digest, size: u64) -> bool {
        self.files.get(&sha256).is_some_and(|(held, _)| *held == size)
    }

    /// Makes `sha256` a blob of the site that links to the medium; false if the medium does not have it. Its bytes are not read.
    pub fn link(&self, site: &Site, sha256: Digest) -> Result<bool> {
        let Some((_, file)) = self.files.get(&sha256) else { return Ok(false) };
        link(file, &site.blob(sha256))?;
        Ok(true)
    }
}
