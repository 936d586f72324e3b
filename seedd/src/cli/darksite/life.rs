//! `seedd darksite list|verify|prove|use|remove|gc|export|import`

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use cluster_seed::ids::Digest;
use cluster_seed::proof::{ProofState, RoleProof};
use darksite::Keyring;
use site::hint::Hint as _;
use site::putting::InUse;
use site::{gc, snapshots};
use transfer::archive::read::{Archive, Clear, Import as Reading};
use transfer::archive::write::Export as Writing;

use super::prove::Prove;
use crate::cli::args::{self, DataDir, PassphraseSource, SiteArgs, say, size};
use crate::cli::running;
use crate::terminal::{Terminal, amount, watch_signals};

#[derive(Subcommand)]
pub enum Life {
    /// List snapshots and their proofs
    ///
    /// `*` marks the snapshot in use, `!` a damaged one.
    List(List),
    /// Verify every byte of a snapshot
    Verify(Verify),
    /// Install every role from the snapshot alone, without a network, and sign the result
    ///
    /// Each role is installed in a chroot, which requires root.
    #[command(after_long_help = "\
Exit status:
  0  every role was installed
  1  at least one could not be installed")]
    Prove(Prove),
    /// Put a snapshot in use
    Use(One),
    /// Delete a snapshot that is not in use
    ///
    /// Its packages stay until `seedd darksite gc`.
    Remove(One),
    /// List unused data; --yes deletes it
    ///
    /// Data is unused if no snapshot, artifact or running job needs it. Outputs of `seedd image build` are unused if they were
    /// made from what is no longer in use, but for the newest of each role and target.
    Gc(Gc),
    /// Export a snapshot, or its difference from another, as a signed archive
    ///
    /// Carries packages to a seed without internet. If it is interrupted, run the same command again to resume.
    #[command(after_long_help = "\
Examples:
  seedd darksite export --out /mnt/snapshot.kda
  seedd darksite export --since 3f2a… --out /mnt/update.kda --split-size 4G")]
    Export(Export),
    /// Import a snapshot from an archive
    #[command(after_long_help = "\
Examples:
  seedd darksite import /mnt/snapshot.kda --pin 0123…cdef --use
  seedd darksite import /mnt/snapshot.kda --check")]
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
    args: SiteArgs,
}

impl List {
    fn run(&self) -> Result<()> {
        let site = self.args.site();
        let store = site.open_store()?;
        let (held, damaged) = snapshots::all(&site, &store)?;
        let mut lines = Vec::new();
        let mut rows = Vec::new();
        for one in &held {
            let m = &one.manifest;
            let mark = if one.in_use { "*" } else { " " };
            let size = amount(m.bytes);
            lines.push(format!("{mark} {}  {}  {} packages, {size}, {}", m.id, m.suite, m.packages, proof(one)));
            let mut row = serde_json::to_value(m)?;
            row["inUse"] = one.in_use.into();
            row["proof"] = serde_json::json!({"state": one.state, "document": one.proof});
            row["maker"] = one.maker.map(|k| cluster_seed::seal::key_text(&k)).into();
            rows.push(row);
        }
        lines.extend(damaged.iter().map(|d| format!("! {}  damaged: {}", d.id, d.why)));
        let in_use = held.iter().find(|h| h.in_use).map(|h| h.manifest.id);
        let broken: Vec<_> = damaged.iter().map(|d| serde_json::json!({"id": d.id, "why": d.why})).collect();
        let text = if lines.is_empty() { "no snapshots".to_owned() } else { lines.join("\n") };
        self.args.show(&serde_json::json!({"snapshots": rows, "inUse": in_use, "damaged": broken}), &text)
    }
}

/// The state of a snapshot's proof.
fn proof(one: &snapshots::Held) -> String {
    match (one.state, &one.proof) {
        (ProofState::Proven, Some(proof)) => format!("proven: {} root sets installed offline", proof.roles.len()),
        (ProofState::Failed, Some(proof)) => {
            let failed = proof.roles.iter().filter(|(_, r)| matches!(r, RoleProof::Failed { .. })).map(|(name, _)| name.as_str());
            format!("proof FAILED: {}", failed.collect::<Vec<_>>().join(", "))
        }
        _ => "unproven".to_owned(),
    }
}

#[derive(Args)]
pub struct Verify {
    #[command(flatten)]
    args: SiteArgs,
    /// Id of the snapshot [default: the one in use]
    snapshot: Option<Digest>,
}

impl Verify {
    fn run(&self) -> Result<()> {
        let site = self.args.site();
        let store = site.open_store()?;
        let id = self.snapshot.map_or_else(|| snapshots::current(&store), Ok)?;
        let dir = site.snapshot(id);
        anyhow::ensure!(dir.is_dir(), "no snapshot {id}");
        let (keyring, key) = site.snapshot_keys(&store, id)?;
        let keyring = Keyring::from_bytes(&keyring)?;
        let progress = Terminal::new();
        let result = darksite::verify(&dir, &keyring, &key, &progress);
        drop(progress);
        match result {
            Ok(report) => {
                let value = serde_json::json!({"snapshot": id, "files": report.files, "bytes": report.bytes});
                let text = format!("snapshot {id} verified: {} files, {}", report.files, amount(report.bytes));
                self.args.show(&value, &text)
            }
            Err(e) => Err(e.into()),
        }
    }
}

