//! `seedd proxmox`: the nodes of cluster.yaml as virtual machines of Proxmox VE.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use cluster_seed::cluster::ClusterSpec;
use cluster_seed::foundry::Target;
use cluster_seed::inventory::NodeSpec;
use proxmox::apply::{ApplyOptions, apply};
use proxmox::image::{Image, ImageFormat, Images};
use proxmox::plan::{Plan, Request, plan};
use proxmox::present::Present;
use proxmox::read::Fleet;
use proxmox::selection::Selection;
use proxmox::ssh::SshSettings;
use proxmox::ssh::pins::{Pins, scan};
use site::hint::{self, Hint as _};
use site::{Site, artifacts};

use super::args::{SiteArgs, say};
use super::prompt::confirm;
use crate::terminal::{Terminal, stop_asked, watch_signals};

/// Pinned host keys, in the data directory.
const PINS: &str = "proxmox_known_hosts";

#[derive(Subcommand)]
pub enum Proxmox {
    /// Show what `seedd proxmox apply` would do
    ///
    /// Compares spec.nodes of cluster.yaml with the virtual machines on the hosts of spec.substrate. With --offline, no host is
    /// asked, and every machine is shown as new.
    #[command(after_long_help = "\
Examples:
  seedd proxmox plan
  seedd proxmox plan role=etcd db1 --identity ~/.ssh/id_ed25519
  seedd proxmox plan proxmox-k8s-ha --offline")]
    Plan(ShowPlan),
    /// Create and update the virtual machines
    ///
    /// Sends the image of each role once to each host. Machines without the tags of this site are never touched. If it is
    /// interrupted, run it again to continue.
    #[command(after_long_help = "\
Example:
  seedd proxmox apply --yes")]
    Apply(Apply),
    /// Show the key of a host and pin it after confirmation
    Trust(Trust),
}

// What both commands work on.
#[derive(Args)]
struct Which {
    /// Nodes: names, role=ROLE, proxmox-all, proxmox-cluster or proxmox-k8s-ha [default: all]
    #[arg(value_name = "NODES")]
    nodes: Vec<String>,
    /// SSH key for the hosts [default: the keys of the SSH agent]
    #[arg(long, value_name = "FILE")]
    identity: Option<Utf8PathBuf>,
    #[command(flatten)]
    args: SiteArgs,
}

#[derive(Args)]
pub struct ShowPlan {
    #[command(flatten)]
    which: Which,
    /// Ask no host
    #[arg(long)]
    offline: bool,
}

#[derive(Args)]
pub struct Apply {
    #[command(flatten)]
    which: Which,
    /// Replace and remove machines where the plan says so; spec.substrate.allowDestroy has to allow it too
    #[arg(long)]
    allow_destroy: bool,
    /// Machines per host to work on at once
    #[arg(long, value_name = "N", default_value_t = 2)]
    per_host: usize,
    /// Skip the confirmation prompt
    #[arg(long)]
    yes: bool,
}

#[derive(Args)]
pub struct Trust {
    #[command(flatten)]
    args: SiteArgs,
    /// Name of the host in spec.substrate.hosts
    host: String,
    /// Skip the confirmation prompt
    #[arg(long)]
    yes: bool,
}

impl Proxmox {
    pub fn run(&self) -> Result<()> {
        match self {
            Proxmox::Plan(v) => v.run(),
            Proxmox::Apply(v) => v.run(),
            Proxmox::Trust(v) => v.run(),
        }
    }
}

/// The QCOW2 image of each role, made of the artifact in use.
fn images(site: &Site, roles: &BTreeSet<String>) -> Result<Images> {
    let (store, key) = (site.open_store()?, site.keys().public()?.site_key()?);
    let made = image::foundry::outputs(&site.join("outputs"), &key)?;
    let mut images = Images::new();
    for role in roles {
        let artifact = artifacts::of_role(site, &store, role, &key)?;
        let missing = || format!("build it with `seedd image build --target qcow2 --role {role}`");
        let artifact = artifact.ok_or_else(|| anyhow!("role {role:?} has no artifact")).hint(missing())?;
        let of_it = |o: &&image::foundry::Output| {
            let spec = &o.manifest.spec;
            // The image of a named node would make all nodes of the role that one.
            spec.target == Target::Qcow2 && spec.artifact == Some(artifact.id) && spec.node.is_none()
        };
        let output = made.iter().find(of_it).ok_or_else(|| anyhow!("role {role:?} has no QCOW2 image")).hint(missing())?;
        let file = output.manifest.files.iter().find(|f| f.name == output.manifest.primary).context("no image")?;
        let image = Image {
            file: output.primary(),
            format: ImageFormat::Qcow2,
            sha256: file.sha256,
            size: file.size,
            virtual_size: artifact.disk_size,
        };
        images.insert(role.clone(), image);
    }
    Ok(images)
}

/// Everything a plan is made from.
struct Work {
    spec: ClusterSpec,
    selection: Selection,
    images: Images,
    settings: SshSettings,
}

