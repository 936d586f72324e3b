//! The certificates of controllers: nothing but a handshake is sent before an operator confirmed one.

use std::io::Read as _;
use std::net::TcpListener;
use std::sync::{Arc, mpsc};

use appliance::console::host::Host;
use appliance::control::answer::PowerAction as Ask;
use appliance::control::{Client, listen};
use cluster_seed::ids::Digest;
use cluster_seed::secret::AgeKey;
use seedd::app::App;
use seedd::app::console::AtConsole;
use seedd::power::contact;
use seedd::power::controller::Controller;
use seedd::power::redfish::act::Wish;
use seedd::power::redfish::find::Who;
use seedd::power::redfish::media::Image;
use seedd::power::redfish::service::Pace;
use web::api::{ApiError, BmcKind, BmcView, PowerAction, SetPower};

use crate::support::bmc::tls::{Identity, answers, modern, of_version_1, rsa};
use crate::support::bmc::{Bmc, MAC, PASSWORD};
use crate::support::sites::{PASSPHRASE, Temp, app, site_a, temp};

struct Bench {
    _dir: Temp,
    app: Arc<App>,
    id: i64,
}

fn bench() -> Bench {
    let dir = temp();
    let app = app(&site_a(&dir));
    app.unseal_with(PASSPHRASE, "test").unwrap();
    let id = app.store.write(|tx| tx.see_machine(MAC.parse().unwrap(), None, 1)).unwrap().unwrap();
    Bench { _dir: dir, app, id }
}

fn set(address: &str) -> SetPower {
    let (user, password) = ("admin".to_owned(), PASSWORD.to_owned());
    SetPower { kind: BmcKind::Redfish, address: address.to_owned(), user, password, cipher_suite: None, privilege: None }
}

impl Bench {
    fn keep(&self, address: &str) -> BmcView {
        self.app.set_controller("ada", self.id, &set(address)).unwrap().controller.unwrap()
    }

    fn view(&self) -> BmcView {
        self.app.view_power(self.id).unwrap().controller.unwrap()
    }

    /// Acts once the throttle lets it; an error with its hint.
    fn act(&self) -> Result<String, String> {
        loop {
            match self.app.act_power("ada", self.id, PowerAction::Status) {
                Ok(done) => return Ok(done.text),
                Err(ApiError::TooMany { seconds }) => std::thread::sleep(std::time::Duration::from_secs(seconds)),
                Err(e) => return Err(format!("{e} / {}", e.hint().unwrap_or_default())),
            }
        }
    }
}

fn fingerprint(identity: &Identity) -> String {
    let hex = Digest::of(&identity.certificate).to_string().to_uppercase();
    hex.as_bytes().chunks(2).map(|p| std::str::from_utf8(p).unwrap()).collect::<Vec<_>>().join(":")
}

#[test]
fn nothing_but_a_handshake_reaches_a_controller_whose_certificate_no_operator_confirmed() {
    let (b, identity) = (bench(), modern());
    let bmc = Bmc::with_tls(identity.usual());
    b.keep(&bmc.address());
    let refused = b.act().unwrap_err();
    let run = format!("seedd power trust {MAC} --fingerprint {}", fingerprint(&identity));
    assert!(refused.contains("is not confirmed") && refused.contains(&run), "{refused}");
    assert_eq!(bmc.heard(), "", "no request, no password");
    let offered = b.app.read_certificate(b.id).unwrap().controller.unwrap().offered.unwrap();
    assert_eq!((offered.fingerprint.as_str(), offered.weakness), (fingerprint(&identity).as_str(), None));
    assert_eq!(bmc.heard(), "", "reading it sends nothing either");

    let other = "00".repeat(32);
    for wrong in [other.as_str(), "", "ab", &"zz".repeat(32)] {
        assert!(b.app.trust_certificate("ada", b.id, wrong).is_err(), "{wrong}");
    }
    assert!(b.view().pin.is_none() && bmc.heard().is_empty());
    // As other programs print it.
    let typed = format!("SHA256 Fingerprint={}", fingerprint(&identity)).replace("SHA256 Fingerprint", "sha256");
    b.app.trust_certificate("ada", b.id, &typed).unwrap();
    assert_eq!((b.view().pin, b.view().offered.is_none()), (Some(fingerprint(&identity)), true));
    assert_eq!(b.act().unwrap(), "it is on");
    assert!(bmc.heard().contains("Authorization: Basic "));
    let events = b.app.store.read(|tx| tx.events_after(0, 100)).unwrap();
    assert!(events.iter().any(|e| e.text.contains("confirmed: sha256") && e.actor.as_deref() == Some("ada")));
}

