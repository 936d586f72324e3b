//! Power through real controllers' emulators: sushy-tools for Redfish, ipmi_sim for IPMI. Both run on 127.0.0.1 and are
//! stopped at the end; where one is not installed its test says so.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use cluster_seed::events::EventKind;
use cluster_seed::ids::Mac;
use host::tool::{Running, Tool};
use seedd::app::{App, Seed};
use site::store::events::NewEvent;
use web::api::{ApiError, BmcKind, MachineApi as _, PowerAction, SetPower};

use crate::support::sites::{PASSPHRASE, Temp, site_a, temp};

const PASSWORD: &str = "bmc-s3cret-1";
/// bcrypt of the password, as the emulator's file of users wants it.
const USERS: &str = "admin:$2b$04$8bSJMrjdz./k1ebA9nLYFO5a9QyeMJavmOmS.kxSE2dBAf4qVfjsS\n";
const MAC: Mac = Mac([0x52, 0x54, 0, 0xab, 0, 1]);
const MEDIUM: &str = "seed-ab12cd34.iso";

struct Bench {
    dir: Temp,
    app: Arc<App>,
    machine: i64,
    /// Serves the medium.
    http: TcpListener,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn bench() -> Bench {
    let dir = temp();
    let site = site_a(&dir);
    fs::create_dir_all(site.join("media")).unwrap();
    fs::write(site.join("media").join(MEDIUM), vec![7u8; 1 << 20]).unwrap();
    let http = TcpListener::bind("127.0.0.1:0").unwrap();
    let std::net::SocketAddr::V4(at) = http.local_addr().unwrap() else { unreachable!("an IPv4 address was asked for") };
    let app = Arc::new(App::open(site, at).unwrap());
    let machine = app.store.write(|tx| tx.see_machine(MAC, None, 1)).unwrap().unwrap();
    Bench { dir, app, machine, http }
}

impl Bench {
    fn keep(&self, kind: BmcKind, address: &str, password: &str) -> Result<web::api::PowerView, ApiError> {
        let set = SetPower {
            kind,
            address: address.into(),
            user: "admin".into(),
            password: password.into(),
            cipher_suite: None,
            privilege: None,
        };
        self.app.set_controller("ada", self.machine, &set)
    }

    /// Confirms the certificate that the controller shows, as an operator does who compared it.
    fn trust(&self) {
        let view = self.app.read_certificate(self.machine).unwrap();
        let offered = view.controller.unwrap().offered.unwrap().fingerprint;
        self.app.trust_certificate("ada", self.machine, &offered).unwrap();
    }

    /// Acts once the throttle lets it.
    fn act(&self, action: PowerAction) -> Result<String, String> {
        loop {
            match self.app.act_power("ada", self.machine, action) {
                Ok(done) => return Ok(done.text),
                Err(ApiError::TooMany { seconds }) => std::thread::sleep(Duration::from_secs(seconds)),
                Err(ApiError::BadRequest { why, hint } | ApiError::Conflict { why, hint }) => {
                    return Err(format!("{why} / {}", hint.unwrap_or_default()));
                }
                Err(e) => return Err(e.to_string()),
            }
        }
    }

    fn until(&self, wanted: &str) {
        let began = Instant::now();
        while self.act(PowerAction::Status).unwrap() != wanted {
            assert!(began.elapsed() < Duration::from_secs(40), "it never became {wanted}");
        }
    }

    /// Neither the database nor any page or answer knows the password.
    fn nothing_leaked(&self) {
        self.app.say(&NewEvent::new(EventKind::SeedStarted, "the end"));
        let mut files = 0;
        for entry in walk(self.dir.path.as_std_path()) {
            let bytes = fs::read(&entry).unwrap();
            assert!(!bytes.windows(PASSWORD.len()).any(|w| w == PASSWORD.as_bytes()), "{} holds it", entry.display());
            files += 1;
        }
        assert!(files > 5);
        let events = self.app.store.read(|tx| tx.events_after(0, 1000)).unwrap();
        assert!(events.iter().any(|e| e.kind == "power.on" && e.actor.as_deref() == Some("ada")));
        let view = serde_json::to_string(&self.app.view_power(self.machine).unwrap()).unwrap();
        assert!(!view.contains(PASSWORD) && !format!("{events:?}").contains(PASSWORD));
    }
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path) }
    }
    found.retain(|p| p.is_file());
    found
}

fn cache() -> PathBuf {
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from);
    std::env::var_os("KUBEDOS_CACHE").map_or_else(|| home.join(".cache/kubedos"), PathBuf::from)
}

fn pem(what: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|l| std::str::from_utf8(l).unwrap()).collect();
    format!("-----BEGIN {what}-----\n{}\n-----END {what}-----\n", lines.join("\n"))
}

