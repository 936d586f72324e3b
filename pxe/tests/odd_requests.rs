//! A matrix of odd requests, each option with each oddity and each field of the header, sent to this server and to dnsmasq.
//!
//! The table is what both answer: one letter a request, `o` an OFFER with a boot file, `n` a NAK, `a` an ACK, `-` silence. Every
//! line that differs says why.

mod lab;

use lab::{Lab, needs};

/// A PXE ROM's DISCOVER, without the option that is put to the test.
const BASE: &[(u8, &str)] = &[
    (53, "01"),
    (57, "05c0"),
    (55, "01032b363c424361"),
    (97, "00404142434445464748494a4b4c4d4e4f"),
    (93, "0000"),
    (94, "010201"),
    (60, "505845436c69656e743a417263683a30303030303a554e44493a303032303031"),
];

/// The oddities of an option, in the order of the letters.
const ODDITIES: [&str; 9] = [
    "as it should be",
    "empty",
    "a byte short",
    "a byte too long",
    "twice the same",
    "twice, then another",
    "last, and cut off",
    "last, a code without its length",
    "in two pieces",
];

/// Option, value, our answers, dnsmasq's answers, and why they differ.
type Line = (u8, &'static str, &'static str, &'static str, &'static str);

#[rustfmt::skip]
const OPTIONS: &[Line] = &[
    (53, "01", "o--oooooo", "o--oooooo", ""),
    (50, "0a630040", "ooooooooo", "ooooooooo", ""),
    (52, "00", "ooooooooo", "ooooooooo", ""),
    (54, "0a630001", "ooooooooo", "ooooooooo", ""),
    (57, "05c0", "ooooooooo", "ooooooooo", ""),
    (61, "01020000000001", "ooooooooo", "ooooooooo", ""),
    (12, "6e6f6465", "ooooooooo", "ooooooooo", ""),
    (60, "505845436c69656e743a417263683a30303030303a554e44493a303032303031", "oOOoooooo", "ooooooooo",
        "without the class it is no PXE client and gets an address only; dnsmasq sends the boot file to everybody"),
    (77, "69505845", "ooooooooo", "ooooooooo", ""),
    (93, "0000", "ooooooooo", "ooooooooo", ""),
    (97, "00404142434445464748494a4b4c4d4e4f", "ooooooooo", "ooooooooo", ""),
    (118, "0a630000", "ooooooooo", "ooooooooo", ""),
    (55, "01034243", "ooooooooo", "oOooooooO",
        "the boot file is sent whether it is on the list or not; dnsmasq sends it only if it is, or without a list"),
    (82, "010401020304", "ooooooooo", "ooooooooo", ""),
    (175, "b00101", "ooooooooo", "ooooooooo", ""),
];

/// The same for the header: name, changes, ours, dnsmasq's, why.
#[rustfmt::skip]
const HEADERS: &[(&str, &str, &str, &str, &str)] = &[
    ("plain", "", "o", "o", ""),
    ("op-2", "0=02", "-", "-", ""),
    ("op-0", "0=00", "-", "-", ""),
    ("htype-6", "1=06", "-", "o", "only Ethernet is served; the event names the machine"),
    ("ipoib", "1=2000", "-", "-", ""),
    ("hlen-0", "2=00", "-", "-", ""),
    ("hlen-16", "2=10", "-", "o", "an Ethernet address has 6 bytes; the event names the machine"),
    ("hlen-17", "2=11", "-", "-", ""),
    ("hops-16", "3=10", "o", "o", ""),
    ("hops-17", "3=11", "-", "o", "RFC 1542 section 4.1.1: at most 16 hops"),
    ("xid-0", "4=00000000", "o", "o", ""),
    ("secs-max", "8=ffff", "o", "o", ""),
    ("flags-all", "10=ffff", "o", "o", ""),
    ("yiaddr", "16=0a630040", "o", "o", ""),
    ("siaddr", "20=0a630040", "o", "o", ""),
    ("mac-zero", "28=000000000000", "-", "o", "a lease for no machine; the event names the machine"),
    ("mac-broadcast", "28=ffffffffffff", "-", "o", "a lease for all machines; the event names the machine"),
    ("mac-group", "28=01", "-", "o", "a lease for a group of machines; the event names the machine"),
    ("chaddr-tail", "34=ffffffffffffffffffff", "o", "o", ""),
    ("sname", "44=41414141414141414141414141414141", "o", "o", ""),
    ("file", "108=41414141414141414141414141414141", "o", "o", ""),
    ("no-cookie", "236=00000000", "-", "-", ""),
    ("cookie-off-by-one", "239=62", "-", "-", ""),
    ("cut-at-239", "239=", "-", "-", ""),
    ("cut-at-240", "240=", "-", "-", ""),
    ("cut-at-241", "241=", "-", "-", ""),
    ("cut-at-242", "242=", "-", "-", ""),
    ("cut-at-243", "243=", "O", "O", ""),
    ("cut-at-250", "250=", "O", "O", ""),
    ("cut-at-270", "270=", "O", "o", "the class is cut off: an address only; dnsmasq sends the boot file to everybody"),
];