#[test]
fn a_changed_certificate_is_refused_shown_and_has_to_be_confirmed_again() {
    let (b, first, second) = (bench(), modern(), modern());
    let bmc = Bmc::with_tls(first.usual());
    b.keep(&bmc.address());
    b.app.trust_certificate("ada", b.id, &fingerprint(&first)).unwrap();
    assert!(b.act().is_ok());
    bmc.show(second.usual());
    let refused = b.act().unwrap_err();
    assert!(refused.contains("is not the confirmed one") && refused.contains(&fingerprint(&second)), "{refused}");
    assert_eq!(bmc.heard(), "", "no password for it");
    let view = b.view();
    assert_eq!((view.pin, view.offered.unwrap().fingerprint), (Some(fingerprint(&first)), fingerprint(&second)));
    // The old one cannot be confirmed while another is shown.
    assert!(b.app.trust_certificate("ada", b.id, &fingerprint(&first)).is_err());
    b.app.trust_certificate("ada", b.id, &fingerprint(&second)).unwrap();
    assert!(b.act().is_ok());
}

#[test]
fn a_new_password_keeps_the_confirmation_and_a_new_address_does_not() {
    let (b, identity) = (bench(), modern());
    let (bmc, other) = (Bmc::with_tls(identity.usual()), Bmc::with_tls(identity.usual()));
    b.keep(&bmc.address());
    b.app.trust_certificate("ada", b.id, &fingerprint(&identity)).unwrap();
    assert!(b.keep(&bmc.address()).pin.is_some());
    assert!(b.keep(&other.address()).pin.is_none());
    assert!(b.act().is_err() && other.heard().is_empty());
}

fn pinned(bmc: &Bmc) -> (Controller, Option<String>) {
    let mut controller = Controller::new(&set(&bmc.address()), &AgeKey::generate().recipient()).unwrap();
    let shown = contact::certificate(&controller).unwrap();
    controller.trust(shown.clone());
    (controller, shown.weakness)
}

fn status(controller: &Controller) -> Result<String, String> {
    let who = Who { mac: MAC.parse().unwrap(), uuid: None };
    let wish = Wish { who, action: PowerAction::Status, uefi: None, image: Image::default(), session: false };
    let done = contact::act_at(controller, PASSWORD.as_bytes(), &wish, Pace::USUAL).unwrap().done;
    done.map_err(|e| format!("{e:#} / {}", site::hint::of(&e).unwrap_or_default()))
}

#[test]
fn old_certificates_are_pinned_with_a_warning_and_their_key_is_proved() {
    let versions = [&[&rustls::version::TLS12][..], &[&rustls::version::TLS13]];
    let (long, short) = (rsa(3, 2048), rsa(3, 1024));
    for (identity, warning) in [
        (modern(), None),
        (of_version_1(), Some("it is an X.509 certificate of version 1")),
        (short, Some("its RSA key has 1024 bits")),
        (rsa(1, 1536), Some("version 1, which is obsolete; its RSA key has 1536 bits")),
        (long, None),
    ] {
        for versions in versions {
            let bmc = Bmc::with_tls(identity.config(versions));
            let (controller, weakness) = pinned(&bmc);
            match warning {
                None => assert_eq!(weakness, None),
                Some(words) => assert!(weakness.as_ref().unwrap().contains(words), "{weakness:?}"),
            }
            assert_eq!(status(&controller).as_deref(), Ok("it is on"), "{warning:?} {versions:?}");
        }
    }
}

