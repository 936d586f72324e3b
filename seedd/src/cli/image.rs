//! `seedd image`

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use cluster_seed::manifest::ArtifactManifest;
use cluster_seed::seal::Sealed;

use super::darksite::current;
use super::{PassphraseSource, Where, show};
use crate::fsio::read_limited;
use crate::hint::Hint as _;
use crate::site::{Site, setting};
use crate::store::StoreError;
use crate::terminal::{Terminal, amount, watch_signals};

const MAX_MANIFEST: u64 = 32 << 20;

#[derive(Subcommand)]
pub enum Image {
    /// Build the netboot image and the sealed artifact of each role from the snapshot in use
    Build(Build),
    /// List what was built
    List(List),
    /// Write the raw disk of a role's artifact to a file, every chunk verified
    Export(Export),
}

#[derive(Args)]
pub struct Build {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// Only this role (may be given more than once)
    #[arg(long, value_name = "ROLE")]
    role: Vec<String>,
    /// The static kubedos-node to put in; without it the one beside this program
    #[arg(long, value_name = "FILE", env = "KUBEDOS_AGENT")]
    agent: Option<Utf8PathBuf>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct List {
    #[command(flatten)]
    place: Where,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct Export {
    #[command(flatten)]
    place: Where,
    role: String,
    file: Utf8PathBuf,
}

impl Image {
    pub fn run(&self) -> Result<()> {
        match self {
            Image::Build(v) => v.run(),
            Image::List(v) => v.run(),
            Image::Export(v) => v.run(),
        }
    }
}

/// Where `cargo` and the installed system put the agent, seen from this program's folder.
const AGENT_PLACES: &[&str] =
    &["kubedos-node.static", "../x86_64-unknown-linux-gnu/agent/kubedos-node", "../lib/kubedos/kubedos-node"];

fn find_agent(given: Option<&Utf8PathBuf>) -> Result<Utf8PathBuf> {
    if let Some(path) = given {
        anyhow::ensure!(path.is_file(), "there is no agent at {path}");
        return Ok(path.clone());
    }
    let own = std::env::current_exe().context("finding this program's own place")?;
    let own = Utf8PathBuf::from_path_buf(own).map_err(|p| anyhow!("this program's path is not UTF-8: {}", p.display()))?;
    let folder = own.parent().unwrap_or(camino::Utf8Path::new("."));
    AGENT_PLACES
        .iter()
        .map(|p| folder.join(p))
        .find(|p| p.is_file())
        .ok_or_else(|| anyhow!("the static agent kubedos-node was not found"))
        .hint("build it with `just agent`, or name it with --agent")
}

impl Build {
    fn run(&self) -> Result<()> {
        watch_signals()?;
        if !nix::unistd::geteuid().is_root() {
            return Err(anyhow!("building images needs root: it runs the snapshot's own tools in a chroot"))
                .hint("run it as root");
        }
        let site = self.place.site();
        let store = site.open_store()?;
        let spec = site.spec()?;
        if let Some(unknown) = self.role.iter().find(|r| !spec.spec.roles.contains_key(*r)) {
            return Err(anyhow!("there is no role {unknown:?}")).hint("roles are in cluster.yaml");
        }
        let agent = find_agent(self.agent.as_ref())?;
        let snapshot_id = current(&site)?;
        let snapshot_dir = site.join("snapshots").join(snapshot_id.to_string());
        let keys = site.keys().unseal(&self.passphrase.get("Passphrase")?)?;
        site.make_folders()?;
        let dirs = image::Dirs::under(&site.data);
        let keyring = site.keys().release_keyring_path();
        let inputs = image::Inputs {
            snapshot_dir: &snapshot_dir,
            snapshot_id,
            suite: &spec.spec.darksite.suite,
            keyring: &keyring,
            agent: &agent,
            dirs: &dirs,
            site_key: &keys.site,
        };
        let progress = Terminal::new();
        let netboot = image::build_netboot(&inputs, &progress).context("building the netboot image")?;
        let mut built = BTreeMap::new();
        for (name, role) in &spec.spec.roles {
            if !self.role.is_empty() && !self.role.contains(name) {
                continue;
            }
            let manifest = image::build_artifact(&inputs, name, &role.packages, &progress)
                .with_context(|| format!("building role {name}"))?;
            built.insert(name.clone(), manifest);
        }
        drop(progress);
        store.write(|tx| {
            tx.set(setting::NETBOOT, &netboot.id.to_string())?;
            for (name, manifest) in &built {
                tx.set(&format!("{}{name}", setting::ARTIFACT), &manifest.id.to_string())?;
            }
            Ok::<_, StoreError>(())
        })?;
        let boot: u64 =
            netboot.files.iter().filter(|f| matches!(f.name.as_str(), "vmlinuz" | "initrd.img")).map(|f| f.size).sum();
        let artifacts: BTreeMap<_, _> = built
            .iter()
            .map(|(n, m)| (n, serde_json::json!({"id": m.id, "disk": m.disk_size, "raw": m.raw, "stored": m.stored_size()})))
            .collect();
        let value = serde_json::json!({"netboot": netboot.id, "kernelAndInitramfs": boot, "artifacts": artifacts});
        let mut text = format!("netboot {}  kernel {} and initramfs, {}", netboot.id.short(), netboot.kernel, amount(boot));
        for (name, m) in &built {
            text.push_str(&format!(
                "\nartifact {}  role {name}, disk {}, {} to fetch",
                m.id.short(),
                amount(m.disk_size),
                amount(m.stored_size())
            ));
        }
        show(self.json, &value, &text)
    }
}

fn manifest_of(site: &Site, role: &str) -> Result<ArtifactManifest> {
    let found = site.open_store()?.setting(&format!("{}{role}", setting::ARTIFACT))?;
    let id = found.ok_or_else(|| anyhow!("role {role:?} has no artifact")).hint("build it with `seedd image build`")?;
    let path = site.join("artifacts").join(&id).join("manifest.json");
    let sealed: Sealed<ArtifactManifest> = serde_json::from_slice(&read_limited(&path, MAX_MANIFEST)?)?;
    let manifest = sealed.open(&site.keys().public()?.site_key()?).with_context(|| format!("checking {path}"))?;
    manifest.check()?;
    Ok(manifest)
}

impl List {
    fn run(&self) -> Result<()> {
        let site = self.place.site();
        let store = site.open_store()?;
        let settings = store.read(|tx| tx.settings_under(setting::ARTIFACT))?;
        let netboot = store.setting(setting::NETBOOT)?;
        let mut rows = Vec::new();
        let mut lines: Vec<String> = netboot.iter().map(|id| format!("netboot  {id}")).collect();
        for (key, _) in &settings {
            let role = key.trim_start_matches(setting::ARTIFACT);
            let m = manifest_of(&site, role)?;
            lines.push(format!("{role}  {}  disk {}, {} to fetch", m.id, amount(m.disk_size), amount(m.stored_size())));
            rows.push(serde_json::json!({"role": role, "id": m.id, "disk": m.disk_size, "stored": m.stored_size()}));
        }
        let text = if lines.is_empty() { "nothing was built yet".to_owned() } else { lines.join("\n") };
        show(self.json, &serde_json::json!({"netboot": netboot, "artifacts": rows}), &text)
    }
}

impl Export {
    fn run(&self) -> Result<()> {
        let site = self.place.site();
        let manifest = manifest_of(&site, &self.role)?;
        watch_signals()?;
        let progress = Terminal::new();
        image::assemble(&manifest, &site.join("blobs"), &self.file, &progress).context("assembling the disk")?;
        drop(progress);
        show(false, &serde_json::Value::Null, &format!("{} written, {}", self.file, amount(manifest.disk_size)))
    }
}
