//! A mock seed, with hostile and faulty behaviours.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use camino::Utf8PathBuf;
use cluster_seed::agent::{
    Claim, ClaimReply, Confirm, ConfirmReply, Hello, HelloReply, Offer, PROTOCOL, Report, Reveal, RevealReply, StatusReply, knows,
};
use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::epoch::{EpochProof, EpochReply};
use cluster_seed::held::{AptKeys, Held, HeldReply};
use cluster_seed::identity::{InstallOrder, IssuedIdentity, NodeIdentity, SealedIdentity};
use cluster_seed::ids::{Digest, EnrollmentId};
use cluster_seed::join::token::{JoinToken, TokenId};
use cluster_seed::manifest::ArtifactManifest;
use cluster_seed::pairing::{Nonce, Number, PairingCode};
use cluster_seed::pake::{Confirmation, Decision, Parties, answer};
use cluster_seed::peers::PeersFile;
use cluster_seed::seal::{Sealed, SigningKey, key_from_text, key_text};

mod goods;
mod lies;
pub mod machine;
mod made;
mod reports;
mod told;

pub use lies::Lie;
pub use made::image;
use made::{artifact, identity};

pub const ENROLLMENT: EnrollmentId = EnrollmentId([2; 16]);
pub const NUMBER: u16 = 12;
pub const MIB: usize = 1 << 20;

pub struct State {
    pub site: SigningKey,
    pub state: EnrollmentState,
    pub lie: Lie,
    pub manifest: ArtifactManifest,
    pub chunks: BTreeMap<Digest, Vec<u8>>,
    pub order: InstallOrder,
    pub reports: Vec<Report>,
    pub claims: Vec<Claim>,
    /// The machine's console, where the operator reads the code.
    pub console: Option<Utf8PathBuf>,
    /// Everything machines sent.
    pub heard: Vec<u8>,
    pub reveals: u32,
    pub confirms: u32,
    pub mismatches: u32,
    /// Checked at every chunk request: its first MiB must be zero.
    pub disk: Option<Utf8PathBuf>,
    pub head_seen: bool,
    /// The epoch it can prove.
    pub epoch: Option<u64>,
    /// Epochs that it received.
    pub told: Vec<u64>,
    /// Version of its peer list.
    pub version: u64,
    /// Versions that nodes reported, and lists that they sent.
    pub held: Vec<Held>,
    /// Sent with every answer to it.
    pub apt: Option<Sealed<AptKeys>>,
    pub shown: Vec<Sealed<PeersFile>>,
    /// Its answer to such a list.
    pub above: Option<PeersFile>,
    /// Its join token; without one it waits for a code.
    pub token: Option<JoinToken>,
    /// The token that the last hello named.
    pub named: Option<TokenId>,
    /// Asks for the code of the machine, which then is typed by nobody.
    pub asks: bool,
    pub told_code: Option<String>,
    /// What it says it understands.
    pub knows: Vec<String>,
    reveal: Option<Reveal>,
    offer: Option<(Offer, Confirmation)>,
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
            claims: vec![],
            console: None,
            heard: vec![],
            reveals: 0,
            confirms: 0,
            mismatches: 0,
            disk: None,
            head_seen: false,
            epoch: None,
            told: vec![],
            version: 9,
            held: vec![],
            apt: None,
            shown: vec![],
            above: None,
            token: None,
            named: None,
            asks: false,
            told_code: None,
            knows: knows::all(),
            reveal: None,
            offer: None,
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

    /// Skips to the state before the claim.
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
        self.heard.extend_from_slice(body);
        if self.lie == Lie::Restarting && self.requests % 3 == 1 {
            return if self.requests % 2 == 1 { error(503, "starting") } else { (0, vec![]) };
        }
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match parts[..] {
            ["api", "v1", "agent", "hello"] => {
                let hello: Hello = serde_json::from_slice(body).unwrap();
                assert_eq!(hello.protocol, PROTOCOL);
                self.named = hello.token;
                if self.lie == Lie::RefusesToken {
                    return error(403, "join token 0a1b2c3d has expired");
                }
                self.state = EnrollmentState::Discovered;
                (self.polls, self.offer, self.issued, self.claims) = (0, None, None, vec![]);
                let site_key = key_text(&self.site.verifying_key());
                json(&HelloReply {
                    enrollment: ENROLLMENT,
                    site_key,
                    number: Number::new(NUMBER).unwrap(),
                    knows: self.knows.clone(),
                })
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
                json(&HeldReply { peers: peers.map(|p| Sealed::sign(&p, &self.site).unwrap()), send: false, apt: None })
            }
            ["api", "v1", "agent", _, "reveal"] => self.reveal(body),
            ["api", "v1", "agent", _, "status"] => self.status(),
            ["api", "v1", "agent", _, "confirm"] => self.confirm(body),
            ["api", "v1", "agent", _, "mismatch"] => self.mismatch(body),
            ["api", "v1", "agent", _, "code"] => self.hear_code(body),
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
        let peers = PeersFile {
            epoch: version.0,
            version: version.1,
            planes: BTreeMap::new(),
            nodes: BTreeMap::new(),
            ..PeersFile::default()
        };
        let own = Sealed::sign(&peers, &self.site).unwrap();
        let (same, send) = (held.digest == own.digest(), (held.epoch, held.version) >= version);
        self.held.push(held);
        json(&HeldReply { peers: (!same).then_some(own), send: send && !same, apt: self.apt.clone() })
    }

