//! The verbs of convergence on the command line: bad input is refused in words, and nothing is half-written.

use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use site::Site;

use crate::converge::{PLAYS, converged, site_with};
use crate::support::capsules;
use crate::support::sites::*;

/// Exit status, standard output and standard error.
fn seedd(site: &Site, words: &[&str]) -> (i32, String, String) {
    let pass = site.join("pass");
    std::fs::write(&pass, A).unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_seedd")).args(words).args(["--data", site.data.as_str()]).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (done.status.code().unwrap(), text(done.stdout), text(done.stderr))
}

fn refused(site: &Site, words: &[&str], said: &[&str]) {
    let (code, out, err) = seedd(site, words);
    assert_eq!(code, 1, "{words:?}: {out}{err}");
    for part in said {
        assert!(out.contains(part) || err.contains(part), "{words:?}: no {part:?} in {out}{err}");
    }
}

#[test]
fn bad_payloads_are_refused_and_the_one_in_use_stays() {
    let t = temp();
    let site = site_with(&t, PLAYS);
    let pass = site.join("pass");
    let in_use = || site.open_store().unwrap().read(|tx| tx.payload()).unwrap();
    let before = in_use();
    let publish = ["payload", "publish", "--passphrase-file", pass.as_str()];
    refused(&site, &["payload", "check", "--source", "/nowhere/at/all"], &["no directory /nowhere/at/all", "hint: "]);
    let task = site.join("payload/ansible/roles/hello/tasks/main.yml");
    std::fs::write(&task, "- name: [unclosed\n").unwrap();
    refused(&site, &["payload", "check"], &["hello/tasks/main.yml", "YAML"]);
    refused(&site, &publish, &["hello/tasks/main.yml", "hint: nothing was changed"]);
    std::fs::remove_dir_all(site.join("payload/ansible/roles/hello")).unwrap();
    std::fs::create_dir_all(site.join("payload/ansible/roles/other/tasks")).unwrap();
    std::fs::write(site.join("payload/ansible/roles/other/tasks/main.yml"), "[]\n").unwrap();
    refused(&site, &publish, &["role base", "no play hello"]);
    let large = std::fs::File::create(site.join("payload/ansible/large")).unwrap();
    large.set_len(1 << 30).unwrap();
    refused(&site, &publish, &["ansible/large", "1073741824 bytes", "hint: serve large files as extras"]);
    assert_eq!(in_use(), before);
    assert!(std::fs::read_dir(site.join("tmp")).unwrap().next().is_none(), "nothing is left behind");
}

#[test]
fn names_that_do_not_exist_are_refused_with_a_hint() {
    let t = temp();
    let site = site_with(&t, PLAYS);
    refused(&site, &["converge", "run", "--role", "nobody"], &["there is no role \"nobody\"", "hint: "]);
    refused(&site, &["converge", "check", "--node", "n9"], &["no node named n9.kubedos.lan", "hint: "]);
    refused(&site, &["accept", "--check", "wishes", "--dry-run"], &["no check \"wishes\"", "--list"]);
    refused(&site, &["node", "replace", "n9"], &["no node named n9.kubedos.lan", "hint: "]);
    refused(&site, &["payload", "use", "ffff"], &["no payload begins with ffff", "hint: "]);
    let there = t.path.join("there");
    std::fs::write(&there, "kept").unwrap();
    refused(&site, &["support", "--out", there.as_str()], &["already exists", "hint: "]);
    assert_eq!(std::fs::read_to_string(&there).unwrap(), "kept");
}

