//! Interfaces for the rehearsal: a namespace of its own, joined to the seed's bridge by a pair of virtual interfaces.

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

/// True for an interface that others can be joined to.
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
        let own = std::env::current_exe().context("finding this program")?;
        let out = Tool::new("ip").args(["netns", "exec", &self.name]).arg(own).args(args);
        // What it says goes straight on: its own reason, and its own hint.
        let (status, out) = out.on_stderr_line(|l| eprintln!("{l}")).run_any().context("rehearsing")?;
        ensure!(status.success(), "no machine was made up");
        Ok(out.text())
    }
}

impl Drop for Booth {
    fn drop(&mut self) {
        let _ = ip(&["link", "del", &self.outside]);
        let _ = ip(&["netns", "del", &self.name]);
    }
}

/// Puts an address on the rehearsal's interface.
pub fn add_address(iface: &str, address: &str) -> Result<()> {
    ip(&["address", "replace", address, "dev", iface])
}
