use super::*;
use crate::console::host::Place;
use crate::console::view::Phase;

struct Fake {
    phase: Phase,
    host: Host,
}

impl Controlled for Fake {
    fn status(&self) -> Result<serde_json::Value> {
        Ok(serde_json::json!({}))
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

    fn clock(&self) -> Result<ClockView> {
        anyhow::bail!("no clock here")
    }

    fn set_clock(&self, _to_ms: u64) -> Result<ClockView> {
        anyhow::bail!("no clock here")
    }

    fn settings_changed(&self, _settings: &Settings) -> Result<()> {
        Ok(())
    }
}

fn phase(path: &Utf8Path) -> Phase {
    serde_json::from_value::<ConsoleView>(ask(path, &Request::View).unwrap()).unwrap().phase
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
    assert!(ask(&path, &Request::Unseal { passphrase: "right".to_owned() }).is_ok());
    let refused = ask(&path, &Request::Unseal { passphrase: "wrong".to_owned() }).unwrap_err();
    assert_eq!(refused.to_string(), "the passphrase is wrong");
    let settings = Settings { hostname: Some("seed-a".parse().unwrap()), ..Settings::default() };
    ask(&path, &Request::Settings { settings: settings.clone() }).unwrap();
    let view: ConsoleView = serde_json::from_value(ask(&path, &Request::View).unwrap()).unwrap();
    assert_eq!(view.settings, settings);
    ask(&path, &Request::PowerOff).unwrap();
    assert!(dir.join("poweroff").exists());
    server.remove();
    assert!(ask(&path, &Request::View).is_err());
}

#[test]
fn a_line_from_nowhere_is_refused() {
    for line in ["", "{}", "{\"op\":\"settings\",\"settings\":{},\"more\":1}", "{\"op\":\"settings\"}", "[[[[", "\"view\""] {
        assert!(serde_json::from_str::<Request>(line).is_err(), "{line}");
    }
}
