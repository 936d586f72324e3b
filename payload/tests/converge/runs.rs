//! Runs of small payloads by the real ansible-playbook.

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::atomic::AtomicBool;

use camino::Utf8Path;
use cluster_seed::converge::orders::{RunMode, RunResult};
use serde_json::{Value, json};

use crate::bench::{KEY, Node, Seed, archive, has_ansible, orders, run};

/// Set in the process that the test of kill -9 starts: root of the node and URL of the seed.
const CHILD: &str = "KUBEDOS_TEST_CONVERGE";

const GOOD: &str = "\
- name: Nothing changes
  ansible.builtin.command: /bin/true
  changed_when: false
- name: A file
  ansible.builtin.copy:
    content: \"{{ kubedos.label }} {{ word }} {{ kubedos.mode }} {{ inventory_hostname }}\\n\"
    dest: \"{{ root }}/file\"
    mode: '0644'
- name: Count the runs
  ansible.builtin.shell: echo run >> {{ root }}/runs
  when: not ansible_check_mode
";
const BAD: &str = "\
- name: Count the attempts
  ansible.builtin.shell: echo attempt >> {{ root }}/attempts
- name: It fails
  ansible.builtin.shell: echo the disk is full >&2; exit 3
";
const CHECK: &str = "#!/bin/sh\ngrep -c . \"$(dirname \"$KUBEDOS_VARS\")/../../../file\"\n";

fn payload(tasks: &str) -> Vec<u8> {
    archive(&[
        ("ansible/roles/good/tasks/main.yml", GOOD),
        ("ansible/roles/good/files/check", CHECK),
        ("ansible/roles/other/tasks/main.yml", tasks),
        (
            "ansible/playbooks/users.yml",
            "- name: Users\n  hosts: worker\n  gather_facts: false\n  tasks:\n    - name: From a playbook\n      ansible.builtin.command: /bin/true\n",
        ),
        ("ansible/group_vars/worker.yml", "word: from-the-group\n"),
    ])
}

fn vars(root: &Utf8Path) -> Value {
    json!({ "root": root })
}

#[test]
fn plays_run_in_order_and_the_result_is_reported_with_their_checks() {
    if !has_ansible() {
        return;
    }
    let (node, seed) = (Node::new(), Seed::start());
    let bytes = payload("[]");
    seed.offer(&bytes);
    seed.give(&orders(1, Some(run(&bytes, 1, &["good", "users"], vars(&node.root)))));
    node.during(&seed, || {
        let report = seed.result(0, RunResult::Ok);
        assert_eq!((report.ok, report.changed, report.play.as_str(), report.task.as_str()), (4, 3, "users", "From a playbook"));
        assert_eq!((report.fetched, report.why.as_str(), report.would.len()), (bytes.len() as u64, "", 0));
        let done = seed.heard(0, |ask| ask.run.as_ref().is_some_and(|r| r.result == RunResult::Ok));
        let checks: Vec<_> = done.checks.iter().map(|c| (c.name.as_str(), c.ok, c.detail.as_str())).collect();
        assert_eq!(checks, [("time", true, "later"), ("good", true, "1")]);
        assert!(seed.state().asks.iter().any(|ask| ask.run.as_ref().is_some_and(|r| r.result == RunResult::Running)));
        // It stays at that.
        let from = seed.count();
        seed.heard(from + 2, |_| true);
        assert!(seed.state().asks[from..].iter().all(|ask| ask.run.as_ref().is_some_and(|r| r.result == RunResult::Ok)));
    });
    assert_eq!(node.read("file"), "n1 from-the-group apply n1.lan\n");
    assert_eq!(node.lines("runs"), 1);
}

#[test]
fn a_failing_task_is_tried_three_times_and_named_with_its_words() {
    if !has_ansible() {
        return;
    }
    let (node, seed) = (Node::new(), Seed::start());
    let bytes = payload(BAD);
    seed.offer(&bytes);
    seed.give(&orders(1, Some(run(&bytes, 1, &["good", "other"], vars(&node.root)))));
    node.during(&seed, || {
        let report = seed.result(0, RunResult::Failed);
        assert_eq!((report.play.as_str(), report.task.as_str()), ("other", "It fails"));
        assert!(report.why.contains("the disk is full"), "{}", report.why);
        assert_eq!((node.lines("attempts"), node.lines("runs")), (3, 3));
        // Another attempt of the same revision, with a payload that works.
        let (from, good) = (seed.count(), payload("[]"));
        seed.offer(&good);
        let again = run(&good, 1, &["good", "other"], vars(&node.root));
        seed.give(&orders(2, Some(cluster_seed::converge::orders::Run { attempt: 1, ..again })));
        assert_eq!(seed.result(from, RunResult::Ok).attempt, 1);
    });
}

