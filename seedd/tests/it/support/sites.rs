#![allow(dead_code, reason = "every test binary uses its own part of this")]
//! Small sites in temporary folders, and machines that speak the protocol, for the tests of capsules and epochs.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::agent::{Claim, ClaimReply, Confirm, Hello, Mismatch, PROTOCOL, Report, ReportBody};
use cluster_seed::cluster::ClusterSpec;
use cluster_seed::enrollment::EnrollmentState as S;
use cluster_seed::identity::NodeIdentity;
use cluster_seed::ids::{Digest, EnrollmentId, Mac};
use cluster_seed::join::token::{JoinToken, TokenId};
use cluster_seed::machine::{Disk, Firmware, HardwareFacts};
use cluster_seed::manifest::{ArtifactManifest, ArtifactSpec, BootFile, CHUNK_SIZE, Chunk, NetbootManifest};
use cluster_seed::pairing::Nonce;
use cluster_seed::seal::{Sealed, SigningKey};
use cluster_seed::secret::AgeKey;
use converge::payload::{gather, publish};
use payload::http::Http;
use payload::node::applied::ListId;
use payload::node::lists::{ListError, Lists, Refreshed};
use payload::state::NodeDir;
use seedd::app::App;
use site::store::Store;
use site::{Site, default_cluster_yaml, setting};
use web::api::{Actor, ApiError, Approve, EnrollmentView};

use super::paired::Paired;

pub const A: &str = "passphrase of site a";
pub const B: &str = "passphrase of site b";
/// What the tests open a hundred times need not be slow to open.
pub const WORK: u8 = 10;
const DISK: u64 = 4 << 30;

pub struct Temp {
    _dir: tempfile::TempDir,
    pub path: Utf8PathBuf,
}

pub fn temp() -> Temp {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    Temp { _dir: dir, path }
}

/// The passphrase of [`site_a`].
pub const PASSPHRASE: &str = "correct horse battery";

/// An empty site in a folder of `t`.
pub fn site_a(t: &Temp) -> Site {
    empty(&t.path.join("site"), "site-a", PASSPHRASE)
}

/// A site as `seedd init` makes it.
pub fn empty(data: &Utf8Path, name: &str, passphrase: &str) -> Site {
    let site = Site::new(data);
    site.make_folders().unwrap();
    let text = default_cluster_yaml(name);
    let planes: Vec<String> = ClusterSpec::parse(&text).unwrap().spec.networking.planes.keys().cloned().collect();
    site.keys().create_with(WORK, passphrase, name, &planes, 1_760_000_000).unwrap();
    std::fs::write(site.cluster_file(), text).unwrap();
    Store::open(&site.database()).unwrap().set(setting::EPOCH, "1").unwrap();
    site
}

fn put_blob(site: &Site, content: &[u8]) -> Digest {
    let digest = Digest::of(content);
    let path = site.blob(digest);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
    digest
}

/// The same with a snapshot, a netboot set and an artifact of `chunks` chunks of `size` bytes.
pub fn filled(data: &Utf8Path, name: &str, passphrase: &str, chunks: u32, size: u32) -> Site {
    let site = empty(data, name, passphrase);
    let key = site.keys().unseal(passphrase).unwrap().site;
    let store = Store::open(&site.database()).unwrap();
    let chunk = |n: u32| {
        let content: Vec<u8> = (0..size).map(|i| (i / 7 + n) as u8).collect();
        Chunk::Zstd { stored: put_blob(&site, &content), stored_size: size, raw: Digest([9; 32]) }
    };
    let manifest = artifact((0..chunks).map(chunk).collect());
    let dir = site.join("artifacts").join(manifest.id.to_string());
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("manifest.json"), serde_json::to_vec(&Sealed::sign(&manifest, &key).unwrap()).unwrap()).unwrap();
    store.set(&format!("{}base", setting::ARTIFACT), &manifest.id.to_string()).unwrap();

    let kernel = b"a kernel".to_vec();
    let file = BootFile { name: "vmlinuz".into(), size: kernel.len() as u64, sha256: Digest::of(&kernel) };
    let netboot = NetbootManifest {
        id: Digest([4; 32]),
        snapshot: Digest([5; 32]),
        arch: "amd64".into(),
        kernel: "6".into(),
        files: vec![file],
    };
    let dir = site.join("netboot").join(netboot.id.to_string());
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("vmlinuz"), kernel).unwrap();
    std::fs::write(dir.join("netboot.json"), serde_json::to_vec(&Sealed::sign(&netboot, &key).unwrap()).unwrap()).unwrap();
    store.set(setting::NETBOOT, &netboot.id.to_string()).unwrap();

    let snapshot = Digest([5; 32]);
    let pool = site.join("snapshots").join(snapshot.to_string()).join("pool/main/b/bash");
    std::fs::create_dir_all(&pool).unwrap();
    std::fs::hard_link(site.blob(put_blob(&site, b"a package")), pool.join("bash_5.2~rc1+b10_amd64.deb")).unwrap();
    std::fs::write(site.join("snapshots").join(snapshot.to_string()).join("InRelease"), b"signed").unwrap();
    store.set(setting::SNAPSHOT, &snapshot.to_string()).unwrap();
    site
}

