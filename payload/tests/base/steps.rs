//! Every step: its files, drift, failing programs, hostile values.

use std::fs;
use std::os::unix::fs::symlink;

use cluster_seed::agent::StepResult;
use cluster_seed::identity::{DarksiteSource, IdentityInfo};
use cluster_seed::repo::{RepoMode, UpstreamSource};
use payload::assets;
use payload::base::{Base, Command, Outcome, Step, apt, firewall, hosts, ssh};

use crate::machine::{Machine, info, peers, words};

#[test]
fn files_that_depend_on_the_identity_are_written() {
    let machine = Machine::new();
    machine.write("/etc/apt/sources.list", b"deb http://elsewhere.example.org/debian trixie main\n");
    let mut done = Vec::new();
    let (peers, info, run) = (peers(), info(), |c: &Command| machine.run(c));
    let outcomes = Base::new(machine.root(), &info, &peers, &run).apply(Step::ALL, &mut |o| done.push(o.step));
    assert_eq!(done, Step::ALL);
    assert!(Step::LOCAL.len() == Step::ALL.len() - 1 && !Step::LOCAL.contains(&Step::PackageLists));
    let unchanged = [Step::SshServer, Step::AptPriority, Step::PackageLists];
    for outcome in &outcomes {
        let expected = if unchanged.contains(&outcome.step) { StepResult::Ok } else { StepResult::Changed };
        assert_eq!(outcome.report().result, expected, "{:?}", outcome.result);
    }
    assert_eq!(machine.text("/etc/hostname"), "alpha\n");
    assert_eq!(machine.text("/etc/hosts"), include_str!("../golden/hosts"));
    assert_eq!(machine.text("/root/.ssh/authorized_keys"), include_str!("../golden/authorized_keys"));
    assert_eq!(machine.text("/etc/nftables.d/kubedos.nft"), include_str!("../golden/kubedos.nft"));
    assert_eq!(machine.text("/etc/apt/keyrings/kubedos.gpg"), "keyring");
    assert_eq!(machine.text("/etc/apt/sources.list.d/kubedos.sources"), include_str!("../golden/darksite.sources"));
    assert!(!machine.at("/etc/apt/sources.list").exists());
    for (path, mode) in [
        ("/etc/hostname", 0o644),
        ("/etc/hosts", 0o644),
        ("/root/.ssh", 0o700),
        ("/root/.ssh/authorized_keys", 0o600),
        ("/etc/nftables.d/kubedos.nft", 0o600),
        ("/etc/apt/keyrings", 0o755),
        ("/etc/apt/keyrings/kubedos.gpg", 0o644),
        ("/etc/apt/sources.list.d/kubedos.sources", 0o644),
    ] {
        assert_eq!(machine.mode(path), mode, "{path}");
    }
    let ran = machine.ran.borrow();
    assert_eq!(ran[..], [Command::LoadFirewall, Command::EnableFirewall, Command::UpdateLists { strict: true }]);
}

#[test]
fn a_second_run_changes_nothing() {
    let machine = Machine::new();
    assert!(!machine.changed(&info()).is_empty());
    assert_eq!(machine.changed(&info()), []);
    let ran = machine.ran.borrow();
    assert!(matches!(ran[..], [Command::QueryFirewall(_), Command::UpdateLists { .. }]), "{ran:?}");
    assert_eq!(
        ran[0].argv(),
        [
            "nft",
            "get element inet kubedos wireguard { 51821, 51822, 51823 }; get element inet kubedos planes { \"wg1\", \"wg2\", \"wg3\" }; \
             get element inet kubedos places { \"wg1\" . 10.51.0.2, \"wg2\" . 10.52.0.2, \"wg3\" . 10.53.0.2 }; \
             get element inet kubedos addresses { 10.51.0.2, 10.52.0.2, 10.53.0.2 }; \
             get element inet kubedos hairpins { \"wg1\" . \"wg1\", \"wg2\" . \"wg2\", \"wg3\" . \"wg3\" }; \
             get element inet kubedos edition { e3b0:c442:98fc:1c14:9afb:f4c8:996f:b924 }"
        ]
    );
}

