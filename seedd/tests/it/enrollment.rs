//! Enrollment through the app, as machines and operators meet it, without a network.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use camino::Utf8PathBuf;
use cluster_seed::agent::{Claim, Confirm, GateCheck, Hello, Mismatch, PROTOCOL, Report, ReportBody};
use cluster_seed::arch::Arch;
use cluster_seed::enrollment::EnrollmentState as S;
use cluster_seed::ids::{Digest, EnrollmentId, Mac};
use cluster_seed::machine::{Disk, Firmware, HardwareFacts};
use cluster_seed::manifest::{ArtifactManifest, ArtifactSpec, Chunk};
use cluster_seed::pairing::Nonce;
use cluster_seed::seal::{Sealed, SigningKey};
use cluster_seed::secret::AgeKey;
use cluster_seed::trouble::Trouble;
use seedd::app::App;
use site::setting;
use web::api::{Actor, ApiError, Approve, EnrollmentView};

use crate::support::paired::Paired;
use crate::support::sites::{Temp, site_a, temp};

pub(crate) use crate::support::sites::PASSPHRASE;

const DISK: u64 = 4 << 30;

pub(crate) struct Bench {
    pub _dir: Temp,
    pub app: Arc<App>,
}

pub(crate) fn ip() -> IpAddr {
    "10.44.0.100".parse().unwrap()
}

pub(crate) fn admin() -> Actor {
    Actor::session("ada", cluster_seed::people::Rights::Administrator, true)
}

pub(crate) fn bench() -> Bench {
    let dir = temp();
    let site = site_a(&dir);
    let store = site::store::Store::open(&site.database()).unwrap();
    let keys = site.keys().unseal(PASSPHRASE).unwrap();
    let manifest = manifest_for(Arch::Amd64);
    let folder = site.join("artifacts").join(manifest.id.to_string());
    std::fs::create_dir_all(&folder).unwrap();
    let sealed = Sealed::sign(&manifest, &keys.site).unwrap();
    std::fs::write(folder.join("manifest.json"), serde_json::to_vec(&sealed).unwrap()).unwrap();
    store.set(&format!("{}base", setting::ARTIFACT), &manifest.id.to_string()).unwrap();
    let app = App::open(site, "10.44.0.1:80".parse().unwrap()).unwrap();
    Bench { _dir: dir, app: Arc::new(app) }
}

pub(crate) fn manifest_for(arch: Arch) -> ArtifactManifest {
    let spec = ArtifactSpec {
        recipe: 1,
        role: "base".into(),
        arch: arch.to_string(),
        snapshot: Digest([1; 32]),
        packages: vec![],
        payload: Digest([2; 32]),
    };
    ArtifactManifest {
        id: spec.id(),
        spec,
        disk_size: 4 << 20,
        min_disk: DISK,
        raw: Digest([3; 32]),
        state_offset: 0,
        state_size: 4096,
        chunks: vec![Chunk::Zero],
    }
}

/// A machine that speaks the protocol.
pub(crate) struct Machine {
    pub age: AgeKey,
    pub key: SigningKey,
    pub paired: Mutex<Option<Paired>>,
    pub mac: Mac,
    /// Where it asks from.
    pub from: IpAddr,
    pub disk: u64,
    pub arch: Arch,
}

impl Machine {
    pub(crate) fn new(n: u8) -> Self {
        Machine {
            age: AgeKey::generate(),
            key: SigningKey::from_bytes(&[n; 32]),
            paired: Mutex::default(),
            mac: Mac([2, 0, 0, 0, 0, n]),
            from: ip(),
            disk: DISK,
            arch: Arch::Amd64,
        }
    }

