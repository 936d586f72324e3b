//! Planes that deny: the rules as text, for nft(8), and with packets between network namespaces.

use cluster_seed::agent::StepResult;
use cluster_seed::identity::IdentityInfo;
use cluster_seed::ids::Hostname;
use cluster_seed::peers::{PeerNode, PeersFile};
use cluster_seed::planes::{Allow, Party, Ports, Transport};
use payload::base::{Command, Step, firewall};

use crate::firewall::{nft, rules};
use crate::machine::{Machine, info, peers};
use crate::packets::{BEHIND, CONNECTS, CROSSES, Family, able, lines};

fn allow(from: &str, to: &str, ports: &[Ports]) -> Allow {
    Allow { from: Party::from(from.to_owned()), to: Party::from(to.to_owned()), ports: ports.to_vec() }
}

/// The list with two more nodes, `w4` and `w3` of the role `work`, and a plane wg2 that denies.
pub fn denying() -> PeersFile {
    let mut list = peers();
    for n in [4u8, 3] {
        let addresses = [51, 52, 53].map(|net| (format!("wg{}", net - 50), [10, net, 0, 5 + n].into())).into();
        let node = PeerNode { endpoint: None, role: "work".into(), keys: Default::default(), addresses };
        list.nodes.insert(format!("w{n}.kubedos.lan").parse::<Hostname>().unwrap(), node);
    }
    let range = Ports::Range { transport: Transport::Udp, first: 4000, last: 4100 };
    let allows = vec![
        allow("work", "base", &[Ports::tcp(8080), range]),
        allow("seed", "any", &[Ports::tcp(22)]),
        allow("any", "base", &[Ports::Vrrp]),
        allow("any", "work", &[Ports::tcp(1)]),
        allow("nobody", "base", &[Ports::Any]),
        allow("work", "base", &[Ports::tcp(8080)]),
    ];
    // A plane that this node is not on.
    let elsewhere = vec![allow("any", "any", &[Ports::Any])];
    list.policy = [("wg2".to_owned(), allows), ("wg9".to_owned(), elsewhere)].into();
    list
}

#[test]
fn a_plane_that_denies_gets_a_rule_for_each_allow_that_concerns_the_node() {
    let text = firewall::rules(&info(), &denying()).unwrap();
    assert_eq!(text, include_str!("../golden/kubedos-deny.nft"));
    let work = IdentityInfo { role: "work".into(), ..info() };
    let text = firewall::rules(&work, &denying()).unwrap();
    let rules: Vec<_> = text.lines().filter(|l| l.starts_with("add rule")).collect();
    let expected = [
        "add rule inet kubedos allows iifname \"wg2\" ip saddr { 10.52.0.1 } tcp dport 22 accept",
        "add rule inet kubedos allows iifname \"wg2\" tcp dport 1 accept",
    ];
    assert_eq!(rules, expected);
}

#[test]
fn a_changed_allow_is_loaded_once_and_a_load_that_failed_is_done_again() {
    let machine = Machine::new();
    let apply = |list: &PeersFile| {
        let outcomes = machine.apply_with(&info(), list);
        outcomes.iter().find(|o| o.step == Step::FirewallLoaded).unwrap().report().result
    };
    let query =
        || machine.ran.borrow().iter().find_map(|c| if let Command::QueryFirewall(q) = c { Some(q.clone()) } else { None });
    assert_eq!(apply(&denying()), StepResult::Changed);
    assert_eq!(apply(&denying()), StepResult::Ok);
    let first = query().unwrap();
    let mut list = denying();
    list.policy.get_mut("wg2").unwrap()[0].ports.pop();
    assert_eq!(apply(&list), StepResult::Changed);
    assert_eq!(apply(&list), StepResult::Ok);
    // The sets are the same: the digest of the rules is not.
    let second = query().unwrap();
    assert_ne!(first, second);
    assert_eq!(first.split("edition").next(), second.split("edition").next());
    machine.broken.set(true);
    assert_eq!(apply(&denying()), StepResult::Failed);
    machine.broken.set(false);
    // Another process: it knows only the file, and the kernel, which has the earlier rules.
    machine.loaded.set(false);
    assert_eq!(apply(&denying()), StepResult::Changed);
}

/// Its set is empty then, and nft cannot be asked whether it has no more elements.
#[test]
fn a_plane_that_denied_everything_and_is_open_again_has_other_rules() {
    let edition = |list: &PeersFile| {
        let text = firewall::rules(&info(), list).unwrap();
        text.lines().find(|l| l.contains(" edition ")).unwrap().to_owned()
    };
    let mut shut = peers();
    shut.policy = [("wg2".to_owned(), vec![])].into();
    assert_ne!(edition(&shut), edition(&peers()));
    shut.policy = [("wg9".to_owned(), vec![])].into();
    assert_eq!(edition(&shut), edition(&peers()), "this node is not on it");
}

#[test]
fn nft_accepts_the_rules_of_allows() {
    if let Err(e) = nft(&["list", "ruleset"]) {
        return kubedos_skip::skip("nft", e);
    }
    let machine = Machine::new();
    machine.apply_with(&info(), &denying());
    nft(&["-c", "-f", &rules(&machine)]).expect("the rules load");
}

#[test]
fn a_plane_that_denies_carries_what_is_allowed_from_whom_and_nothing_else() {
    if !able(Family::Four) {
        return;
    }
    let machine = Machine::new();
    machine.apply_with(&info(), &denying());
    let expected = [
        "10.52.0.8 10.52.0.2 8080 answers",
        "10.52.0.9 10.52.0.2 8080 answers",
        // Another port, an address of nobody in the list, and the seed, which is not of the role.
        "10.52.0.8 10.52.0.2 9090 silent",
        "10.52.0.33 10.52.0.2 8080 silent",
        "10.52.0.1 10.52.0.2 8080 silent",
        // wg1 is open.
        "10.51.0.33 10.51.0.2 9090 answers",
    ];
    assert_eq!(lines(&machine, Family::Four, &[BEHIND, CONNECTS]), expected);
}

/// Whatever the files of plays and of operators accept.
#[test]
fn nothing_is_forwarded_from_one_plane_to_another() {
    if !able(Family::Four) {
        return;
    }
    let machine = Machine::new();
    machine.apply_with(&info(), &denying());
    machine.write("/etc/nftables.d/zz.nft", b"add rule inet kubedos forward accept\n");
    let expected = ["wg1 10.52.0.9 silent", "wg2 10.51.0.9 silent", "pods 10.52.0.9 answers"];
    assert_eq!(lines(&machine, Family::Four, &[CROSSES]), expected);
}
