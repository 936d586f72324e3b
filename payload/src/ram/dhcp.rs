//! The machine's address in RAM: busybox udhcpc on the interface the firmware booted from, with this program as its
//! script (busybox networking/udhcp: event as first argument, values in the environment).

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Mac;
use cluster_seed::join::address::StaticAddress;
use cluster_seed::machine::Nic;

use crate::console::Console;
use crate::http::{Wait, chain};
use host::dhcp::{Lease, is_interface};
use host::files::{PRIVATE, Start, open, replace_unsynced};
use host::hardware;
use host::tool::{Running, Tool, ToolError};

/// Name under which udhcpc calls this program.
pub const HOOK: &str = "udhcpc-hook";
const LIMIT: Duration = Duration::from_secs(10);
/// Seconds to wait on one interface before the next is tried.
const PATIENCE: u32 = 20;

fn ip(args: &[&str]) -> Result<(), ToolError> {
    Tool::new("busybox").arg("ip").args(args).timeout(LIMIT).run().map(|_| ())
}

/// udhcpc's script: `deconfig`, `bound` and `renew` change the interface, anything else is ignored.
pub fn hook(dir: &Utf8Path, event: &str, get: &dyn Fn(&str) -> Option<String>) -> Result<(), ToolError> {
    let interface = get("interface").filter(|i| is_interface(i)).unwrap_or_default();
    match event {
        "deconfig" => {
            // It does not exist before the first lease.
            let _ = fs::remove_file(lease_file(dir, &interface));
            ip(&["addr", "flush", "dev", &interface])?;
            ip(&["link", "set", "dev", &interface, "up"])
        }
        "bound" | "renew" => {
            let Some(lease) = Lease::from_env(get) else { return Ok(()) };
            let address = format!("{}/{}", lease.address, lease.prefix);
            ip(&["addr", "replace", &address, "broadcast", "+", "dev", &lease.interface])?;
            if let Some(router) = lease.router {
                ip(&["route", "replace", "default", "via", &router.to_string(), "dev", &lease.interface])?;
            }
            // The file only wakes the waiting side, so a failure causes at most a retry.
            let _ = replace_unsynced(&lease_file(dir, &lease.interface), address.as_bytes());
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Gives an interface a static address.
pub fn fix(interface: &str, fixed: &StaticAddress) -> Result<(), ToolError> {
    ip(&["link", "set", "dev", interface, "up"])?;
    ip(&["addr", "replace", &format!("{}/{}", fixed.address, fixed.prefix), "broadcast", "+", "dev", interface])?;
    match fixed.gateway {
        Some(gateway) => ip(&["route", "replace", "default", "via", &gateway.to_string(), "dev", interface]),
        None => Ok(()),
    }
}

fn lease_file(dir: &Utf8Path, interface: &str) -> Utf8PathBuf {
    dir.join(format!("lease.{interface}"))
}

/// Requests an address until it gets one; the handle keeps renewing it.
pub struct Dhcp<'a> {
    pub root: &'a Utf8Path,
    pub dir: &'a Utf8Path,
    /// Path of this program, used as the script.
    pub exe: &'a Utf8Path,
    pub console: &'a Console,
    pub wait: Wait<'a>,
}

impl Dhcp<'_> {
    /// `refresh` is called before each listing of the interfaces, to load drivers of hardware that appeared late. Also returns
    /// the interface that got the address.
    pub fn run(&self, boot_mac: Option<Mac>, refresh: &mut dyn FnMut()) -> (Running, Mac) {
        let mut round = 0u32;
        loop {
            refresh();
            let nics = hardware::nics(self.root);
            let wanted: Vec<&Nic> = nics.iter().filter(|n| boot_mac.is_none_or(|m| m == n.mac)).collect();
            // If the firmware's boot interface does not appear, use any: a card may have been replaced.
            let tried = if wanted.is_empty() && round >= 5 { nics.iter().collect() } else { wanted };
            if tried.is_empty() {
                let names: Vec<_> = nics.iter().map(|n| format!("{} {}", n.name, n.mac)).collect();
                self.console.error(&format!("boot network card not found yet (found: {})", names.join(", ")));
                (self.wait)(Duration::from_secs(2));
            }
            for nic in tried {
                match self.one(&nic.name) {
                    Ok(Some(running)) => return (running, nic.mac),
                    Ok(None) => self.console.error(&format!("no DHCP response on {} ({}); retrying", nic.name, nic.mac)),
                    Err(e) => self.console.error(&format!("DHCP on {}: {}", nic.name, chain(&e))),
                }
            }
            (self.wait)(Duration::from_secs(1));
            round = round.saturating_add(1);
        }
    }

    fn one(&self, interface: &str) -> Result<Option<Running>, DhcpError> {
        self.console.step(&format!("dhcp {interface}"));
        let script = self.dir.join(HOOK);
        if !script.exists() {
            symlink(self.exe, &script)?;
        }
        ip(&["link", "set", "dev", interface, "up"])?;
        let log = open(&self.dir.join("udhcpc.log"), Start::End, PRIVATE)?;
        let args = ["udhcpc", "-f", "-i", interface, "-s", script.as_str(), "-t", "8", "-T", "2", "-A", "3"];
        let mut running = Tool::new("busybox").args(args).spawn(log)?;
        let lease = lease_file(self.dir, interface);
        for _ in 0..PATIENCE * 5 {
            if let Ok(address) = fs::read_to_string(&lease) {
                self.console.step(&format!("address {address} on {interface}"));
                return Ok(Some(running));
            }
            if running.ended().is_some() {
                break;
            }
            (self.wait)(Duration::from_millis(200));
        }
        Ok(None)
    }
}

#[derive(Debug, thiserror::Error)]
enum DhcpError {
    #[error("preparing")]
    Io(#[from] io::Error),
    #[error("running a program")]
    Tool(#[from] ToolError),
}