#[derive(Args)]
pub struct One {
    #[command(flatten)]
    args: DataDir,
    /// Id of the snapshot
    snapshot: Digest,
}

impl One {
    fn put_in_use(&self) -> Result<()> {
        let store = self.args.site().open_store()?;
        running::put_in_use(&self.args, &store, &InUse { snapshot: Some(self.snapshot), ..InUse::default() })?;
        say(&format!("snapshot {} is in use", self.snapshot))
    }

    fn remove(&self) -> Result<()> {
        let site = self.args.site();
        let store = site.open_store()?;
        gc::remove_snapshot(&site, &store, self.snapshot, &site.alone_with_blobs()?)?;
        let text = format!("snapshot {} deleted; `seedd darksite gc` shows the space that can be freed", self.snapshot);
        say(&text)
    }
}

#[derive(Args)]
pub struct Gc {
    #[command(flatten)]
    args: SiteArgs,
    /// Delete the unused data
    #[arg(long)]
    yes: bool,
    /// Include the files that interrupted downloads, imports and exports resume from
    #[arg(long)]
    unfinished: bool,
}

impl Gc {
    fn run(&self) -> Result<()> {
        let site = self.args.site();
        let store = site.open_store()?;
        let alone = site.alone_with_blobs()?;
        let waste = gc::survey(&site, &store, self.unfinished, &alone).context("searching for unused data")?;
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
            (true, _) => "no unused data".to_owned(),
            (false, true) => format!("deleted {bytes} bytes ({})", amount(bytes)),
            (false, false) => format!("{bytes} bytes ({}) unused; --yes deletes them", amount(bytes)),
        };
        lines.insert(0, head);
        self.args.show(&value, &lines.join("\n"))
    }
}

#[derive(Args)]
pub struct Export {
    #[command(flatten)]
    args: SiteArgs,
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// Id of the snapshot [default: the one in use]
    snapshot: Option<Digest>,
    /// Omit the contents of this snapshot, which the other seed must already have
    #[arg(long, value_name = "SNAPSHOT")]
    since: Option<Digest>,
    /// Include the extras in use
    #[arg(long)]
    extras: bool,
    /// Split into FILE.001, FILE.002, … of at most this size in bytes (or with K, M, G)
    #[arg(long, value_name = "SIZE", value_parser = size)]
    split_size: Option<u64>,
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: Utf8PathBuf,
}

impl Export {
    fn run(&self) -> Result<()> {
        let site = self.args.site();
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
            "snapshot {snapshot}\n  file   {}\n  size   {}, {carried} files, {left_out} omitted\n  next   on the other seed: seedd darksite import FILE --pin {pin}",
            files.join(" "),
            amount(done.stored)
        );
        self.args.show(&value, &text)
    }
}

#[derive(Args)]
pub struct Import {
    #[command(flatten)]
    args: SiteArgs,
    /// The archive, or its first part
    file: Utf8PathBuf,
    /// Site key of the seed that made it, in hex [default: this site's own key]
    #[arg(long, value_name = "KEY")]
    pin: Option<String>,
    /// Put the snapshot in use, even if another one is
    #[arg(long = "use")]
    put_in_use: bool,
    /// Verify every byte without importing anything
    #[arg(long)]
    check: bool,
}

impl Import {
    fn open(&self, own: &str) -> Result<Archive> {
        let clear = Clear::open(&self.file)?;
        let pin = match &self.pin {
            Some(text) => text.as_str(),
            None if clear.claimed_key() == own => own,
            None => {
                let hint = "use --pin with the site key of the seed that made it; `seedd status` there shows it";
                return Err(anyhow!("the archive is signed by another site, with key {}", clear.claimed_key())).hint(hint);
            }
        };
        clear.verified(&args::pin(pin)?).context("checking the archive")
    }

    fn run(&self) -> Result<()> {
        let site = self.args.site();
        let store = site.open_store()?;
        let mut archive = self.open(&site.keys().public()?.site)?;
        let progress = Terminal::new();
        if self.check {
            archive.verify(&progress).context("checking the archive")?;
            drop(progress);
            let value =
                serde_json::json!({"snapshot": archive.header.snapshot, "content": "good", "bytes": archive.header.bytes});
            return self.args.show(&value, &format!("snapshot {}: every byte verified", archive.header.snapshot));
        }
        let keep = |named: &InUse| running::put_in_use(&self.args.dir, &store, named);
        let job = Reading { site: &site, store: &store, archive, put_in_use: self.put_in_use, keep: &keep };
        let done = job.run(&progress).context("importing the snapshot")?;
        drop(progress);
        let value = serde_json::json!({
            "snapshot": done.snapshot, "copied": done.copied, "held": done.held, "already": done.already, "inUse": done.in_use,
        });
        let how = if done.already { "already exists" } else { "imported and verified" };
        let mut text = format!("snapshot {} {how}\n  {} files copied, {} already present", done.snapshot, done.copied, done.held);
        if !done.in_use {
            text.push_str(&format!("\n  next   seedd darksite use {}", done.snapshot));
        }
        self.args.show(&value, &text)
    }
}
