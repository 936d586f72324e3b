//! One story for each rule, and what must not be said of it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use site::store::events::{EventRow, PacketFacts};

use super::{diagnose, rule_names};

const BEGIN: u64 = 1_795_377_600_000;

/// A timeline in short: one row a word, 100 ms apart. `kind`, then facts: `fw` (UEFI firmware), `bios`, `http`, `ipxe`,
/// `file=`, `why=`, `bytes=`, `x` (repeats), `from=` (another server), `noip` (without an address), `text=`, `cause=`, `+` (seconds passed before it).
fn story(rows: &[&str]) -> Vec<EventRow> {
    let mut at = BEGIN;
    let row = |(i, row): (usize, &&str)| {
        let mut words = row.split_whitespace();
        let mut e = EventRow {
            id: i as i64 + 1,
            at: 0,
            kind: words.next().unwrap().to_owned(),
            text: String::new(),
            machine: Some(1),
            actor: None,
            facts: None,
        };
        let mut f = PacketFacts { ip: Some(Ipv4Addr::new(10, 44, 0, 100)), ..PacketFacts::default() };
        for word in words {
            match word.split_once('=').unwrap_or((word, "")) {
                ("fw", _) => f.arch = Some("efi-x64".into()),
                ("bios", _) => f.arch = Some("bios".into()),
                ("arch", arch) => f.arch = Some(arch.into()),
                ("http", _) => f.arch = Some("http-x64".into()),
                ("ipxe", _) => (f.ipxe, f.arch) = (true, Some("efi-x64".into())),
                ("file", name) => f.file = Some(name.into()),
                ("why", why) => f.why = Some(why.replace('~', " ")),
                ("bytes", n) => f.bytes = Some(n.parse().unwrap()),
                ("noip", _) => f.ip = None,
                ("x", n) => f.repeats = Some(n.parse().unwrap()),
                ("from", ip) => f.server = Some(ip.parse().unwrap()),
                ("text", text) => e.text = text.replace('~', " "),
                ("cause", word) => f.cause = Some(serde_json::from_value(word.into()).unwrap()),
                ("+", seconds) => at += seconds.parse::<u64>().unwrap() * 1000,
                other => panic!("{other:?}"),
            }
        }
        at += 100;
        (e.at, e.facts) = (at, Some(f));
        e
    };
    rows.iter().enumerate().map(row).collect()
}

const LOADED: [&str; 5] = [
    "dhcp.discover fw",
    "dhcp.offer fw file=snponly.efi",
    "dhcp.request fw",
    "dhcp.ack fw file=snponly.efi",
    "tftp.started file=snponly.efi",
];

fn with<'a>(begin: &[&'a str], rest: &[&'a str]) -> Vec<&'a str> {
    [begin, rest].concat()
}

/// The names of the findings `seconds` after the last row.
fn said(rows: &[&str], seconds: u64) -> Vec<&'static str> {
    let timeline = story(rows);
    let now = timeline.last().map_or(BEGIN, |e| e.at) + seconds * 1000;
    diagnose(&timeline, now).iter().map(|f| f.rule).collect()
}

/// The rule, its story, seconds after it, and a row after which the rule must not speak any more.
type Story = (&'static str, Vec<&'static str>, u64, &'static str);

const ACK: &str = "dhcp.ack fw file=snponly.efi";

fn stories() -> Vec<Story> {
    [stories_of_dhcp(), stories_of_the_loader(), stories_of_the_agent()].concat()
}

/// As far as `name`.
fn until(name: &str) -> Vec<&'static str> {
    let whole = [
        ("done", "tftp.done file=snponly.efi bytes=260000"),
        ("", "dhcp.discover ipxe"),
        ("", "dhcp.offer ipxe"),
        ("", "dhcp.request ipxe"),
        ("ipxe", "dhcp.ack ipxe file=http://x"),
        ("script", "boot.script cause=boots_agent"),
        ("", "http.started file=vmlinuz"),
        ("kernel", "http.started file=initrd.img"),
        ("", "enrollment.hello"),
        ("pending", "enrollment.pending"),
    ];
    let end = whole.iter().position(|w| w.0 == name).unwrap();
    LOADED.into_iter().chain(whole[..=end].iter().map(|w| w.1)).collect()
}