#[test]
fn changed_files_are_restored() {
    type Drift = (&'static [Step], fn(&Machine));
    const DRIFTS: &[Drift] = &[
        (&[Step::HostName], |m| m.write("/etc/hostname", b"other\n")),
        (&[Step::Hosts], |m| fs::remove_file(m.at("/etc/hosts")).unwrap()),
        (&[Step::SshServer], |m| m.write(assets::SSH_SERVER.path, b"PasswordAuthentication yes\n")),
        (&[Step::AuthorizedKeys], |m| m.set_mode("/root/.ssh", 0o755)),
        (&[Step::AuthorizedKeys], |m| m.set_mode("/root/.ssh/authorized_keys", 0o644)),
        (&[Step::FirewallRules, Step::FirewallLoaded], |m| m.write(assets::FIREWALL.path, b"flush ruleset\n")),
        (&[Step::FirewallRules, Step::FirewallLoaded], |m| m.write(assets::BASE_RULES.path, b"")),
        (&[Step::FirewallLoaded], |m| m.loaded.set(false)),
        (&[Step::FirewallAtBoot], |m| {
            fs::remove_file(m.at("/etc/systemd/system/sysinit.target.wants/nftables.service")).unwrap();
        }),
        (&[Step::AptKeyring], |m| m.write("/etc/apt/keyrings/kubedos.gpg", b"another")),
        (&[Step::AptSources], |m| {
            let path = m.at("/etc/apt/sources.list.d/kubedos.sources");
            fs::rename(&path, m.at("/etc/copy")).unwrap();
            symlink("/etc/copy", path).unwrap();
        }),
        (&[Step::AptPriority], |m| fs::remove_file(m.at(assets::APT_PRIORITY.path)).unwrap()),
        (&[Step::OtherAptSources], |m| m.write("/etc/apt/sources.list.d/debian.sources", b"Types: deb\n")),
        (&[Step::OtherAptSources], |m| m.write("/etc/apt/sources.list.d/x.list", b"deb x y z\n")),
    ];
    let machine = Machine::new();
    machine.changed(&info());
    for (n, (steps, drift)) in DRIFTS.iter().enumerate() {
        drift(&machine);
        assert_eq!(machine.changed(&info()), *steps, "drift {n}");
        let reloaded = machine.ran.borrow().contains(&Command::ReloadSsh);
        assert_eq!(reloaded, steps.contains(&Step::SshServer), "drift {n}");
        assert_eq!(machine.changed(&info()), [], "drift {n}");
    }
}

#[test]
fn files_that_are_not_package_sources_stay() {
    let machine = Machine::new();
    let kept = ["/etc/apt/sources.list.d/x.list.save", "/etc/apt/sources.list.d/.hidden.list", "/etc/apt/apt.conf.d/90kubedos"];
    kept.iter().for_each(|path| machine.write(path, b"x"));
    fs::create_dir_all(machine.at("/etc/apt/folder.list")).unwrap();
    machine.apply(&info());
    assert!(kept.iter().all(|path| machine.at(path).exists()) && machine.at("/etc/apt/folder.list").is_dir());
}

#[test]
fn a_program_that_fails_is_run_again() {
    let machine = Machine::new();
    machine.write(assets::SSH_SERVER.path, b"");
    machine.broken.set(true);
    let (peers, info, run) = (peers(), info(), |c: &Command| machine.run(c));
    let mut base = Base::new(machine.root(), &info, &peers, &run);
    let failed = |outcomes: Vec<Outcome>| outcomes.into_iter().filter(|o| o.result.is_err()).map(|o| o.step).collect::<Vec<_>>();
    let programs = [Step::SshServer, Step::FirewallLoaded, Step::FirewallAtBoot, Step::PackageLists];
    assert_eq!(failed(base.apply(Step::ALL, &mut |_| ())), programs);
    assert_eq!(machine.text("/etc/hostname"), "alpha\n", "the other steps ran");
    machine.broken.set(false);
    machine.ran.borrow_mut().clear();
    assert_eq!(failed(base.apply(&programs, &mut |_| ())), []);
    let ran = machine.ran.borrow();
    let lists = Command::UpdateLists { strict: true };
    assert_eq!(ran[..], [Command::ReloadSsh, Command::LoadFirewall, Command::EnableFirewall, lists]);
}

#[test]
fn hostile_values_are_refused() {
    let machine = Machine::new();
    let refused = |info: &IdentityInfo, step: Step| {
        let outcomes = machine.apply(info);
        let failed: Vec<_> = outcomes.iter().filter(|o| o.result.is_err()).collect();
        assert!(failed.iter().any(|o| o.step == step), "{step:?}");
        let report = failed[0].report();
        assert!(report.result == StepResult::Failed && !report.detail.contains('\n'), "{report:?}");
    };
    for key in ["", "x", "ssh-ed25519", "ssh-ed25519  ", "ssh-ed25519 AAAA\nssh-ed25519 BBBB", "a b\r", "a b\0"] {
        assert!(ssh::authorized_keys(&IdentityInfo { authorized_keys: words(&[key]), ..info() }).is_err(), "{key:?}");
        refused(&IdentityInfo { authorized_keys: words(&[key]), ..info() }, Step::AuthorizedKeys);
    }
    for plane in ["", "wg1\" } accept", "wg1\n", "*", "wg*", "a/b", "sixteen-bytes-xx"] {
        let mut bad = info();
        let place = bad.planes["wg1"].clone();
        bad.planes.insert(plane.to_owned(), place);
        assert!(firewall::rules(&bad, &peers()).is_err(), "{plane:?}");
        refused(&bad, Step::FirewallRules);
        refused(&bad, Step::FirewallLoaded);
    }
    for word in ["", "x y", "x\nTrusted: yes", "x\t", "ä", &"x".repeat(600)] {
        let good = DarksiteSource { mode: RepoMode::Both, ..info().darksite };
        let upstream = |url: &str, suite: &str| vec![UpstreamSource { url: url.to_owned(), suites: words(&[suite]) }];
        for bad in [
            DarksiteSource { url: word.to_owned(), ..good.clone() },
            DarksiteSource { suite: word.to_owned(), ..good.clone() },
            DarksiteSource { components: words(&["main", word]), ..good.clone() },
            DarksiteSource { upstream: upstream(word, "trixie"), ..good.clone() },
            DarksiteSource { upstream: upstream("http://x", word), ..good.clone() },
        ] {
            assert!(apt::sources(&bad).is_err(), "{word:?}");
            refused(&IdentityInfo { darksite: bad, ..info() }, Step::AptSources);
        }
    }
    refused(&IdentityInfo { darksite: DarksiteSource { keyring: "?".into(), ..info().darksite }, ..info() }, Step::AptKeyring);
    // Host names are validated when an identity is read.
    let text = serde_json::to_string(&info()).unwrap();
    for name in ["alpha\\n10.0.0.1 bank", "", "-a", "a b", "Alpha", "10.0.0.1"] {
        let bad = text.replace("\"hostname\":\"alpha.kubedos.lan\"", &format!("\"hostname\":\"{name}\""));
        assert!(bad != text && serde_json::from_str::<IdentityInfo>(&bad).is_err(), "{name}");
    }
}

#[test]
fn each_mode_has_its_sources() {
    for (mode, strict, expected) in [
        (RepoMode::Darksite, true, include_str!("../golden/darksite.sources")),
        (RepoMode::Connected, true, include_str!("../golden/connected.sources")),
        (RepoMode::Both, false, include_str!("../golden/both.sources")),
    ] {
        let darksite = DarksiteSource { mode, ..info().darksite };
        assert_eq!(apt::sources(&darksite).unwrap(), expected, "{mode}");
        let machine = Machine::new();
        machine.apply(&IdentityInfo { darksite, ..info() });
        assert_eq!(machine.ran.borrow().last(), Some(&Command::UpdateLists { strict }), "{mode}");
    }
    assert!(hosts::hosts(&info(), &peers()).ends_with('\n'));
}
