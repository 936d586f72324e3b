//! `seedd darksite list`

use anyhow::{Context as _, Result};
use clap::Args;
use cluster_seed::ids::Digest;
use cluster_seed::manifest::SnapshotManifest;
use cluster_seed::seal::Sealed;

use crate::cli::{Where, show};
use crate::fsio::read_limited;
use crate::site::setting;
use crate::terminal::amount;

/// Bytes of a manifest.
const MAX_MANIFEST: u64 = 1 << 20;

#[derive(Args)]
pub struct List {
    #[command(flatten)]
    place: Where,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

impl List {
    pub fn run(&self) -> Result<()> {
        let site = self.place.site();
        let store = site.open_store()?;
        let in_use = store.setting(setting::SNAPSHOT)?;
        let mut rows = Vec::new();
        let mut lines = Vec::new();
        for entry in site.join("snapshots").read_dir_utf8().context("listing snapshots")? {
            let path = entry?.into_path();
            let id: Digest =
                path.file_name().unwrap_or_default().parse().with_context(|| format!("reading the name of {path}"))?;
            let (_, key) = site.snapshot_keys(&store, id)?;
            let bytes = read_limited(&path.join("snapshot.json"), MAX_MANIFEST)?;
            let sealed: Sealed<SnapshotManifest> = serde_json::from_slice(&bytes)?;
            let manifest = sealed.open(&key).with_context(|| format!("checking {path}"))?;
            let mark = if in_use == Some(manifest.id.to_string()) { "*" } else { " " };
            lines.push(format!(
                "{mark} {}  {}  {} packages, {}",
                manifest.id,
                manifest.suite,
                manifest.packages,
                amount(manifest.bytes)
            ));
            rows.push(manifest);
        }
        lines.sort();
        let text = if lines.is_empty() { "no snapshot yet".to_owned() } else { lines.join("\n") };
        show(self.json, &serde_json::json!({"snapshots": rows, "inUse": in_use}), &text)
    }
}
