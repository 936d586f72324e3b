//! A small seed, and the ways in which one can be hostile or fail.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use camino::Utf8PathBuf;
use cluster_seed::agent::{
    Claim, ClaimReply, Hello, HelloReply, Report, ReportBody, ReportReply, Reveal, RevealReply, StatusReply,
};
use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::epoch::{EpochProof, EpochReply};
use cluster_seed::held::{Held, HeldReply};
use cluster_seed::identity::{
    DarksiteSource, IdentityInfo, InstallOrder, IssuedIdentity, NodeIdentity, PlaneAddress, SealedIdentity,
};
use cluster_seed::ids::{Digest, EnrollmentId, NodeId};
use cluster_seed::manifest::{ArtifactManifest, ArtifactSpec, CHUNK_SIZE, Chunk};
use cluster_seed::pairing::{Code, MachineKeys, Nonce, code, opens};
use cluster_seed::peers::PeersFile;
use cluster_seed::seal::{Sealed, SigningKey, key_from_text, key_text};
use cluster_seed::wireguard::WgPrivateKey;

pub const ENROLLMENT: EnrollmentId = EnrollmentId([2; 16]);
pub const MIB: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    None,
    Deny,
    /// The identity is signed by another key than the one in the hello.
    OtherSigner,
    /// The identity inside names another site key.
    OtherSiteKeyInside,
    /// The identity belongs to another enrollment.
    OtherEnrollment,
    OtherEnrollmentInside,
    /// The identity is sealed to another machine.
    OtherMachine,
    /// The state is Issued although this machine claimed nothing.
    Stolen,
    /// The answer to the first claim is lost on the way.
    LoseClaim,
    /// Every third request is answered 503 or not at all.
    Restarting,
    ManifestByOther,
    ManifestUnsigned,
    ManifestBitFlip,
    ManifestOfOther,
    ManifestContradicts,
    StateInHead,
    /// The n-th chunk is wrong the first so many times.
    Chunk(usize, u32),
    ChunkTooLong(usize),
    ChunkMissing(usize),
    RefuseBegin,
}

pub struct State {
    pub site: SigningKey,
    pub state: EnrollmentState,
    pub lie: Lie,
    pub manifest: ArtifactManifest,
    pub chunks: BTreeMap<Digest, Vec<u8>>,
    pub order: InstallOrder,
    pub reports: Vec<Report>,
    pub code: Option<Code>,
    pub claims: Vec<Claim>,
    /// Looked at during every chunk request: its first MiB must be zero.
    pub disk: Option<Utf8PathBuf>,
    pub head_seen: bool,
    /// The epoch it can prove.
    pub epoch: Option<u64>,
    /// Epochs that it was shown.
    pub told: Vec<u64>,
    /// Version of its list of peers.
    pub version: u64,
    /// What nodes told of their lists, and the lists that they sent.
    pub held: Vec<Held>,
    pub shown: Vec<Sealed<PeersFile>>,
    /// Its answer to such a list.
    pub above: Option<PeersFile>,
    hello: Option<Hello>,
    reveal: Option<Reveal>,
    issued: Option<SealedIdentity>,
    polls: u32,
    requests: u32,
    tampered: u32,
}

pub struct Mock {
    pub url: String,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
}

/// An image of ten MiB: three chunks, the middle one zeros, the last one short.
pub fn image() -> Vec<u8> {
    let mut image: Vec<u8> = (0..10 * MIB).map(|i| (i / 7 % 251) as u8 + 1).collect();
    image[4 * MIB..8 * MIB].fill(0);
    image
}