fn stories_of_dhcp() -> Vec<Story> {
    let (asked, acked) = (&LOADED[..2], &LOADED[..4]);
    let ignored = |why: &'static str| with(&["dhcp.discover fw"], &[why]);
    vec![
        ("other_server_first", with(asked, &["dhcp.foreign.offer from=10.0.0.9", "dhcp.foreign.chosen from=10.0.0.9"]), 1, ACK),
        ("pool_exhausted", ignored("dhcp.ignored fw why=pool_exhausted"), 1, "dhcp.offer fw"),
        ("leases_not_saved", with(&LOADED[..3], &["dhcp.ignored fw why=journal_failed"]), 1, ACK),
        ("replies_not_sent", ignored("dhcp.ignored fw why=send_failed"), 1, "dhcp.offer fw"),
        ("no_loader_for_arch", ignored("dhcp.ignored fw why=policy_silent cause=no_loader"), 1, ""),
        ("unknown_relay", ignored("dhcp.ignored fw why=unknown_relay"), 1, ""),
        ("broken_packets", vec!["dhcp.ignored why=broken_options"], 1, "dhcp.offer fw"),
        ("not_ethernet", vec!["dhcp.ignored why=not_ethernet"], 1, "dhcp.offer fw"),
        ("address_in_use", with(acked, &["dhcp.decline fw"]), 1, ""),
        ("moved_network", vec!["dhcp.request fw", "dhcp.nak fw why=wrong_network", "dhcp.nak x=4 why=wrong_network"], 1, ACK),
        ("offers_not_taken", with(asked, &["dhcp.discover fw x=4", "dhcp.offer fw x=4"]), 5, "dhcp.request fw"),
        ("ack_not_heard", with(acked, &["dhcp.request fw x=5", "dhcp.ack fw x=5 file=snponly.efi"]), 1, "tftp.started file=a"),
        ("kept_silent", ignored("dhcp.ignored fw why=policy_silent cause=other"), 1, "dhcp.offer fw"),
        ("not_a_network_boot", vec!["dhcp.discover", "dhcp.offer", "dhcp.request", "dhcp.ack"], 15, "dhcp.discover ipxe"),
        ("other_server_here", with(&until("done"), &["dhcp.foreign.offer from=10.0.0.9"]), 1, ""),
    ]
}

fn stories_of_the_loader() -> Vec<Story> {
    let acked = &LOADED[..4];
    let url = "dhcp.ack http file=http://10.44.0.1/boot/snponly.efi";
    let done = "tftp.done file=snponly.efi bytes=260000";
    let silent = |bytes: &'static str| with(&LOADED, &[bytes]);
    vec![
        ("wrong_file_name", with(acked, &["tftp.error file=bootx64.efi cause=no_such_file"]), 1, done),
        ("request_refused", with(acked, &["tftp.error file=a cause=refused"]), 1, done),
        ("loader_never_fetched", acked.to_vec(), 15, "tftp.started file=snponly.efi"),
        (
            "http_loader_never_fetched",
            vec!["dhcp.discover http", "dhcp.offer http", "dhcp.request http", url],
            15,
            "http.started file=snponly.efi",
        ),
        ("size_probe_then_silence", silent("tftp.aborted file=snponly.efi bytes=0"), 15, "tftp.started file=snponly.efi"),
        ("transfer_never_began", silent("tftp.error file=snponly.efi bytes=0 cause=client_silent"), 1, done),
        ("transfer_broke_off", silent("tftp.error file=snponly.efi bytes=70000 cause=client_silent"), 1, done),
        ("loader_loop", with(&until("done"), &["tftp.done x=2 file=snponly.efi"]), 1, "boot.script"),
        ("loader_does_not_run", until("done"), 15, "dhcp.discover ipxe"),
        ("script_never_fetched", until("ipxe"), 15, "boot.script"),
    ]
}

