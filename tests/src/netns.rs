//! An isolated network: a namespace with a bridge, no route to the outside, and a counter for packets to the outside.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};

use crate::tool;

/// The lab's subnet, the seed's address in it, and the bridge that has that address.
pub const SUBNET: &str = "10.44.0.0/24";
pub const SEED_IP: &str = "10.44.0.1";
pub const BRIDGE: &str = "br0";
/// Range of IPv6 addresses of a plane, where a part gives one to a plane: the seed may answer its nodes in it.
pub const PLANE6: &str = "fd00:80::/64";
/// The seed's address at a second site, in another subnet.
pub const SECOND_SEED_IP: &str = "10.45.0.1";
/// Every name the lab makes begins with this; the lab's pid follows.
pub const PREFIX: &str = "kdlab-";

/// Everything that may be a destination inside the lab: its subnets, the planes, loopback, broadcast, link-local multicast.
const INSIDE: &str =
    "10.44.0.0/24, 10.45.0.0/24, 10.78.0.0/16, 10.79.0.0/16, 10.80.0.0/16, 127.0.0.0/8, 224.0.0.0/24, 255.255.255.255/32";

fn rules(also: &[String]) -> String {
    let inside = std::iter::once(INSIDE).chain(also.iter().map(String::as_str)).collect::<Vec<_>>().join(", ");
    // The bridge table sees what machines send, even if the host would never route it. The inet table sees what
    // programs in the namespace send, and, where the kernel has br_netfilter, what the bridge passes from port to port.
    // Neither table lets through what it does not know. The first addresses of the outside are kept, so that a failed
    // run can name them.
    let sets = format!(
        "counter escaped {{ }}
         set inside {{ type ipv4_addr; flags interval; auto-merge; elements = {{ {inside} }} }}
         set outside4 {{ type ipv4_addr; size 64; flags dynamic; }}
         set outside6 {{ type ipv6_addr; size 64; flags dynamic; }}"
    );
    let caught = "meta protocol ip add @outside4 { ip daddr } counter name escaped drop
                  meta protocol ip6 add @outside6 { ip6 daddr } counter name escaped drop
                  meta protocol { ip, ip6 } counter name escaped drop";
    format!(
        "table bridge kdlab {{
            {sets}
            counter strange {{ }}
            chain ports {{
                type filter hook prerouting priority -300; policy drop;
                ether type arp accept
                meta protocol ip ip daddr @inside accept
                ip6 daddr fe80::/10 accept
                ip6 daddr ff02::/16 accept
                {caught}
                counter name strange
            }}
        }}
        table inet kdlab {{
            {sets}
            chain programs {{
                type filter hook output priority -300; policy drop;
                ip daddr @inside accept
                ip6 daddr {PLANE6} accept
                ip6 daddr ::1 accept
                ip6 daddr fe80::/10 accept
                ip6 daddr ff02::/16 accept
                {caught}
            }}
            chain routed {{
                type filter hook forward priority -300; policy drop;
                ip daddr @inside accept
                ip6 daddr fe80::/10 accept
                ip6 daddr ff02::/16 accept
                {caught}
            }}
        }}"
    )
}

/// A network namespace; removed, with every process in it, when dropped.
#[derive(Debug)]
pub struct Netns {
    name: String,
    /// Shown as /run/wireguard to programs in the namespace, so that two labs' wireguard-go do not meet.
    wireguard: PathBuf,
}

impl Netns {
    /// Makes an empty namespace with loopback up. `dir` is the lab's own directory.
    pub fn empty(name: &str, dir: &Path) -> Result<Self> {
        let wireguard = dir.join(format!("{name}.wireguard"));
        std::fs::create_dir_all(&wireguard).context("making the lab's WireGuard directory")?;
        tool::run(&["ip", "netns", "add", name]).context("making a network namespace (are you root?)")?;
        let ns = Netns { name: name.to_owned(), wireguard };
        ns.ip(&["link", "set", "lo", "up"])?;
        Ok(ns)
    }

    /// Makes the namespace of a seed: bridge, address, guard.
    pub fn lab(name: &str, dir: &Path) -> Result<Self> {
        Netns::lab_at(name, dir, SEED_IP, &[])
    }

