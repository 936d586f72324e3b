//! A site without a darksite: what simulated machines need of one is an artifact to be named in their orders, since nobody fetches
//! it.

use std::path::Path;

use anyhow::{Context, Result};
use camino::Utf8Path;
use cluster_seed::ids::Digest;
use cluster_seed::manifest::{ArtifactManifest, ArtifactSpec, CHUNK_SIZE, Chunk};
use cluster_seed::seal::Sealed;
use site::store::Store;
use site::{Site, setting};

use crate::seedd::Seedd;
use crate::site::{PASSPHRASE, write_private};

/// Smallest disk of the role `base`, in bytes.
const MIN_DISK: u64 = 4 << 30;

/// `seedd init` below `work`, with an artifact of the role `base` whose chunks nobody has.
pub fn make(work: &Path) -> Result<Seedd> {
    let passphrase = work.join("passphrase");
    write_private(&passphrase, PASSPHRASE)?;
    let seedd = Seedd::new(&work.join("data"), &passphrase)?;
    seedd.init().context("step seedd init")?;
    let site = Site::new(Utf8Path::from_path(&seedd.data).context("a path that is not UTF-8")?);
    let key = site.keys().unseal(PASSPHRASE).context("opening the keys of the site")?.site;
    let manifest = manifest();
    let dir = site.join("artifacts").join(manifest.id.to_string());
    std::fs::create_dir_all(&dir).with_context(|| format!("making {dir}"))?;
    let text = serde_json::to_vec(&Sealed::sign(&manifest, &key)?).context("writing a manifest")?;
    std::fs::write(dir.join("manifest.json"), text).context("writing a manifest")?;
    let store = Store::open(&site.database()).context("opening the database")?;
    store.set(&format!("{}base", setting::ARTIFACT), &manifest.id.to_string()).context("naming the artifact")?;
    Ok(seedd)
}

fn manifest() -> ArtifactManifest {
    let named = |what: &str| Digest::of(what.as_bytes());
    let spec = ArtifactSpec {
        recipe: 1,
        role: "base".to_owned(),
        arch: "amd64".to_owned(),
        snapshot: named("a snapshot of simulated machines"),
        packages: Vec::new(),
        payload: named("a payload of simulated machines"),
    };
    ArtifactManifest {
        id: spec.id(),
        spec,
        disk_size: CHUNK_SIZE,
        min_disk: MIN_DISK,
        raw: named("a disk of simulated machines"),
        state_offset: 0,
        state_size: 4096,
        chunks: vec![Chunk::Zstd { stored: named("a chunk"), stored_size: 100, raw: named("bytes") }],
    }
}