/// A payload with the play `hello`, in use.
pub fn put_payload(site: &Site, words: &str) -> Digest {
    let source = site.join("payload");
    let task = source.join("ansible/roles/hello/tasks");
    std::fs::create_dir_all(&task).unwrap();
    std::fs::write(task.join("main.yml"), format!("- name: {words}\n  ansible.builtin.ping:\n")).unwrap();
    let key = site.keys().unseal(A).unwrap().site;
    let parts = gather(&source, &[("ansible/roles/etcd/tasks/main.yml", b"[]")]).unwrap();
    let id = publish(site, &parts, "site-a", &key).unwrap().manifest.id;
    site.open_store().unwrap().write(|tx| tx.set_payload(id)).unwrap();
    id
}

fn artifact(chunks: Vec<Chunk>) -> ArtifactManifest {
    let spec = ArtifactSpec {
        recipe: 1,
        role: "base".into(),
        arch: "amd64".into(),
        snapshot: Digest([5; 32]),
        packages: vec![],
        payload: Digest([2; 32]),
    };
    let disk_size = chunks.len() as u64 * CHUNK_SIZE;
    ArtifactManifest {
        id: spec.id(),
        spec,
        disk_size,
        min_disk: DISK,
        raw: Digest([3; 32]),
        state_offset: 0,
        state_size: 4096,
        chunks,
    }
}

pub fn app(site: &Site) -> Arc<App> {
    Arc::new(App::open(site.clone(), "10.44.0.1:80".parse().unwrap()).unwrap())
}

pub fn unsealed(site: &Site, passphrase: &str) -> Arc<App> {
    let app = app(site);
    app.unseal_with(passphrase, "test").unwrap();
    app
}

pub fn admin() -> Actor {
    Actor::session("ada", cluster_seed::people::Rights::Administrator, true)
}

pub fn form(code: &str, name: &str, replace: bool) -> Approve {
    Approve { code: code.to_owned(), role: "base".to_owned(), hostname: name.to_owned(), disk: "vda".to_owned(), replace }
}

pub fn ip() -> IpAddr {
    "10.44.0.100".parse().unwrap()
}

/// What an agent says to the seed whose kernel has the list `applied`.
fn lists<'a>(dir: &'a NodeDir, identity: &'a NodeIdentity, key: &'a SigningKey, applied: ListId) -> Lists<'a> {
    Lists { dir, identity, key, applied }
}

fn stored(dir: &NodeDir, identity: &NodeIdentity) -> ListId {
    let (list, sealed) = dir.newest(identity).unwrap();
    ListId::of(&list, &sealed)
}

/// The first half of one period of an agent: it stores the seed's list, and has not acted on it yet.
pub fn fetch(dir: &NodeDir, identity: &NodeIdentity, key: &SigningKey, seed: &Http) -> Result<Refreshed, ListError> {
    lists(dir, identity, key, stored(dir, identity)).refresh(None, seed)
}

/// The second half: its kernel has the stored list, and it says so.
pub fn act(dir: &NodeDir, identity: &NodeIdentity, key: &SigningKey, seed: &Http) -> Result<(), ListError> {
    lists(dir, identity, key, stored(dir, identity)).report(None, seed)
}

/// Both; a list that it had already is not reported again.
pub fn period(dir: &NodeDir, identity: &NodeIdentity, key: &SigningKey, seed: &Http) -> Result<Refreshed, ListError> {
    let refreshed = fetch(dir, identity, key, seed)?;
    if refreshed.changed {
        act(dir, identity, key, seed)?;
    }
    Ok(refreshed)
}

/// A machine that speaks the protocol.
pub struct Machine {
    pub age: AgeKey,
    pub key: SigningKey,
    paired: Mutex<Option<Paired>>,
    mac: Mac,
}

impl Machine {
    pub fn new(n: u8) -> Self {
        Machine {
            age: AgeKey::generate(),
            key: SigningKey::from_bytes(&[n; 32]),
            paired: Mutex::default(),
            mac: Mac([2, 0, 0, 0, 0, n]),
        }
    }

    /// The same keys as [`Machine::new`] of `n`, under the MAC address of another.
    pub fn under(n: u8, mac: u8) -> Self {
        Machine { mac: Mac([2, 0, 0, 0, 0, mac]), ..Machine::new(n) }
    }