/// A certificate of its own and the emulator behind it, at this port.
fn redfish(dir: &Path, port: u16, name: &str) -> Option<Running> {
    let program = cache().join("tools/sushy/bin/sushy-emulator");
    if !program.exists() {
        return None;
    }
    let path = |n: &str| dir.join(format!("{name}-{n}")).to_str().unwrap().to_owned();
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = rcgen::CertificateParams::new(vec!["bmc".to_owned()]).unwrap().self_signed(&key).unwrap();
    fs::write(path("key"), pem("PRIVATE KEY", &key.serialize_der())).unwrap();
    fs::write(path("cert"), pem("CERTIFICATE", cert.der())).unwrap();
    fs::write(path("users"), USERS).unwrap();
    let system = "{'uuid': 'da69abcc-dae0-4913-9a7b-d344043097c0', 'name': 'node-1', 'power_state': 'Off', \
                  'nics': [{'mac': '52:54:00:ab:00:01', 'ip': '127.0.0.1'}]}";
    let config = format!(
        "SUSHY_EMULATOR_FAKE_DRIVER = True\nSUSHY_EMULATOR_FAKE_SYSTEMS = [{system}]\nSUSHY_EMULATOR_AUTH_FILE = '{}'\n\
         SUSHY_EMULATOR_STATE_DIR = '{}'\n",
        path("users"),
        dir.to_str().unwrap()
    );
    fs::write(path("conf"), config).unwrap();
    let args = ["--config", &path("conf"), "-i", "127.0.0.1", "-p", &port.to_string(), "--fake"];
    let tls = ["--ssl-certificate", &path("cert"), "--ssl-key", &path("key")];
    let log = File::create(path("log")).unwrap();
    let running = Tool::new(program).args(args).args(tls).spawn(log).unwrap();
    let began = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < Duration::from_secs(30), "{}", fs::read_to_string(path("log")).unwrap());
        std::thread::sleep(Duration::from_millis(100));
    }
    Some(running)
}

#[test]
fn redfish_by_the_emulator() {
    let b = bench();
    let (port, dir) = (free_port(), tempfile::tempdir().unwrap());
    let Some(mut emulator) = redfish(dir.path(), port, "first") else {
        return kubedos_skip::skip("sushy-emulator", format!("pip install sushy-tools in a venv below {}", cache().display()));
    };
    let address = format!("https://127.0.0.1:{port}");
    assert!(matches!(b.keep(BmcKind::Redfish, &address, PASSWORD), Err(ApiError::Sealed)), "sealed");
    b.app.unseal_with(PASSPHRASE, "test").unwrap();
    assert!(matches!(b.app.act_power("ada", b.machine, PowerAction::On), Err(ApiError::Conflict { .. })), "no controller yet");

    b.keep(BmcKind::Redfish, &address, "not-the-password").unwrap();
    let unknown = b.act(PowerAction::Status).unwrap_err();
    assert!(unknown.contains("is not confirmed") && unknown.contains("seedd power trust"), "{unknown}");
    let pin = |b: &Bench| b.app.view_power(b.machine).unwrap().controller.unwrap().pin;
    assert_eq!(pin(&b), None, "a contact pins nothing");
    b.trust();
    let refused = b.act(PowerAction::Status).unwrap_err();
    assert!(refused.contains("refuses this user and password"), "{refused}");

    b.keep(BmcKind::Redfish, &address, PASSWORD).unwrap();
    assert_eq!(b.act(PowerAction::Status).unwrap(), "it is off");
    assert_eq!(pin(&b).unwrap().len(), 95, "sha256 in pairs");
    assert!(b.act(PowerAction::On).unwrap().contains("accepted On"));
    assert!(
        matches!(b.app.act_power("ada", b.machine, PowerAction::Off), Err(ApiError::TooMany { .. })),
        "a relay may not clatter"
    );
    b.until("it is on");
    assert_eq!(b.act(PowerAction::On).unwrap(), "it is on already");
    assert!(b.act(PowerAction::NextBootPxe).unwrap().contains("from the network"));

    // The emulator fetches the medium from the seed, as a controller does.
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (listener, api) = (b.http.try_clone().unwrap(), Arc::new(Seed(b.app.clone())));
    let serving = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let meter = Arc::default();
        runtime
            .block_on(web::listener::serve_machines(listener, api, meter, Arc::new(|_| ()), async move { drop(stopped.await) }))
            .unwrap();
    });
    let inserted = b.act(PowerAction::InsertMedia).unwrap();
    assert!(inserted.contains(&format!("/media/{MEDIUM} is in its virtual drive")), "{inserted}");
    assert!(b.act(PowerAction::InsertMedia).is_ok(), "again");
    assert!(b.act(PowerAction::EjectMedia).is_ok());
    assert!(b.act(PowerAction::Cycle).unwrap().contains("ForceRestart"));
    b.until("it is on");
    assert!(b.act(PowerAction::Off).unwrap().contains("ForceOff"));
    b.until("it is off");
    stop.send(()).unwrap();
    serving.join().unwrap();

    // Somebody else with the same address, and the same password even.
    emulator.stop();
    let mut other = redfish(dir.path(), port, "second").unwrap();
    let refused = b.act(PowerAction::Status).unwrap_err();
    assert!(refused.contains("is not the confirmed one") && refused.contains("seedd power trust"), "{refused}");
    b.trust();
    assert_eq!(b.act(PowerAction::Status).unwrap(), "it is off");
    other.stop();
    let gone = b.act(PowerAction::Status).unwrap_err();
    assert!(gone.contains("check the address"), "{gone}");
    b.nothing_leaked();
    assert!(b.app.forget_controller("ada", b.machine).unwrap().controller.is_none());
}