    pub(crate) fn facts(&self) -> HardwareFacts {
        HardwareFacts {
            vendor: "QEMU\u{1b}[31m".into(),
            product: "<script>".into(),
            serial: String::new(),
            uuid: String::new(),
            firmware: Firmware::Bios,
            firmware_date: String::new(),
            cpu: "x".into(),
            cpus: 1,
            memory_mib: 1024,
            disks: vec![Disk {
                name: "vda".into(),
                size: self.disk,
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
            arch: self.arch,
        }
    }

    /// Enrolls up to Pending; gives the id and the code on the console.
    pub(crate) fn enroll(&self, app: &App) -> (EnrollmentId, String) {
        let hello = Hello { protocol: PROTOCOL, boot_mac: Some(self.mac), token: None };
        let reply = app.say_hello(self.from, &hello).unwrap();
        let random = Digest::of(self.key.as_bytes()).0;
        let (paired, reveal, code) = Paired::start(&reply, &self.key, &self.age.recipient(), &self.facts(), random).unwrap();
        assert_eq!(app.take_reveal(self.from, reply.enrollment, &reveal).unwrap().state, S::Pending);
        // An answer lost on the way: the same words again are no harm.
        assert_eq!(app.take_reveal(self.from, reply.enrollment, &reveal).unwrap().state, S::Pending);
        *self.paired.lock().unwrap() = Some(paired);
        (reply.enrollment, code)
    }

    /// Checks the seed's confirmation and sends the machine's own, or tells that the code was wrong.
    pub(crate) fn confirm(&self, app: &App, id: EnrollmentId) -> Result<S, ApiError> {
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
    pub(crate) fn approve(&self, app: &App, id: EnrollmentId, form: &Approve) -> Result<EnrollmentView, ApiError> {
        app.approve_by(&admin(), id, form)?;
        self.confirm(app, id)?;
        app.view_of(id)
    }

    pub(crate) fn claim(&self, app: &App, id: EnrollmentId, nonce: u8) -> Result<cluster_seed::agent::ClaimReply, ApiError> {
        let challenge = app.status_of(id).unwrap().challenge.unwrap_or(Nonce::from_random([0; 32]));
        let claim = Claim { enrollment: id, challenge, nonce: Nonce::from_random([nonce; 32]) };
        app.hand_out(self.from, id, &Sealed::sign(&claim, &self.key).unwrap())
    }

    pub(crate) fn report(&self, app: &App, id: EnrollmentId, seq: u64, body: ReportBody) -> Result<(S, bool), ApiError> {
        let report = Sealed::sign(&Report { enrollment: id, seq, body }, &self.key).unwrap();
        app.take_report(self.from, id, &report).map(|r| (r.state, r.fresh))
    }
}

pub(crate) fn form(code: &str, name: &str) -> Approve {
    Approve { code: code.to_owned(), role: "base".to_owned(), hostname: name.to_owned(), disk: "vda".to_owned(), replace: false }
}

pub(crate) fn began() -> ReportBody {
    ReportBody::InstallBegan { artifact: manifest_for(Arch::Amd64).id, disk: "vda".into(), total: 100 }
}

#[test]
fn a_site_without_a_ca_gets_one_when_it_is_unsealed() {
    let bench = bench();
    let before = bench.app.tls.fingerprint();
    assert_eq!(bench.app.ca_certificate().unwrap(), None);
    bench.app.unseal_with(PASSPHRASE, "test").unwrap();
    let ca = bench.app.ca_certificate().unwrap().unwrap();
    assert!(ca.starts_with("-----BEGIN CERTIFICATE-----\n"));
    let overview = bench.app.view_overview().unwrap();
    assert_ne!(overview.fingerprint.as_deref(), Some(before.as_str()));
    assert_eq!(overview.fingerprint, Some(bench.app.tls.fingerprint()));
    let told = bench.app.store.read(|tx| tx.events_after(0, 100)).unwrap();
    assert!(told.iter().any(|e| e.kind == "tls.certificate" && e.text.contains(&bench.app.tls.fingerprint())));
    // Unsealing again changes nothing.
    bench.app.unseal_with(PASSPHRASE, "test").unwrap();
    assert_eq!(
        (bench.app.ca_certificate().unwrap(), bench.app.view_overview().unwrap().fingerprint),
        (Some(ca), overview.fingerprint)
    );
}

#[test]
fn the_whole_road_once() {
    let Bench { app, _dir } = &bench();
    let m = Machine::new(1);
    let (id, code) = m.enroll(app);
    assert!(matches!(app.approve_by(&admin(), id, &form(&code, "n1")), Err(ApiError::Sealed)));
    app.unseal_with(PASSPHRASE, "test").unwrap();
    assert!(m.claim(app, id, 1).is_err(), "nothing before approval");
    let view = app.approve_by(&admin(), id, &form(&code, "n1")).unwrap();
    assert_eq!((view.state, view.addresses.len()), (S::Confirming, 0));
    assert!(m.claim(app, id, 1).is_err(), "nothing before the machine has confirmed");
    assert!(app.store.read(|tx| tx.live_nodes()).unwrap().is_empty());
    assert_eq!(m.confirm(app, id).unwrap(), S::Approved);
    let view = app.view_of(id).unwrap();
    assert_eq!(view.hostname.as_deref(), Some("n1.kubedos.lan"));
    assert_eq!(view.addresses[0], ("wg1".to_owned(), "10.78.0.2".to_owned()));

    let identity = m.claim(app, id, 1).unwrap().identity;
    let opened = identity.open(&app.site_key).unwrap().open(&m.age).unwrap();
    assert_eq!(opened.info.hostname.as_str(), "n1.kubedos.lan");
    assert_eq!(opened.info.peers.open(&app.site_key).unwrap().nodes.len(), 2);
    let grub = opened.info.grub.unwrap().to_string();
    assert!(grub.starts_with("grub.pbkdf2.sha512.10000.") && !grub.contains(app.show_grub_password("test").unwrap().as_str()));
    // The same claim again, its answer was lost: the same bytes. Another claim: nothing.
    assert_eq!(m.claim(app, id, 1).unwrap().identity, identity);
    assert!(matches!(m.claim(app, id, 2), Err(ApiError::Conflict { .. })));
    assert_eq!(m.report(app, id, 1, began()).unwrap(), (S::Installing, true));
    assert!(m.claim(app, id, 1).is_err(), "nothing after the first report");

    assert_eq!(m.report(app, id, 1, ReportBody::InstallDone { seconds: 1 }).unwrap(), (S::Installing, false));
    assert_eq!(m.report(app, id, 2, ReportBody::InstallDone { seconds: 1 }).unwrap(), (S::Installed, true));
    let failed = GateCheck { name: "wg1 link".into(), ok: false, detail: String::new() };
    assert_eq!(m.report(app, id, 3, ReportBody::Gate { checks: vec![failed] }).unwrap().0, S::Installed);
    assert_eq!(
        m.report(app, id, 4, ReportBody::ApplyDone { changed: 0, ok: 1 }).unwrap().0,
        S::Installed,
        "no shortcut past the gate"
    );
    assert_eq!(app.store.read(|tx| tx.broken_event()).unwrap(), None);
}

#[test]
fn forged_words_are_refused() {
    let Bench { app, _dir } = &bench();
    app.unseal_with(PASSPHRASE, "test").unwrap();
    let (m, thief) = (Machine::new(1), Machine::new(9));
    let (id, code) = m.enroll(app);
    m.approve(app, id, &form(&code, "n1")).unwrap();
    assert!(matches!(thief.claim(app, id, 1), Err(ApiError::Forbidden { .. })));
    assert!(matches!(thief.report(app, id, 1, began()), Err(ApiError::Forbidden { .. })));
    m.claim(app, id, 1).unwrap();
    // A report of one enrollment is worth nothing for another.
    let (other, _) = Machine::new(3).enroll(app);
    let report = Sealed::sign(&Report { enrollment: id, seq: 7, body: began() }, &m.key).unwrap();
    assert!(app.take_report(ip(), other, &report).is_err());
}

#[test]
fn two_operators_at_once_approve_one_node() {
    let Bench { app, _dir } = &bench();
    app.unseal_with(PASSPHRASE, "test").unwrap();
    let m = Machine::new(1);
    let (id, code) = m.enroll(app);
    let results: Vec<bool> = std::thread::scope(|s| {
        let threads: Vec<_> = (0..4)
            .map(|n| {
                let (app, code) = (app.clone(), code.clone());
                s.spawn(move || app.approve_by(&admin(), id, &form(&code, &format!("n{n}"))).is_ok())
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(results.iter().filter(|ok| **ok).count(), 1, "{results:?}");
    assert_eq!(m.confirm(app, id).unwrap(), S::Approved);
    assert_eq!(app.store.read(|tx| tx.live_nodes()).unwrap().len(), 1);
}

#[test]
fn bad_decisions_are_refused_with_a_reason_and_change_nothing() {
    let Bench { app, _dir } = &bench();
    app.unseal_with(PASSPHRASE, "test").unwrap();
    let mut m = Machine::new(1);
    m.disk = DISK - 1;
    let (id, code) = m.enroll(app);
    let good = form(&code, "n1");
    for (bad, word) in [
        (Approve { role: "king".into(), ..good.clone() }, "no role"),
        (Approve { hostname: "n1\nx".into(), ..good.clone() }, "host name"),
        (Approve { hostname: "seed".into(), ..good.clone() }, "seed's own"),
        (Approve { hostname: "a.b.c".into(), ..good.clone() }, "not in"),
        (Approve { disk: "sda; rm".into(), ..good.clone() }, "no disk"),
        (good.clone(), "needs"),
        (Approve { code: "12345".into(), ..good.clone() }, "six digits"),
        (Approve { code: "999-000-000".into(), ..good.clone() }, "another machine"),
    ] {
        let error = app.approve_by(&admin(), id, &bad).unwrap_err();
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
    let view = app.view_of(id).unwrap();
    assert_eq!((view.state, view.wrong_codes), (S::Pending, 0));
    assert!(app.store.read(|tx| tx.live_nodes()).unwrap().is_empty());
}

#[test]
fn a_replacement_keeps_name_and_address_and_revokes_the_old() {
    let Bench { app, _dir } = &bench();
    app.unseal_with(PASSPHRASE, "test").unwrap();
    let (old, new) = (Machine::new(1), Machine::new(2));
    let (first, code) = old.enroll(app);
    let before = old.approve(app, first, &form(&code, "n1")).unwrap().addresses;
    let old_key = app.store.read(|tx| tx.live_nodes()).unwrap()[0].planes["wg1"].1;
    let (second, code) = new.enroll(app);
    assert!(matches!(app.approve_by(&admin(), second, &form(&code, "n1")), Err(ApiError::Conflict { .. })));
    app.approve_by(&admin(), second, &Approve { replace: true, ..form(&code, "n1") }).unwrap();
    assert_eq!(app.view_of(first).unwrap().state, S::Approved, "nobody is replaced before the machine has confirmed");
    new.confirm(app, second).unwrap();
    let view = app.view_of(second).unwrap();
    assert_eq!(view.addresses, before);
    assert_eq!(app.view_of(first).unwrap().state, S::Revoked);
    assert!(old.claim(app, first, 1).is_err());
    let peers = app.signed_peers().unwrap().open(&app.site_key).unwrap();
    assert!(peers.nodes.values().all(|n| n.keys.get("wg1") != Some(&old_key)));
    assert_eq!(peers.nodes.len(), 2);
}

#[test]
fn a_stranger_under_its_mac_does_not_keep_a_machine_from_its_disk() {
    let Bench { app, _dir } = &bench();
    app.unseal_with(PASSPHRASE, "test").unwrap();
    let m = Machine::new(1);
    let query = web::api::BootQuery { mac: Some(m.mac.to_string()), ..Default::default() };
    let script = || app.script_for(&query).unwrap();
    let unknown = script();
    let (id, code) = m.enroll(app);
    m.approve(app, id, &form(&code, "n1")).unwrap();
    m.claim(app, id, 1).unwrap();
    m.report(app, id, 1, began()).unwrap();
    assert_eq!(script(), unknown, "not while it installs");
    m.report(app, id, 2, ReportBody::InstallDone { seconds: 1 }).unwrap();
    let from_disk = script();
    assert_ne!(from_disk, unknown);
    Machine { mac: m.mac, ..Machine::new(9) }.enroll(app);
    assert_eq!(script(), from_disk);
    app.revoke_by(&admin(), id, "").unwrap();
    assert_eq!(script(), unknown);
}

#[test]
fn no_private_key_is_in_the_database() {
    let Bench { app, _dir } = &bench();
    app.unseal_with(PASSPHRASE, "test").unwrap();
    let m = Machine::new(1);
    let (id, code) = m.enroll(app);
    m.approve(app, id, &form(&code, "n1")).unwrap();
    let identity = m.claim(app, id, 1).unwrap().identity.open(&app.site_key).unwrap().open(&m.age).unwrap();
    let mut files = vec![app.site.database()];
    files.push(Utf8PathBuf::from(format!("{}-wal", app.site.database())));
    let mut read = 0;
    for file in files.iter().filter(|f| f.exists()) {
        let bytes = std::fs::read(file).unwrap();
        read += bytes.len();
        for key in identity.keys.values() {
            let text = key.expose();
            assert!(!bytes.windows(text.len()).any(|w| w == text.as_bytes()), "{file} holds a private key");
        }
    }
    assert!(read > 4096);
}

#[test]
fn a_revoked_or_failed_node_leaves_the_peers_and_frees_its_name() {
    let Bench { app, _dir } = &bench();
    app.unseal_with(PASSPHRASE, "test").unwrap();
    let names = || app.signed_peers().unwrap().open(&app.site_key).unwrap().nodes.len();
    let m = Machine::new(1);
    let (id, code) = m.enroll(app);
    assert!(app.revoke_by(&admin(), id, "").is_err(), "nobody was approved yet");
    m.approve(app, id, &form(&code, "n1")).unwrap();
    m.claim(app, id, 1).unwrap();
    assert_eq!(names(), 2);
    m.report(app, id, 1, began()).unwrap();
    let failed = ReportBody::Failed { step: "chunk 3".into(), why: "wrong digest".into(), cause: Some(Trouble::DiskTooSmall) };
    assert_eq!(m.report(app, id, 2, failed).unwrap().0, S::Failed);
    assert_eq!(names(), 1);

    let again = Machine::new(2);
    let (id, code) = again.enroll(app);
    again.approve(app, id, &form(&code, "n1")).unwrap();
    assert_eq!(names(), 2);
    assert_eq!(app.revoke_by(&admin(), id, "stolen").unwrap().state, S::Revoked);
    assert_eq!(names(), 1);
    assert!(again.claim(app, id, 1).is_err());
    assert!(matches!(again.report(app, id, 1, began()), Err(ApiError::Conflict { .. })), "nothing is wiped after a revocation");
    assert!(app.revoke_by(&admin(), id, "").is_err());
}
