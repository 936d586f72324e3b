//! `seedd image`

mod bundle;

mod cloud;

mod media;

mod output;

mod write;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use cluster_seed::arch::Arch;
use cluster_seed::cluster::ClusterSpec;
use cluster_seed::foundry::Target;
use cluster_seed::manifest::{ArtifactManifest, NetbootManifest};
use image::foundry::Output;
use pxe::script::SeedUrl;
use site::hint::Hint as _;
use site::store::StoreError;
use site::{Site, artifacts, snapshots};

use crate::cli::args::{DataDir, PassphraseSource, SiteArgs, say};
use crate::terminal::{Terminal, amount, watch_signals};
use cloud::Cloud;
use media::{Enroll, Medium, Seed};
use output::Foundry;

#[derive(Subcommand)]
pub enum Image {
    /// Build the netboot image, the artifact of each role and, on request, a medium
    ///
    /// Everything is built from the snapshot in use, with tools from that snapshot, and requires root. The same snapshot
    /// gives the same bytes on any host.
    #[command(after_long_help = "\
Examples:
  seedd image build
  seedd image build --role base
  seedd image build --target seed-iso --out ./seed.iso
  seedd image build --target enroll-iso --seed http://10.44.0.1
  seedd image build --target qcow2 --role base --out ./images")]
    Build(Build),
    /// List what `seedd image build --target` can build
    Targets(output::Targets),
    /// Verify an output of `seedd image build`: its signature and every byte of its files
    ///
    /// Works on any machine. Remembers the newest version it has seen and refuses an older one.
    #[command(after_long_help = "\
Examples:
  seedd image verify ./site-a-base-20260829T140545Z-qcow2-0123abcd/
  seedd image verify ./node.qcow2 --site-key 0123…cdef")]
    Verify(output::Verify),
    /// List the netboot image and the artifacts in use
    List(List),
    /// Export the raw disk of a role's artifact to a file
    ///
    /// Every chunk is verified.
    #[command(after_long_help = "\
Example:
  seedd image export base ./base.img")]
    Export(Export),
    /// Write a seed or enrollment medium to a USB stick and verify it
    ///
    /// The stick is read back and compared. Without --to, lists the disks of this machine. Disks that are in use are refused.
    #[command(after_long_help = "\
Examples:
  seedd image write
  seedd image write --to /dev/sdb
  seedd image write --to /dev/sdb ./enroll.iso")]
    Write(write::Write),
    /// Write a bill of materials of a role's artifact as SPDX 2.3 JSON
    Sbom(super::sbom::OfArtifact),
}

#[derive(Args)]
pub struct Build {
    #[command(flatten)]
    args: SiteArgs,
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// Build only this role (repeatable)
    #[arg(long, value_name = "ROLE")]
    role: Vec<String>,
    /// What to build; `seedd image targets` lists the outputs
    #[arg(long, env = "TARGET", value_parser = What::parse, default_value = "images", value_name = "TARGET")]
    target: What,
    /// Where to write it: a file for seed-iso and enroll-iso, otherwise a directory [default: below DIR]
    #[arg(long, value_name = "PATH")]
    out: Option<Utf8PathBuf>,
    /// With --target seed-iso: seedd program for the medium [default: this one]
    #[arg(long, value_name = "FILE")]
    seedd: Option<Utf8PathBuf>,
    /// With a target for machines that are not netbooted: address of the seed [default: the one in cluster.yaml, port 80]
    #[arg(long, value_name = "URL", value_parser = media::seed_url)]
    seed: Option<SeedUrl>,
    #[command(flatten)]
    settings: output::Settings,
    #[command(flatten)]
    aws: cloud::Aws,
    /// Static kubedos-node program for the images [default: the one next to this program]
    #[arg(long, value_name = "FILE", env = "KUBEDOS_AGENT")]
    agent: Option<Utf8PathBuf>,
    /// The same program for arm64, if cluster.yaml names that architecture [default: the one next to this program]
    #[arg(long, value_name = "FILE", env = "KUBEDOS_ARM64_AGENT")]
    arm64_agent: Option<Utf8PathBuf>,
}

