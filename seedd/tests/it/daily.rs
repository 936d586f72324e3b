//! Daily work on the command line: on the seed, and from elsewhere by a context.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use cluster_seed::ids::EnrollmentId;
use host::programs::find_program;
use serde_json::json;

use crate::support::front::{Front, PASSWORD, Said};
use crate::support::sites::*;

/// A machine that confirms as soon as its code was typed.
fn approve(front: &Front, machine: &Machine, id: EnrollmentId, words: &[&str]) -> Said {
    std::thread::scope(|scope| {
        let said = scope.spawn(|| front.try_here(words));
        while front.app.status_of(id).unwrap().offer.is_none() && !said.is_finished() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        if front.app.status_of(id).unwrap().offer.is_some() {
            machine.confirm(&front.app, id).unwrap();
        }
        said.join().unwrap()
    })
}

#[test]
fn a_machine_is_listed_approved_shown_and_revoked_on_the_seed() {
    let front = Front::new();
    let said = front.try_here(&["machine", "list"]);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, "", "seedd: no machines\n"));
    front.app.unseal_with(A, "test").unwrap();
    let machine = Machine::new(7);
    let (id, code) = machine.enroll(&front.app);
    let table = front.here(&["machine", "list", "-l", "state=pending"]);
    assert!(table.starts_with("ID  NAME  STATE    ROLE  CODE") && table.contains("02:00:00:00:00:07"), "{table}");
    assert_eq!(front.json(&["machine", "list", "-l", "state!=pending"]), json!({"machines": []}));
    let words = ["machine", "approve", &code, "--role", "base", "--name", "n1", "--disk", "vda", "--json"];
    let said = approve(&front, &machine, id, &words);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    let approved: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&approved["approved"][0]["state"], &approved["approved"][0]["error"]), (&json!("Approved"), &json!(null)));

    let nodes = front.json(&["node", "list", "-l", "role=base"]);
    let node = &nodes["nodes"][0];
    assert_eq!((&node["hostname"], &node["state"]), (&json!("n1.kubedos.lan"), &json!("Approved")));
    assert_eq!(node["planes"][0]["plane"], "wg1");
    let shown = front.here(&["node", "show", "n1"]);
    assert!(shown.contains("\nssh         ssh root@10.") && shown.contains("\nrole        base\n"), "{shown}");
    let shown = front.here(&["machine", "show", "n1"]);
    assert!(shown.contains("vda 4294967296 bytes m s1\n"), "{shown}");
    assert_eq!(front.here(&["machine", "wait", "n1", "--for", "approved"]), "Approved\n");
    let said = front.try_here(&["machine", "wait", "n1", "--for", "failed", "--timeout", "1m", "--json", "--output", "table"]);
    assert_eq!(said.code, 2, "--json is --output json, and not both: {}", said.err);
    assert!(front.here(&["enrollment", "list"]).contains("n1.kubedos.lan"));
    assert!(front.here(&["plane", "show", "wg1"]).contains("n1.kubedos.lan"));
    assert_eq!(front.json(&["plane", "list"])["planes"][0]["nodes"], 1);
    let events = front.json(&["event", "list", "--kind", "enrollment.", "-n", "500"]);
    let kinds: Vec<&str> = events["events"].as_array().unwrap().iter().map(|e| e["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"enrollment.approved") && kinds.iter().all(|k| k.starts_with("enrollment.")), "{kinds:?}");
    assert!(front.json(&["event", "list", "-n", "500"])["events"].to_string().contains("\"actor\":\"command line\""));

    assert!(front.here(&["node", "revoke", "n1", "--reason", "stolen"]).contains("n1.kubedos.lan revoked"));
    assert_eq!(front.json(&["node", "list"]), json!({"nodes": []}));
    let said = front.try_here(&["node", "revoke", "n1"]);
    assert!(said.code == 1 && said.err.contains("there is no node named n1\nhint: "), "{}", said.err);
}

#[test]
fn many_machines_are_approved_from_a_file_and_each_line_has_its_result() {
    let front = Front::new();
    front.app.unseal_with(A, "test").unwrap();
    let (first, second) = (Machine::new(1), Machine::new(2));
    let ((one, code), (two, other)) = (first.enroll(&front.app), second.enroll(&front.app));
    let file = front.path("codes");
    std::fs::write(&file, format!("# rack a\n{code} base n1 vda\n{other} base n2 sdz\n99-000-000 base n3 vda\n")).unwrap();
    let words = ["machine", "approve", "--file", file.as_str(), "--no-wait", "--output", "json"];
    let said = front.try_here(&words);
    assert_eq!(said.code, 1, "{}", said.out);
    let all: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let states: Vec<&str> = all["approved"].as_array().unwrap().iter().map(|o| o["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["Confirming", "refused", "refused"]);
    assert!(all["approved"][1]["error"].as_str().unwrap().contains("sdz"), "{all}");
    assert!(said.err.contains("2 of 3 machines were not approved"), "{}", said.err);
    first.confirm(&front.app, one).unwrap();
    assert_eq!(front.app.view_of(two).unwrap().state.as_str(), "Pending");
    std::fs::write(&file, "12-345-678 base n1\n").unwrap();
    let said = front.try_here(&words);
    assert!(
        said.code == 1 && said.err.contains("line 1 has 3 words") && said.err.contains("nothing was approved"),
        "{}",
        said.err
    );
}

#[test]
fn a_seed_elsewhere_is_added_by_its_fingerprint_and_asked_with_a_token() {
    let mut front = Front::new();
    let url = front.url();
    let password = front.path("password");
    std::fs::write(&password, PASSWORD).unwrap();
    let add = |fingerprint: &str| front.run(&["context", "add", "site-a", &url, "--fingerprint", fingerprint]);
    let (own, other) = (front.app.tls.fingerprint(), "AB:".repeat(31) + "AB");
    let said = add(&other);
    assert!(said.code == 1 && said.err.contains("shows another certificate") && said.err.contains(&own), "{}", said.err);
    let said = front.run(&["context", "add", "site-a", &url]);
    assert!(said.code == 1 && said.err.contains(&own) && said.err.contains("--fingerprint"), "{}", said.err);
    assert_eq!(add(&own).code, 0);
    let said = front.run(&["machine", "list"]);
    assert!(said.code == 1 && said.err.contains("hint: log in: `seedd login`"), "{}", said.err);
    let wrong = front.path("wrong");
    std::fs::write(&wrong, "not the password").unwrap();
    assert_eq!(front.run(&["login", "--user", "ada", "--password-file", wrong.as_str()]).code, 1);
    let said = front.run(&["login", "--user", "ada", "--password-file", password.as_str()]);
    assert_eq!((said.code, said.out.as_str()), (0, "logged in to site-a as ada\n"), "{}", said.err);
    let stored = front.path("home/.config/kubedos/contexts.yaml");
    assert_eq!(std::fs::metadata(&stored).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(front.run(&["machine", "list", "--json"]).out, "{\"machines\":[]}\n");
    let listed = front.run(&["context", "list", "--output", "wide"]).out;
    assert!(listed.contains("*        site-a") && listed.contains("ada") && listed.contains(&own), "{listed}");
    assert!(!front.run(&["context", "show", "site-a", "--json"]).out.contains("token\":\""));

    // Unsealed it shows a certificate of the site's CA, which nobody has confirmed yet.
    front.app.unseal_with(A, "test").unwrap();
    let said = front.run(&["machine", "list"]);
    assert!(said.code == 1 && said.err.contains("not trusted") && said.err.contains("context add"), "{}", said.err);
    let certified = front.app.tls.fingerprint();
    assert_eq!(front.run(&["context", "add", "site-a", &url, "--fingerprint", &certified]).code, 0);
    assert_eq!(front.run(&["machine", "list", "--json"]).code, 0, "the session is kept");
    // After a restart the key is another one, of the same CA.
    front.restart();
    front.app.unseal_with(A, "test").unwrap();
    assert_ne!(front.app.tls.fingerprint(), certified);
    let said = front.run(&["machine", "list", "--json"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let said = front.run(&["--help"]);
    assert!(said.out.contains("KUBEDOS_CONTEXT"));

    assert_eq!(front.run(&["logout"]).code, 0);
    assert!(front.run(&["machine", "list"]).err.contains("seedd login"));
    assert_eq!(front.run(&["context", "use", "local"]).code, 0);
    assert_eq!(front.here(&["machine", "list", "--json"]), "{\"machines\":[]}\n");
    assert_eq!(front.run(&["context", "remove", "site-a"]).code, 0);
    assert!(!std::fs::read_to_string(stored).unwrap().contains("site-a"));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let front = Front::new();
    let data = front.site.data.to_string();
    let mut child = front
        .command(&["plane", "list", "--json"])
        .env("KUBEDOS_DATA", data)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let said = Said::of(child.wait_with_output().unwrap());
    assert_eq!((said.code, said.err.as_str()), (0, ""));
}

#[test]
fn a_shell_completes_the_names_of_nodes() {
    let front = Front::new();
    front.app.unseal_with(A, "test").unwrap();
    Machine::new(1).install(&front.app, "web-1", false);
    let script = front.here(&["completion", "bash"]);
    assert!(script.contains("SEEDD_COMPLETE") && script.contains("seedd"), "{script}");
    let asked = front
        .command(&["--", "seedd", "node", "show", ""])
        .env("SEEDD_COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", "3")
        .env("_CLAP_IFS", "\n")
        .env("KUBEDOS_DATA", front.site.data.as_str())
        .output()
        .unwrap();
    let said = Said::of(asked);
    assert!(said.out.lines().any(|l| l == "web-1"), "{}{}", said.out, said.err);
}

#[test]
fn ansible_reads_the_inventory() {
    for program in ["ansible", "ansible-inventory"] {
        if find_program(program).is_none() {
            return kubedos_skip::skip(program, "the inventory is read by Ansible itself");
        }
    }
    let front = Front::new();
    front.app.unseal_with(A, "test").unwrap();
    Machine::new(1).install(&front.app, "web-1", false);
    Machine::new(2).install(&front.app, "db-1", false);
    let script = front.path("inventory");
    let seedd = env!("CARGO_BIN_EXE_seedd");
    std::fs::write(&script, format!("#!/bin/sh\nexec {seedd} inventory --data {} \"$@\"\n", front.site.data)).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let ansible = |program: &str, words: &[&str]| {
        let mut command = Command::new(program);
        command.args(["-i", script.as_str()]).args(words).env("HOME", front.path("home")).env("ANSIBLE_NOCOLOR", "1");
        let said = Said::of(command.env("LC_ALL", "C.UTF-8").stdin(Stdio::null()).output().unwrap());
        assert_eq!(said.code, 0, "{}{}", said.out, said.err);
        said.out
    };
    let graph = ansible("ansible-inventory", &["--graph"]);
    for part in ["@role_base:", "@state_installed:", "web-1.kubedos.lan", "db-1.kubedos.lan"] {
        assert!(graph.contains(part), "{part} in\n{graph}");
    }
    // A task of its own on every node of a group; the test has no ssh to them.
    let message = "msg={{ ansible_user }}@{{ ansible_host }}/{{ kubedos_role }}";
    let said = ansible("ansible", &["role_base", "--limit", "web-1*", "-c", "local", "-m", "debug", "-a", message]);
    assert!(said.contains("web-1.kubedos.lan | SUCCESS") && said.contains("root@10.") && !said.contains("db-1"), "{said}");
}