#[test]
fn the_medium_is_served_by_its_name_only() {
    let b = bench();
    let seed = Seed(b.app.clone());
    assert!(seed.medium_path(MEDIUM).unwrap().exists());
    for name in ["seed.db", "../seed.db", "seed-..iso", "seed-ab/../../seed.db.iso", "cluster.yaml", ""] {
        assert_eq!(seed.medium_path(name), None, "{name}");
    }
    assert_eq!(b.app.medium().as_deref(), Some(MEDIUM));
}

/// OpenIPMI's simulator with one chassis, whose state is in files.
fn ipmi(dir: &Path, port: u16) -> Option<Running> {
    let path = |n: &str| dir.join(n).to_str().unwrap().to_owned();
    let script = format!(
        "#!/bin/sh\ncase $1 in\nget) echo \"$2:$(cat {0}/$2 2>/dev/null || echo 0)\" ;;\nset) echo \"$3\" > {0}/$2 ;;\nesac\n",
        dir.to_str().unwrap()
    );
    fs::write(path("chassis.sh"), script).unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path("chassis.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    let auths = "none md2 md5 straight";
    let lan = format!(
        "name \"sim\"\nset_working_mc 0x20\n  startlan 1\n    addr 127.0.0.1 {port}\n    priv_limit admin\n    \
         allowed_auths_callback {auths}\n    allowed_auths_user {auths}\n    allowed_auths_operator {auths}\n    \
         allowed_auths_admin {auths}\n    guid a123456789abcdefa123456789abcdef\n  endlan\n  chassis_control \"{}\"\n  \
         user 2 true \"admin\" \"{PASSWORD}\" admin 10 {auths}\n",
        path("chassis.sh")
    );
    fs::write(path("lan.conf"), lan).unwrap();
    let commands = "mc_setbmc 0x20\nmc_add 0x20 0 has-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\nmc_enable 0x20\n";
    fs::write(path("sim.emu"), commands).unwrap();
    fs::create_dir(path("state")).unwrap();
    let log = File::create(path("log")).unwrap();
    let args = ["-c", &path("lan.conf"), "-f", &path("sim.emu"), "-s", &path("state"), "-n"];
    Tool::new("ipmi_sim").args(args).spawn(log).ok()
}

#[test]
fn ipmi_by_the_simulator() {
    let b = bench();
    let (port, dir) = (free_port(), tempfile::tempdir().unwrap());
    if Tool::new("ipmitool").arg("-V").run().is_err() {
        return kubedos_skip::skip("ipmitool", "is not installed");
    }
    let Some(mut simulator) = ipmi(dir.path(), port) else {
        return kubedos_skip::skip("ipmi_sim", "is not installed (apt install openipmi)");
    };
    b.app.unseal_with(PASSPHRASE, "test").unwrap();
    b.keep(BmcKind::Ipmi, &format!("127.0.0.1:{port}"), PASSWORD).unwrap();
    // It needs a moment before it hears.
    let began = Instant::now();
    while b.act(PowerAction::Status).is_err() {
        assert!(began.elapsed() < Duration::from_secs(30), "{}", fs::read_to_string(dir.path().join("log")).unwrap());
    }
    assert_eq!(b.act(PowerAction::Status).unwrap(), "Chassis Power is off");
    assert_eq!(b.act(PowerAction::On).unwrap(), "Chassis Power Control: Up/On");
    assert_eq!(b.act(PowerAction::Status).unwrap(), "Chassis Power is on");
    assert_eq!(fs::read_to_string(dir.path().join("power")).unwrap(), "1\n");
    // The simulator keeps the device and not the flags: what it shows is said.
    assert_eq!(b.act(PowerAction::NextBootPxe).unwrap(), "Set Boot Device to pxe; the controller shows it as not valid");
    assert_eq!(fs::read_to_string(dir.path().join("boot")).unwrap(), "pxe\n");
    assert!(b.act(PowerAction::InsertMedia).unwrap_err().contains("no virtual drive"));
    assert_eq!(b.act(PowerAction::Cycle).unwrap(), "Chassis Power Control: Cycle");
    b.nothing_leaked();
    b.keep(BmcKind::Ipmi, &format!("127.0.0.1:{port}"), "wrong").unwrap();
    let refused = b.act(PowerAction::Status).unwrap_err();
    assert!(refused.contains("ipmitool failed: Error: Unable to establish"), "{refused}");
    simulator.stop();
}