impl Which {
    /// `offline`: images need not exist.
    fn work(&self, offline: bool) -> Result<Work> {
        let site = self.args.site();
        let spec = site.spec()?;
        let nodes: &[NodeSpec] = &spec.spec.nodes;
        let selection = Selection::parse(&self.nodes, nodes).map_err(|e| {
            let hint = e.hint();
            hint::with(e, hint)
        })?;
        let chosen = nodes.iter().filter(|n| selection.has(n.name.value.as_str(), &n.role.value));
        let roles: BTreeSet<String> = chosen.map(|n| n.role.value.clone()).collect();
        let images = match images(&site, &roles) {
            Err(error) if offline => {
                tracing::warn!(error = format!("{error:#}"), "planning without images");
                roles.into_iter().map(|role| (role, Image::not_built())).collect()
            }
            found => found?,
        };
        let settings = SshSettings {
            known_hosts: site.join(PINS),
            identity: self.identity.clone(),
            run_dir: std::env::temp_dir().try_into()?,
        };
        Ok(Work { spec, selection, images, settings })
    }
}

impl Work {
    fn plan(&self, present: &Present) -> Result<Plan> {
        let request = Request { spec: &self.spec, images: &self.images, selection: &self.selection, present };
        plan(request).map_err(|e| {
            let hint = e.hint();
            hint::with(e, hint)
        })
    }

    fn connect<'a>(&'a self, cancelled: &'a (dyn Fn() -> bool + Sync)) -> Result<Fleet<'a>> {
        Fleet::connect(&self.spec, &self.settings, cancelled).map_err(|e| {
            let hint = match &e {
                proxmox::ssh::SshError::NotPinned { host } => format!("compare and pin it: `seedd proxmox trust {host}`"),
                other => other.hint().to_owned(),
            };
            hint::with(e, hint)
        })
    }

    fn read(&self, fleet: &Fleet<'_>) -> Result<Present> {
        fleet.read(self.spec.metadata.name.as_str()).map_err(|e| {
            let hint = e.hint();
            hint::with(e, hint)
        })
    }
}

impl ShowPlan {
    fn run(&self) -> Result<()> {
        let work = self.which.work(self.offline)?;
        watch_signals()?;
        let present = if self.offline {
            Present::assumed(&work.spec)
        } else {
            let cancelled = stop_asked;
            let fleet = work.connect(&cancelled)?;
            work.read(&fleet)?
        };
        let plan = work.plan(&present)?;
        self.which.args.show(&plan, plan.text(false).trim_end())
    }
}

impl Apply {
    fn run(&self) -> Result<()> {
        let work = self.which.work(false)?;
        watch_signals()?;
        let cancelled = stop_asked;
        let fleet = work.connect(&cancelled)?;
        let plan = work.plan(&work.read(&fleet)?)?;
        if !self.which.args.json {
            say(plan.text(self.allow_destroy).trim_end())?;
        }
        if !self.yes && !plan.is_done() {
            confirm("This changes virtual machines on these hosts.", work.spec.metadata.name.as_str())?;
        }
        let progress = Terminal::new();
        let options = ApplyOptions { allow_destroy: self.allow_destroy, per_host: self.per_host };
        let outcome = apply(&plan, &work.images, &fleet, options, &progress);
        drop(progress);
        self.which.args.show(&outcome, outcome.text().trim_end())?;
        ensure!(outcome.is_good(), "not every machine is as planned; run it again after the causes are mended");
        Ok(())
    }
}

impl Trust {
    fn run(&self) -> Result<()> {
        let site = self.args.site();
        let spec = site.spec()?;
        let host = spec.spec.substrate.iter().flat_map(|s| &s.hosts).find(|h| h.name.value.as_str() == self.host);
        let host =
            host.ok_or_else(|| anyhow!("cluster.yaml has no host {:?}", self.host)).hint("hosts are in spec.substrate.hosts")?;
        let pins = site.join(PINS);
        let failed = |e: proxmox::ssh::SshError| {
            let hint = e.hint();
            hint::with(e, hint)
        };
        let keys = scan(host).map_err(failed)?;
        let known: Vec<String> = Pins::read(&pins)?.of(&self.host).map(|k| k.fingerprint.clone()).collect();
        if !known.is_empty() {
            if !keys.iter().any(|k| known.contains(&k.fingerprint)) {
                return Err(anyhow!("the host shows other keys than the pinned ones"))
                    .hint(format!("if it was reinstalled, remove its lines from {pins}; otherwise it may be an attack"));
            }
            return self
                .args
                .show(&serde_json::json!({"host": self.host, "pinned": known}), &format!("{} is pinned already", self.host));
        }
        let shown: Vec<String> = keys.iter().map(|k| format!("{} {}", k.kind, k.fingerprint)).collect();
        if !self.yes {
            say(&shown.join("\n"))?;
            confirm("Compare these fingerprints with those on the host's console.", &self.host)?;
        }
        if !Pins::pin(&pins, &self.host, &keys)? {
            bail!("the host has no key that can be pinned");
        }
        self.args.show(&serde_json::json!({"host": self.host, "pinned": shown}), &format!("{} is pinned", self.host))
    }
}