fn artifact() -> (ArtifactManifest, BTreeMap<Digest, Vec<u8>>) {
    let image = image();
    let spec = ArtifactSpec {
        recipe: 1,
        role: "base".into(),
        arch: "amd64".into(),
        snapshot: Digest::of(b"s"),
        packages: vec![],
        payload: payload::assets::digest(),
    };
    let mut stored = BTreeMap::new();
    let pieces = image.chunks(CHUNK_SIZE as usize).map(|raw| {
        if raw.iter().all(|b| *b == 0) {
            return Chunk::Zero;
        }
        let bytes = zstd::bulk::compress(raw, 1).unwrap();
        let chunk = Chunk::Zstd { stored: Digest::of(&bytes), stored_size: bytes.len() as u32, raw: Digest::of(raw) };
        stored.insert(Digest::of(&bytes), bytes);
        chunk
    });
    let chunks = pieces.collect();
    let manifest = ArtifactManifest {
        id: spec.id(),
        spec,
        disk_size: image.len() as u64,
        min_disk: 12 << 20,
        raw: Digest::of(&image),
        state_offset: 9 << 20,
        state_size: 1 << 20,
        chunks,
    };
    (manifest, stored)
}

impl Mock {
    pub fn start(lie: Lie) -> Self {
        let (manifest, chunks) = artifact();
        let order = InstallOrder { artifact: manifest.id, disk: "vda".into(), disk_serial: "disk-a".into(), disk_size: 16 << 20 };
        let state = Arc::new(Mutex::new(State {
            site: SigningKey::from_bytes(&[1; 32]),
            state: EnrollmentState::Discovered,
            lie,
            manifest,
            chunks,
            order,
            reports: vec![],
            code: None,
            claims: vec![],
            disk: None,
            head_seen: false,
            epoch: None,
            told: vec![],
            version: 9,
            held: vec![],
            shown: vec![],
            above: None,
            hello: None,
            reveal: None,
            issued: None,
            polls: 0,
            requests: 0,
            tampered: 0,
        }));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (Arc::clone(&state), Arc::clone(&stop));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream.unwrap(), &shared));
            }
        });
        Mock { url, state, stop }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// As if everything up to the claim had happened.
    pub fn identity(&self) -> NodeIdentity {
        identity(&self.state().site, ENROLLMENT)
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.url.trim_start_matches("http://")));
    }
}

fn identity(site: &SigningKey, enrollment: EnrollmentId) -> NodeIdentity {
    let peers = PeersFile { epoch: 1, version: 1, planes: BTreeMap::new(), nodes: BTreeMap::new() };
    let plane = PlaneAddress { cidr: "10.78.0.0/16".parse().unwrap(), address: "10.78.0.2".parse().unwrap(), port: 51821 };
    NodeIdentity {
        info: IdentityInfo {
            node: NodeId([1; 16]),
            enrollment,
            site: "a".into(),
            epoch: 1,
            site_key: key_text(&site.verifying_key()),
            hostname: "n1.lan".parse().unwrap(),
            role: "base".into(),
            seed_url: "http://10.44.0.1".into(),
            seed_hostname: "seed.lan".parse().unwrap(),
            planes: BTreeMap::from([("wg1".to_owned(), plane)]),
            authorized_keys: vec![],
            darksite: DarksiteSource { suite: "trixie".into(), ..DarksiteSource::default() },
            peers: Sealed::sign(&peers, site).unwrap(),
        },
        keys: BTreeMap::from([("wg1".to_owned(), WgPrivateKey::from_random([9; 32]))]),
    }
}

type Answer = (u16, Vec<u8>);

fn json(value: &impl serde::Serialize) -> Answer {
    (200, serde_json::to_vec(value).unwrap())
}

fn error(status: u16, text: &str) -> Answer {
    (status, serde_json::to_vec(&serde_json::json!({ "error": text })).unwrap())
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut first = String::new();
    if reader.read_line(&mut first).unwrap_or(0) == 0 {
        return;
    }
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let path = first.split(' ').nth(1).unwrap().to_owned();
    let (status, bytes) = state.lock().unwrap().answer(&path, &body);
    if status == 0 {
        return; // hang up without an answer
    }
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", bytes.len());
    // The agent may hang up on an answer that is too long.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&bytes));
}

