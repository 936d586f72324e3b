//! Network namespaces on one bridge: for the example server, the clients, and other servers. Everything is removed on
//! drop.

// Each test program uses only a part of it.
#![allow(dead_code)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub const SERVER: &str = "10.99.0.1";
/// How long the lab waits for an immediate effect.
const PATIENCE: Duration = Duration::from_secs(20);

static NEXT: AtomicU32 = AtomicU32::new(0);

pub struct Lab {
    id: String,
    dir: tempfile::TempDir,
    server: Option<Child>,
    words: Vec<String>,
    others: Vec<Child>,
}

/// Whether all requirements of the test are met, or the first missing one.
pub fn needs(tools: &[&str]) -> Result<(), String> {
    // /proc instead of a call: the workspace allows no unsafe code.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if !status.lines().any(|l| l.starts_with("Uid:") && l.split_whitespace().nth(2) == Some("0")) {
        return Err("root".into());
    }
    for tool in ["ip", "sh"].iter().chain(tools) {
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        if !path.split(':').any(|dir| fs::metadata(format!("{dir}/{tool}")).is_ok()) {
            return Err((*tool).to_owned());
        }
    }
    Ok(())
}

impl Lab {
    /// Starts the lab with these boot files, or prints why it is skipped.
    pub fn start(needs: &Result<(), String>, files: &[(&str, &[u8])]) -> Option<Lab> {
        Lab::start_with(needs, files, &[])
    }

    /// The same, with additional arguments for the example server.
    pub fn start_with(needs: &Result<(), String>, files: &[(&str, &[u8])], words: &[&str]) -> Option<Lab> {
        let mut lab = Lab::without_server(needs, files, words)?;
        lab.serve_again();
        Some(lab)
    }

    pub fn serve_again(&mut self) {
        self.server = Some(self.serve("srv0", &self.path("events"), Stdio::null()));
        self.wait_for("ready");
    }