fn stories_of_the_agent() -> Vec<Story> {
    let own = "boot.script cause=boots_local_disk";
    let pending = until("pending");
    let waits = "boot.script cause=no_netboot_image";
    vec![
        ("no_netboot_image", with(&until("ipxe"), &[waits]), 1, "enrollment.hello"),
        ("kernel_never_fetched", until("script"), 15, "http.started file=vmlinuz"),
        ("agent_never_called", until("kernel"), 120, "enrollment.hello"),
        (
            "disk_does_not_boot",
            with(&until("ipxe"), &[own, "dhcp.discover fw +=60", own, "dhcp.discover fw +=60", own]),
            1,
            "node.booted",
        ),
        ("gave_up", with(&pending, &["enrollment.failed text=disk~too~small"]), 1, "enrollment.hello"),
        (
            "install_stands_still",
            with(&pending, &["enrollment.approved", "install.began", "install.progress"]),
            120,
            "install.done",
        ),
        ("waits_for_approval", pending.clone(), 1, "enrollment.confirming"),
        ("wrong_code", with(&pending, &["enrollment.confirming", "enrollment.wrong_code"]), 1, "enrollment.hello"),
        ("works", with(&pending, &["enrollment.approved", "install.done", "node.booted", "node.converged"]), 1, ""),
    ]
}

#[test]
fn every_rule_speaks_first_in_its_story_and_is_silent_after_its_end() {
    let told: BTreeSet<_> = stories().iter().map(|s| s.0).collect();
    assert_eq!(told, rule_names().collect(), "every rule has a story");
    assert!(told.len() >= 15);
    for (rule, rows, seconds, then) in stories() {
        assert_eq!(said(&rows, seconds).first(), Some(&rule), "{rule}: {rows:?}");
        if !then.is_empty() {
            let on = with(&rows, &[then]);
            assert!(!said(&on, 1).contains(&rule), "{rule} after {then}: {:?}", said(&on, 1));
        }
    }
}

#[test]
fn what_needs_patience_is_not_said_too_early() {
    for (rule, rows, seconds, _) in stories().into_iter().filter(|s| s.2 >= 15) {
        assert!(!said(&rows, seconds - 5).contains(&rule), "{rule}");
    }
}

#[test]
fn a_good_boot_is_not_complained_about_at_any_moment() {
    let good = &stories().into_iter().find(|s| s.0 == "works").unwrap().1;
    for n in 0..=good.len() {
        let timeline = story(&good[..n]);
        let now = timeline.last().map_or(BEGIN, |e| e.at) + 1_000;
        let complaints: Vec<_> = diagnose(&timeline, now).into_iter().filter(|f| f.tone == super::Tone::Bad).collect();
        assert!(complaints.is_empty(), "after {n} rows: {complaints:?}");
    }
}

/// A UEFI machine that boots in proxy mode, as far as its code: shim and GRUB, and the agent's own request for an address.
const BESIDE: [&str; 20] = [
    "dhcp.foreign.offer from=10.0.0.9",
    "dhcp.discover fw",
    "dhcp.offer fw noip file=shimx64.efi",
    "dhcp.foreign.chosen from=10.0.0.9",
    "dhcp.request fw",
    "dhcp.ignored fw why=other_server",
    "dhcp.foreign.ack from=10.0.0.9",
    "dhcp.ack fw file=shimx64.efi",
    "tftp.done file=shimx64.efi bytes=900000",
    "tftp.done file=grubx64.efi bytes=900000",
    "tftp.done file=/grub/grub.cfg bytes=600",
    "boot.script cause=boots_agent",
    "http.started file=vmlinuz",
    "http.started file=initrd.img",
    "dhcp.discover",
    "dhcp.ignored why=proxy_plain",
    "dhcp.foreign.chosen from=10.0.0.9",
    "dhcp.ignored why=other_server",
    "enrollment.hello",
    "enrollment.pending",
];

