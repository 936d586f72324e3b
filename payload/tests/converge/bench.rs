//! A seed that answers a node's messages about convergence, and a node below a temporary directory.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use base64::Engine as _;
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::agent::{GateCheck, knows};
use cluster_seed::converge::orders::{Answer, Ask, Bundle, IssuedBundle, Leaf, Orders, Run, RunMode, RunReport};
use cluster_seed::converge::platform::Authority;
use cluster_seed::identity::{DarksiteSource, IdentityInfo, NodeIdentity, PlaneAddress};
use cluster_seed::ids::{Digest, EnrollmentId, NodeId};
use cluster_seed::peers::PeersFile;
use cluster_seed::seal::{Sealed, SigningKey, key_text};
use cluster_seed::wireguard::WgPrivateKey;
use payload::console::Console;
use payload::node::converge::agent::Agent;
use payload::node::converge::places::Places;
use payload::state::NodeDir;
use serde_json::Value;

pub const ENROLLMENT: EnrollmentId = EnrollmentId([2; 16]);
pub const PEM: &str = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
pub const KEY: &str = "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n";
/// A test that waits longer has failed. A start of Ansible takes a minute on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(900);
/// The agent's seconds pass this many times faster.
const FASTER: u32 = 40;

pub fn site() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

pub fn node_key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

#[derive(Default)]
pub struct State {
    pub orders: Option<Sealed<Orders>>,
    /// Issued, and the name of the key; sent while the node holds another.
    pub bundle: Option<(u64, EnrollmentId)>,
    /// Payloads by path.
    pub files: BTreeMap<String, Vec<u8>>,
    /// It hangs up on everything.
    pub away: bool,
    pub asks: Vec<Ask>,
    /// What it says it understands.
    pub knows: Vec<String>,
}

pub struct Seed {
    pub url: String,
    state: Arc<Mutex<State>>,
}

impl Seed {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State { knows: knows::all(), ..State::default() }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream.unwrap(), &shared));
            }
        });
        Seed { url, state }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn give(&self, orders: &Orders) {
        self.state().orders = Some(Sealed::sign(orders, &site()).unwrap());
    }

    pub fn offer(&self, archive: &[u8]) -> Digest {
        let digest = Digest::of(archive);
        self.state().files.insert(format!("/payload/{digest}"), archive.to_vec());
        digest
    }

    /// Waits for a message that `wanted` accepts, from number `from` on.
    pub fn heard(&self, from: usize, wanted: impl Fn(&Ask) -> bool) -> Ask {
        let began = Instant::now();
        loop {
            if let Some(ask) = self.state().asks.iter().skip(from).find(|ask| wanted(ask)) {
                return ask.clone();
            }
            let last = self.state().asks.last().cloned();
            assert!(began.elapsed() < PATIENCE, "not heard; the last message: {last:#?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn result(&self, from: usize, result: cluster_seed::converge::orders::RunResult) -> RunReport {
        self.heard(from, |ask| ask.run.as_ref().is_some_and(|r| r.result == result)).run.unwrap()
    }

    pub fn count(&self) -> usize {
        self.state().asks.len()
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut first, mut length) = (String::new(), 0);
    if reader.read_line(&mut first).unwrap_or(0) == 0 {
        return;
    }
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    // An agent that was killed sends a part of it.
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let path = first.split(' ').nth(1).unwrap().to_owned();
    let mut state = state.lock().unwrap();
    if state.away {
        return;
    }
    let (status, bytes) = match state.files.get(&path) {
        Some(bytes) => (200, bytes.clone()),
        None if path == format!("/api/v1/agent/{ENROLLMENT}/converge") => (200, state.answer(&body)),
        None => (404, b"{\"error\": \"no such page\"}".to_vec()),
    };
    drop(state);
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", bytes.len());
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&bytes));
}

impl State {
    fn answer(&mut self, body: &[u8]) -> Vec<u8> {
        let sealed: Sealed<Ask> = serde_json::from_slice(body).unwrap();
        let ask = sealed.open(&node_key().verifying_key()).expect("signed by the node key");
        assert_eq!(ask.enrollment, ENROLLMENT);
        assert!(
            self.asks.last().is_none_or(|last| last.seq < ask.seq && last.recipient != ask.recipient),
            "numbers grow, keys are fresh"
        );
        let held = (ask.epoch, ask.serial);
        let orders = self
            .orders
            .clone()
            .filter(|sealed| sealed.open(&site().verifying_key()).map_or(true, |o| (o.epoch, o.serial) != held));
        let certificates = self.bundle.filter(|(issued, _)| ask.bundle.is_none_or(|b| b.issued != *issued));
        let certificates = certificates.map(|(issued, enrollment)| {
            let leaf = |name: &str| {
                let key = KEY.replace("AA", &format!("{issued:04}"));
                Leaf { authority: Authority::Etcd, name: name.into(), certificate: PEM.into(), key }
            };
            let authorities = [(Authority::Etcd, PEM.to_owned())].into();
            let leaves = ["peer", "server", "client"].map(leaf).into();
            let bundle = Bundle { id: Digest([3; 32]), issued, authorities, leaves };
            let ciphertext = base64::engine::general_purpose::STANDARD.encode(bundle.seal_to(&ask.recipient).unwrap());
            Sealed::sign(&IssuedBundle { enrollment, ciphertext }, &site()).unwrap()
        });
        self.asks.push(ask);
        serde_json::to_vec(&Answer { orders, certificates, poll: 2, ssh: None, knows: self.knows.clone() }).unwrap()
    }
}

