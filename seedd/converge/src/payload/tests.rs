use camino::Utf8PathBuf;
use cluster_seed::converge::payload::has_play;
use cluster_seed::converge::role::{Resolved, resolve_all};

use super::super::check as checks;
use super::super::gather;
use super::*;

fn dir() -> (tempfile::TempDir, Utf8PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    (dir, path)
}

fn write(root: &Utf8Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn roles(plays: &[&str]) -> BTreeMap<String, Resolved> {
    let yaml: BTreeMap<&str, serde_json::Value> = BTreeMap::from([("a", serde_json::json!({ "plays": plays }))]);
    let roles = serde_saphyr::from_str(&serde_json::to_string(&yaml).unwrap()).unwrap();
    resolve_all(&roles)
}

const GOOD: &str = "- name: motd\n  ansible.builtin.copy: {content: hello, dest: /tmp/x}\n";

#[test]
fn the_same_files_give_the_same_payload_and_another_byte_another() {
    let (_keep, root) = dir();
    let key = SigningKey::from_bytes(&[1; 32]);
    write(&root, "src/ansible/roles/motd/tasks/main.yml", GOOD);
    write(&root, "src/ansible/roles/motd/files/run", "#!/bin/sh\n");
    let site = Site::new(&root.join("data"));
    fs::create_dir(&site.data).unwrap();
    let parts = gather(&root.join("src"), &[("ansible/roles/etcd/files/x", b"y")]).unwrap();
    let first = publish(&site, &parts, "a", &key).unwrap();
    // Other times and another directory: the same bytes.
    write(&root, "copy/ansible/roles/motd/files/run", "#!/bin/sh\n");
    write(&root, "copy/ansible/roles/motd/tasks/main.yml", GOOD);
    let again = publish(&site, &gather(&root.join("copy"), &[("ansible/roles/etcd/files/x", b"y")]).unwrap(), "a", &key).unwrap();
    assert!(first.fresh && !again.fresh);
    assert_eq!(first.manifest, again.manifest);
    assert!(has_play(&first.manifest.files, "motd") && first.manifest.files.len() == 3);
    let archive = site.payload_archive(first.manifest.id);
    let read = super::super::pack::read_file(&archive, "ansible/roles/motd/tasks/main.yml", 1 << 20).unwrap();
    assert_eq!(read.as_deref(), Some(GOOD.as_bytes()));
    write(&root, "src/ansible/roles/motd/files/run", "#!/bin/sh\n\n");
    let other = publish(&site, &gather(&root.join("src"), &[("ansible/roles/etcd/files/x", b"y")]).unwrap(), "a", &key).unwrap();
    assert_ne!(other.manifest.id, first.manifest.id);
    assert_eq!(first.manifest.difference(&other.manifest).changed, ["ansible/roles/motd/files/run"]);
    // Another site's key does not open it, and a damaged archive is found.
    assert!(
        check(&site.payload(first.manifest.id), first.manifest.id, &SigningKey::from_bytes(&[2; 32]).verifying_key()).is_err()
    );
    fs::OpenOptions::new().append(true).open(&archive).unwrap().set_len(first.manifest.size - 1).unwrap();
    assert!(check(&site.payload(first.manifest.id), first.manifest.id, &key.verifying_key()).is_err());
    assert!(fs::read_dir(site.join("tmp")).unwrap().next().is_none(), "nothing is left behind");
}

#[test]
fn secrets_bad_yaml_and_missing_plays_are_named() {
    let (_keep, root) = dir();
    let body = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gt";
    write(
        &root,
        "ansible/roles/a/files/id",
        &format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----\n"),
    );
    write(&root, "ansible/roles/a/tasks/main.yml", "- name: [unclosed\n");
    let parts = gather(&root, &[]).unwrap();
    let (_keep2, tmp) = dir();
    let report = checks::check(&parts, &roles(&["a", "web"]), &tmp).unwrap();
    let found: Vec<_> = report.problems.iter().map(|p| (p.place.as_str(), p.what.as_str())).collect();
    assert!(found.iter().any(|(place, what)| place.ends_with("files/id") && what.contains("private key")), "{found:?}");
    assert!(found.iter().any(|(place, what)| place.ends_with("main.yml") && what.contains("YAML")), "{found:?}");
    assert!(found.iter().any(|(place, what)| *place == "role a" && what.contains("no play web")), "{found:?}");
}

#[test]
fn syntax_errors_are_in_ansibles_words() {
    if host::tool::Tool::new("ansible-playbook").args(["--version"]).run().is_err() {
        return kubedos_skip::skip("ansible", "ansible-playbook is not installed");
    }
    let (_keep, root) = dir();
    write(&root, "ansible/roles/good/tasks/main.yml", GOOD);
    write(&root, "ansible/playbooks/users.yml", "- hosts: localhost\n  tasks:\n    - ansible.builtin.ping:\n");
    let (_keep2, tmp) = dir();
    let report = checks::check(&gather(&root, &[]).unwrap(), &roles(&["good", "users"]), &tmp).unwrap();
    assert_eq!(report.problems, []);
    write(&root, "ansible/roles/bad/tasks/main.yml", "- name: x\n  no_such_module_at_all: {}\n");
    let (_keep3, tmp) = dir();
    let report = checks::check(&gather(&root, &[]).unwrap(), &roles(&["good", "bad"]), &tmp).unwrap();
    assert!(report.problems[0].what.contains("no_such_module_at_all"), "{:?}", report.problems);
    assert!(!report.problems[0].what.contains(tmp.as_str()));
}