/// REQUESTs of machines without a lease (RFC 2131 section 4.3.2): name, `ciaddr`, options, and the answers of this server in
/// the modes full, reservation and proxy, of dnsmasq with --dhcp-authoritative, and of dnsmasq without it.
#[rustfmt::skip]
const STRANGERS: &[(&str, &str, &str, &str)] = &[
    ("reboot-elsewhere",        "0.0.0.0",     "3501033204c0a80105ff", "n--n-"),
    ("reboot-in-the-pool",      "0.0.0.0",     "35010332040a630080ff", "---a-"),
    ("reboot-beside-the-pool",  "0.0.0.0",     "35010332040a630003ff", "---n-"),
    ("reboot-servers-own",      "0.0.0.0",     "35010332040a630001ff", "---n-"),
    ("renew-elsewhere",         "192.168.7.7", "350103ff", "n--n-"),
    ("renew-in-the-pool",       "10.99.0.129", "350103ff", "-----"),
    ("renew-beside-the-pool",   "10.99.0.3",   "350103ff", "---n-"),
    ("select-us-in-the-pool",   "0.0.0.0",     "35010336040a63000132040a630082ff", "a--aa"),
    ("select-us-beside-it",     "0.0.0.0",     "35010336040a63000132040a630002ff", "n--nn"),
    ("select-another-server",   "0.0.0.0",     "35010336040a63004d32040a630083ff", "---n-"),
    ("no-address",              "0.0.0.0",     "350103ff", "---n-"),
];

fn hex(bytes: &str) -> Vec<u8> {
    (0..bytes.len()).step_by(2).map(|i| u8::from_str_radix(&bytes[i..i + 2], 16).unwrap()).collect()
}

/// An option in hexadecimal.
fn tlv(code: u8, value: &[u8]) -> String {
    [&[code, value.len() as u8], value].concat().iter().map(|b| format!("{b:02x}")).collect()
}

fn request(code: u8, value: &str, oddity: usize) -> String {
    let value = hex(value);
    let rest: String = BASE.iter().filter(|(c, _)| *c != code).map(|(c, v)| tlv(*c, &hex(v))).collect();
    let mut other = value.clone();
    other.iter_mut().for_each(|b| *b ^= 2);
    let once = tlv(code, &value);
    match oddity {
        0 => format!("{once}{rest}ff"),
        1 => format!("{}{rest}ff", tlv(code, &[])),
        2 => format!("{}{rest}ff", tlv(code, &value[1..])),
        3 => format!("{}{rest}ff", tlv(code, &[&value[..], &[7]].concat())),
        4 => format!("{once}{rest}{once}ff"),
        5 => format!("{once}{rest}{}ff", tlv(code, &other)),
        6 => format!("{rest}{once}{code:02x}28{}", "41".repeat(4)),
        7 => format!("{rest}{once}{code:02x}"),
        _ => {
            let (a, b) = value.split_at(value.len() / 2);
            format!("{}{rest}{}ff", tlv(code, a), tlv(code, b))
        }
    }
}

/// The lines for `ask`.
fn corpus() -> String {
    let options = OPTIONS.iter().flat_map(|(code, value, ..)| {
        (0..ODDITIES.len()).map(move |n| format!("{code}.{n} 0.0.0.0 0.0.0.0 {}", request(*code, value, n)))
    });
    let plain = request(53, "01", 0);
    let headers = HEADERS.iter().map(|(name, changes, ..)| format!("{name} 0.0.0.0 0.0.0.0 {plain} {changes}"));
    options.chain(headers).map(|line| line.trim_end().to_owned() + "\n").collect()
}

fn letter(line: &str) -> char {
    let words: Vec<&str> = line.split(' ').collect();
    match words[1] {
        "OFFER" if words[3].split(',').any(|code| code == "67") => 'o',
        "OFFER" => 'O',
        "ACK" => 'a',
        "NAK" => 'n',
        "silence" => '-',
        _ => '?',
    }
}

/// The answers, a string for each line of both tables.
fn answers(lab: &Lab) -> Vec<String> {
    let corpus = corpus();
    lab.rack_address();
    let said = lab.run("cli", &Lab::example("ask"), &[&lab.file("corpus", corpus.as_bytes())]);
    assert_eq!(said.lines().count(), corpus.lines().count(), "{said}");
    let letters: Vec<char> = said.lines().map(letter).collect();
    let (options, headers) = letters.split_at(OPTIONS.len() * ODDITIES.len());
    options.chunks(ODDITIES.len()).map(|c| c.iter().collect()).chain(headers.iter().map(char::to_string)).collect()
}