    /// The same with another address of the seed, in a subnet of 256 addresses, and more networks that are inside.
    pub fn lab_at(name: &str, dir: &Path, seed: &str, also: &[String]) -> Result<Self> {
        let ns = Netns::segment(name, dir, also)?;
        ns.ip(&["addr", "add", &format!("{seed}/24"), "dev", BRIDGE])?;
        Ok(ns)
    }

    /// An empty guarded segment: the seed is a machine that is connected later.
    pub fn segment(name: &str, dir: &Path, also: &[String]) -> Result<Self> {
        let ns = Netns::empty(name, dir)?;
        // Before anything can send: a packet that meets the rules while they are being loaded may be taken for a stranger's.
        let file = dir.join(format!("{name}.nft"));
        std::fs::write(&file, rules(also)).context("writing the guard's rules")?;
        ns.run(&["nft", "-f", &file.to_string_lossy()]).context("loading the guard's rules")?;
        ns.ip(&["link", "add", BRIDGE, "type", "bridge", "stp_state", "0", "forward_delay", "0", "mcast_snooping", "0"])?;
        ns.ip(&["link", "set", BRIDGE, "up"])?;
        // A default route into a bridge that has no ports: without one, an attempt to reach the outside
        // would fail before the guard could count it.
        ns.ip(&["link", "add", "nowhere", "type", "bridge"])?;
        ns.ip(&["link", "set", "nowhere", "up"])?;
        ns.ip(&["route", "add", "default", "dev", "nowhere"])?;
        Ok(ns)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// `ip -n NAME …`.
    pub fn ip(&self, args: &[&str]) -> Result<String> {
        let mut argv = vec!["ip", "-n", &self.name];
        argv.extend_from_slice(args);
        tool::run(&argv)
    }

    /// The command line that runs `argv` in the namespace. The process keeps its pid through every exec.
    pub fn argv(&self, argv: &[String]) -> Vec<String> {
        let script = "mkdir -p /run/wireguard && mount --bind \"$0\" /run/wireguard && exec \"$@\"";
        let mut out = tool::words(&["ip", "netns", "exec", &self.name, "sh", "-c", script]);
        out.push(self.wireguard.to_string_lossy().into_owned());
        out.extend_from_slice(argv);
        out
    }

    /// Runs a short program in the namespace; it must succeed.
    pub fn run(&self, argv: &[&str]) -> Result<String> {
        tool::run_owned(&self.argv(&tool::words(argv)))
    }

    pub fn outcome(&self, argv: &[&str]) -> Result<tool::Outcome> {
        tool::outcome(&self.argv(&tool::words(argv)))
    }

    /// True if the namespace has an interface of that name.
    pub fn has(&self, name: &str) -> Result<bool> {
        Ok(self.ip(&["-o", "link"])?.lines().any(|l| l.split(": ").nth(1).is_some_and(|n| n.split('@').next() == Some(name))))
    }

    /// Makes a tap that is a port of the bridge.
    pub fn tap(&self, name: &str) -> Result<()> {
        self.ip(&["tuntap", "add", name, "mode", "tap"])?;
        self.ip(&["link", "set", name, "master", BRIDGE, "up"])?;
        Ok(())
    }

    /// A cable from the bridge to a fresh interface `name` in the namespace `other`.
    pub fn cable(&self, port: &str, other: &Netns, name: &str, mac: &str) -> Result<()> {
        self.ip(&["link", "add", port, "type", "veth", "peer", "name", name, "netns", &other.name])?;
        self.ip(&["link", "set", port, "master", BRIDGE, "up"])?;
        other.ip(&["link", "set", name, "address", mac])?;
        other.ip(&["link", "set", name, "up"])?;
        Ok(())
    }

    /// Runs `work` on a thread whose sockets live in the namespace.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let path = format!("/run/netns/{}", self.name);
        let handle = File::open(&path).with_context(|| format!("opening {path}"))?;
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                setns(&handle, CloneFlags::CLONE_NEWNET).context("entering the namespace")?;
                work()
            });
            thread.join().unwrap_or_else(|_| bail!("work inside the namespace panicked"))
        })
    }

    /// Runs `work` on a thread of its own whose sockets live in the namespace.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<std::thread::JoinHandle<Result<T>>> {
        let path = format!("/run/netns/{}", self.name);
        let handle = File::open(&path).with_context(|| format!("opening {path}"))?;
        Ok(std::thread::spawn(move || {
            setns(&handle, CloneFlags::CLONE_NEWNET).context("entering the namespace")?;
            work()
        }))
    }

    /// An error that names the addresses, if anything was addressed to the outside.
    pub fn must_be_quiet(&self) -> Result<()> {
        let escaped = self.escaped()?;
        if escaped == 0 {
            return Ok(());
        }
        let sets = self.run(&["nft", "-j", "list", "sets"])?;
        bail!("{escaped} packets were addressed to the outside of the lab: {}", elements(&sets)?.join(", "))
    }

    /// Packets that were addressed to the outside, by machines and by programs. All of them were dropped.
    pub fn escaped(&self) -> Result<u64> {
        let text = self.run(&["nft", "-j", "list", "counters"])?;
        sum_of_counters(&text, "escaped")
    }
}