pub fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, text) in files {
        let mut header = tar::Header::new_ustar();
        header.set_path(path).unwrap();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, text.as_bytes()).unwrap();
    }
    zstd::encode_all(&builder.into_inner().unwrap()[..], 1).unwrap()
}

pub fn run(archive: &[u8], revision: u8, plays: &[&str], vars: Value) -> Run {
    Run {
        revision: Digest([revision; 32]),
        attempt: 0,
        mode: RunMode::Apply,
        payload: Digest::of(archive),
        payload_size: archive.len() as u64,
        role: "worker".into(),
        plays: plays.iter().map(|p| (*p).to_owned()).collect(),
        vars: serde_json::from_value(vars).unwrap(),
        groups: BTreeMap::new(),
    }
}

pub fn orders(serial: u64, run: Option<Run>) -> Orders {
    Orders { enrollment: ENROLLMENT, epoch: 1, serial, barriers: vec![], run }
}

pub fn identity() -> NodeIdentity {
    let peers: PeersFile = serde_json::from_str(
        r#"{"epoch":1,"version":1,"planes":{},"nodes":{"seed.lan":{"endpoint":null,"role":"seed","wg1":"10.78.0.1","keys":{}}}}"#,
    )
    .unwrap();
    let plane = PlaneAddress { cidr: "10.78.0.0/16".parse().unwrap(), address: "10.78.0.2".parse().unwrap(), port: 51821 };
    NodeIdentity {
        info: IdentityInfo {
            node: NodeId([1; 16]),
            enrollment: ENROLLMENT,
            site: "a".into(),
            epoch: 1,
            site_key: key_text(&site().verifying_key()),
            hostname: "n1.lan".parse().unwrap(),
            role: "worker".into(),
            seed_url: "http://10.44.0.1".into(),
            seed_hostname: "seed.lan".parse().unwrap(),
            planes: [("wg1".to_owned(), plane)].into(),
            authorized_keys: vec![],
            darksite: DarksiteSource::default(),
            peers: Sealed::sign(&peers, &site()).unwrap(),
            grub: None,
            apt: None,
            operator: None,
        },
        keys: [("wg1".to_owned(), WgPrivateKey::from_random([9; 32]))].into(),
    }
}

/// A node below a temporary directory.
pub struct Node {
    _dir: Option<tempfile::TempDir>,
    pub root: Utf8PathBuf,
}

impl Node {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        let plugins = root.join("usr/share/kubedos/ansible/callback_plugins");
        fs::create_dir_all(&plugins).unwrap();
        let plugin = include_bytes!("../../assets/ansible/callback_plugins/kubedos_json.py");
        fs::write(plugins.join("kubedos_json.py"), plugin).unwrap();
        fs::create_dir_all(root.join("state")).unwrap();
        Node { _dir: Some(dir), root }
    }

    /// The same node for another process.
    pub fn of(root: &Utf8Path) -> Self {
        Node { _dir: None, root: root.to_owned() }
    }

    pub fn dir(&self) -> NodeDir {
        NodeDir::new(&self.root.join("state"))
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap_or_default()
    }

    pub fn lines(&self, path: &str) -> usize {
        self.read(path).lines().count()
    }

    /// Runs the agent until `stop`.
    pub fn converge(&self, url: &str, stop: &AtomicBool) {
        let (identity, key, dir) = (identity(), node_key(), self.dir());
        let console = Console::to_path(&self.root.join("console")).unwrap();
        let agent = Agent {
            places: Places { root: &self.root },
            dir: &dir,
            identity: &identity,
            key: &key,
            console: &console,
            seed: &|_| Some(url.to_owned()),
            machine: &|_, run| vec![GateCheck { name: "time".into(), ok: true, detail: run.map_or("first", |_| "later").into() }],
            wait: &|time| std::thread::sleep(time / FASTER),
            stop: &|| stop.load(Ordering::Relaxed),
        };
        agent.run().unwrap();
    }

    /// Runs the agent during `f`.
    pub fn during<T>(&self, seed: &Seed, f: impl FnOnce() -> T) -> T {
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| self.converge(&seed.url, &stop));
            let _stop = Stop(&stop);
            f()
        })
    }

    /// Waits until a file has this many lines.
    pub fn wait_for(&self, path: &str, lines: usize) {
        let began = Instant::now();
        while self.lines(path) < lines {
            assert!(began.elapsed() < PATIENCE, "{path}: {:?}", self.read(path));
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// True if ansible-playbook is here; else the test is skipped.
pub fn has_ansible() -> bool {
    let found = std::process::Command::new("ansible-playbook").arg("--version").output().is_ok_and(|o| o.status.success());
    if !found {
        kubedos_skip::skip("ansible-playbook", "is not installed");
    }
    found
}
