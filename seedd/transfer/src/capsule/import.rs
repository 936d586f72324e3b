//! Importing a capsule: everything is verified first, files are staged, one transaction replaces the rows, and the site is on
//! standby. An interrupted import resumes after the last sync.

use std::fs;

use anyhow::{Context as _, Result, anyhow, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::capsule::{CapsuleManifest, Table};
use cluster_seed::cluster::API_VERSION;
use cluster_seed::events::EventKind;
use cluster_seed::ids::Digest;
use cluster_seed::overlay::{self, Overlay};
use cluster_seed::progress::{Progress, Quiet};
use cluster_seed::seal::VerifyingKey;
use cluster_seed::secret::AgeKey;
use host::files::{digest_file, free_space, write_atomic};
use site::hint::Hint as _;
use site::mode::Mode;
use site::settle::{STAGED, committed, settle};
use site::store::Tx;
use site::store::events::NewEvent;
use site::{Site, read_spec, setting};

use super::collect::{rows_file, trees};
use super::intake::Intake;
use super::read::Clear;
use super::stage::{Lines, stage};
use crate::medium::record::Held;

pub struct Import<'a> {
    pub site: &'a Site,
    /// The operator's key of this site, which decrypts the capsule.
    pub operator: &'a AgeKey,
    /// The site key that must have signed the capsule.
    pub pin: &'a VerifyingKey,
    pub file: &'a Utf8Path,
    /// Keep this seed's underlay instead of the other site's.
    pub keep_place: bool,
    /// Unix milliseconds.
    pub now_ms: u64,
    /// Who requested it, for the event log.
    pub actor: Option<&'a str>,
}

#[derive(Debug)]
pub struct Imported {
    pub id: Digest,
    pub site: String,
    pub epoch: u64,
    pub nodes: usize,
    /// Blobs that were copied, and blobs that existed already.
    pub copied: usize,
    pub held: usize,
    /// True if this capsule had been imported before.
    pub already: bool,
}