#[test]
fn who_shows_the_confirmed_certificate_without_its_key_is_refused() {
    let versions = [&[&rustls::version::TLS12][..], &[&rustls::version::TLS13]];
    for (owner, thief) in [(modern(), modern()), (of_version_1(), of_version_1()), (rsa(3, 1024), rsa(3, 1024))] {
        for versions in versions {
            let (mut moved, _) = pinned(&Bmc::with_tls(owner.config(versions)));
            let bmc = Bmc::with_tls(owner.stolen(&thief).config(versions));
            moved.port = bmc.at.port();
            assert!(status(&moved).is_err() && bmc.heard().is_empty(), "{versions:?}");
            assert!(contact::certificate(&moved).is_err(), "nor is it offered to the operator");
        }
    }
}

#[test]
fn keys_that_prove_nothing_are_refused_with_their_length() {
    let bmc = Bmc::with_tls(rsa(3, 768).config(&[&rustls::version::TLS12]));
    let controller = Controller::new(&set(&bmc.address()), &AgeKey::generate().recipient()).unwrap();
    let refused = contact::certificate(&controller).unwrap_err();
    assert!(format!("{refused:#}").contains("768 bits"), "{refused:#}");
    assert!(site::hint::of(&refused).unwrap().contains("2048 bits"));
}

#[test]
fn tls_that_is_too_old_is_said_to_be_that() {
    let hello = b"\x16\x03\x01\x00\x2a\x02\x00\x00\x26\x03\x01aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\x00\x00\x2f\x00";
    for (bytes, words) in [
        // Alerts of version 1.0 and 1.1: protocol_version.
        (&b"\x15\x03\x01\x00\x02\x02\x46"[..], "TLS 1.1 at most"),
        (b"\x15\x03\x02\x00\x02\x02\x46", "TLS 1.1 at most"),
        // It answers in TLS 1.0.
        (hello, "TLS 1.1 at most"),
        // handshake_failure, insufficient_security: no cipher suite in common.
        (b"\x15\x03\x03\x00\x02\x02\x28", "no TLS cipher suite"),
        (b"\x15\x03\x03\x00\x02\x02\x47", "no TLS cipher suite"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "speaking TLS"),
    ] {
        let address = format!("https://{}", answers(bytes));
        let controller = Controller::new(&set(&address), &AgeKey::generate().recipient()).unwrap();
        let refused = contact::certificate(&controller).unwrap_err();
        let hint = site::hint::of(&refused).unwrap();
        assert!(format!("{refused:#}").contains(words), "{refused:#}");
        assert_eq!(hint.contains("port of Redfish"), words == "speaking TLS", "{hint}");
    }
}

#[test]
fn a_silent_controller_keeps_no_other_caller_of_the_socket_waiting() {
    let dir = temp();
    let site = site_a(&dir);
    let app = app(&site);
    app.unseal_with(PASSPHRASE, "test").unwrap();
    let id = app.store.write(|tx| tx.see_machine(MAC.parse().unwrap(), None, 1)).unwrap().unwrap();
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    app.set_controller("ada", id, &set(&format!("http://{}", deaf.local_addr().unwrap()))).unwrap();
    let socket = listen(&site.control_socket()).unwrap();
    socket.start(Arc::new(AtConsole { app: app.clone(), host: Host::server(&site.data) }));

    let (asked, hears) = mpsc::channel();
    let silent = std::thread::spawn(move || {
        let (mut stream, _) = deaf.accept().unwrap();
        let mut request = [0; 1024];
        assert!(stream.read(&mut request).unwrap() > 0);
        asked.send(stream).unwrap();
    });
    let client = Client::new(&site.control_socket());
    let caller = client.clone();
    let acting = std::thread::spawn(move || caller.act(MAC.parse().unwrap(), Ask::Status));
    let stream = hears.recv().unwrap();
    // It has the request, and does not answer: whoever else asks is answered at once.
    client.status().unwrap();
    client.view().unwrap();
    client.power(MAC.parse().unwrap()).unwrap();
    assert!(matches!(app.power.begin(id), Err(seedd::power::throttle::Busy::Machine)));
    assert!(!acting.is_finished(), "they were answered while it waited");
    drop(stream);
    silent.join().unwrap();
    let ended = acting.join().unwrap().unwrap_err();
    assert!(!format!("{ended:#}").contains("os error 11"), "{ended:#}");
}