#[test]
fn what_cannot_be_parsed_or_is_missing_is_not_tried_again() {
    if !has_ansible() {
        return;
    }
    let (node, seed) = (Node::new(), Seed::start());
    for (n, tasks, plays, words) in [
        (1, "- name: a\n  no.such.module_at_all: {}\n", &["other"][..], "no.such.module_at_all"),
        (2, "- name: [\n", &["other"][..], "YAML"),
        (3, "[]", &["other", "absent"][..], "absent"),
    ] {
        let bytes = payload(tasks);
        seed.offer(&bytes);
        seed.give(&orders(n, Some(run(&bytes, n as u8, plays, vars(&node.root)))));
        node.during(&seed, || {
            let report = seed
                .heard(0, |ask| ask.run.as_ref().is_some_and(|r| r.result == RunResult::Failed && r.revision.0[0] == n as u8));
            let report = report.run.unwrap();
            assert!(report.why.contains(words) && !report.why.contains("KUBEDOS"), "{}", report.why);
        });
    }
    assert!(!node.read("console").contains("converge: done"));
}

#[test]
fn a_check_run_changes_nothing_and_names_what_it_would_change() {
    if !has_ansible() {
        return;
    }
    let (node, seed) = (Node::new(), Seed::start());
    let bytes = payload("[]");
    seed.offer(&bytes);
    let real = run(&bytes, 1, &["good"], json!({ "root": node.root, "word": "one" }));
    seed.give(&orders(1, Some(real.clone())));
    node.during(&seed, || {
        seed.result(0, RunResult::Ok);
        let mut check = run(&bytes, 2, &["good"], json!({ "root": node.root, "word": "two" }));
        check.mode = RunMode::Check;
        seed.give(&orders(2, Some(check)));
        let of_check = |ask: &cluster_seed::converge::orders::Ask| {
            ask.run.as_ref().is_some_and(|r| r.mode == RunMode::Check && r.result == RunResult::Ok)
        };
        let report = seed.heard(0, of_check).run.unwrap();
        assert_eq!((report.would.as_slice(), report.changed), (&["good: A file".to_owned()][..], 1));
        // Heard once, then the run of mode apply again.
        let from = seed.count();
        let later = seed.heard(from + 1, |_| true).run.unwrap();
        assert_eq!((later.mode, later.result, later.revision), (RunMode::Apply, RunResult::Ok, real.revision));
        assert_eq!(seed.state().asks.iter().filter(|ask| of_check(ask)).count(), 1);
    });
    assert_eq!((node.read("file").as_str(), node.lines("runs")), ("n1 one apply n1.lan\n", 1));
    // The checks use the variables of the run that is in force.
    assert!(node.read("run/kubedos/converge/vars.json").contains("\"word\":\"one\""));
}

#[test]
fn a_damaged_download_is_tried_again() {
    if !has_ansible() {
        return;
    }
    let (node, seed) = (Node::new(), Seed::start());
    let bytes = payload("[]");
    let path = format!("/payload/{}", seed.offer(&bytes));
    // What a power failure leaves: the right size, the wrong bytes.
    let part = node.root.join("var/cache/kubedos").join(format!("{}.part", path.trim_start_matches('/')));
    std::fs::create_dir_all(part.parent().unwrap()).unwrap();
    std::fs::write(&part, vec![0; bytes.len()]).unwrap();
    seed.give(&orders(1, Some(run(&bytes, 1, &["users"], json!({})))));
    node.during(&seed, || {
        seed.result(0, RunResult::Ok);
        // A seed that keeps sending other bytes does not keep the node waiting.
        let other = payload("# other\n");
        let mut bad = other.clone();
        bad[40] ^= 1;
        seed.state().files.insert(format!("/payload/{}", cluster_seed::ids::Digest::of(&other)), bad);
        seed.give(&orders(2, Some(run(&other, 2, &["users"], json!({})))));
        assert!(seed.result(0, RunResult::Failed).why.contains("digest"));
    });
}