#[test]
fn a_cluster_yaml_that_does_not_fit_the_nodes_is_not_applied() {
    let t = temp();
    let site = site_with(&t, PLAYS);
    let app = unsealed(&site, A);
    converged(&app, 1, 1);
    drop(app);
    let own = site.cluster_file();
    let before = std::fs::read_to_string(&own).unwrap();
    let other = t.path.join("other.yaml");
    let write = |text: String| std::fs::write(&other, text).unwrap();
    write(before.replacen("    base:", "    another:", 1));
    refused(&site, &["cluster", "apply", other.as_str(), "--yes"], &["has the role base", "hint: "]);
    write(before.replacen("10.78.0.0/16", "10.98.0.0/16", 1));
    refused(&site, &["cluster", "apply", other.as_str(), "--yes"], &["outside of 10.98.0.0/16"]);
    write(before.replacen("name: site-a", "name: site-b", 1));
    refused(&site, &["cluster", "apply", other.as_str(), "--yes"], &["that of site site-b", "this one is site-a"]);
    write(before.replacen("      wg1:", "      wg9: {cidr: 10.99.0.0/16, port: 51899}\n      wg1:", 1));
    refused(&site, &["cluster", "apply", other.as_str(), "--yes"], &["plane wg9 is new", "hint: "]);
    write("spec: [".to_owned());
    refused(&site, &["cluster", "apply", other.as_str(), "--yes"], &["other.yaml:"]);
    let changed = before.replacen("    base:\n", "    base:\n      maxUnavailable: 2\n", 1);
    write(changed.clone());
    // Nobody is there to ask.
    refused(&site, &["cluster", "apply", other.as_str()], &["confirmation", "--yes"]);
    assert_eq!(seedd(&site, &["cluster", "apply", other.as_str(), "--dry-run"]).0, 0);
    assert_eq!(std::fs::read_to_string(&own).unwrap(), before);
    // Root may give a file to another user; whoever runs the tests otherwise keeps his own.
    let _ = std::os::unix::fs::chown(&own, Some(65_534), Some(65_534));
    std::fs::set_permissions(&own, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    let held = std::fs::metadata(&own).unwrap();
    let (code, out, err) = seedd(&site, &["cluster", "apply", other.as_str(), "--yes"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("takes effect when the seed starts"), "{out}");
    assert_eq!(std::fs::read_to_string(&own).unwrap(), changed);
    assert_eq!(std::fs::read_to_string(site.join("cluster.yaml.former")).unwrap(), before);
    // Another user runs the seed than the one who applies.
    let after = std::fs::metadata(&own).unwrap();
    assert_eq!((after.uid(), after.gid(), after.mode()), (held.uid(), held.gid(), held.mode()));
}

#[test]
fn a_member_is_not_replaced_while_the_others_are_no_majority() {
    let t = temp();
    let site = site_with(&t, "      plays: [etcd]\n      count: {min: 3, odd: true}\n");
    let app = unsealed(&site, A);
    // One of three has never converged.
    converged(&app, 2, 3);
    drop(app);
    refused(&site, &["node", "replace", "n1"], &["1 of 3 members of etcd", "fewer than a majority", "hint: "]);
}

#[test]
fn the_support_bundle_is_for_its_reader_only() {
    let t = temp();
    let site = site_with(&t, PLAYS);
    let (reader, out) = (cluster_seed::secret::AgeKey::generate(), t.path.join("bundle.age"));
    let (code, said, err) = seedd(&site, &["support", "--out", out.as_str(), "--recipient", &reader.recipient()]);
    assert_eq!(code, 0, "{said}{err}");
    let bytes = std::fs::read(&out).unwrap();
    let plain = reader.open(&bytes).unwrap();
    assert!(cluster_seed::secret::AgeKey::generate().open(&bytes).is_err());
    assert!(plain.expose().starts_with(&[0x1f, 0x8b]), "gzip");
}

#[test]
fn a_capsule_carries_the_payload_in_use() {
    let t = temp();
    let site = site_with(&t, PLAYS);
    let id = site.open_store().unwrap().read(|tx| tx.payload()).unwrap().unwrap();
    let b = empty(&t.path.join("b"), "site-b", B);
    let out = t.path.join("a.capsule");
    capsules::export((&site, A), &b, &out, None, false).unwrap();
    let pin = site.keys().public().unwrap().site_key().unwrap();
    capsules::import((&b, B), &out, &pin, false).unwrap();
    assert_eq!(site::payloads::one(&b, id).unwrap(), site::payloads::one(&site, id).unwrap());
    let archive = |site: &Site| std::fs::read(site.payload_archive(id)).unwrap();
    assert_eq!(archive(&b), archive(&site));
}
