//! The manifests of the capsules that this site exported, stored for `--since`: the site cannot decrypt the capsules themselves.

use std::fs;

use anyhow::{Context as _, Result};
use camino::Utf8Path;
use cluster_seed::capsule::CapsuleManifest;
use cluster_seed::ids::Digest;
use cluster_seed::seal::{Sealed, SigningKey};
use host::files::{read_limited, write_atomic};
use site::Site;
use site::hint::Hint as _;

use super::read::Clear;
use super::{MAX_RECORD, RECORDS};

/// Stores a sealed manifest under its capsule's id.
pub fn keep(site: &Site, id: Digest, sealed: &[u8]) -> Result<()> {
    let dir = site.join(RECORDS);
    fs::create_dir_all(&dir).with_context(|| format!("creating {dir}"))?;
    Ok(write_atomic(&dir.join(format!("{id}.json")), sealed, 0o600)?)
}

/// The manifest of a capsule that this site exported.
pub fn earlier(site: &Site, key: &SigningKey, id: Digest) -> Result<CapsuleManifest> {
    let path = site.join(RECORDS).join(format!("{id}.json"));
    let text = read_limited(&path, MAX_RECORD).hint("this site has no record of that capsule; omit --since")?;
    anyhow::ensure!(Digest::of(&text) == id, "{path} does not match its signature");
    let sealed: Sealed<CapsuleManifest> = serde_json::from_slice(&text).with_context(|| format!("reading {path}"))?;
    sealed.open(&key.verifying_key()).with_context(|| format!("checking {path}"))
}

/// The id given by `--since`: an id, a capsule, or a capsule's manifest.
pub fn since_id(text: &str) -> Result<Digest> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let path = Utf8Path::new(text);
    match Clear::open(path) {
        Ok(clear) => Ok(clear.unpinned()?.id),
        Err(e) => {
            let record = read_limited(path, MAX_RECORD).ok().filter(|b| b.starts_with(b"{"));
            record.map(|b| Digest::of(&b)).ok_or(e).hint("--since takes a capsule, its id, or its manifest from capsules/")
        }
    }
}
