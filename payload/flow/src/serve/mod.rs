//! The daemon: reads the kernel's counters every few seconds, follows interfaces and peer list, and shows the result.

mod http;
mod listeners;
mod shared;
mod socket;

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::converge::platform::FLOW_PORT;
use host::clock;

use crate::book::Context;
use crate::btf::{Reasons, VMLINUX};
use crate::config::{Config, Site};
use crate::interfaces::{devices, watched};
use crate::kernel::attach::How;
use crate::kernel::error::KernelError;
use crate::kernel::layout::ConnKey;
use crate::kernel::{Kernel, Raw};
use crate::names::Names;
use crate::ports::Allowed;
use crate::report::{Header, Interface};
use crate::units::Units;
use shared::{Shared, locked};

/// Seconds between two looks at the peer list.
const RELOAD: u64 = 30;
/// How often a request to stop is looked for.
const STEP: Duration = Duration::from_millis(200);

/// Where identity and peer list are.
#[derive(Debug, Clone)]
pub enum Source {
    /// A node's state directory.
    Node(Utf8PathBuf),
    /// A file without a signature.
    File(Utf8PathBuf),
}

impl Source {
    fn read(&self) -> anyhow::Result<Site> {
        Ok(match self {
            Source::Node(dir) => Site::of_node(dir)?,
            Source::File(path) => Site::of_file(path)?,
        })
    }
}

pub struct Options {
    pub source: Source,
    /// File of settings.
    pub config: Utf8PathBuf,
    /// Socket for `kubedos-flow show`.
    pub socket: Utf8PathBuf,
    /// Time between two reads of the counters.
    pub every: Duration,
    pub how: How,
    /// The kernel's type information; tests name a file that does not exist.
    pub btf: Utf8PathBuf,
}

/// Runs until `stop` is true; then nothing of it is left in the kernel.
///
/// # Errors
/// If identity or settings cannot be read, or the kernel refuses the programs. A kernel without type information is not an error:
/// then nothing is counted, and that is what is shown.
pub fn run(options: &Options, stop: &AtomicBool) -> anyhow::Result<()> {
    let site = options.source.read().context("reading the peer list")?;
    let config = Config::read(&options.config).context("reading the settings")?;
    let address = SocketAddr::from((site.metrics_address()?, FLOW_PORT));
    let (kernel, why) = match load(&options.btf, options.how) {
        Ok(kernel) => (Some(kernel), None),
        Err(e @ KernelError::NoBtf) => {
            tracing::warn!("{e}");
            (None, Some(e.to_string()))
        }
        Err(e) => return Err(e).context("loading the programs into the kernel"),
    };
    let shared = Shared::default();
    locked(&shared).header = Header { node: site.me.label().to_owned(), since: clock::now(), why, interfaces: Vec::new() };
    http::start(Arc::clone(&shared), address)?;
    socket::start(Arc::clone(&shared), &options.socket)?;
    tracing::info!(%address, node = %site.me, counting = kernel.is_some(), "serving");
    let Some(kernel) = kernel else {
        wait(u64::MAX, stop);
        return Ok(());
    };
    let reasons = Reasons::read(&options.btf)?;
    let names = Names::new(&site.me);
    let mut daemon = Daemon { config, site, kernel, reasons, names, units: Units::new(Units::mounted()), shared, loaded: 0 };
    daemon.loaded = clock::steady();
    while !stop.load(Ordering::Relaxed) {
        daemon.turn(&options.source)?;
        wait(u64::try_from(options.every.as_millis()).unwrap_or(u64::MAX), stop);
    }
    Ok(())
}

fn load(btf: &Utf8Path, how: How) -> Result<Kernel, KernelError> {
    if !btf.exists() {
        return Err(KernelError::NoBtf);
    }
    let netns = std::fs::metadata("/proc/self/ns/net").map_or(0, |m| u32::try_from(m.ino()).unwrap_or(0));
    Kernel::load(netns, how)
}

/// Milliseconds, or until `stop`.
fn wait(milliseconds: u64, stop: &AtomicBool) {
    let mut left = Duration::from_millis(milliseconds);
    while !left.is_zero() && !stop.load(Ordering::Relaxed) {
        let step = left.min(STEP);
        std::thread::sleep(step);
        left -= step;
    }
}

struct Daemon {
    config: Config,
    site: Site,
    kernel: Kernel,
    reasons: Reasons,
    names: Names,
    units: Units,
    shared: Shared,
    /// When the peer list was read, in steady seconds.
    loaded: u64,
}

impl Daemon {
    fn turn(&mut self, source: &Source) -> anyhow::Result<()> {
        let (now, steady) = (clock::now(), clock::steady());
        if steady >= self.loaded.saturating_add(RELOAD) {
            self.loaded = steady;
            match source.read() {
                Ok(site) => self.site = site,
                Err(e) => tracing::warn!(error = format!("{e:#}"), "the earlier peer list is kept"),
            }
        }
        self.follow()?;
        let ports = listeners::listening();
        self.kernel.set_listeners(&ports)?;
        let raw = self.kernel.read()?;
        self.units.learn(cgroups(&raw), steady);
        let Site { peers, seed_port, .. } = &self.site;
        let mut allowed = Allowed::defaults(peers, *seed_port);
        self.config.allow.iter().for_each(|(plane, ports)| allowed.add(plane, ports));
        let context = Context { names: &self.names, units: &self.units, reasons: &self.reasons, allowed: &allowed };
        let idle = {
            let mut state = locked(&self.shared);
            state.book.take(&raw, &context, now, steady);
            state.book.idle(steady)
        };
        self.kernel.forget(&idle.flows, &idle.conns, &idle.drops);
        Ok(())
    }

    /// Interfaces come and go, and addresses with them.
    fn follow(&mut self) -> anyhow::Result<()> {
        let planes: Vec<String> = self.site.peers.planes.keys().cloned().collect();
        let devices = devices().context("listing the interfaces")?;
        let underlay = Some(self.config.underlay.as_str()).filter(|name| !name.is_empty());
        let watched = watched(&devices, &planes, underlay, self.site.endpoint());
        if self.names.update(&self.site.peers, &self.config.ranges, &watched) {
            self.kernel.set_places(self.names.places())?;
            if self.names.left_out > 0 {
                tracing::warn!(prefixes = self.names.left_out, "too many addresses: the rest counts as other");
            }
        }
        // One interface that fails, as one that was removed just now, does not stop the others.
        if let Err(e) = self.kernel.follow(&watched) {
            tracing::warn!(error = format!("{:#}", anyhow::Error::from(e)), "an interface is not watched");
        }
        let shown = watched.iter().map(|w| Interface { name: w.device.name.clone(), plane: w.plane.clone() });
        locked(&self.shared).header.interfaces = shown.collect();
        Ok(())
    }
}

fn cgroups(raw: &Raw) -> Vec<u64> {
    let of_flows = raw.flows.iter().map(|(_, _, cgroup)| *cgroup);
    of_flows.chain(raw.conns.iter().map(|(bytes, _)| ConnKey::from(bytes).cgroup)).collect()
}

/// Default of [`Options::btf`].
pub fn kernel_btf() -> Utf8PathBuf {
    VMLINUX.into()
}
