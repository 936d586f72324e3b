//! Interfaces for the simulation: a namespace of its own, connected to the seed's bridge by a veth pair.

use anyhow::{Context as _, Result, ensure};
use camino::Utf8Path;
use host::tool::Tool;
use site::hint::Hint as _;

/// A namespace with an interface `kdsim0`; gone when dropped.
pub struct Booth {
    name: String,
    outside: String,
}

pub const INSIDE: &str = "kdsim0";

fn ip(args: &[&str]) -> Result<()> {
    Tool::new("ip").args(args).run().with_context(|| format!("running ip {}", args.join(" ")))?;
    Ok(())
}

/// True for a bridge, which other interfaces can be attached to.
pub fn is_bridge(iface: &str) -> bool {
    Utf8Path::new("/sys/class/net").join(iface).join("bridge").is_dir()
}

impl Booth {
    pub fn new(bridge: &str) -> Result<Self> {
        let id = std::process::id();
        let booth = Booth { name: format!("kdsim{id}"), outside: format!("kds{id}") };
        ip(&["netns", "add", &booth.name]).hint("run as root")?;
        ip(&["link", "add", &booth.outside, "type", "veth", "peer", "name", INSIDE, "netns", &booth.name])?;
        ip(&["link", "set", &booth.outside, "master", bridge, "up"])?;
        ip(&["-n", &booth.name, "link", "set", "lo", "up"])?;
        ip(&["-n", &booth.name, "link", "set", INSIDE, "up"])?;
        Ok(booth)
    }

    /// Runs this program inside; its standard output.
    pub fn run(&self, args: &[String]) -> Result<String> {
        let own = std::env::current_exe().context("finding the path of this program")?;
        let out = Tool::new("ip").args(["netns", "exec", &self.name]).arg(own).args(args);
        // Its standard error has its own reason and hint.
        let (status, out) = out.on_stderr_line(|l| eprintln!("{l}")).run_any().context("simulating machines")?;
        ensure!(status.success(), "the simulation failed");
        Ok(out.text())
    }
}

impl Drop for Booth {
    fn drop(&mut self) {
        let _ = ip(&["link", "del", &self.outside]);
        let _ = ip(&["netns", "del", &self.name]);
    }
}

/// Adds an address to the simulation's interface.
pub fn add_address(iface: &str, address: &str) -> Result<()> {
    ip(&["address", "replace", address, "dev", iface])
}