    fn reveal(&mut self, body: &[u8]) -> Answer {
        let reveal: Reveal = serde_json::from_slice(body).unwrap();
        if self.lie == Lie::DeniesReveal {
            self.reveals += 1;
            return error(403, "an operator denied this machine");
        }
        let node_key = key_from_text(&reveal.node_key).unwrap();
        reveal.facts.open(&node_key).expect("facts signed by the node key");
        self.reveal = Some(reveal);
        self.reveals += 1;
        self.state = EnrollmentState::Pending;
        json(&RevealReply { state: self.state })
    }

    /// The operator reads the newest code from the console and enters it; a rogue has to guess one.
    fn offer(&mut self) {
        let code = match &self.token {
            Some(token) => PairingCode { number: Number::new(NUMBER).unwrap(), secret: token.pairing_secret() },
            None => self.typed(),
        };
        assert_eq!(code.number.get(), NUMBER);
        let reveal = self.reveal.as_ref().unwrap();
        let parties = Parties {
            enrollment: ENROLLMENT,
            number: code.number,
            site_key: &self.site.verifying_key(),
            node_key: &key_from_text(&reveal.node_key).unwrap(),
            recipient: &reveal.recipient,
            facts: reveal.facts.digest(),
        };
        let (hostname, role) = ("n1.lan".parse().unwrap(), "base".to_owned());
        let decision = Decision { order: &self.order, hostname: &hostname, role: &role };
        let (pake, both) = answer(&code.secret, &parties, &decision, &reveal.pake, &[5; 64]).unwrap();
        let pake = if self.lie == Lie::Reflects { reveal.pake } else { pake };
        let mut order = self.order.clone();
        if self.lie == Lie::OfferChanged {
            order.disk = "vdb".into();
        }
        self.offer = Some((Offer { pake, confirmation: both.of_seed, order, hostname, role }, both.of_machine));
        self.state = EnrollmentState::Confirming;
    }

    fn status(&mut self) -> Answer {
        self.polls += 1;
        if self.polls == 3 {
            match self.lie {
                Lie::Deny => self.state = EnrollmentState::Denied,
                Lie::ApprovesAtOnce => self.state = EnrollmentState::Approved,
                _ => self.offer(),
            }
        }
        let challenge = (self.state == EnrollmentState::Approved).then(|| Nonce::from_random([6; 32]));
        let reason = (self.state == EnrollmentState::Denied).then(|| "not ours".to_owned());
        let offer = self.offer.as_ref().filter(|_| self.state == EnrollmentState::Confirming).map(|(offer, _)| offer.clone());
        let tell_code = self.asks && self.told_code.is_none() && self.state == EnrollmentState::Pending;
        json(&StatusReply { state: self.state, offer, challenge, reason, tell_code })
    }

    fn node_key(&self) -> cluster_seed::seal::VerifyingKey {
        key_from_text(&self.reveal.as_ref().unwrap().node_key).unwrap()
    }

    fn confirm(&mut self, body: &[u8]) -> Answer {
        self.confirms += 1;
        if self.lie == Lie::Sealed && self.confirms == 1 {
            return error(423, "sealed");
        }
        let sealed: Sealed<Confirm> = serde_json::from_slice(body).unwrap();
        let confirm = sealed.open(&self.node_key()).expect("signed by the node key");
        if self.state != EnrollmentState::Confirming {
            return error(409, "not now");
        }
        assert!(confirm.confirmation.matches(&self.offer.as_ref().unwrap().1), "the machine's confirmation is wrong");
        self.state = if self.lie == Lie::Stolen { EnrollmentState::Issued } else { EnrollmentState::Approved };
        let lost = self.lie == Lie::LoseConfirm && self.confirms == 1;
        if lost { (0, vec![]) } else { json(&ConfirmReply { state: self.state }) }
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
        let mut inner = identity(inside_key, inside);
        match self.lie {
            Lie::OtherName => inner.info.hostname = "n2.lan".parse().unwrap(),
            Lie::OtherRole => inner.info.role = "master".into(),
            _ => {}
        }
        let ciphertext = inner.seal_to(recipient).unwrap();
        let mut order = self.order.clone();
        if self.lie == Lie::OtherOrder {
            order.disk = "vdb".into();
        }
        let issued = IssuedIdentity::new(outside, 1, order, &ciphertext);
        let signer = if self.lie == Lie::OtherSigner { &other } else { &self.site };
        let answer = self.issued.get_or_insert_with(|| Sealed::sign(&issued, signer).unwrap()).clone();
        if self.lie == Lie::LoseClaim && self.claims.len() == 1 { (0, vec![]) } else { json(&ClaimReply { identity: answer }) }
    }
}
