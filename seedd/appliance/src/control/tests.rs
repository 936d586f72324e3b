use cluster_seed::people::Permission;

use super::*;
use crate::console::host::Place;
use crate::console::view::Phase;

struct Fake {
    phase: Phase,
    host: Host,
}

impl Controlled for Fake {
    fn status(&self) -> Result<Status> {
        let warnings = vec!["no medium".to_owned()];
        Ok(Status::SetUp(answer::SetUpStatus { setup: true, site: None, sealed: true, warnings }))
    }

    fn unseal(&self, passphrase: &str) -> Result<()> {
        anyhow::ensure!(passphrase == "right", "the passphrase is wrong");
        Ok(())
    }

    fn view(&self) -> Result<ConsoleView> {
        Ok(ConsoleView { phase: self.phase, ..ConsoleView::default() })
    }

    fn host(&self) -> &Host {
        &self.host
    }

    fn clock(&self) -> Result<Clock> {
        anyhow::bail!("no clock here")
    }

    fn set_clock(&self, _to_ms: u64) -> Result<Clock> {
        anyhow::bail!("no clock here")
    }

    fn settings_changed(&self, _settings: &Settings) -> Result<()> {
        Ok(())
    }
}

fn phase(path: &Utf8Path) -> Phase {
    Client::new(path).view().unwrap().phase
}

#[test]
fn one_socket_speaks_for_the_set_up_and_then_for_the_site() {
    let dir = tempfile::tempdir().unwrap();
    let dir = Utf8Path::from_path(dir.path()).unwrap();
    let path = dir.join("s");
    std::fs::write(&path, "left behind by a killed daemon").unwrap();
    let place = Place { state: dir.to_owned(), run: dir.to_owned() };
    let host = Host { root: dir.to_owned(), appliance: Some(place), state: String::new() };
    let server = listen(&path).unwrap().start(Arc::new(Fake { phase: Phase::Setup, host: host.clone() }));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(phase(&path), Phase::Setup);
    assert!(listen(&path).unwrap_err().to_string().contains("another seedd"));

    server.hand_over(Arc::new(Fake { phase: Phase::Serving, host }));
    assert_eq!(phase(&path), Phase::Serving);
    let daemon = Client::new(&path);
    assert!(daemon.answers() && !daemon.unseal("right").unwrap().sealed);
    let refused = daemon.unseal("wrong").unwrap_err();
    assert_eq!(refused.to_string(), "the passphrase is wrong");
    let settings = Settings { hostname: Some("seed-a".parse().unwrap()), ..Settings::default() };
    daemon.send(Request::Settings { settings: settings.clone() }).unwrap();
    assert_eq!(daemon.view().unwrap().settings, settings);
    daemon.send(Request::PowerOff).unwrap();
    assert!(dir.join("poweroff").exists());
    server.remove();
    assert!(daemon.view().is_err() && !daemon.answers());
}

#[test]
fn a_line_from_nowhere_is_refused() {
    for line in ["", "{}", "{\"op\":\"settings\",\"settings\":{},\"more\":1}", "{\"op\":\"settings\"}", "[[[[", "\"view\""] {
        assert!(serde_json::from_str::<Request>(line).is_err(), "{line}");
    }
}

