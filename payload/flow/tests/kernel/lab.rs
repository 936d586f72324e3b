//! Two nodes as network namespaces, joined by pairs of virtual Ethernet that have the names of planes.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use aya::programs::loaded_programs;
use camino::{Utf8Path, Utf8PathBuf};
use host::clock::Stopwatch;
use host::files::{Start, open};
use host::programs::find_program;
use host::tool::{Running, Tool};
use kubedos_flow::report::Report;
use nix::sched::{CloneFlags, setns};
use serde_json::json;

/// For a machine that is busy with other builds.
pub const LONG: Duration = Duration::from_secs(120);
const PROGRAM: &str = env!("CARGO_BIN_EXE_kubedos-flow");

/// Programs in the kernel are everybody's, so the tests run one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether this host can run the tests; otherwise they are skipped.
pub fn possible(programs: &[&str]) -> bool {
    if !nix::unistd::geteuid().is_root() {
        kubedos_skip::skip("root", "network namespaces and eBPF need it");
        return false;
    }
    if !Utf8Path::new(kubedos_flow::btf::VMLINUX).exists() {
        kubedos_skip::skip("btf", "the kernel of this host has no type information");
        return false;
    }
    for program in ["ip", "nsenter"].iter().chain(programs) {
        if find_program(program).is_none() {
            kubedos_skip::skip(program, "is not installed");
            return false;
        }
    }
    true
}

pub fn ip(args: &[&str]) {
    Tool::new("ip").args(args).timeout(LONG).run().unwrap();
}

/// Numbers of our programs that the kernel has.
pub fn programs() -> BTreeSet<u32> {
    let ours = loaded_programs().filter_map(Result::ok).filter(|p| p.name_as_str().is_some_and(|n| n.starts_with("flow_")));
    ours.map(|p| p.id()).collect()
}

/// A network namespace.
pub struct Node {
    pub name: String,
}

impl Node {
    fn new(name: String) -> Self {
        ip(&["netns", "add", &name]);
        let node = Node { name };
        node.ip(&["link", "set", "lo", "up"]);
        node
    }

    pub fn ip(&self, args: &[&str]) {
        ip(&[&["-n", &self.name], args].concat());
    }

    fn path(&self) -> String {
        format!("/run/netns/{}", self.name)
    }

    /// A program in this namespace. /sys stays the host's, as for a process of systemd.
    pub fn tool(&self, argv: &[&str]) -> Tool<'static> {
        Tool::new("nsenter").arg(format!("--net={}", self.path())).args(argv).timeout(LONG)
    }

    pub fn nft(&self, script: &str) {
        self.tool(&["nft", "-f", "-"]).stdin(script.as_bytes()).run().unwrap();
    }

    /// Runs `f` on a thread in this namespace.
    pub fn inside<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
        let namespace = File::open(self.path()).unwrap();
        thread::spawn(move || {
            setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap();
            f()
        })
    }
}

impl Node {
    /// TCP segments that this namespace has sent again.
    fn retransmits(&self) -> u64 {
        let text = self.inside(|| std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap()).join().unwrap();
        let mut lines = text.lines().filter_map(|l| l.strip_prefix("Tcp: "));
        let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
        let at = names.split(' ').position(|n| n == "RetransSegs").unwrap();
        values.split(' ').nth(at).unwrap().parse().unwrap()
    }

    /// TCP sends nothing again because an acknowledgement is late, as it may be on a busy machine.
    fn patient(&self) {
        let set = |key: &str| std::fs::write(format!("/proc/sys/net/ipv4/{key}"), "0").unwrap();
        self.inside(move || ["tcp_early_retrans", "tcp_recovery"].map(set)).join().unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = Tool::new("ip").args(["netns", "del", &self.name]).timeout(LONG).run();
    }
}

/// Two nodes: n1 has the addresses .2, n2 .3.
pub struct Lab {
    pub a: Node,
    pub b: Node,
    pub dir: tempfile::TempDir,
    /// Programs before the test.
    pub before: BTreeSet<u32>,
    _alone: MutexGuard<'static, ()>,
}

/// Plane or underlay, and its network.
const LINKS: [(&str, &str); 3] = [("eth0", "10.44.0"), ("wg2", "10.79.0"), ("wg3", "10.80.0")];