impl State {
    fn answer(&mut self, path: &str, body: &[u8]) -> Answer {
        self.requests += 1;
        if self.lie == Lie::Restarting && self.requests % 3 == 1 {
            return if self.requests % 2 == 1 { error(503, "starting") } else { (0, vec![]) };
        }
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match parts[..] {
            ["api", "v1", "agent", "hello"] => {
                self.hello = Some(serde_json::from_slice(body).unwrap());
                let site_key = key_text(&self.site.verifying_key());
                json(&HelloReply { enrollment: ENROLLMENT, site_key, seed_nonce: Nonce::from_random([5; 32]) })
            }
            ["api", "v1", "epoch"] if body.is_empty() => match self.epoch {
                Some(epoch) => json(&Sealed::sign(&EpochProof { epoch }, &self.site).unwrap()),
                None => error(404, "no such page"),
            },
            ["api", "v1", "epoch"] => {
                let proof: Sealed<EpochProof> = serde_json::from_slice(body).unwrap();
                self.told.push(proof.open(&self.site.verifying_key()).unwrap().epoch);
                json(&EpochReply { epoch: self.epoch.unwrap_or(1), fenced: true })
            }
            ["api", "v1", "agent", _, "held"] => self.held(body),
            ["api", "v1", "agent", _, "list"] => {
                self.shown.push(serde_json::from_slice(body).unwrap());
                let peers = self.above.clone();
                json(&HeldReply { peers: peers.map(|p| Sealed::sign(&p, &self.site).unwrap()), send: false })
            }
            ["api", "v1", "agent", _, "reveal"] => self.reveal(body),
            ["api", "v1", "agent", _, "status"] => self.status(),
            ["api", "v1", "agent", _, "claim"] => self.claim(body),
            ["api", "v1", "agent", _, "report"] => self.report(body),
            ["artifacts", _, "manifest.json"] => self.manifest(),
            ["chunks", name] => self.chunk(name),
            _ => error(404, "no such page"),
        }
    }

    fn held(&mut self, body: &[u8]) -> Answer {
        let sealed: Sealed<Held> = serde_json::from_slice(body).unwrap();
        let held = sealed.open(&SigningKey::from_bytes(&[7; 32]).verifying_key()).expect("signed by the node key");
        assert!(self.held.last().is_none_or(|last| last.seq < held.seq), "numbers grow");
        let version = (self.epoch.unwrap_or(1), self.version);
        let peers = PeersFile { epoch: version.0, version: version.1, planes: BTreeMap::new(), nodes: BTreeMap::new() };
        let own = Sealed::sign(&peers, &self.site).unwrap();
        let (same, send) = (held.digest == own.digest(), (held.epoch, held.version) >= version);
        self.held.push(held);
        json(&HeldReply { peers: (!same).then_some(own), send: send && !same })
    }

    fn reveal(&mut self, body: &[u8]) -> Answer {
        let reveal: Reveal = serde_json::from_slice(body).unwrap();
        let node_key = key_from_text(&reveal.node_key).unwrap();
        let keys = MachineKeys { recipient: &reveal.recipient, node_key: &node_key, nonce: reveal.nonce };
        assert!(opens(&self.hello.as_ref().unwrap().commitment, &keys), "the reveal does not open the commitment");
        reveal.facts.open(&node_key).expect("facts signed by the node key");
        self.code = Some(code(&keys, &self.site.verifying_key(), &Nonce::from_random([5; 32])));
        self.reveal = Some(reveal);
        self.state = EnrollmentState::Pending;
        json(&RevealReply { state: self.state })
    }

    fn status(&mut self) -> Answer {
        self.polls += 1;
        if self.polls == 3 {
            self.state = match self.lie {
                Lie::Deny => EnrollmentState::Denied,
                Lie::Stolen => EnrollmentState::Issued,
                _ => EnrollmentState::Approved,
            };
        }
        let challenge = (self.state == EnrollmentState::Approved).then(|| Nonce::from_random([6; 32]));
        let reason = (self.state == EnrollmentState::Denied).then(|| "not ours".to_owned());
        json(&StatusReply { state: self.state, challenge, reason })
    }