/// What goes over the wire is read by scripts, and by the program of another version while a seed is updated.
#[test]
fn requests_and_answers_are_written_as_they_always_were() {
    let mac: cluster_seed::ids::Mac = "52:54:00:ab:00:01".parse().unwrap();
    let set = SetController {
        mac,
        kind: answer::ControllerKind::Ipmi,
        address: "10.44.9.1".to_owned(),
        user: "u".to_owned(),
        password: "p".to_owned(),
        cipher_suite: None,
        privilege: None,
    };
    let query = EventQuery { after: Some(7), back: 1, limit: 2, mac: Some(mac), kinds: vec!["dhcp.".to_owned()] };
    let new = NewApiToken { user: "bob".to_owned(), name: "backup".to_owned(), scopes: vec![Permission::Read], days: 9 };
    let act = |action| SiteRequest::Act { mac, action };
    let site = |ask| Request::Site { ask };
    let m = "52:54:00:ab:00:01";
    for (request, line) in [
        (Request::Unseal { passphrase: "x".to_owned() }, r#"{"op":"unseal","passphrase":"x"}"#.to_owned()),
        (Request::Seal, r#"{"op":"seal"}"#.to_owned()),
        (Request::Status, r#"{"op":"status"}"#.to_owned()),
        (Request::View, r#"{"op":"view"}"#.to_owned()),
        (Request::PowerOff, r#"{"op":"powerOff"}"#.to_owned()),
        (Request::SetClock { to_ms: 9 }, r#"{"op":"setClock","toMs":9}"#.to_owned()),
        (
            site(SiteRequest::Events(query)),
            format!(r#"{{"op":"site","ask":{{"what":"events","after":7,"back":1,"limit":2,"mac":"{m}","kinds":["dhcp."]}}}}"#),
        ),
        (
            site(SiteRequest::Controller(set)),
            format!(
                r#"{{"op":"site","ask":{{"what":"controller","mac":"{m}","kind":"ipmi","address":"10.44.9.1","user":"u","password":"p"}}}}"#
            ),
        ),
        (
            site(act(answer::PowerAction::NextBootPxe)),
            format!(r#"{{"op":"site","ask":{{"what":"act","mac":"{m}","action":"nextBootPxe"}}}}"#),
        ),
        (
            site(SiteRequest::Change { ask: ChangeRequest::CreateApiToken(new) }),
            r#"{"op":"site","ask":{"what":"change","ask":{"what":"createApiToken","user":"bob","name":"backup","scopes":["read"],"days":9}}}"#
                .to_owned(),
        ),
        (
            site(SiteRequest::Change { ask: ChangeRequest::CreateMetricsToken { days: 9 } }),
            r#"{"op":"site","ask":{"what":"change","ask":{"what":"createMetricsToken","days":9}}}"#.to_owned(),
        ),
        (site(SiteRequest::Rehearsal { seconds: 3 }), r#"{"op":"site","ask":{"what":"rehearsal","seconds":3}}"#.to_owned()),
    ] {
        assert_eq!(serde_json::to_string(&request).unwrap(), line);
        let read: Request = serde_json::from_str(&line).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), line);
        // serde takes more than is asked for beside a variant without fields.
        let more = line.replacen('{', r#"{"more":1,"#, 1);
        assert_eq!(serde_json::from_str::<Request>(&more).is_err(), line.contains(','), "{more}");
    }
    for (answer, line) in [
        (Answer::Unsealed(Unsealed { sealed: false }), r#"{"done":{"sealed":false}}"#),
        (Answer::Asked(answer::Asked { asked: Wish::PowerOff }), r#"{"done":{"asked":"poweroff"}}"#),
        (Answer::Promoted(Promoted { epoch: 2 }), r#"{"done":{"epoch":2}}"#),
        (Answer::Reloading(Reloading { reloading: true }), r#"{"done":{"reloading":true}}"#),
        (Answer::Packets(answer::Packets { packets: 1, pcapng: b"abc".to_vec() }), r#"{"done":{"packets":1,"pcapng":"YWJj"}}"#),
        (Answer::Nothing(answer::Nothing {}), r#"{"done":{}}"#),
    ] {
        assert_eq!(serde_json::to_string(&Reply::Done(answer)).unwrap(), line);
    }
    let packets = r#"{"done":{"packets":1,"pcapng":"YWJj"}}"#;
    let Reply::Done(packets) = serde_json::from_str::<Reply<answer::Packets>>(packets).unwrap() else { panic!("an error") };
    assert_eq!(packets.pcapng, b"abc");
}

/// The same of what the command line asks about its own work.
#[test]
fn requests_about_the_work_of_a_command_are_written_as_they_always_were() {
    let digest = cluster_seed::ids::Digest([0xab; 32]);
    let named = site::putting::InUse {
        snapshot: Some(digest),
        artifacts: [("base".to_owned(), digest)].into(),
        makers: [(digest, "key".to_owned())].into(),
        ..site::putting::InUse::default()
    };
    let drilled = Note::Drilled { node: "n7".to_owned(), seconds: 1.5, target_seconds: 60.0, passed: true };
    let hostname: cluster_seed::ids::Hostname = "n7.kubedos.lan".parse().unwrap();
    let replaced = Note::NodeReplaced { hostname: hostname.clone(), approved: 1, installed: 2, fabric_ready: 3, healthy: 4 };
    let d = digest.to_string();
    for (ask, text) in [
        (
            ChangeRequest::PutInUse { named: Box::new(named) },
            format!(
                r#"{{"what":"putInUse","named":{{"snapshot":"{d}","artifacts":{{"base":"{d}"}},"makers":{{"{d}":"key"}}}}}}"#
            ),
        ),
        (
            ChangeRequest::Accept { checks: vec!["time".to_owned()], passphrase: Some("x".to_owned()) },
            r#"{"what":"accept","checks":["time"],"passphrase":"x"}"#.to_owned(),
        ),
        (ChangeRequest::Accept { checks: vec![], passphrase: None }, r#"{"what":"accept","checks":[]}"#.to_owned()),
        (
            ChangeRequest::ReplaceNode { hostname, force: false },
            r#"{"what":"replaceNode","hostname":"n7.kubedos.lan","force":false}"#.to_owned(),
        ),
        (
            ChangeRequest::Note { note: drilled },
            r#"{"what":"note","note":{"done":"drilled","node":"n7","seconds":1.5,"targetSeconds":60.0,"passed":true}}"#.to_owned(),
        ),
        (
            ChangeRequest::Note { note: replaced },
            r#"{"what":"note","note":{"done":"nodeReplaced","hostname":"n7.kubedos.lan","approved":1,"installed":2,"fabricReady":3,"healthy":4}}"#
                .to_owned(),
        ),
    ] {
        let line = format!(r#"{{"op":"site","ask":{{"what":"change","ask":{text}}}}}"#);
        let request = Request::Site { ask: SiteRequest::Change { ask } };
        assert_eq!(serde_json::to_string(&request).unwrap(), line);
        let read: Request = serde_json::from_str(&line).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), line);
        assert!(serde_json::from_str::<Request>(&line.replacen("}}}", r#","more":1}}}"#, 1)).is_err(), "{line}");
    }
    for (request, line) in [(Request::Promote, r#"{"op":"promote"}"#), (Request::PromoteDrill, r#"{"op":"promoteDrill"}"#)] {
        assert_eq!(serde_json::to_string(&request).unwrap(), line);
        assert_eq!(serde_json::to_string(&serde_json::from_str::<Request>(line).unwrap()).unwrap(), line);
    }
}

#[test]
fn the_secret_of_a_request_is_wiped() {
    let ask = ChangeRequest::Accept { checks: vec![], passphrase: Some("x".to_owned()) };
    let mut request = Request::Site { ask: SiteRequest::Change { ask } };
    request.wipe();
    assert!(!serde_json::to_string(&request).unwrap().contains('x'));
}

#[test]
fn the_status_of_a_set_up_is_not_mistaken_for_a_sites() {
    let line = r#"{"setup":true,"site":null,"sealed":true,"warnings":["no medium"]}"#;
    let status: Status = serde_json::from_str(line).unwrap();
    assert!(matches!(&status, Status::SetUp(s) if s.warnings == ["no medium"]), "{status:?}");
    assert_eq!(serde_json::to_string(&status).unwrap(), line);
}

#[test]
fn a_daemon_that_answers_late_is_said_to_continue() {
    use anyhow::Context as _;
    let of = |kind: std::io::ErrorKind| {
        let error = Err::<(), _>(std::io::Error::from(kind)).context("reading the control socket").unwrap_err();
        client::late(error, Duration::from_secs(170))
    };
    let late = of(std::io::ErrorKind::WouldBlock);
    assert_eq!(late.to_string(), "the daemon did not answer within 170 s, and continues");
    assert!(hint::of(&late).unwrap().contains("seedd tail"));
    assert_eq!(of(std::io::ErrorKind::BrokenPipe).to_string(), "reading the control socket");
}

#[test]
fn what_waits_for_a_device_is_told_from_what_takes_turns() {
    let mac: cluster_seed::ids::Mac = "52:54:00:ab:00:01".parse().unwrap();
    for (request, waits) in [
        (Request::Status, false),
        (Request::Promote, false),
        (Request::Site { ask: SiteRequest::Power { mac } }, false),
        (Request::Site { ask: SiteRequest::Act { mac, action: answer::PowerAction::On } }, true),
        (Request::Site { ask: SiteRequest::Certificate { mac } }, true),
        (Request::Site { ask: SiteRequest::Trust { mac, fingerprint: String::new() } }, true),
    ] {
        assert_eq!(request.waits_for_a_device(), waits);
    }
}