impl Import<'_> {
    pub fn run(&self, progress: &dyn Progress) -> Result<Imported> {
        let mut capsule = Clear::open(self.file)?.verified(self.pin, self.operator).context("checking the capsule")?;
        let manifest = capsule.manifest().context("checking the capsule")?;
        let id = capsule.header.id;
        let _lock = self.site.importing()?;
        let _using = self.site.use_blobs()?;
        let store = self.site.open_store()?;
        let already = store.read(|tx| self.allowed(tx, &manifest, id))?;
        let (mut copied, mut held) = (0, 0);
        if !already {
            let dir = workdir(self.site, id)?;
            room(self.site, &manifest)?;
            let mut intake = Intake::open(self.site, &dir, Table::ALL.map(|t| rows_file(&dir, t)).to_vec())?;
            let done = intake.done();
            capsule.content(&manifest, done, &mut intake, progress).context("reading the capsule")?;
            (copied, held) = intake.finish()?;
            self.find_on_medium(&manifest)?;
            self.check_assumed(&manifest, progress)?;
            progress.say("the capsule is verified; moving the site into place");
            let staged = self.site.join(STAGED);
            ensure!(!committed(&staged, &store)?, "an earlier import is not finished yet");
            stage(self.site, &manifest, &dir, &staged, self.pin, self.operator, &id)?;
            self.stay_here(&staged)?;
            store.write(|tx| self.take_over(tx, &manifest, &dir, &staged, id)).context("importing the rows")?;
            settle(self.site, &store)?;
            fs::remove_dir_all(&dir).with_context(|| format!("removing {dir}"))?;
        }
        let nodes = store.read(|tx| tx.live_nodes())?.len();
        Ok(Imported { id, site: manifest.site.clone(), epoch: manifest.epoch, nodes, copied, held, already })
    }

    /// Checks that this site may become a standby of the other. True if it already is one, from this capsule.
    fn allowed(&self, tx: &Tx<'_>, manifest: &CapsuleManifest, id: Digest) -> Result<bool> {
        let mode = Mode::of(tx)?;
        let imported = tx.setting(setting::IMPORTED)?;
        if mode == Mode::Standby && imported == Some(id.to_string()) {
            return Ok(true);
        }
        if self.site.keys().public()?.site != manifest.site_key {
            ensure_empty(tx)?;
            return Ok(false);
        }
        if mode == Mode::Active {
            return Err(anyhow!("this seed is an active seed of the same site")).hint("import the capsule on another seed");
        }
        let epoch = tx.epoch()?;
        let event = match tx.setting(setting::IMPORTED_EVENT)? {
            Some(text) if mode == Mode::Standby => text.parse().context("reading the last import")?,
            _ => tx.last_event()?,
        };
        if (manifest.epoch, manifest.event) < (epoch, event) {
            let old = format!("epoch {}, event {}", manifest.epoch, manifest.event);
            return Err(anyhow!("the capsule ({old}) is older than this site's data (epoch {epoch}, event {event})"))
                .hint("import the newest capsule");
        }
        Ok(false)
    }

    /// Links the blobs that the capsule leaves out because they are on the common medium.
    fn find_on_medium(&self, manifest: &CapsuleManifest) -> Result<()> {
        if manifest.medium.is_none() {
            return Ok(());
        }
        let Some(held) = Held::of(self.site)? else { return Ok(()) };
        for blob in &manifest.assumed {
            if !self.site.blob(blob.sha256).exists() {
                held.link(self.site, blob.sha256)?;
            }
        }
        Ok(())
    }

    /// Stores this seed's current underlay as its overlay. That has no effect until the other site's cluster.yaml is in place, so
    /// it can be written before the import is committed.
    fn stay_here(&self, staged: &Utf8Path) -> Result<()> {
        if !self.keep_place || self.site.overlay_file().exists() {
            return Ok(());
        }
        let own = self.site.spec()?;
        let theirs = read_spec(&staged.join("cluster.yaml"))?;
        let underlay = own.spec.networking.underlay;
        if overlay::changes(&theirs.spec.networking.underlay, &underlay).is_empty() {
            return Ok(());
        }
        let text = serde_json::json!({"apiVersion": API_VERSION, "kind": overlay::KIND, "underlay": underlay});
        let text = serde_json::to_string_pretty(&text).context("writing the overlay")?;
        let parsed = Overlay::parse(&text).and_then(|o| o.apply(&theirs));
        parsed
            .map_err(|e| anyhow!("this seed's underlay conflicts with the other site: {}", e.message))
            .hint("change this seed's underlay first, or import the other site's (--take-place)")?;
        Ok(write_atomic(&self.site.overlay_file(), text.as_bytes(), 0o644)?)
    }

    /// Checks that blobs from an earlier capsule or from the medium exist and are undamaged.
    fn check_assumed(&self, manifest: &CapsuleManifest, progress: &dyn Progress) -> Result<()> {
        if manifest.assumed.is_empty() {
            return Ok(());
        }
        progress.begin("checking earlier blobs", Some(manifest.assumed.iter().map(|a| a.size).sum()));
        for blob in &manifest.assumed {
            ensure!(!progress.cancelled(), super::STOPPED);
            if digest_file(&self.site.blob(blob.sha256), &Quiet).ok() != Some((blob.size, blob.sha256)) {
                let hint = match (manifest.since, manifest.medium) {
                    (_, Some(id)) => {
                        format!(
                            "it is on medium {}: boot this seed from that medium, or export without --same-medium",
                            id.short()
                        )
                    }
                    (Some(since), None) => format!("import capsule {since} first, or export without --since"),
                    (None, None) => "export it again".to_owned(),
                };
                return Err(anyhow!("blob {} is missing on this seed, and the capsule does not contain it", blob.sha256))
                    .hint(hint);
            }
            progress.advance(blob.size);
        }
        progress.end();
        Ok(())
    }

    /// The transaction: rows, mode, event.
    fn take_over(&self, tx: &Tx<'_>, m: &CapsuleManifest, dir: &Utf8Path, staged: &Utf8Path, id: Digest) -> Result<()> {
        let (own, own_hash) = (tx.last_event()?, tx.last_hash()?.unwrap_or_default());
        tx.clear_for_import()?;
        for table in Table::ALL.into_iter().filter(|t| !matches!(t, Table::Text | Table::Key | Table::File)) {
            let mut lines = Lines::open(&rows_file(dir, table), table)?;
            while let Some(line) = lines.next()? {
                tx.load(table, &line).with_context(|| format!("reading table {}", table.as_str()))?;
            }
        }
        tx.check_import()?;
        let epoch = tx.epoch()?;
        ensure!((epoch, tx.last_event()?) == (m.epoch, m.event), "the rows do not match the manifest");
        if let Some(peers) = tx.peers()? {
            let listed = peers.open(self.pin).context("checking the peer list")?.epoch;
            ensure!(listed <= epoch, "the peer list has a later epoch than the site");
        }
        for (tree, tree_id) in trees(tx)? {
            let there = staged.join(tree.as_str()).join(tree_id.to_string());
            ensure!(there.is_dir(), "the capsule refers to {} {tree_id} but does not contain it", tree.as_str());
        }
        Mode::Standby.set(tx)?;
        tx.set(setting::IMPORTED, &id.to_string())?;
        tx.set(setting::IMPORTED_EVENT, &m.event.to_string())?;
        let text = format!(
            "capsule {} of site {}, epoch {epoch}, was imported; this seed is on standby. Its own {own} events ended with {}",
            id.short(),
            m.site,
            own_hash.get(..12).unwrap_or("none")
        );
        tx.event(self.now_ms, &NewEvent { actor: self.actor, ..NewEvent::new(EventKind::SiteImported, &text) })?;
        Ok(())
    }
}

fn ensure_empty(tx: &Tx<'_>) -> Result<()> {
    if tx.host_numbers()?.is_empty() {
        return Ok(());
    }
    Err(anyhow!("this site has nodes of its own")).hint("import into a new site: `seedd init --data DIR`")
}

/// The working folder of this capsule; those of other capsules are deleted.
fn workdir(site: &Site, id: Digest) -> Result<Utf8PathBuf> {
    let tmp = site.join("tmp");
    let name = format!("import-{}", id.short());
    for entry in tmp.read_dir_utf8().with_context(|| format!("listing {tmp}"))? {
        let entry = entry?;
        if entry.file_name().starts_with("import-") && entry.file_name() != name {
            fs::remove_dir_all(entry.path()).with_context(|| format!("removing {}", entry.path()))?;
        }
    }
    let dir = tmp.join(name);
    fs::create_dir_all(&dir).with_context(|| format!("creating {dir}"))?;
    Ok(dir)
}

/// Refuses a capsule that does not fit on the disk.
fn room(site: &Site, manifest: &CapsuleManifest) -> Result<()> {
    let is_missing = |e: &&cluster_seed::capsule::Entry| !site.blob(e.sha256()).exists();
    let needed: u64 = manifest.entries.iter().filter(is_missing).map(|e| e.size()).sum();
    let free = free_space(&site.data)?;
    if needed > free {
        return Err(anyhow!("the capsule needs {needed} bytes in {}, but only {free} are free", site.data))
            .hint("use a larger disk for the state");
    }
    Ok(())
}