    fn claim(&mut self, body: &[u8]) -> Answer {
        let reveal = self.reveal.as_ref().unwrap();
        let sealed: Sealed<Claim> = serde_json::from_slice(body).unwrap();
        let claim = sealed.open(&key_from_text(&reveal.node_key).unwrap()).expect("claim signed by the node key");
        assert_eq!(claim.challenge, Nonce::from_random([6; 32]));
        if self.claims.first().is_some_and(|first| first.nonce != claim.nonce) {
            return error(409, "already claimed");
        }
        self.claims.push(claim);
        self.state = EnrollmentState::Issued;
        let other = SigningKey::from_bytes(&[3; 32]);
        let inside_key = if self.lie == Lie::OtherSiteKeyInside { &other } else { &self.site };
        let inside = if self.lie == Lie::OtherEnrollmentInside { EnrollmentId([9; 16]) } else { ENROLLMENT };
        let outside = if self.lie == Lie::OtherEnrollment { EnrollmentId([9; 16]) } else { ENROLLMENT };
        let elsewhere = cluster_seed::secret::AgeKey::generate().recipient();
        let recipient = if self.lie == Lie::OtherMachine { &elsewhere } else { &reveal.recipient };
        let ciphertext = identity(inside_key, inside).seal_to(recipient).unwrap();
        let issued = IssuedIdentity::new(outside, 1, self.order.clone(), &ciphertext);
        let signer = if self.lie == Lie::OtherSigner { &other } else { &self.site };
        let answer = self.issued.get_or_insert_with(|| Sealed::sign(&issued, signer).unwrap()).clone();
        if self.lie == Lie::LoseClaim && self.claims.len() == 1 { (0, vec![]) } else { json(&ClaimReply { identity: answer }) }
    }

    fn report(&mut self, body: &[u8]) -> Answer {
        let report: Report = match (&self.reveal, serde_json::from_slice::<Sealed<Report>>(body).unwrap()) {
            (Some(reveal), sealed) => sealed.open(&key_from_text(&reveal.node_key).unwrap()).unwrap(),
            (None, sealed) => sealed.open(&SigningKey::from_bytes(&[7; 32]).verifying_key()).unwrap(),
        };
        if self.lie == Lie::RefuseBegin && matches!(report.body, ReportBody::InstallBegan { .. }) {
            return error(409, "revoked meanwhile");
        }
        let fresh = self.reports.iter().all(|r| r.seq != report.seq);
        self.reports.push(report);
        json(&ReportReply { state: EnrollmentState::Installing, fresh })
    }

    fn manifest(&mut self) -> Answer {
        let mut manifest = self.manifest.clone();
        match self.lie {
            Lie::ManifestOfOther => {
                manifest.spec.role = "other".into();
                manifest.id = manifest.spec.id();
            }
            Lie::ManifestContradicts => drop(manifest.chunks.pop()),
            Lie::StateInHead => manifest.state_offset = MIB as u64 - 1,
            _ => {}
        }
        let other = SigningKey::from_bytes(&[3; 32]);
        let signer = if self.lie == Lie::ManifestByOther { &other } else { &self.site };
        let mut bytes = serde_json::to_vec(&Sealed::sign(&manifest, signer).unwrap()).unwrap();
        if self.lie == Lie::ManifestUnsigned {
            let mut value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            value["signature"] = "".into();
            bytes = value.to_string().into_bytes();
        }
        if self.lie == Lie::ManifestBitFlip {
            let at = bytes.windows(4).position(|w| w == b"base").unwrap();
            bytes[at] ^= 1;
        }
        (200, bytes)
    }

    fn chunk(&mut self, name: &str) -> Answer {
        if let Some(disk) = &self.disk {
            let mut head = vec![0; MIB];
            std::fs::File::open(disk).unwrap().read_exact(&mut head).unwrap();
            self.head_seen |= head.iter().any(|b| *b != 0);
        }
        let digest: Digest = name.parse().unwrap();
        let named = |n: usize| matches!(self.manifest.chunks[n], Chunk::Zstd { stored, .. } if stored == digest);
        let mut bytes = self.chunks[&digest].clone();
        match self.lie {
            Lie::Chunk(n, times) if named(n) && self.tampered < times => {
                self.tampered += 1;
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }
            Lie::ChunkTooLong(n) if named(n) => bytes.push(0),
            Lie::ChunkMissing(n) if named(n) => return error(404, "no such chunk"),
            _ => {}
        }
        (200, bytes)
    }
}