#[test]
fn a_machine_that_boots_beside_another_server_is_not_told_to_stop_it() {
    assert_eq!(said(&BESIDE, 1), ["waits_for_approval"]);
    // Whatever the firmware leaves out: no request on port 4011, HTTP boot, BIOS and iPXE.
    let drop = |words: &[&str]| BESIDE.into_iter().filter(|r| !words.iter().any(|w| r.contains(w))).collect::<Vec<_>>();
    for left_out in [&["dhcp.ack"][..], &["tftp"], &["foreign.ack"], &["dhcp.offer"], &["proxy_plain"], &["enrollment"]] {
        let rows = drop(left_out);
        for n in 0..=rows.len() {
            for seconds in [0, 5] {
                let said = said(&rows[..n], seconds);
                assert!(
                    !said.iter().any(|r| r.starts_with("other_server")) || left_out == ["dhcp.offer"],
                    "{n} {rows:?}: {said:?}"
                );
            }
        }
    }
    // In full mode too: whoever gave it its address, it boots from here.
    let full: Vec<_> = BESIDE.iter().map(|r| r.replace(" noip", "").replace("proxy_plain", "no_address_asked")).collect();
    let full: Vec<_> = full.iter().map(String::as_str).collect();
    assert!(!said(&full, 1).contains(&"other_server_first"));
    assert_eq!(said(&full[..7], 1)[0], "other_server_first", "before it boots");
}

#[test]
fn beside_another_server_only_its_boot_file_is_a_fault() {
    let rows = |file: &'static str| {
        let offer = if file.is_empty() { "dhcp.foreign.offer from=10.0.0.9" } else { file };
        with(&["dhcp.discover fw", "dhcp.offer fw noip file=shimx64.efi", offer], &["dhcp.foreign.chosen from=10.0.0.9"])
    };
    assert!(said(&rows(""), 5).is_empty());
    let boot = rows("dhcp.foreign.offer from=10.0.0.9 file=x");
    let timeline = story(&boot);
    let finding = diagnose(&timeline, timeline[3].at + 1_000).remove(0);
    assert_eq!(finding.rule, "other_server_first");
    assert!(finding.what.contains("also names a boot file") && !finding.advice.contains("top that server"), "{finding:?}");
    assert!(said(&with(&boot, &["tftp.started file=shimx64.efi"]), 1).is_empty());
}

#[test]
fn without_the_other_server_a_machine_beside_it_gets_no_address() {
    let rows = ["dhcp.discover fw x=4", "dhcp.offer fw noip file=shimx64.efi x=4"];
    let timeline = story(&rows);
    let finding = diagnose(&timeline, timeline[1].at + 5_000).remove(0);
    assert!(finding.rule == "offers_not_taken" && finding.what.contains("boot files only"), "{finding:?}");
}

#[test]
fn three_files_of_one_chain_are_no_loop_and_a_configuration_is_no_loader() {
    let chain: Vec<_> = BESIDE[..11].to_vec();
    assert_eq!(said(&chain, 15), ["script_never_fetched"], "GRUB runs, and cannot reach the seed by HTTP");
    let again = with(&chain, &["tftp.done file=shimx64.efi bytes=1 x=2"]);
    assert_eq!(said(&again, 1), ["loader_loop"]);
    assert_eq!(said(&BESIDE[..10], 15), ["loader_does_not_run"]);
}