impl Lab {
    /// `links`: those of [`LINKS`] that exist.
    pub fn new(links: &[&str]) -> Self {
        let alone = alone();
        let pid = std::process::id();
        let (a, b) = (Node::new(format!("kfa{pid}")), Node::new(format!("kfb{pid}")));
        a.patient();
        b.patient();
        for (name, net) in LINKS.iter().filter(|(name, _)| links.contains(name)) {
            ip(&["link", "add", name, "netns", &a.name, "type", "veth", "peer", "name", name, "netns", &b.name]);
            for (node, last) in [(&a, 2), (&b, 3)] {
                node.ip(&["address", "add", &format!("{net}.{last}/24"), "dev", name]);
                let v6 = format!("fd00:{}::{last}/64", net.split('.').nth(1).unwrap());
                node.ip(&["address", "add", &v6, "dev", name, "nodad"]);
                node.ip(&["link", "set", name, "up"]);
            }
        }
        let lab = Lab { a, b, dir: tempfile::tempdir().unwrap(), before: programs(), _alone: alone };
        let node = |last: u8| {
            let at = |net: u8| Ipv4Addr::new(10, net, 0, last);
            json!({"endpoint": at(44), "role": "base", "wg2": at(79), "wg3": at(80), "keys": {}})
        };
        let planes = json!({"wg2": {"cidr": "10.79.0.0/24", "port": 51822}, "wg3": {"cidr": "10.80.0.0/24", "port": 51823}});
        let peers = json!({"epoch": 1, "version": 1, "planes": planes, "nodes": {"n1.lan": node(2), "n2.lan": node(3)}});
        std::fs::write(lab.file("site.json"), json!({"me": "n1.lan", "peers": peers}).to_string()).unwrap();
        // The peer list has addresses of IPv4 only.
        let ranges = json!([{"cidr": "fd00:80::3/128", "node": "n2.lan", "plane": "wg3"}]);
        std::fs::write(lab.file("flow.json"), json!({"ranges": ranges}).to_string()).unwrap();
        lab
    }

    pub fn file(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.dir.path()).unwrap().join(name)
    }

    /// The agent of n1.
    pub fn agent(&self, more: &[&str]) -> Agent<'_> {
        let (socket, site, config) = (self.file("flow.sock"), self.file("site.json"), self.file("flow.json"));
        let paths = ["--socket", socket.as_str(), "--unsigned", site.as_str(), "--config", config.as_str(), "--every", "1"];
        let argv = [&[PROGRAM, "serve"], &paths[..], more].concat();
        let log = open(&self.file("log"), Start::End, 0o600).unwrap();
        let running = self.a.tool(&argv).spawn(log).unwrap();
        Agent { lab: self, running: Some(running) }
    }

    /// TCP segments that were sent again, by either node.
    pub fn retransmits(&self) -> u64 {
        self.a.retransmits() + self.b.retransmits()
    }

    pub fn detach(&self) -> String {
        self.a.tool(&[PROGRAM, "detach"]).run().unwrap().text()
    }

    /// Our programs that were not there before.
    pub fn left(&self) -> BTreeSet<u32> {
        &programs() - &self.before
    }
}

pub struct Agent<'a> {
    lab: &'a Lab,
    running: Option<Running>,
}

impl Agent<'_> {
    pub fn lab(&self) -> &Lab {
        self.lab
    }

    /// `None` while the agent does not answer.
    fn report(&self) -> Option<Report> {
        let out = self.lab.a.tool(&[PROGRAM, "show", "--json", "--socket", self.lab.file("flow.sock").as_str()]).run().ok()?;
        Some(serde_json::from_str(&out.text()).unwrap())
    }

    /// The first report that has what is looked for.
    pub fn until<T>(&self, what: &str, f: impl Fn(&Report) -> Option<T>) -> T {
        let watch = Stopwatch::start();
        loop {
            let report = self.report();
            if let Some(found) = report.as_ref().and_then(&f) {
                return found;
            }
            if watch.elapsed() > LONG {
                let log = std::fs::read_to_string(self.lab.file("log")).unwrap_or_default();
                panic!("{what} is not in {report:#?}\nlog:\n{log}");
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// Waits until these are watched.
    pub fn watching(self, planes: &[&str]) -> Self {
        self.until("an interface", |r| {
            let seen: BTreeSet<&str> = r.interfaces.iter().map(|i| i.plane.as_str()).collect();
            planes.iter().all(|p| seen.contains(p)).then_some(())
        });
        self
    }

    /// SIGTERM, and waits.
    pub fn stop(mut self) {
        let status = self.running.take().unwrap().stop();
        assert!(status.is_some_and(|s| s.success()), "{status:?}");
    }

    /// SIGKILL, and waits.
    pub fn kill(mut self) {
        let mut running = self.running.take().unwrap();
        running.kill();
    }
}

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.stop();
        }
    }
}
