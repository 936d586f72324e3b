//! `seedd appliance`: run by the systemd units of a seed that booted from its medium.

use std::net::{SocketAddr, SocketAddrV4};
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow};
use appliance::boot::Preset;
use appliance::network::{HOOK, hook};
use appliance::state::{Places, prepare, stored};
use camino::{Utf8Path, Utf8PathBuf};
use clap::{Args, Subcommand};
use cluster_seed::medium::MOUNTED;
use cluster_seed::seal::key_from_text;
use host::files::read_limited;
use site::hint::Hint as _;

use super::args::show;
use crate::clock::{CHRONY_CONFIG, install_config};
use crate::live::run::{Options, RUN_DIR, run};
use crate::planes::WireGuard;

/// Longest kernel command line, in bytes.
const MAX_CMDLINE: u64 = 64 << 10;
/// Host name unless another one was chosen.
const HOSTNAME: &str = "kubedos-seed";

#[derive(Subcommand)]
pub enum Appliance {
    /// Find or create the state partition and mount it (root)
    State(State),
    /// Check the daemon's time settings and pass them on to chrony (root)
    Time(Time),
    /// Bring up the network, then set up a site in the browser or serve it
    Run(Run),
}

/// Paths of an appliance.
#[derive(Args, Clone)]
struct Machine {
    /// Mount point of the state
    #[arg(long, default_value = "/var/lib/kubedos", value_name = "DIR")]
    state_dir: Utf8PathBuf,
    /// Mount point of the medium
    #[arg(long, default_value = MOUNTED, value_name = "DIR")]
    medium: Utf8PathBuf,
    /// Directory for files that are lost at a reboot
    #[arg(long, default_value = RUN_DIR, value_name = "DIR")]
    run_dir: Utf8PathBuf,
    /// File with the boot parameters
    #[arg(long, default_value = "/proc/cmdline", value_name = "FILE")]
    cmdline: Utf8PathBuf,
}

impl Machine {
    fn places(&self, user: Option<&String>) -> Result<Places> {
        Ok(Places {
            state: absolute(&self.state_dir)?,
            medium: absolute(&self.medium)?,
            run: absolute(&self.run_dir)?,
            user: user.cloned(),
        })
    }

    fn preset(&self) -> Result<Preset> {
        let bytes = read_limited(&self.cmdline, MAX_CMDLINE)?;
        Ok(Preset::parse(&String::from_utf8_lossy(&bytes)))
    }
}

#[derive(Args)]
pub struct State {
    #[command(flatten)]
    machine: Machine,
    /// User who runs the daemon and owns the state
    #[arg(long, value_name = "NAME", default_value = "kubedos")]
    user: String,
    /// Set the host name
    #[arg(long)]
    hostname: bool,
    /// Output JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct Run {
    #[command(flatten)]
    machine: Machine,
    /// Interface to netboot machines on; with it, the machine's network configuration is left alone
    #[arg(long, value_name = "IFACE")]
    iface: Option<String>,
    /// HTTPS address and port of the web interface. Socket activation (LISTEN_FDS) overrides this
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:443")]
    pages: SocketAddr,
    /// HTTP address and port for machines [default: the seed's address in cluster.yaml, port 80]
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddrV4>,
    /// WireGuard implementation for the seed's planes
    #[arg(long, value_enum, default_value = "auto")]
    wireguard: WireGuard,
    /// Site key of the seed that made the medium, in hex; overrides the boot parameter
    #[arg(long, value_name = "KEY")]
    pin: Option<String>,
}

impl Run {
    fn run(&self) -> Result<()> {
        let mut preset = self.machine.preset()?;
        if let Some(pin) = &self.pin {
            preset.maker = Some(key_from_text(pin).context("reading --pin")?);
        }
        run(Options {
            places: self.machine.places(None)?,
            preset,
            iface: self.iface.clone(),
            pages: self.pages,
            listen: self.listen,
            wireguard: self.wireguard,
        })
    }
}

#[derive(Args)]
pub struct Time {
    /// File that the daemon wrote
    #[arg(long, default_value = CHRONY_CONFIG, value_name = "FILE")]
    from: Utf8PathBuf,
    /// File that chrony reads
    #[arg(long, default_value = "/run/kubedos-time/chrony.conf", value_name = "FILE")]
    to: Utf8PathBuf,
}

impl Time {
    fn run(&self) -> Result<()> {
        install_config(&self.from, &self.to)
    }
}

impl Appliance {
    pub fn run(&self) -> Result<()> {
        match self {
            Appliance::State(v) => v.run(),
            Appliance::Time(v) => v.run(),
            Appliance::Run(v) => v.run(),
        }
    }
}

/// Runs as the DHCP client's script if this program was started under that name.
#[allow(clippy::disallowed_methods, reason = "the DHCP client passes the lease in the environment")]
pub fn as_hook() -> Option<ExitCode> {
    let mut args = std::env::args();
    if Utf8Path::new(&args.next()?).file_name() != Some(HOOK) {
        return None;
    }
    let event = args.next().unwrap_or_default();
    Some(match hook(&event, &|name| std::env::var(name).ok()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("seedd: after {event}: {error:#}");
            ExitCode::FAILURE
        }
    })
}

fn absolute(path: &Utf8Path) -> Result<Utf8PathBuf> {
    camino::absolute_utf8(path).with_context(|| format!("finding {path}"))
}

impl State {
    fn run(&self) -> Result<()> {
        if !nix::unistd::geteuid().is_root() {
            return Err(anyhow!("mounting the state requires root")).hint("on an appliance, kubedos-state.service runs this");
        }
        let preset = self.machine.preset()?;
        let places = self.machine.places(Some(&self.user))?;
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
