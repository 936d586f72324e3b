//! `seedd image`

mod agents;

mod bundle;

mod what;

mod cloud;

mod list;

mod media;

mod named;

pub(crate) mod output;
mod roles;

mod write;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use cluster_seed::arch::Arch;
use cluster_seed::foundry::Target;
use cluster_seed::manifest::{ArtifactManifest, NetbootManifest};
use image::foundry::Output;
use pxe::script::SeedUrl;
use site::hint::Hint as _;
use site::putting::InUse;
use site::{payloads, snapshots};

use crate::cli::args::{DataDir, PassphraseSource, SiteArgs, say};
use crate::cli::running;
use crate::terminal::{Terminal, amount, watch_signals};
use agents::find_arm64_agent;
pub use agents::{find_agent, find_flow};
use media::{Enroll, Medium, Seed};
use named::Named;
use output::Foundry;
use roles::Roles;
use what::What;

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
  seedd image build --target qcow2 --role base --out ./images
  seedd image build --target qcow2 --node edge-1 --role base --expires 7d")]
    Build(Box<Build>),
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
    /// List the netboot image and the artifacts in use, and the outputs made of them
    ///
    /// An output is stale if it was made from what is no longer in use; `seedd darksite gc` deletes stale outputs, but for
    /// the newest of each role and target.
    List(list::List),
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
    named: named::ForNode,
    #[command(flatten)]
    aws: cloud::Aws,
    /// Static kubedos-node program for the images [default: the one next to this program]
    #[arg(long, value_name = "FILE", env = "KUBEDOS_AGENT")]
    agent: Option<Utf8PathBuf>,
    /// The same program for arm64, if cluster.yaml names that architecture [default: the one next to this program]
    #[arg(long, value_name = "FILE", env = "KUBEDOS_ARM64_AGENT")]
    arm64_agent: Option<Utf8PathBuf>,
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

impl Build {
    fn check(&self) -> Result<()> {
        if self.seed.is_some() && !self.target.knows_the_seed() {
            return Err(anyhow!("--seed is for machines that are not netbooted")).hint("add --target enroll-iso, for example");
        }
        if self.aws.is_given() && !matches!(self.target, What::Cloud(_)) {
            return Err(anyhow!("--dry-run and --aws-… are for AWS")).hint("add --target aws-ami or aws-run");
        }
        if matches!(self.target, What::Cloud(_)) {
            self.aws.check()?;
        }
        self.named.check(self.target)?;
        if !nix::unistd::geteuid().is_root() {
            return Err(anyhow!("building images requires root: it runs the snapshot's tools in a chroot"))
                .hint("run it as root");
        }
        Ok(())
    }