    /// Only the network, without the server.
    pub fn without_server(needs: &Result<(), String>, files: &[(&str, &[u8])], words: &[&str]) -> Option<Lab> {
        if let Err(what) = needs {
            kubedos_skip::skip(what, "the test needs it");
            return None;
        }
        let id = format!("pxe{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let words = words.iter().map(|w| (*w).to_owned()).collect();
        let lab = Lab { id, dir: tempfile::tempdir().unwrap(), server: None, words, others: Vec::new() };
        if !lab.try_ip(&["netns", "add", &lab.ns("srv")]) {
            kubedos_skip::skip("netns", "this kernel or container allows no network namespaces");
            return None;
        }
        let srv = lab.ns("srv");
        // The server's interface is a bridge, so that it can have several neighbours.
        lab.ip(&[
            "-n",
            &srv,
            "link",
            "add",
            "srv0",
            "type",
            "bridge",
            "stp_state",
            "0",
            "forward_delay",
            "0",
            "mcast_snooping",
            "0",
        ]);
        lab.ip(&["-n", &srv, "address", "add", "10.99.0.1/24", "dev", "srv0"]);
        lab.ip(&["-n", &srv, "link", "set", "srv0", "up"]);
        lab.ip(&["-n", &srv, "link", "set", "lo", "up"]);
        lab.neighbour("cli");
        lab.neighbour("oth");
        fs::create_dir(lab.path("netboot")).unwrap();
        for (name, bytes) in files {
            fs::write(lab.path("netboot") + "/" + name, bytes).unwrap();
        }
        Some(lab)
    }

    fn serve(&self, iface: &str, events: &str, errors: Stdio) -> Child {
        // Cargo builds the examples of a crate before its tests, in a sibling directory.
        let exe = Lab::example("serve");
        Command::new("ip")
            .args(["netns", "exec", &self.ns("srv")])
            .arg(exe)
            .args([iface, SERVER, "24", "10.99.0.100", "10.99.0.110", &self.path("netboot")])
            .args(["http://10.99.0.1/boot/ipxe", &self.path("leases")])
            .args(&self.words)
            .stdin(Stdio::piped())
            .stdout(fs::File::create(events).unwrap())
            .stderr(errors)
            .spawn()
            .unwrap()
    }

    /// A namespace with the interface `NAME0` on the bridge.
    fn neighbour(&self, name: &str) {
        let (srv, ns, dev) = (self.ns("srv"), self.ns(name), format!("{name}0"));
        self.ip(&["netns", "add", &ns]);
        let port = format!("p-{name}");
        self.ip(&["-n", &srv, "link", "add", &port, "type", "veth", "peer", "name", &dev, "netns", &ns]);
        self.ip(&["-n", &srv, "link", "set", &port, "master", "srv0", "up"]);
        self.ip(&["-n", &ns, "link", "set", &dev, "up"]);
        self.ip(&["-n", &ns, "link", "set", "lo", "up"]);
    }

    /// Adds an address to a namespace's interface.
    pub fn address(&self, side: &str, address: &str) {
        self.ip(&["-n", &self.ns(side), "address", "add", address, "dev", &format!("{side}0")]);
    }

    /// Adds an address on the clients' side, and a route for broadcasts.
    pub fn rack_address(&self) {
        self.address("cli", "10.99.0.3/24");
        self.ip_of("cli", &["route", "add", "default", "dev", "cli0"]);
    }

    /// `ip` in a side's namespace.
    pub fn ip_of(&self, side: &str, args: &[&str]) {
        self.ip(&[&["-n", &self.ns(side)], args].concat());
    }

    /// Starts a third-party program in a namespace; it is killed at the end.
    pub fn background(&mut self, side: &str, program: &str, args: &[&str]) {
        let log = fs::File::create(self.path(&format!("{side}.log"))).unwrap();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.ns(side), program]).args(args);
        let (out, err) = (log.try_clone().unwrap(), log);
        self.others.push(command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().unwrap());
        std::thread::sleep(Duration::from_millis(700));
        let status = self.others.last_mut().unwrap().try_wait().unwrap();
        assert!(status.is_none(), "{program} ended: {}", fs::read_to_string(self.path(&format!("{side}.log"))).unwrap());
    }

    /// An example program of this crate.
    pub fn example(name: &str) -> String {
        let mut exe = std::env::current_exe().unwrap();
        exe.pop();
        exe.pop();
        exe.join("examples").join(name).to_str().unwrap().to_owned()
    }

    /// Kills the server like a power failure and restarts it with its files.
    pub fn kill_and_restart(&mut self) {
        let mut server = self.server.take().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
        self.server = Some(self.serve("srv0", &self.path("events"), Stdio::null()));
        self.wait_for("ready");
    }

    /// Gives the client side another MAC address.
    pub fn set_client_mac(&self, mac: &str) {
        self.ip(&["-n", &self.ns("cli"), "link", "set", "cli0", "address", mac]);
    }

    /// Output of a second server on this interface before it exits.
    pub fn second_server(&self, iface: &str) -> String {
        let mut child = self.serve(iface, &self.path("second"), Stdio::piped());
        let said: String = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok).collect();
        assert!(!child.wait().unwrap().success());
        said
    }

    pub fn ns(&self, side: &str) -> String {
        format!("{}-{side}", self.id)
    }

    pub fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    pub fn file(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    /// Runs a program in a namespace ("srv", "cli", or none) and returns its output.
    pub fn run(&self, side: &str, program: &str, args: &[&str]) -> String {
        let mut command = match side {
            "" => Command::new(program),
            side => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", &self.ns(side), program]);
                command
            }
        };
        let out = command.args(args).stdin(Stdio::null()).output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(out.status.success(), "{program} {args:?}: {said}");
        said
    }

    pub fn client(&self, program: &str, args: &[&str]) -> String {
        self.run("cli", program, args)
    }

    /// Adds a static address on the client side.
    pub fn static_client(&self) {
        self.ip(&["-n", &self.ns("cli"), "address", "add", "10.99.0.50/24", "dev", "cli0"]);
    }

    /// Drops 2 % of the packets in each direction at the receiver (an outgoing drop would be an error on the sender's
    /// socket); false if the kernel does not support it.
    pub fn lossy(&self) -> bool {
        let rules =
            "table ip loss {\n chain input {\n type filter hook input priority 0;\n numgen random mod 100 < 2 drop\n }\n}\n";
        let file = self.file("loss.nft", rules.as_bytes());
        ["srv", "cli"].iter().all(|side| {
            let mut nft = Command::new("ip");
            nft.args(["netns", "exec", &self.ns(side), "nft", "-f", &file]).stderr(Stdio::null());
            nft.status().is_ok_and(|s| s.success())
        })
    }

    pub fn events(&self) -> String {
        fs::read_to_string(self.path("events")).unwrap_or_default()
    }

    pub fn leases(&self) -> String {
        let mut files: Vec<_> = fs::read_dir(self.path("leases")).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        files.iter().map(|f| fs::read_to_string(f).unwrap()).collect()
    }

    /// Waits until the server has printed the text.
    pub fn wait_for(&self, text: &str) {
        let start = Instant::now();
        while !self.events().contains(text) {
            assert!(start.elapsed() < PATIENCE, "the server never printed {text:?}: {}", self.events());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn try_ip(&self, args: &[&str]) -> bool {
        Command::new("ip").args(args).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
    }

    fn ip(&self, args: &[&str]) {
        assert!(self.try_ip(args), "ip {args:?}");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // It exits when its standard input is closed, which wait() does first.
            drop(server.stdin.take());
            let _ = server.wait();
        }
        for other in &mut self.others {
            let _ = other.kill();
            let _ = other.wait();
        }
        for side in ["srv", "cli", "oth"] {
            self.try_ip(&["netns", "delete", &self.ns(side)]);
        }
    }
}