/// Adds up the packets of every counter called `name` in the JSON that `nft -j list counters` prints.
pub fn sum_of_counters(json: &str, name: &str) -> Result<u64> {
    let tree: serde_json::Value = serde_json::from_str(json).context("reading nft's JSON")?;
    let items = tree["nftables"].as_array().context("nft's JSON has no list")?;
    let mut found = 0;
    let mut sum = 0;
    for counter in items.iter().map(|i| &i["counter"]).filter(|c| c["name"] == name) {
        found += 1;
        sum += counter["packets"].as_u64().context("a counter without packets")?;
    }
    if found == 0 {
        bail!("no counter called {name}: the guard is not loaded");
    }
    Ok(sum)
}

/// What the sets `outside4` and `outside6` hold, in the JSON that `nft -j list sets` prints.
fn elements(json: &str) -> Result<Vec<String>> {
    let tree: serde_json::Value = serde_json::from_str(json).context("reading nft's JSON")?;
    let items = tree["nftables"].as_array().context("nft's JSON has no list")?;
    let sets = items.iter().map(|i| &i["set"]).filter(|s| s["name"].as_str().is_some_and(|n| n.starts_with("outside")));
    let all = sets.filter_map(|s| s["elem"].as_array()).flatten();
    // An element of a dynamic set may come with counters around it.
    Ok(all.filter_map(|e| e.as_str().or_else(|| e["elem"]["val"].as_str())).map(str::to_owned).collect())
}

impl Drop for Netns {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Ends every process in the namespace and removes it.
fn remove(name: &str) {
    if let Ok(pids) = tool::run(&["ip", "netns", "pids", name]) {
        for pid in pids.lines().filter_map(|l| l.trim().parse::<i32>().ok()).filter(|p| *p > 1) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }
    let _ = tool::run(&["ip", "netns", "del", name]);
}

/// The pid in a name that the lab made: `kdlab-123-0` is of pid 123.
pub fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

/// True while a process with this pid is a lab.
pub fn lab_lives(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.starts_with("kubedos-lab"))
}

/// Removes the namespaces of labs that are gone. Returns their names.
pub fn clean_stale() -> Result<Vec<String>> {
    let list = tool::run(&["ip", "netns", "list"])?;
    let mut gone = Vec::new();
    for name in list.lines().filter_map(|l| l.split_whitespace().next()) {
        if owner(name).is_some_and(|pid| !lab_lives(pid)) {
            remove(name);
            gone.push(name.to_owned());
        }
    }
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_a_name() {
        let table = [("kdlab-12-0", Some(12)), ("kdlab-12", Some(12)), ("kdlab-", None), ("other-12", None), ("kdlab-x-1", None)];
        for (name, want) in table {
            assert_eq!(owner(name), want, "{name}");
        }
    }

    #[test]
    fn counters_are_added_and_never_silently_missing() {
        let json = r#"{"nftables":[{"metainfo":{}},{"counter":{"name":"escaped","packets":2}},
            {"counter":{"name":"strange","packets":9}},{"counter":{"name":"escaped","packets":3}}]}"#;
        assert_eq!(sum_of_counters(json, "escaped").unwrap(), 5);
        assert!(sum_of_counters(r#"{"nftables":[]}"#, "escaped").is_err());
        assert!(sum_of_counters("", "escaped").is_err());
    }
}