/// What `seedd image build` builds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// Netboot image and artifacts, for machines.
    Images,
    /// Images, and with them a medium that a seed boots from.
    SeedIso,
    /// Netboot image, and a small medium with the site's public key that machines enroll from.
    EnrollIso,
    /// Images, and with them an output of each.
    Output(Target),
    /// Raw images, and with them images or instances in AWS.
    Cloud(Cloud),
}

impl What {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "images" => Ok(What::Images),
            "seed-iso" => Ok(What::SeedIso),
            "enroll-iso" => Ok(What::EnrollIso),
            "aws-ami" => Ok(What::Cloud(Cloud::Ami)),
            "aws-run" => Ok(What::Cloud(Cloud::Run)),
            other => other.parse().map(What::Output).map_err(|e| format!("{e}; `seedd image targets` lists them")),
        }
    }

    fn needs_artifacts(self) -> bool {
        match self {
            What::Images | What::SeedIso | What::Cloud(_) => true,
            What::EnrollIso => false,
            What::Output(target) => target != Target::PxeBundle,
        }
    }

    fn knows_the_seed(self) -> bool {
        matches!(self, What::EnrollIso | What::Output(_) | What::Cloud(_))
    }
}

#[derive(Args)]
pub struct List {
    #[command(flatten)]
    args: SiteArgs,
}

#[derive(Args)]
pub struct Export {
    #[command(flatten)]
    args: DataDir,
    /// Role of the artifact
    role: String,
    /// File to write
    file: Utf8PathBuf,
}

impl Image {
    pub fn run(&self) -> Result<()> {
        match self {
            Image::Build(v) => v.run(),
            Image::Targets(v) => v.run(),
            Image::Verify(v) => v.run(),
            Image::List(v) => v.run(),
            Image::Export(v) => v.run(),
            Image::Write(v) => v.run(),
            Image::Sbom(v) => v.run(),
        }
    }
}

/// Where `cargo` and the package put the agent, relative to this program's folder.
const AGENT_PLACES: &[&str] =
    &["kubedos-node.static", "../x86_64-unknown-linux-gnu/agent/kubedos-node", "../lib/kubedos/kubedos-node"];

const ARM64_AGENT_PLACES: &[&str] =
    &["kubedos-node-arm64.static", "../aarch64-unknown-linux-gnu/agent/kubedos-node", "../lib/kubedos/kubedos-node-arm64"];

pub fn find_agent(given: Option<&Utf8PathBuf>) -> Result<Utf8PathBuf> {
    let hint = "build it with `just agent`, or use --agent";
    find_program(given, AGENT_PLACES, ("the static agent kubedos-node was not found next to this program", hint))
}

/// The agent for arm64, which only a site with such nodes needs.
fn find_arm64_agent(given: Option<&Utf8PathBuf>, arches: &[Arch]) -> Result<Option<Utf8PathBuf>> {
    if !arches.contains(&Arch::Arm64) {
        return Ok(None);
    }
    let hint = "build it with `just agent-arm64`, use --arm64-agent, or remove arm64 from spec.architectures in cluster.yaml";
    let missing = "the static agent kubedos-node for arm64 was not found next to this program";
    find_program(given, ARM64_AGENT_PLACES, (missing, hint)).map(Some)
}

