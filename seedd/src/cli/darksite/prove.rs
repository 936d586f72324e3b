//! `seedd darksite prove`

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use cluster_seed::ids::Digest;
use cluster_seed::proof::{RoleProof, SnapshotProof, VERSION};
use host::clock::now;
use site::hint::Hint as _;
use site::snapshots;

use crate::cli::args::{PassphraseSource, SiteArgs};
use crate::terminal::Terminal;

#[derive(Args)]
pub struct Prove {
    #[command(flatten)]
    args: SiteArgs,
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// Id of the snapshot [default: the one in use]
    snapshot: Option<Digest>,
    /// Only this root set (repeatable); a trial run, which is not recorded
    #[arg(long)]
    role: Vec<String>,
}

impl Prove {
    /// The root sets to install.
    fn roots(&self, all: &BTreeMap<String, Vec<String>>) -> Result<BTreeMap<String, Vec<String>>> {
        if let Some(unknown) = self.role.iter().find(|r| !all.contains_key(*r)) {
            let known = all.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(anyhow!("the snapshot has no root set {unknown}")).hint(format!("its root sets: {known}"));
        }
        let wanted = |name: &String| self.role.is_empty() || self.role.contains(name);
        Ok(all.iter().filter(|(name, _)| wanted(name)).map(|(name, roots)| (name.clone(), roots.clone())).collect())
    }

    pub fn run(&self) -> Result<()> {
        if !nix::unistd::geteuid().is_root() {
            return Err(anyhow!("a proof requires root: it installs packages in a chroot")).hint("run it as root");
        }
        let site = self.args.site();
        let store = site.open_store()?;
        let id = self.snapshot.map_or_else(|| snapshots::current(&store), Ok)?;
        let held = snapshots::one(&site, &store, id)?;
        let m = &held.manifest;
        if !m.architectures.iter().any(|a| a == image::PROVEN_ARCH) {
            let arches = m.architectures.join(", ");
            return Err(anyhow!("the snapshot is for {arches}")).hint(format!("only {} can be proven", image::PROVEN_ARCH));
        }
        let roots = self.roots(&m.roots)?;
        let key = site.keys().unseal(&self.passphrase.get("Passphrase")?)?.site;
        let _using = site.use_blobs()?;
        let (dir, keyring) = (site.snapshot(id), site.snapshot_keyring_path(&store, id)?);
        let dirs = image::Dirs::under(&site.data);
        let what = image::Subject { snapshot_dir: &dir, snapshot_id: id, suite: &m.suite, keyring: &keyring, dirs: &dirs };
        let progress = Terminal::new();
        let roles = image::prove(&what, &roots, &progress).context("proving the snapshot")?;
        drop(progress);
        let proof = SnapshotProof {
            version: VERSION,
            snapshot: id,
            release: m.release,
            arch: image::PROVEN_ARCH.to_owned(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            made: now(),
            roles,
        };
        let mut lines = Vec::new();
        if self.role.is_empty() {
            snapshots::keep_proof(&site, &proof, &key)?;
            lines.push(format!("snapshot {id} is {}", proof.of(m).as_str()));
        }
        for (role, outcome) in &proof.roles {
            lines.push(match outcome {
                RoleProof::Installed { packages, .. } => format!("  {role}: {packages} packages installed offline"),
                RoleProof::Failed { why } => format!("  {role}: could not be installed: {why}"),
            });
        }
        self.args.show(&serde_json::json!({"state": proof.of(m), "proof": proof}), &lines.join("\n"))?;
        if proof.roles.values().any(|r| matches!(r, RoleProof::Failed { .. })) {
            return Err(anyhow!("some root sets could not be installed from the snapshot alone"))
                .hint("run `seedd darksite verify`, or fix the role's packages in cluster.yaml and build a new snapshot");
        }
        Ok(())
    }
}