#[test]
fn plays_wait_for_certificates_and_run_again_for_renewed_ones() {
    if !has_ansible() {
        return;
    }
    let (node, seed) = (Node::new(), Seed::start());
    let etcd = "- name: Key\n  ansible.builtin.shell: echo {{ kubedos.certificates }} >> {{ root }}/runs\n";
    let bytes = archive(&[("ansible/roles/etcd/tasks/main.yml", etcd)]);
    seed.offer(&bytes);
    seed.give(&orders(1, Some(run(&bytes, 1, &["etcd"], vars(&node.root)))));
    node.during(&seed, || {
        seed.heard(0, |ask| ask.run.as_ref().is_some_and(|r| r.task.contains("certificate etcd/peer")));
        assert_eq!(node.lines("runs"), 0);
        seed.state().bundle = Some((7, crate::bench::ENROLLMENT));
        seed.result(0, RunResult::Ok);
        let from = seed.count();
        seed.state().bundle = Some((8, crate::bench::ENROLLMENT));
        node.wait_for("runs", 2);
        seed.heard(from + 20, |_| true);
        let stays = |ask: &cluster_seed::converge::orders::Ask| ask.run.as_ref().is_some_and(|r| r.result == RunResult::Ok);
        assert!(seed.state().asks[from..].iter().all(stays), "the earlier result stays while the plays run again");
    });
    assert_eq!(node.read("runs"), "7\n8\n");
    assert_eq!(node.read("etc/kubedos/pki/etcd/peer.key"), KEY.replace("AA", "0008"));
}

#[test]
fn a_node_goes_on_with_its_orders_while_the_seed_is_away() {
    if !has_ansible() {
        return;
    }
    let (node, seed) = (Node::new(), Seed::start());
    let bytes = payload("[]");
    let baked = node.root.join(format!("usr/share/kubedos/payload/{}.tar.zst", cluster_seed::ids::Digest::of(&bytes)));
    std::fs::create_dir_all(baked.parent().unwrap()).unwrap();
    std::fs::write(baked, &bytes).unwrap();
    seed.give(&orders(1, Some(run(&bytes, 1, &["good"], json!({ "root": node.root, "word": "x" })))));
    node.during(&seed, || {
        seed.heard(0, |_| true);
        seed.state().away = true;
        node.wait_for("runs", 1);
        seed.state().away = false;
        assert_eq!(seed.result(0, RunResult::Ok).fetched, 0);
    });
}

/// Not a test by itself: the agent of the test below, in a process that can be killed.
#[test]
fn the_agent_in_a_process_of_its_own() {
    let Ok(place) = std::env::var(CHILD) else { return };
    let (root, url) = place.split_once(' ').unwrap();
    Node::of(root.into()).converge(url, &AtomicBool::new(false));
}

#[test]
fn after_kill_9_an_unfinished_run_is_repeated_and_a_finished_one_is_not() {
    if !has_ansible() {
        return;
    }
    let (node, seed) = (Node::new(), Seed::start());
    let slow = "- name: Begin\n  ansible.builtin.shell: echo begun >> {{ root }}/begun\n\
                - name: Wait\n  ansible.builtin.shell: \"n=0; while [ ! -e {{ root }}/go ] && [ $n -lt 600 ]; do sleep 0.1; n=$((n+1)); done\"\n";
    let bytes = payload(slow);
    seed.offer(&bytes);
    seed.give(&orders(1, Some(run(&bytes, 1, &["other", "good"], vars(&node.root)))));
    let start = || {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "runs::the_agent_in_a_process_of_its_own"]).env(CHILD, format!("{} {}", node.root, seed.url));
        child.process_group(0).spawn().unwrap()
    };
    // As soon as it has orders, then within a task.
    let mut child = start();
    seed.heard(0, |ask| ask.serial == 1);
    child.kill().unwrap();
    child.wait().unwrap();
    let begun = node.lines("begun");
    let mut child = start();
    node.wait_for("begun", begun + 1);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!node.root.join("state/applied.json").exists());
    std::fs::write(node.root.join("go"), "").unwrap();
    let from = seed.count();
    node.during(&seed, || seed.result(from, RunResult::Ok));
    let (runs, begun) = (node.lines("runs"), node.lines("begun"));
    assert!(runs >= 1 && begun >= 2, "{runs} {begun}");
    // A finished one.
    let mut child = start();
    let from = seed.count();
    let first = seed.heard(from, |_| true);
    seed.heard(from + 3, |_| true);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(first.run.unwrap().result, RunResult::Ok);
    assert_eq!(node.lines("begun"), begun);
}