fn check(lab: &Lab, of_dnsmasq: bool) {
    let want = OPTIONS.iter().map(|(code, _, ours, theirs, _)| (format!("option {code}"), ours, theirs));
    let want = want.chain(HEADERS.iter().map(|(name, _, ours, theirs, _)| ((*name).to_owned(), ours, theirs)));
    let got = answers(lab);
    let wrong: Vec<String> = want
        .zip(&got)
        .map(|((name, ours, theirs), got)| (name, if of_dnsmasq { theirs } else { ours }, got))
        .filter(|(_, want, got)| **want != got.as_str())
        .map(|(name, want, got)| format!("{name}: {got}, not {want}"))
        .collect();
    assert!(wrong.is_empty(), "{ODDITIES:?}\n{}", wrong.join("\n"));
}

/// The answers to [`STRANGERS`], against column `n` of the table.
fn check_strangers(lab: &Lab, n: usize) {
    let line = |(name, ciaddr, options, _): &(&str, &str, &str, &str)| format!("{name} {ciaddr} 0.0.0.0 {options}\n");
    let corpus: String = STRANGERS.iter().map(line).collect();
    lab.rack_address();
    let said = lab.run("cli", &Lab::example("ask"), &[&lab.file("strangers", corpus.as_bytes())]);
    let got = said.lines().map(|l| format!("{} {}", l.split(' ').next().unwrap_or_default(), letter(l)));
    let want = STRANGERS.iter().map(|(name, _, _, all)| format!("{name} {}", all.chars().nth(n).unwrap()));
    assert_eq!(got.collect::<Vec<_>>(), want.collect::<Vec<_>>());
}

const POOL: &str = "pools=10.99.0.4,10.99.0.250";

#[test]
fn strangers_are_refused_in_each_mode_as_listed() {
    for (n, mode) in ["mode=full", "mode=reservation", "mode=proxy"].into_iter().enumerate() {
        let Some(lab) = Lab::start_with(&needs(&[]), &[], &["noprobe", "nowatch", "quiet", POOL, mode]) else { return };
        check_strangers(&lab, n);
    }
}

#[test]
fn dnsmasq_refuses_strangers_as_listed() {
    for (n, more) in [(3, &["--dhcp-authoritative"][..]), (4, &[])] {
        let Some(mut lab) = Lab::without_server(&needs(&["dnsmasq"]), &[], &[]) else { return };
        let leases = format!("--dhcp-leasefile={}", lab.path("dnsmasq.leases"));
        let pid = format!("--pid-file={}", lab.path("dnsmasq.pid"));
        let fixed = ["-k", "-C", "/dev/null", "-p", "0", "-i", "srv0", "--no-ping", "--user=root"];
        let range = "--dhcp-range=10.99.0.4,10.99.0.250,255.255.255.0,10m";
        lab.background("srv", "dnsmasq", &[&fixed[..], &[range, &leases, &pid], more].concat());
        check_strangers(&lab, n);
    }
}

#[test]
fn every_line_that_differs_says_why() {
    for (code, _, ours, theirs, why) in OPTIONS {
        assert_eq!(
            (ours.len(), theirs.len(), ours != theirs),
            (ODDITIES.len(), ODDITIES.len(), !why.is_empty()),
            "option {code}"
        );
    }
    for (name, _, ours, theirs, why) in HEADERS {
        assert_eq!((ours.len(), theirs.len(), ours != theirs), (1, 1, !why.is_empty()), "{name}");
    }
    assert!(corpus().lines().count() <= 250, "each packet has a number of one byte");
}

#[test]
fn this_server_answers_the_matrix_as_listed() {
    let Some(lab) = Lab::start_with(&needs(&[]), &[], &["noprobe", "nowatch", "quiet", POOL]) else { return };
    check(&lab, false);
}

#[test]
fn dnsmasq_answers_the_matrix_as_listed() {
    let Some(mut lab) = Lab::without_server(&needs(&["dnsmasq"]), &[], &[]) else { return };
    let leases = format!("--dhcp-leasefile={}", lab.path("dnsmasq.leases"));
    let pid = format!("--pid-file={}", lab.path("dnsmasq.pid"));
    let range = "--dhcp-range=10.99.0.4,10.99.0.250,255.255.255.0,10m";
    let fixed = ["-k", "-C", "/dev/null", "-p", "0", "-i", "srv0", "--no-ping", "--user=root", "--dhcp-authoritative"];
    lab.background("srv", "dnsmasq", &[&fixed[..], &[range, &leases, &pid, "--dhcp-boot=undionly.kpxe,,10.99.0.1"]].concat());
    check(&lab, true);
}