fn find_program(given: Option<&Utf8PathBuf>, places: &[&str], (missing, hint): (&'static str, &str)) -> Result<Utf8PathBuf> {
    if let Some(path) = given {
        anyhow::ensure!(path.is_file(), "no agent at {path}");
        return Ok(path.clone());
    }
    let own = std::env::current_exe().context("finding the path of this program")?;
    let own = Utf8PathBuf::from_path_buf(own).map_err(|p| anyhow!("this program's path is not UTF-8: {}", p.display()))?;
    let folder = own.parent().unwrap_or(camino::Utf8Path::new("."));
    places.iter().map(|p| folder.join(p)).find(|p| p.is_file()).ok_or_else(|| anyhow!(missing)).hint(hint)
}

impl Build {
    pub fn run(&self) -> Result<()> {
        if self.seed.is_some() && !self.target.knows_the_seed() {
            return Err(anyhow!("--seed is for machines that are not netbooted")).hint("add --target enroll-iso, for example");
        }
        if self.aws.is_given() && !matches!(self.target, What::Cloud(_)) {
            return Err(anyhow!("--dry-run and --aws-… are for AWS")).hint("add --target aws-ami or aws-run");
        }
        watch_signals()?;
        if !nix::unistd::geteuid().is_root() {
            return Err(anyhow!("building images requires root: it runs the snapshot's tools in a chroot"))
                .hint("run it as root");
        }
        let site = self.args.site();
        let store = site.open_store()?;
        let spec = site.spec()?;
        if let Some(unknown) = self.role.iter().find(|r| !spec.spec.roles.contains_key(*r)) {
            return Err(anyhow!("no role named {unknown:?}")).hint("cluster.yaml lists the roles");
        }
        let agent = find_agent(self.agent.as_ref())?;
        let arm64_agent = find_arm64_agent(self.arm64_agent.as_ref(), &spec.spec.architectures)?;
        let snapshot_id = snapshots::current(&store)?;
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
            arm64_agent: arm64_agent.as_deref(),
            dirs: &dirs,
            site_key: &keys.site,
            no_rescue: spec.spec.netboot.rescue.is_off(),
        };
        let progress = Terminal::new();
        let netboot = image::build_netboot(&inputs, &progress).context("building the netboot image")?;
        let built = self.artifacts(&inputs, &spec, Arch::Amd64, &progress)?;
        // Media and outputs are for amd64.
        let arm64 = match self.target {
            What::Images if inputs.arm64_agent.is_some() => self.artifacts(&inputs, &spec, Arch::Arm64, &progress)?,
            _ => Built::new(),
        };
        let medium = match self.target {
            What::Images | What::Output(_) | What::Cloud(_) => None,
            What::SeedIso => {
                let seed = Seed { out: self.out.as_ref(), seedd: self.seedd.as_ref(), artifacts: &built };
                Some(seed.build(&site, &inputs, &netboot, &progress)?)
            }
            What::EnrollIso => {
                let enroll = Enroll { out: self.out.as_deref(), seed: self.seed, spec: &spec };
                Some(enroll.build(&site, &inputs, &netboot, &progress)?)
            }
        };
        let foundry =
            Foundry { site: &site, spec: &spec, inputs: &inputs, netboot: &netboot, settings: &self.settings, seed: self.seed };
        let mut made = Made::default();
        match self.target {
            What::Output(target) => made.outputs = foundry.build(target, &built, &progress)?,
            What::Cloud(cloud) => {
                made.outputs = foundry.build(Target::Raw, &built, &progress)?;
                let deploy = |output| self.aws.deploy(cloud, &site, output, &progress);
                made.cloud = made.outputs.iter().map(deploy).collect::<Result<_>>()?;
            }
            What::Images | What::SeedIso | What::EnrollIso => {}
        }
        drop(progress);
        if let Some(out) = self.out.as_ref().filter(|_| medium.is_none()) {
            made.copies = made.outputs.iter().map(|output| output::copy_out(output, out)).collect::<Result<_>>()?;
        }
        store.write(|tx| {
            tx.set_netboot(netboot.id)?;
            for (name, manifest) in built.iter().chain(&arm64) {
                tx.set_artifact(name, manifest.id)?;
            }
            Ok::<_, StoreError>(())
        })?;
        self.report(&netboot, &built.into_iter().chain(arm64).collect(), medium.as_ref(), &made)
    }

    /// The artifacts of the chosen roles, by [`Arch::artifact_name`].
    fn artifacts(&self, inputs: &image::Inputs, spec: &ClusterSpec, arch: Arch, progress: &Terminal) -> Result<Built> {
        let chosen = |name: &String| self.target.needs_artifacts() && (self.role.is_empty() || self.role.contains(name));
        let roles = spec.spec.roles.iter().filter(|(name, _)| chosen(name));
        roles
            .map(|(name, role)| {
                let manifest = image::build_artifact(inputs, (name, arch), &role.packages, progress)
                    .with_context(|| format!("building role {name} for {arch}"))?;
                Ok((arch.artifact_name(name), manifest))
            })
            .collect()
    }

    fn report(&self, netboot: &NetbootManifest, built: &Built, medium: Option<&Medium>, made: &Made) -> Result<()> {
        let boot: u64 =
            netboot.files.iter().filter(|f| matches!(f.name.as_str(), "vmlinuz" | "initrd.img")).map(|f| f.size).sum();
        let artifacts: BTreeMap<_, _> = built
            .iter()
            .map(|(n, m)| (n, serde_json::json!({"id": m.id, "disk": m.disk_size, "raw": m.raw, "stored": m.stored_size()})))
            .collect();
        let value = serde_json::json!({
            "netboot": netboot.id, "kernelAndInitramfs": boot, "artifacts": artifacts,
            "medium": medium.map(Medium::value), "outputs": made.outputs.iter().map(output::value).collect::<Vec<_>>(), "copies": made.copies,
            "cloud": made.cloud,
        });
        let mut text = format!("netboot {}  kernel {} and initramfs, {}", netboot.id.short(), netboot.kernel, amount(boot));
        for (name, m) in built {
            text.push_str(&format!(
                "\nartifact {}  role {name}, disk {}, {} to download",
                m.id.short(),
                amount(m.disk_size),
                amount(m.stored_size())
            ));
        }
        let outputs = made.outputs.iter().map(output::text).chain(made.copies.iter().map(|c| format!("copied to {c}")));
        let cloud = made.cloud.iter().map(ToString::to_string);
        for line in medium.map(Medium::text).into_iter().chain(outputs).chain(cloud) {
            text.push_str(&format!("\n{line}"));
        }
        self.args.show(&value, &text)
    }
}

