//! `seedd installer`: the Debian installer, with the snapshot as its mirror and no secret in its preseed file.

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use cluster_seed::ids::Mac;
use host::files::write_atomic;
use site::hint::Hint as _;
use site::snapshots;

use super::args::{DataDir, say};
use super::image::find_agent;
use crate::installer::{self, Medium};
use crate::terminal::{Terminal, watch_signals};

#[derive(Subcommand)]
pub enum Installer {
    /// Extract the installer's kernel and initrd from the snapshot in use, to be served over HTTP
    Prepare(Prepare),
    /// Write the preseed file for one machine
    #[command(after_long_help = "\
Example:
  seedd installer preseed --mac 52:54:00:ab:00:01 --disk sda --out ./preseed.cfg")]
    Preseed(Preseed),
}

impl Installer {
    pub fn run(&self) -> Result<()> {
        match self {
            Installer::Prepare(v) => v.run(),
            Installer::Preseed(v) => v.run(),
        }
    }
}

#[derive(Args)]
pub struct Prepare {
    #[command(flatten)]
    args: DataDir,
    /// Static kubedos-node program that the installer copies [default: the one next to this program]
    #[arg(long, value_name = "FILE", env = "KUBEDOS_AGENT")]
    agent: Option<Utf8PathBuf>,
}

impl Prepare {
    fn run(&self) -> Result<()> {
        watch_signals()?;
        let site = self.args.site();
        let store = site.open_store()?;
        let id = snapshots::current(&store)?;
        let held = snapshots::one(&site, &store, id)?;
        let agent = find_agent(self.agent.as_ref())?;
        let _using = site.use_blobs()?;
        let (dir, keyring, tmp) = (site.snapshot(id), site.snapshot_keyring_path(&store, id)?, site.join("tmp"));
        let inputs = image::InstallerInputs {
            snapshot_dir: &dir,
            suite: &held.manifest.suite,
            keyring: &keyring,
            agent: &agent,
            tmp: &tmp,
        };
        let progress = Terminal::new();
        let to = installer::folder(&site);
        image::prepare_installer(&inputs, &to, &progress)
            .context("preparing the installer")
            .hint(format!("add {} to darksite.packages in cluster.yaml and build a new snapshot", image::INSTALLER_PACKAGE))?;
        drop(progress);
        let text = format!(
            "installer of snapshot {} written to {to}\n  served as /boot/di-linux, /boot/di-initrd.gz, /boot/preseed.cfg?mac=MAC",
            id.short()
        );
        say(&text)
    }
}

#[derive(Args)]
pub struct Preseed {
    #[command(flatten)]
    args: DataDir,
    /// MAC address of the machine
    #[arg(long)]
    mac: Mac,
    /// Kernel name of the disk to install to [default: the only disk]
    #[arg(long)]
    disk: Option<String>,
    /// For an installer medium with the snapshot at /cdrom/darksite
    #[arg(long)]
    cdrom: bool,
    /// File to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<Utf8PathBuf>,
}

impl Preseed {
    fn run(&self) -> Result<()> {
        let site = self.args.site();
        let store = site.open_store()?;
        let medium = if self.cdrom { Medium::Cdrom } else { Medium::Seed };
        let text = installer::preseed(&site, &store, self.mac, self.disk.clone(), medium)?;
        match &self.out {
            Some(path) => Ok(write_atomic(path, text.as_bytes(), 0o644)?),
            None => {
                use std::io::Write as _;
                std::io::stdout().lock().write_all(text.as_bytes()).map_err(|e| anyhow!(e)).context("writing the preseed file")
            }
        }
    }
}
