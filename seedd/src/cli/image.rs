//! `seedd image`

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use cluster_seed::manifest::{ArtifactManifest, NetbootManifest};
use cluster_seed::seal::Sealed;
use image::{SeedIso, SeedMedium};

use super::darksite::current;
use super::{PassphraseSource, Where, show};
use crate::terminal::{Terminal, amount, watch_signals};
use host::files::read_limited;
use site::hint::Hint as _;
use site::store::StoreError;
use site::{Site, setting};

const MAX_MANIFEST: u64 = 32 << 20;

#[derive(Subcommand)]
pub enum Image {
    /// Build the netboot image, the sealed artifact of each role, and the seed's own medium from the snapshot in use
    Build(Build),
    /// List what was built
    List(List),
    /// Write the raw disk of a role's artifact to a file, every chunk verified
    Export(Export),
    /// Write a seed medium to a stick, read it back and compare; without --to list the disks
    Write(super::image_write::Write),
    Sbom(super::sbom::OfArtifact),
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
    /// What to make: images for machines, or with them the medium a seed boots from (CD and USB stick)
    #[arg(long, value_enum, default_value = "images")]
    target: Target,
    /// With --target seed-iso: the file to write; without it DIR/media/seed-ID.iso
    #[arg(long, value_name = "FILE")]
    out: Option<Utf8PathBuf>,
    /// With --target seed-iso: the program to put on the medium; without it this one
    #[arg(long, value_name = "FILE")]
    seedd: Option<Utf8PathBuf>,
    /// The static kubedos-node to put in; without it the one beside this program
    #[arg(long, value_name = "FILE", env = "KUBEDOS_AGENT")]
    agent: Option<Utf8PathBuf>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Target {
    /// Netboot image and artifacts
    Images,
    /// These, and the medium
    SeedIso,
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
            Image::Write(v) => v.run(),
            Image::Sbom(v) => v.run(),
        }
    }
}

/// Where `cargo` and the installed system put the agent, seen from this program's folder.
const AGENT_PLACES: &[&str] =
    &["kubedos-node.static", "../x86_64-unknown-linux-gnu/agent/kubedos-node", "../lib/kubedos/kubedos-node"];

pub fn find_agent(given: Option<&Utf8PathBuf>) -> Result<Utf8PathBuf> {
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
        let _using = site.use_blobs()?;
        let dirs = image::Dirs::under(&site.data);
        let keyring = site.snapshot_keyring_path(&store, snapshot_id)?;
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
        let medium = match self.target {
            Target::Images => None,
            Target::SeedIso => Some(self.seed_iso(&site, &inputs, &netboot, &built, &progress)?),
        };
        drop(progress);
        store.write(|tx| {
            tx.set(setting::NETBOOT, &netboot.id.to_string())?;
            for (name, manifest) in &built {
                tx.set(&format!("{}{name}", setting::ARTIFACT), &manifest.id.to_string())?;
            }
            Ok::<_, StoreError>(())
        })?;
        self.report(&netboot, &built, medium.as_ref())
    }

    fn report(&self, netboot: &NetbootManifest, built: &Built, medium: Option<&(Utf8PathBuf, SeedIso)>) -> Result<()> {
        let boot: u64 =
            netboot.files.iter().filter(|f| matches!(f.name.as_str(), "vmlinuz" | "initrd.img")).map(|f| f.size).sum();
        let artifacts: BTreeMap<_, _> = built
            .iter()
            .map(|(n, m)| (n, serde_json::json!({"id": m.id, "disk": m.disk_size, "raw": m.raw, "stored": m.stored_size()})))
            .collect();
        let medium_value =
            medium.map(|(path, m)| serde_json::json!({"id": m.manifest.id, "file": path, "size": m.size, "system": m.system}));
        let value = serde_json::json!({
            "netboot": netboot.id, "kernelAndInitramfs": boot, "artifacts": artifacts, "medium": medium_value,
        });
        let mut text = format!("netboot {}  kernel {} and initramfs, {}", netboot.id.short(), netboot.kernel, amount(boot));
        for (name, m) in built {
            text.push_str(&format!(
                "\nartifact {}  role {name}, disk {}, {} to fetch",
                m.id.short(),
                amount(m.disk_size),
                amount(m.stored_size())
            ));
        }
        if let Some((path, m)) = medium {
            text.push_str(&format!(
                "\nmedium {}  {path}, {}, of which the system without darksite and artifacts {}",
                m.manifest.id.short(),
                amount(m.size),
                amount(m.system)
            ));
        }
        show(self.json, &value, &text)
    }

    fn seed_iso(
        &self,
        site: &Site,
        inputs: &image::Inputs,
        netboot: &NetbootManifest,
        built: &Built,
        progress: &Terminal,
    ) -> Result<(Utf8PathBuf, SeedIso)> {
        let own = std::env::current_exe().context("finding this program")?;
        let own = Utf8PathBuf::from_path_buf(own).map_err(|p| anyhow!("this program's path is not UTF-8: {}", p.display()))?;
        let cluster = site.cluster_file();
        let what = SeedMedium {
            seedd: self.seedd.as_ref().unwrap_or(&own),
            version: env!("CARGO_PKG_VERSION"),
            cluster: &cluster,
            netboot,
            artifacts: built,
        };
        let media = site.join("media");
        let out = self.out.clone().unwrap_or_else(|| media.join("seed.iso"));
        let made = image::build_seed_iso(inputs, &what, &out, progress).context("building the seed's medium")?;
        if self.out.is_some() {
            return Ok((out, made));
        }
        let named = media.join(format!("seed-{}.iso", made.manifest.id.short()));
        std::fs::rename(&out, &named).with_context(|| format!("naming {named}"))?;
        Ok((named, made))
    }
}

/// Artifacts by role.
type Built = BTreeMap<String, ArtifactManifest>;

pub fn manifest_of(site: &Site, role: &str) -> Result<ArtifactManifest> {
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