#[test]
fn bootp_and_a_raspberry_pi_are_told_apart_from_faults() {
    let first = |rows: &[&str]| {
        let timeline = story(rows);
        diagnose(&timeline, timeline.last().unwrap().at + 1_000).remove(0)
    };
    for why in ["bad_cookie", "no_message_type"] {
        let finding = first(&[&format!("dhcp.ignored why={why}")]);
        assert!(finding.rule == "broken_packets" && finding.what.contains("BOOTP"), "{finding:?}");
    }
    let pi = ["dhcp.discover arch=arm-rpiboot", "dhcp.ignored arch=arm-rpiboot why=policy_silent cause=no_loader"];
    assert!(first(&pi).advice.contains("Raspberry Pi"));
}

#[test]
fn names_of_the_other_server_the_file_and_the_reason_are_told() {
    for (rule, part) in [
        ("other_server_first", "10.0.0.9 answered first"),
        ("loader_never_fetched", "has an address and a boot file name, but did not download the loader snponly.efi"),
        ("size_probe_then_silence", "UEFI asked for the size of snponly.efi, but did not download it"),
        ("wrong_file_name", "bootx64.efi"),
        ("transfer_broke_off", "70000 bytes"),
        ("gave_up", "disk too small"),
    ] {
        let (_, rows, seconds, _) = stories().into_iter().find(|s| s.0 == rule).unwrap();
        let timeline = story(&rows);
        let now = timeline.last().unwrap().at + seconds * 1000;
        let finding = diagnose(&timeline, now).remove(0);
        assert!(finding.what.contains(part) && !finding.advice.is_empty(), "{finding:?}");
    }
}

#[test]
fn a_fresh_attempt_leaves_the_last_word_to_the_one_before() {
    let (_, rows, ..) = stories().into_iter().find(|s| s.0 == "loader_does_not_run").unwrap();
    let again = with(&rows, &["dhcp.discover fw +=300", "dhcp.offer fw"]);
    assert_eq!(said(&again, 1), ["loader_does_not_run"]);
    // Repeats of the same question are no new attempt.
    let asking = ["dhcp.discover fw", "dhcp.offer fw", "dhcp.discover fw x=7 +=30", "dhcp.offer fw x=7"];
    assert_eq!(said(&asking, 5), ["offers_not_taken"]);
}

#[test]
fn rows_without_facts_and_no_rows_are_nothing_to_speak_of() {
    assert!(diagnose(&[], 0).is_empty());
    let mut old = story(&["login", "dhcp.discover", "dhcp.offer"]);
    old.iter_mut().for_each(|e| e.facts = None);
    let _ = diagnose(&old, 0);
    assert!(diagnose(&old, old[2].at + 1_000).is_empty());
}

#[test]
fn the_manual_explains_every_rule() {
    let manual = include_str!("../../../../docs/troubleshooting.md");
    for rule in rule_names() {
        assert!(manual.contains(&format!("`{rule}`")), "docs/troubleshooting.md does not name {rule}");
    }
}

#[test]
fn rows_of_versions_without_causes_are_judged_by_their_other_facts() {
    let asked = ["dhcp.discover fw", "dhcp.ignored fw why=policy_silent"];
    assert_eq!(said(&asked, 1), ["no_loader_for_arch"]);
    let missing = with(&LOADED[..4], &["tftp.error file=bootx64.efi why=no~such~file"]);
    assert_eq!(said(&missing, 1), ["wrong_file_name"]);
    let silent = with(&LOADED, &["tftp.error file=snponly.efi bytes=0"]);
    assert_eq!(said(&silent, 1), ["transfer_never_began"]);
    let script = with(&until("ipxe"), &["boot.script text=told~to~wait:~there~is~no~netboot~image"]);
    assert!(!said(&script, 15).contains(&"no_netboot_image"), "no rule reads the sentence");
    let facts: PacketFacts = serde_json::from_str(r#"{"why":"policy_silent","arch":"efi-ia32","ipxe":false}"#).unwrap();
    assert_eq!(facts.cause, None);
    let later: PacketFacts = serde_json::from_str(r#"{"cause":"of_a_later_version"}"#).unwrap();
    assert_eq!(later.cause, Some(cluster_seed::events::Cause::Other));
}
