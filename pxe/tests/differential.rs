//! Sends the same packets to this server, dnsmasq and Kea: every difference in the answers is explained.
//!
//! Options depend on the configuration and the implementation: this server always sends 6, 15, 28, 58 and 59, and echoes 61
//! (RFC 6842, like Kea and unlike dnsmasq); to booting machines it sends 43, 60, 66, 67, 97 and 150. The type of the answer
//! must not differ without a reason.

mod lab;

use lab::{Lab, needs};

struct Row {
    name: &'static str,
    ciaddr: &'static str,
    giaddr: &'static str,
    options: &'static str,
    /// This server, dnsmasq (authoritative), Kea (authoritative).
    answers: [&'static str; 3],
    why: &'static str,
}

const fn row(
    name: &'static str,
    addresses: [&'static str; 2],
    options: &'static str,
    answers: [&'static str; 3],
    why: &'static str,
) -> Row {
    let [ciaddr, giaddr] = addresses;
    Row { name, ciaddr, giaddr, options, answers, why }
}

const NONE: &str = "0.0.0.0";
#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("plain", [NONE, NONE], "350101370b0103060c0f1c2a33363a3bff", ["OFFER", "OFFER", "OFFER"],
        ""),
    row("no-parameter-list", [NONE, NONE], "350101ff", ["OFFER", "OFFER", "OFFER"],
        ""),
    row("client-id", [NONE, NONE], "350101370b0103060c0f1c2a33363a3b3d0700616263646566ff", ["OFFER", "OFFER", "OFFER"],
        ""),
    row("hostname-not-text", [NONE, NONE], "350101370b0103060c0f1c2a33363a3b0c05fffe3c623eff", ["OFFER", "OFFER", "OFFER"],
        ""),
    row("no-end-mark", [NONE, NONE], "350101370b0103060c0f1c2a33363a3b", ["OFFER", "OFFER", "OFFER"],
        ""),
    row("padded", [NONE, NONE], "350101370b0103060c0f1c2a33363a3bff0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000", ["OFFER", "OFFER", "OFFER"],
        ""),
    row("pad-between", [NONE, NONE], "0000003501010000000000370b0103060c0f1c2a33363a3bff", ["OFFER", "OFFER", "OFFER"],
        ""),
    row("requested-free", [NONE, NONE], "350101370b0103060c0f1c2a33363a3b32040a63008cff", ["OFFER", "OFFER", "OFFER"],
        ""),
    row("requested-elsewhere", [NONE, NONE], "350101370b0103060c0f1c2a33363a3b3204c0a80707ff", ["OFFER", "OFFER", "OFFER"],
        ""),
    row("empty-option-93", [NONE, NONE], "3501015d00370b0103060c0f1c2a33363a3bff", ["OFFER", "OFFER", "silence"],
        "Kea drops the packet because of an empty option; the client still needs an address"),
    row("pxe-bios", [NONE, NONE], "350101370b0103060c0f1c2a33363a3b5d0200003c20505845436c69656e743a417263683a30303030303a554e44493a30303230303161110000000000000000000000000000000000ff", ["OFFER", "OFFER", "OFFER"],
        ""),
    row("pxe-uefi", [NONE, NONE], "350101370b0103060c0f1c2a33363a3b5d0200073c20505845436c69656e743a417263683a30303030373a554e44493a30303330303061110000000000000000000000000000000000ff", ["OFFER", "OFFER", "OFFER"],
        ""),
    row("no-type", [NONE, NONE], "370b0103060c0f1c2a33363a3bff", ["silence", "silence", "silence"],
        ""),
    row("server-type", [NONE, NONE], "350102ff", ["silence", "silence", "silence"],
        ""),
    row("type-too-long", [NONE, NONE], "35020101ff", ["OFFER", "OFFER", "OFFER"],
        ""),
    row("runs-over", [NONE, NONE], "3501010cc861", ["OFFER", "OFFER", "OFFER"],
        ""),
    row("other-server-chosen", [NONE, NONE], "35010336040a63004d32040a63008cff", ["silence", "NAK", "silence"],
        "the client chose another server; dnsmasq, configured as authoritative, refuses an unknown address"),
    row("chosen-without-discover", [NONE, NONE], "35010336040a63000132040a63008d370b0103060c0f1c2a33363a3bff", ["ACK", "ACK", "ACK"],
        ""),
    row("reboot-unknown", [NONE, NONE], "35010332040a63008eff", ["silence", "ACK", "NAK"],
        "RFC 2131 section 4.3.2: a server without a record of the client must remain silent; dnsmasq assigns the address, Kea refuses"),
    row("reboot-elsewhere", [NONE, NONE], "3501033204c0a80707ff", ["NAK", "NAK", "NAK"],
        ""),
    row("renew-unknown", ["10.99.0.143", NONE], "350103ff", ["silence", "silence", "silence"],
        ""),
    row("renew-elsewhere", ["192.168.7.7", NONE], "350103ff", ["NAK", "NAK", "silence"],
        "an address of another network is refused, so that the client restarts at once; Kea finds no subnet and is silent"),
    row("request-nothing", [NONE, NONE], "350103ff", ["silence", "NAK", "ACK"],
        "a REQUEST without an address is ignored; dnsmasq refuses, Kea assigns an address"),
    row("decline-unheld", [NONE, NONE], "35010432040a63009036040a630001ff", ["silence", "silence", "silence"],
        ""),
    row("release-unheld", ["10.99.0.144", NONE], "35010736040a630001ff", ["silence", "silence", "silence"],
        ""),
    row("relay-of-nobody", [NONE, "172.16.0.1"], "350101370b0103060c0f1c2a33363a3bff", ["silence", "silence", "silence"],
        ""),
];

fn kinds(text: &str) -> Vec<String> {
    text.lines().map(|l| l.split(' ').nth(1).unwrap_or_default().to_owned()).collect()
}

fn compare(lab: &Lab, who: usize, name: &str) {
    let corpus: String = ROWS.iter().map(|r| format!("{} {} {} {}\n", r.name, r.ciaddr, r.giaddr, r.options)).collect();
    let file = lab.file("corpus", corpus.as_bytes());
    lab.rack_address();
    let said = lab.run("cli", &Lab::example("ask"), &[&file]);
    for (row, got) in ROWS.iter().zip(kinds(&said)) {
        assert_eq!(got, row.answers[who], "{name}: {} ({})", row.name, row.why);
    }
    assert_eq!(said.lines().count(), ROWS.len());
}

#[test]
fn every_difference_has_a_reason() {
    for row in ROWS {
        let [ours, others @ ..] = row.answers;
        assert_eq!(others.iter().any(|o| *o != ours), !row.why.is_empty(), "{}", row.name);
    }
}

#[test]
fn this_server_answers_as_listed() {
    let words = ["noprobe", "nowatch", "quiet", "pools=10.99.0.100,10.99.0.150"];
    let Some(lab) = Lab::start_with(&needs(&[]), &[], &words) else { return };
    compare(&lab, 0, "kubedos");
}

#[test]
fn dnsmasq_answers_as_listed() {
    let Some(mut lab) = Lab::without_server(&needs(&["dnsmasq"]), &[], &[]) else { return };
    let leases = format!("--dhcp-leasefile={}", lab.path("dnsmasq.leases"));
    let pid = format!("--pid-file={}", lab.path("dnsmasq.pid"));
    let range = "--dhcp-range=10.99.0.100,10.99.0.150,255.255.255.0,10m";
    let fixed = ["-k", "-C", "/dev/null", "-p", "0", "-i", "srv0", "--no-ping", "--user=root", "--dhcp-authoritative"];
    lab.background("srv", "dnsmasq", &[&fixed[..], &[range, &leases, &pid]].concat());
    compare(&lab, 1, "dnsmasq");
}

#[test]
fn kea_answers_as_listed() {
    let Some(mut lab) = Lab::without_server(&needs(&["kea-dhcp4"]), &[], &[]) else { return };
    let config = format!(
        "{{\"Dhcp4\":{{\"interfaces-config\":{{\"interfaces\":[\"srv0\"]}},\"valid-lifetime\":600,\"authoritative\":true,\
         \"lease-database\":{{\"type\":\"memfile\",\"persist\":true,\"name\":\"{}\"}},\
         \"subnet4\":[{{\"id\":1,\"subnet\":\"10.99.0.0/24\",\"pools\":[{{\"pool\":\"10.99.0.100-10.99.0.150\"}}],\
         \"option-data\":[{{\"name\":\"routers\",\"data\":\"10.99.0.1\"}}]}}]}}}}",
        lab.path("kea.csv")
    );
    let file = lab.file("kea.json", config.as_bytes());
    let env = format!("KEA_PIDFILE_DIR={}", lab.path(""));
    lab.background("srv", "env", &[&env, "KEA_LOCKFILE_DIR=none", "kea-dhcp4", "-c", &file]);
    compare(&lab, 2, "kea");
}