    pub fn run(&self) -> Result<()> {
        self.check()?;
        watch_signals()?;
        let site = self.args.site();
        let store = site.open_store()?;
        let spec = site.spec()?;
        let roles = self.named.roles(&spec, &self.role)?;
        if let Some(unknown) = roles.iter().find(|r| !spec.spec.roles.contains_key(*r)) {
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
        let payload = payloads::current(&site, &store)?.map(|p| (p.id, site.payload_archive(p.id)));
        let of = Roles { spec: &spec, chosen: &roles, payload: payload.as_ref(), wanted: self.target.needs_artifacts() };
        let built = roles::artifacts(&inputs, &of, Arch::Amd64, &progress)?;
        // Media and outputs are for amd64.
        let arm64 = match self.target {
            What::Images if arm64_agent.is_some() => roles::artifacts(&inputs, &of, Arch::Arm64, &progress)?,
            _ => Built::new(),
        };
        let mut named = self.named.draw(&roles, &site.keys().public()?.vault)?;
        let node = named.as_ref();
        let foundry = Foundry {
            site: &site,
            spec: &spec,
            inputs: &inputs,
            netboot: &netboot,
            settings: &self.settings,
            node,
            seed: self.seed,
        };
        let mut made = self.make(&foundry, &built, &progress)?;
        drop(progress);
        if let (Some(named), [output]) = (&mut named, &made.outputs[..]) {
            named.keep(&self.args, &store, output)?;
            named.warn(&site, &store)?;
        }
        made.node = named;
        if let Some(out) = self.out.as_ref().filter(|_| made.medium.is_none()) {
            made.copies = made.outputs.iter().map(|output| output::copy_out(output, out)).collect::<Result<_>>()?;
        }
        let artifacts = built.iter().chain(&arm64).map(|(name, manifest)| (name.clone(), manifest.id)).collect();
        let in_use = InUse { netboot: Some(netboot.id), artifacts, ..InUse::default() };
        running::put_in_use(&self.args.dir, &store, &in_use)?;
        self.report(&netboot, &built.into_iter().chain(arm64).collect(), &made)
    }

    /// Makes what the artifacts are wanted for.
    fn make(&self, foundry: &Foundry<'_>, built: &Built, progress: &Terminal) -> Result<Made> {
        let Foundry { site, spec, inputs, netboot, .. } = *foundry;
        let mut made = Made::default();
        match self.target {
            What::Images => {}
            What::SeedIso => {
                let seed = Seed { out: self.out.as_ref(), seedd: self.seedd.as_ref(), artifacts: built };
                made.medium = Some(seed.build(site, inputs, netboot, progress)?);
            }
            What::EnrollIso => {
                let enroll = Enroll { out: self.out.as_deref(), seed: self.seed, spec };
                made.medium = Some(enroll.build(site, inputs, netboot, progress)?);
            }
            What::Output(target) => made.outputs = foundry.build(target, built, progress)?,
            What::Cloud(cloud) => {
                made.outputs = foundry.build(Target::Raw, built, progress)?;
                let deploy = |output| self.aws.deploy(cloud, site, output, progress);
                made.cloud = made.outputs.iter().map(deploy).collect::<Result<_>>()?;
            }
        }
        Ok(made)
    }

    fn report(&self, netboot: &NetbootManifest, built: &Built, made: &Made) -> Result<()> {
        let boot: u64 =
            netboot.files.iter().filter(|f| matches!(f.name.as_str(), "vmlinuz" | "initrd.img")).map(|f| f.size).sum();
        let artifacts: BTreeMap<_, _> = built
            .iter()
            .map(|(n, m)| (n, serde_json::json!({"id": m.id, "disk": m.disk_size, "raw": m.raw, "stored": m.stored_size()})))
            .collect();
        let value = serde_json::json!({
            "netboot": netboot.id, "kernelAndInitramfs": boot, "artifacts": artifacts,
            "medium": made.medium.as_ref().map(Medium::value), "outputs": made.outputs.iter().map(output::value).collect::<Vec<_>>(),
            "copies": made.copies, "cloud": made.cloud, "node": made.node.as_ref().map(Named::value),
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
        let node = made.node.iter().map(|n| format!("{}; the image contains it", n.text()));
        for line in made.medium.iter().map(Medium::text).chain(outputs).chain(cloud).chain(node) {
            text.push_str(&format!("\n{line}"));
        }
        self.args.show(&value, &text)
    }
}

/// What was made of the artifacts.
#[derive(Default)]
struct Made {
    medium: Option<Medium>,
    /// The only node that the output is for.
    node: Option<Named>,
    outputs: Vec<Output>,
    copies: Vec<Utf8PathBuf>,
    cloud: Vec<cloud::Done>,
}

/// Artifacts by role.
type Built = BTreeMap<String, ArtifactManifest>;

impl Export {
    fn run(&self) -> Result<()> {
        let site = self.args.site();
        let manifest = list::artifact(&site, &self.role)?;
        watch_signals()?;
        let progress = Terminal::new();
        image::assemble(&manifest, &site.join("blobs"), &self.file, &progress).context("assembling the disk")?;
        drop(progress);
        say(&format!("{} written, {}", self.file, amount(manifest.disk_size)))
    }
}
