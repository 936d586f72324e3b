//! `seedd plan` and `seedd enrollment` beside a site: what they say, what they keep, and their exit status.

use std::process::Command;

use seedd::app::Seed;
use site::Site;
use web::api::OperatorApi as _;

use crate::support::front::Front;
use crate::support::sites::{A, filled, temp};

fn seedd(site: &Site, words: &[&str]) -> (i32, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_seedd")).args(words).args(["--data", site.data.as_str()]).output().unwrap();
    let text = [done.stdout, done.stderr].concat();
    (done.status.code().unwrap(), String::from_utf8(text).unwrap())
}

fn says(site: &Site, words: &[&str], code: i32, parts: &[&str]) -> String {
    let (found, text) = seedd(site, words);
    assert_eq!(found, code, "{words:?}: {text}");
    for part in parts {
        assert!(text.contains(part), "{words:?}: no {part:?} in {text}");
    }
    text
}

#[test]
fn a_plan_is_checked_kept_shown_and_removed() {
    let t = temp();
    let site = filled(&t.path.join("site"), "site-a", A, 1, 100);
    let file = t.path.join("plan.csv");
    let file = file.as_str();
    let write = |text: &str| std::fs::write(file, text).unwrap();
    write("serial,name,role,disk,place\nSN1,r01u07,base,smallest,hall 2\nSN2,r01u08,base,,\n");
    says(
        &site,
        &["plan", "check", file],
        0,
        &["not seen", "r01u07", "2 rows: 0 waiting, 2 not seen, 0 nodes", "0 contradictions"],
    );
    says(&site, &["plan", "show"], 0, &["0 rows"]);
    says(&site, &["plan", "set", file], 0, &["2 rows"]);
    let json: serde_json::Value = serde_json::from_str(&says(&site, &["plan", "show", "--json"], 0, &[])).unwrap();
    assert_eq!((json["rows"][0]["name"].as_str(), json["rows"][0]["place"].as_str()), (Some("r01u07"), Some("hall 2")));
    assert_eq!((json["rows"][0]["line"].as_u64(), json["rows"][0]["state"].as_str()), (Some(2), Some("not-seen")));
    write("serial,name,role\nSN3,r01u09,nosuch\nSN1,b c,base\n");
    says(&site, &["plan", "add", file], 1, &["line 3", "not a name", "hint: "]);
    write("serial,name,role\nSN3,r01u09,nosuch\n");
    says(&site, &["plan", "check", file], 1, &["PROBLEM", "line 2", "no role \"nosuch\""]);
    says(&site, &["plan", "set", file], 1, &["no role \"nosuch\"", "hint: roles of cluster.yaml"]);
    write("- {serial: sn2, name: r01u10, role: base}\n");
    says(&site, &["plan", "add", file], 0, &["2 rows", "r01u10"]);
    says(&site, &["plan", "remove", "r01u08"], 1, &["no row r01u08", "hint: "]);
    says(&site, &["plan", "remove", "r01u10"], 0, &["1 rows removed"]);
    says(&site, &["plan", "remove", "--all"], 0, &["1 rows removed"]);
    says(&site, &["plan", "remove"], 2, &["<NAME>..."]);
    says(&site, &["plan", "check", "/nowhere"], 1, &["opening /nowhere"]);
    says(&site, &["plan", "explain", "SN1"], 1, &["no machine SN1 has reported its hardware", "hint: "]);
}

#[test]
fn the_window_is_opened_only_where_the_site_has_windows() {
    let t = temp();
    let site = filled(&t.path.join("site"), "site-a", A, 1, 100);
    says(&site, &["enrollment", "status"], 0, &["always open"]);
    says(&site, &["enrollment", "open", "--for", "2h"], 1, &["always open", "hint: "]);
    let text = std::fs::read_to_string(site.cluster_file()).unwrap();
    std::fs::write(site.cluster_file(), text.replacen("  enrollment:\n", "  enrollment:\n    window: manual\n", 1)).unwrap();
    says(&site, &["enrollment", "status"], 0, &["closed for unknown machines"]);
    says(&site, &["enrollment", "open", "--for", "2h"], 0, &["may ask to enroll until"]);
    says(&site, &["enrollment", "status"], 0, &["open until"]);
    says(&site, &["enrollment", "close"], 0, &["closed"]);
    says(&site, &["enrollment", "status"], 0, &["closed for unknown machines"]);
    says(&site, &["enrollment", "open", "--for", "2"], 2, &["no unit"]);
    let mac = "52:54:00:ab:00:01";
    says(&site, &["enrollment", "allow", mac], 1, &["neither denied nor set aside", "hint: "]);
    says(&site, &["enrollment", "not-now", mac], 1, &["no such machine"]);
    let seen = site.open_store().unwrap().write(|tx| tx.see_machine(mac.parse().unwrap(), None, 1));
    assert!(seen.unwrap().is_some());
    says(&site, &["enrollment", "not-now", mac, "--for", "1d"], 0, &["not listed as waiting until"]);
    says(&site, &["enrollment", "status"], 0, &[mac, "not now, until", "command line"]);
    says(&site, &["enrollment", "allow", mac], 0, &["may ask to enroll again"]);
}

#[test]
fn a_running_daemon_keeps_the_plan_and_the_window_itself_and_its_pages_know_at_once() {
    let t = temp();
    let site = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let text = std::fs::read_to_string(site.cluster_file()).unwrap();
    std::fs::write(site.cluster_file(), text.replacen("  enrollment:\n", "  enrollment:\n    window: manual\n", 1)).unwrap();
    let (file, mac) = (t.path.join("plan.csv"), "52:54:00:ab:00:01");
    std::fs::write(&file, "serial,name,role\nSN1,r01u07,base\nSN2,r01u08,base\n").unwrap();
    let seen = site.open_store().unwrap().write(|tx| tx.see_machine(mac.parse().unwrap(), None, 1));
    assert!(seen.unwrap().is_some());
    let front = Front::of(t, site);
    let mut newest = Seed(front.app.clone()).subscribe();
    for (words, part, kind) in [
        (&["plan", "set", file.as_str()][..], "2 rows: 0 waiting, 2 not seen", "plan.changed"),
        (&["plan", "remove", "r01u07"], "1 rows removed", "plan.changed"),
        (&["plan", "add", file.as_str()], "2 rows: 0 waiting", "plan.changed"),
        (&["plan", "remove", "--all"], "2 rows removed", "plan.changed"),
        (&["enrollment", "open", "--for", "2h"], "may ask to enroll until", "enrollment.opened"),
        (&["enrollment", "close"], "closed for unknown machines", "enrollment.closed"),
        (&["enrollment", "not-now", mac], "not listed as waiting until", "machine.set_aside"),
        (&["enrollment", "allow", mac], "may ask to enroll again", "machine.allowed"),
    ] {
        let said = front.here(words);
        assert!(said.contains(part), "{words:?}: {said}");
        // Only the daemon's own writes wake its pages.
        assert!(newest.has_changed().unwrap(), "{words:?}");
        newest.mark_unchanged();
        let last = front.app.store.read(|tx| tx.newest_of(kind, 1)).unwrap().remove(0);
        assert_eq!(last.actor.as_deref(), Some("command line"), "{words:?}");
        assert_eq!(front.app.store.read(|tx| tx.last_event()).unwrap(), last.id, "{words:?}");
    }
    let refused = front.try_here(&["plan", "remove", "r01u07"]);
    assert!(refused.code == 1 && refused.err.contains("no row r01u07"), "{}", refused.err);
}
