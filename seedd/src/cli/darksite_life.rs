//! `seedd darksite list|verify|prove|use|remove|gc|export|import`

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use cluster_seed::ids::Digest;
use cluster_seed::proof::{ProofState, RoleProof};
use darksite::Keyring;

use super::darksite_prove::Prove;
use super::{PassphraseSource, Where, show};
use crate::terminal::{Terminal, amount, watch_signals};
use site::gc;
use site::hint::Hint as _;
use site::snapshots;
use transfer::archive::read::{Archive, Clear, Import as Reading};
use transfer::archive::write::Export as Writing;

#[derive(Subcommand)]
pub enum Life {
    /// List the snapshots, and what is proven of them
    List(List),
    /// Read every byte of a snapshot again
    Verify(Verify),
    /// Install every role from the snapshot alone, without a network, and sign the result
    Prove(Prove),
    /// Serve this snapshot from now on
    Use(One),
    /// Remove a snapshot that nothing in use was built from
    Remove(One),
    /// Tell what no snapshot, artifact or running job needs; with --yes remove it
    Gc(Gc),
    /// Write a snapshot, or what it has beyond another, as one signed file for a stick
    Export(Export),
    /// Take a snapshot over from such a file
    Import(Import),
}

impl Life {
    pub fn run(&self) -> Result<()> {
        watch_signals()?;
        match self {
            Life::List(v) => v.run(),
            Life::Verify(v) => v.run(),
            Life::Prove(v) => v.run(),
            Life::Use(v) => v.put_in_use(),
            Life::Remove(v) => v.remove(),
            Life::Gc(v) => v.run(),
            Life::Export(v) => v.run(),
            Life::Import(v) => v.run(),
        }
    }
}

#[derive(Args)]
pub struct List {
    #[command(flatten)]
    place: Where,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

impl List {
    fn run(&self) -> Result<()> {
        let site = self.place.site();
        let store = site.open_store()?;
        let (held, damaged) = snapshots::all(&site, &store)?;
        let mut lines = Vec::new();
        let mut rows = Vec::new();
        for one in &held {
            let m = &one.manifest;
            let mark = if one.in_use { "*" } else { " " };
            let size = amount(m.bytes);
            lines.push(format!("{mark} {}  {}  {} packages, {size}, {}", m.id, m.suite, m.packages, told(one)));
            let mut row = serde_json::to_value(m)?;
            row["inUse"] = one.in_use.into();
            row["proof"] = serde_json::json!({"state": one.state, "document": one.proof});
            row["maker"] = one.maker.map(|k| cluster_seed::seal::key_text(&k)).into();
            rows.push(row);
        }
        lines.extend(damaged.iter().map(|d| format!("! {}  damaged: {}", d.id, d.why)));
        let in_use = held.iter().find(|h| h.in_use).map(|h| h.manifest.id);
        let broken: Vec<_> = damaged.iter().map(|d| serde_json::json!({"id": d.id, "why": d.why})).collect();
        let text = if lines.is_empty() { "no snapshot yet".to_owned() } else { lines.join("\n") };
        show(self.json, &serde_json::json!({"snapshots": rows, "inUse": in_use, "damaged": broken}), &text)
    }
}

/// What is proven, in words.
fn told(one: &snapshots::Held) -> String {
    match (one.state, &one.proof) {
        (ProofState::Proven, Some(proof)) => format!("proven: {} root sets installed offline", proof.roles.len()),
        (ProofState::Failed, Some(proof)) => {
            let failed = proof.roles.iter().filter(|(_, r)| matches!(r, RoleProof::Failed { .. })).map(|(name, _)| name.as_str());
            format!("FAILED its proof: {}", failed.collect::<Vec<_>>().join(", "))
        }
        _ => "unproven".to_owned(),
    }
}

#[derive(Args)]
pub struct Verify {
    #[command(flatten)]
    place: Where,
    /// The snapshot's id; without it the one in use
    snapshot: Option<Digest>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

impl Verify {
    fn run(&self) -> Result<()> {
        let site = self.place.site();
        let store = site.open_store()?;
        let id = self.snapshot.map_or_else(|| snapshots::current(&store), Ok)?;
        let dir = site.snapshot(id);
        anyhow::ensure!(dir.is_dir(), "there is no snapshot {id}");
        let (keyring, key) = site.snapshot_keys(&store, id)?;
        let keyring = Keyring::from_bytes(&keyring)?;
        let progress = Terminal::new();
        let result = darksite::verify(&dir, &keyring, &key, &progress);
        drop(progress);
        match result {
            Ok(report) => {
                let value = serde_json::json!({"snapshot": id, "files": report.files, "bytes": report.bytes});
                let text =
                    format!("snapshot {id} is good: {} files, {}, every byte as signed", report.files, amount(report.bytes));
                show(self.json, &value, &text)
            }
            Err(e) => {
                let hint = e.hint();
                Err(e).hint(hint)
            }
        }
    }
}

#[derive(Args)]
pub struct One {
    #[command(flatten)]
    place: Where,
    /// The snapshot's id
    snapshot: Digest,
}

impl One {
    fn put_in_use(&self) -> Result<()> {
        let site = self.place.site();
        snapshots::put_in_use(&site, &site.open_store()?, self.snapshot)?;
        show(false, &serde_json::Value::Null, &format!("snapshot {} is in use", self.snapshot))
    }

