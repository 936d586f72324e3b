//! Publishing: the archive is written, named by its digest, described and signed; then nodes may run it.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result};
use camino::Utf8Path;
use cluster_seed::converge::payload::{FileEntry, MAX_ARCHIVE, PayloadManifest};
use cluster_seed::seal::{Sealed, SigningKey};
use host::files::{PRIVATE, Start, digest_file, open, sync_dir, write_atomic};
use site::Site;
use site::hint::Hint as _;
use site::payloads::{ARCHIVE, MANIFEST, PAYLOADS, check};

use super::gather::Parts;
use super::pack;

/// A payload of the site.
#[derive(Debug)]
pub struct Published {
    pub manifest: PayloadManifest,
    /// False if the same payload existed already.
    pub fresh: bool,
}

/// Packs, signs and stores a payload. It is not put in use.
///
/// # Errors
/// If the archive is larger than [`MAX_ARCHIVE`], or the disk is full; nothing is left behind.
pub fn publish(site: &Site, parts: &Parts, name: &str, key: &SigningKey) -> Result<Published> {
    site.make_folders()?;
    let tmp = site.join("tmp").join(format!("payload-{}", std::process::id()));
    let _ = fs::remove_dir_all(&tmp);
    fs::create_dir(&tmp).with_context(|| format!("creating {tmp}"))?;
    let done = build(site, parts, name, key, &tmp);
    let _ = fs::remove_dir_all(&tmp);
    done
}

fn build(site: &Site, parts: &Parts, name: &str, key: &SigningKey, tmp: &Utf8Path) -> Result<Published> {
    let archive = tmp.join(ARCHIVE);
    let file = open(&archive, Start::Empty, PRIVATE).with_context(|| format!("creating {archive}"))?;
    let files: BTreeMap<String, FileEntry> = pack::write(parts, file)?;
    let (size, id) = digest_file(&archive, &cluster_seed::progress::Quiet)?;
    if size > MAX_ARCHIVE {
        return Err(anyhow::anyhow!("the archive has {size} bytes, more than {MAX_ARCHIVE}"))
            .hint("serve large files as extras (docs/extras.md), and let the play fetch them from the seed");
    }
    let place = site.payload(id);
    if place.is_dir() {
        return Ok(Published { manifest: check(&place, id, &key.verifying_key())?, fresh: false });
    }
    let platform = env!("CARGO_PKG_VERSION").to_owned();
    let manifest = PayloadManifest { id, size, site: name.to_owned(), platform, files };
    let sealed = serde_json::to_vec(&Sealed::sign(&manifest, key)?).context("writing the manifest")?;
    write_atomic(&tmp.join(MANIFEST), &sealed, 0o644)?;
    sync_dir(tmp)?;
    fs::rename(tmp, &place).with_context(|| format!("placing {place}"))?;
    sync_dir(&site.join(PAYLOADS))?;
    Ok(Published { manifest, fresh: true })
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
