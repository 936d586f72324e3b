//! `seedd appliance`: what the units of a seed that booted from its medium run.

use anyhow::{Context as _, Result, anyhow};
use camino::{Utf8Path, Utf8PathBuf};
use clap::{Args, Subcommand};
use cluster_seed::medium::MOUNTED;

use super::show;
use crate::appliance::boot::Preset;
use crate::appliance::state::{Places, prepare, stored};
use crate::fsio::read_limited;
use crate::hint::Hint as _;

/// Longest kernel command line, in bytes.
const MAX_CMDLINE: u64 = 64 << 10;
/// Where nobody chose another name.
const HOSTNAME: &str = "kubedos-seed";

#[derive(Subcommand)]
pub enum Appliance {
    /// Find or make the place of the state and mount it (root)
    State(State),
}

/// Where an appliance keeps things.
#[derive(Args, Clone)]
struct Machine {
    /// Where the state is or will be mounted
    #[arg(long, default_value = "/var/lib/kubedos", value_name = "DIR")]
    state_dir: Utf8PathBuf,
    /// Where the medium is mounted
    #[arg(long, default_value = MOUNTED, value_name = "DIR")]
    medium: Utf8PathBuf,
    /// Emptied at every start of the machine
    #[arg(long, default_value = "/run/kubedos", value_name = "DIR")]
    run_dir: Utf8PathBuf,
    /// Boot parameters
    #[arg(long, default_value = "/proc/cmdline", value_name = "FILE")]
    cmdline: Utf8PathBuf,
}

impl Machine {
    fn preset(&self) -> Result<Preset> {
        let bytes = read_limited(&self.cmdline, MAX_CMDLINE)?;
        Ok(Preset::parse(&String::from_utf8_lossy(&bytes)))
    }
}

#[derive(Args)]
pub struct State {
    #[command(flatten)]
    machine: Machine,
    /// Who runs the daemon and owns the state
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Give the machine its name
    #[arg(long)]
    hostname: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

impl Appliance {
    pub fn run(&self) -> Result<()> {
        match self {
            Appliance::State(v) => v.run(),
        }
    }
}

fn absolute(path: &Utf8Path) -> Result<Utf8PathBuf> {
    camino::absolute_utf8(path).with_context(|| format!("finding {path}"))
}

impl State {
    fn run(&self) -> Result<()> {
        if !nix::unistd::geteuid().is_root() {
            return Err(anyhow!("mounting the state needs root"))
                .hint("on an appliance the unit kubedos-state.service runs this");
        }
        let preset = self.machine.preset()?;
        let places = Places {
            state: absolute(&self.machine.state_dir)?,
            medium: absolute(&self.machine.medium)?,
            run: absolute(&self.machine.run_dir)?,
            user: self.user.clone(),
        };
        let report = prepare(&places, &preset)?;
        if self.hostname {
            let name = preset.over(&stored(&places.state).0).hostname;
            nix::unistd::sethostname(name.as_ref().map_or(HOSTNAME, |n| n.as_str())).context("setting the host name")?;
        }
        let mut text = format!("the state is on {}", report.place);
        for warning in &report.warnings {
            text.push_str(&format!("\n  warning   {warning}"));
        }
        show(self.json, &serde_json::to_value(&report)?, &text)
    }
}