    fn remove(&self) -> Result<()> {
        let site = self.place.site();
        let store = site.open_store()?;
        gc::remove_snapshot(&site, &store, self.snapshot, &site.alone_with_blobs()?)?;
        let text = format!("snapshot {} is gone; `seedd darksite gc` tells what its packages take", self.snapshot);
        show(false, &serde_json::Value::Null, &text)
    }
}

#[derive(Args)]
pub struct Gc {
    #[command(flatten)]
    place: Where,
    /// Remove it
    #[arg(long)]
    yes: bool,
    /// Also what interrupted downloads, imports and exports would go on with
    #[arg(long)]
    unfinished: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

impl Gc {
    fn run(&self) -> Result<()> {
        let site = self.place.site();
        let store = site.open_store()?;
        let alone = site.alone_with_blobs()?;
        let waste = gc::survey(&site, &store, self.unfinished, &alone).context("looking for what can go")?;
        let bytes: u64 = waste.iter().map(|w| w.bytes).sum();
        let mut kinds: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
        for one in &waste {
            let sum = kinds.entry(one.kind).or_default();
            *sum = (sum.0 + 1, sum.1 + one.bytes);
        }
        if self.yes {
            gc::remove(&waste, &alone)?;
        }
        let rows: Vec<_> = waste.iter().map(|w| serde_json::json!({"path": w.path, "bytes": w.bytes, "kind": w.kind})).collect();
        let value = serde_json::json!({"removed": self.yes, "bytes": bytes, "files": rows});
        let mut lines: Vec<String> = kinds
            .iter()
            .map(|(kind, (count, bytes))| format!("  {count} × {kind}, {bytes} bytes ({})", amount(*bytes)))
            .collect();
        let head = match (waste.is_empty(), self.yes) {
            (true, _) => "nothing here is unused".to_owned(),
            (false, true) => format!("removed {bytes} bytes ({})", amount(bytes)),
            (false, false) => format!("{bytes} bytes ({}) are used by nothing; --yes removes them", amount(bytes)),
        };
        lines.insert(0, head);
        show(self.json, &value, &lines.join("\n"))
    }
}

#[derive(Args)]
pub struct Export {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// The snapshot's id; without it the one in use
    snapshot: Option<Digest>,
    /// Leave out what this snapshot has; it must be there already
    #[arg(long, value_name = "SNAPSHOT")]
    since: Option<Digest>,
    /// Also the extras in use
    #[arg(long)]
    extras: bool,
    /// Write parts of at most this many bytes (with K, M, G): FILE.001, FILE.002, …
    #[arg(long, value_name = "SIZE", value_parser = super::capsule::size)]
    split_size: Option<u64>,
    #[arg(long, value_name = "FILE")]
    out: Utf8PathBuf,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

impl Export {
    fn run(&self) -> Result<()> {
        let site = self.place.site();
        let store = site.open_store()?;
        let snapshot = self.snapshot.map_or_else(|| snapshots::current(&store), Ok)?;
        let key = site.keys().unseal(&self.passphrase.get("Passphrase")?)?.site;
        let job = Writing {
            site: &site,
            store: &store,
            site_key: &key,
            snapshot,
            since: self.since,
            extras: self.extras,
            split: self.split_size,
            out: &self.out,
        };
        let progress = Terminal::new();
        let done = job.run(&progress).context("exporting the snapshot")?;
        drop(progress);
        let (carried, left_out) = (done.list.blobs.len(), done.list.held.len());
        let value = serde_json::json!({
            "snapshot": snapshot, "files": done.files, "bytes": done.stored, "carried": carried, "leftOut": left_out,
            "resumed": done.resumed,
        });
        let files: Vec<&str> = done.files.iter().map(|f| f.as_str()).collect();
        let pin = site.keys().public()?.site;
        let text = format!(
            "snapshot {snapshot}\n  in     {}\n  size   {}, {carried} files carried, {left_out} left out\n  there  seedd darksite import FILE --pin {pin}",
            files.join(" "),
            amount(done.stored)
        );
        show(self.json, &value, &text)
    }
}

#[derive(Args)]
pub struct Import {
    #[command(flatten)]
    place: Where,
    file: Utf8PathBuf,
    /// Site key of the seed that made it; not needed for this site's own
    #[arg(long, value_name = "KEY")]
    pin: Option<String>,
    /// Serve it from now on, also where another snapshot is in use
    #[arg(long = "use")]
    put_in_use: bool,
    /// Only read and check every byte; keep nothing
    #[arg(long)]
    check: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

impl Import {
    fn open(&self, own: &str) -> Result<Archive> {
        let clear = Clear::open(&self.file)?;
        let pin = match &self.pin {
            Some(text) => text.as_str(),
            None if clear.claimed_key() == own => own,
            None => {
                let hint = "give the site key of the seed that made it with --pin (`seedd status` there shows it)";
                return Err(anyhow!("the archive says it is of site key {}, which is not this site's", clear.claimed_key()))
                    .hint(hint);
            }
        };
        clear.verified(&super::capsule::pin(pin)?).context("checking the archive")
    }

    fn run(&self) -> Result<()> {
        let site = self.place.site();
        let store = site.open_store()?;
        let mut archive = self.open(&site.keys().public()?.site)?;
        let progress = Terminal::new();
        if self.check {
            archive.verify(&progress).context("checking the archive")?;
            drop(progress);
            let value =
                serde_json::json!({"snapshot": archive.header.snapshot, "content": "good", "bytes": archive.header.bytes});
            return show(self.json, &value, &format!("snapshot {}: every byte is as it was signed", archive.header.snapshot));
        }
        let job = Reading { site: &site, store: &store, archive, put_in_use: self.put_in_use };
        let done = job.run(&progress).context("importing the snapshot")?;
        drop(progress);
        let value = serde_json::json!({
            "snapshot": done.snapshot, "copied": done.copied, "held": done.held, "already": done.already, "inUse": done.in_use,
        });
        let how = if done.already { "was here already" } else { "is here, every byte as signed" };
        let mut text = format!("snapshot {} {how}\n  {} files copied, {} were here", done.snapshot, done.copied, done.held);
        if !done.in_use {
            text.push_str(&format!("\n  next   seedd darksite use {}", done.snapshot));
        }
        show(self.json, &value, &text)
    }
}