/// What was made of the artifacts.
#[derive(Default)]
struct Made {
    outputs: Vec<Output>,
    copies: Vec<Utf8PathBuf>,
    cloud: Vec<cloud::Done>,
}

/// Artifacts by role.
type Built = BTreeMap<String, ArtifactManifest>;

/// The manifest of a role's artifact, which has to be there.
fn artifact(site: &Site, role: &str) -> Result<ArtifactManifest> {
    let found = artifacts::of_role(site, &site.open_store()?, role, &site.keys().public()?.site_key()?)?;
    found.ok_or_else(|| anyhow!("role {role:?} has no artifact")).hint("build it with `seedd image build`")
}

impl List {
    fn run(&self) -> Result<()> {
        let site = self.args.site();
        let store = site.open_store()?;
        let netboot = store.netboot()?;
        let mut rows = Vec::new();
        let mut lines: Vec<String> = netboot.iter().map(|id| format!("netboot  {id}")).collect();
        for (role, _) in store.artifacts()? {
            let m = artifact(&site, &role)?;
            lines.push(format!("{role}  {}  disk {}, {} to download", m.id, amount(m.disk_size), amount(m.stored_size())));
            rows.push(serde_json::json!({"role": role, "id": m.id, "disk": m.disk_size, "stored": m.stored_size()}));
        }
        let text = if lines.is_empty() { "no images built yet".to_owned() } else { lines.join("\n") };
        self.args.show(&serde_json::json!({"netboot": netboot, "artifacts": rows}), &text)
    }
}

impl Export {
    fn run(&self) -> Result<()> {
        let site = self.args.site();
        let manifest = artifact(&site, &self.role)?;
        watch_signals()?;
        let progress = Terminal::new();
        image::assemble(&manifest, &site.join("blobs"), &self.file, &progress).context("assembling the disk")?;
        drop(progress);
        say(&format!("{} written, {}", self.file, amount(manifest.disk_size)))
    }
}