    pub fn facts(&self) -> HardwareFacts {
        HardwareFacts {
            vendor: "QEMU".into(),
            product: "p".into(),
            serial: String::new(),
            uuid: String::new(),
            firmware: Firmware::Bios,
            firmware_date: String::new(),
            cpu: "x".into(),
            cpus: 1,
            memory_mib: 1024,
            disks: vec![Disk {
                name: "vda".into(),
                size: DISK,
                model: "m".into(),
                serial: "s1".into(),
                rotational: false,
                removable: false,
                ..Disk::default()
            }],
            disks_left_out: 0,
            root_disk: None,
            nics: vec![],
            boot_mac: Some(self.mac),
            kernel: "6.12".into(),
            arch: cluster_seed::arch::Arch::Amd64,
        }
    }

    pub fn hello(&self, app: &App) -> Result<cluster_seed::agent::HelloReply, ApiError> {
        app.say_hello(ip(), &Hello { protocol: PROTOCOL, boot_mac: Some(self.mac), token: None })
    }

    /// Enrolls up to Pending; gives the id and the code on the console.
    pub fn enroll(&self, app: &App) -> (EnrollmentId, String) {
        let reply = self.hello(app).unwrap();
        let random = Digest::of(self.key.as_bytes()).0;
        let (paired, reveal, code) = Paired::start(&reply, &self.key, &self.age.recipient(), &self.facts(), random).unwrap();
        app.take_reveal(ip(), reply.enrollment, &reveal).unwrap();
        *self.paired.lock().unwrap() = Some(paired);
        (reply.enrollment, code)
    }

    /// The same with a join token; `secret` is what it takes for the token's secret.
    pub fn enroll_with(
        &self,
        app: &App,
        id: TokenId,
        secret: &JoinToken,
        facts: HardwareFacts,
    ) -> Result<EnrollmentId, ApiError> {
        let reply = app.say_hello(ip(), &Hello { protocol: PROTOCOL, boot_mac: Some(self.mac), token: Some(id) })?;
        let (random, secret) = (Digest::of(self.key.as_bytes()).0, secret.pairing_secret());
        let (paired, reveal, _) = Paired::start_with(&reply, &self.key, &self.age.recipient(), &facts, random, &secret).unwrap();
        app.take_reveal(ip(), reply.enrollment, &reveal)?;
        *self.paired.lock().unwrap() = Some(paired);
        Ok(reply.enrollment)
    }

    /// Checks the seed's confirmation and sends the machine's own, or tells that the code was wrong.
    pub fn confirm(&self, app: &App, id: EnrollmentId) -> Result<S, ApiError> {
        let offer = app.status_of(id).unwrap().offer.expect("the code was typed");
        let paired = self.paired.lock().unwrap().take().expect("a pairing that is not used up");
        match paired.check(&offer) {
            Some(confirmation) => {
                let confirm = Sealed::sign(&Confirm { enrollment: id, confirmation }, &self.key).unwrap();
                app.confirm(id, &confirm).map(|r| r.state)
            }
            None => app.mismatch(id, &Sealed::sign(&Mismatch { enrollment: id }, &self.key).unwrap()).map(|r| r.state),
        }
    }

    /// The operator types a code, and the machine confirms it.
    pub fn approve(&self, app: &App, id: EnrollmentId, form: &Approve) -> Result<EnrollmentView, ApiError> {
        app.approve_by(&admin(), id, form)?;
        self.confirm(app, id)?;
        app.view_of(id)
    }

    pub fn claim(&self, app: &App, id: EnrollmentId) -> Result<ClaimReply, ApiError> {
        self.claim_with(app, id, 7)
    }

    pub fn claim_with(&self, app: &App, id: EnrollmentId, nonce: u8) -> Result<ClaimReply, ApiError> {
        let challenge = app.status_of(id).unwrap().challenge.unwrap_or(Nonce::from_random([0; 32]));
        let claim = Claim { enrollment: id, challenge, nonce: Nonce::from_random([nonce; 32]) };
        app.hand_out(ip(), id, &Sealed::sign(&claim, &self.key).unwrap())
    }

    pub fn report(&self, app: &App, id: EnrollmentId, seq: u64, body: ReportBody) -> Result<S, ApiError> {
        let report = Sealed::sign(&Report { enrollment: id, seq, body }, &self.key).unwrap();
        app.take_report(ip(), id, &report).map(|r| r.state)
    }

    /// From nothing to Installed.
    pub fn install(&self, app: &App, name: &str, replace: bool) -> EnrollmentId {
        let (id, code) = self.enroll(app);
        self.approve(app, id, &form(&code, name, replace)).unwrap();
        self.claim(app, id).unwrap();
        let began = ReportBody::InstallBegan { artifact: Digest([1; 32]), disk: "vda".into(), total: 100 };
        self.report(app, id, 1, began).unwrap();
        self.report(app, id, 2, ReportBody::InstallDone { seconds: 1 }).unwrap();
        id
    }
}
