//! Clients of other vendors than busybox, against the real servers.

mod lab;

use std::fs;

use lab::{Lab, SERVER, needs};

#[test]
fn dhclient_gets_and_releases_a_lease() {
    let Some(lab) = Lab::start(&needs(&["dhclient"]), &[]) else { return };
    // The script configures nothing, but a RELEASE needs a route to the server.
    lab.static_client();
    let script = lab.file("dhc.sh", b"#!/bin/sh\necho \"$reason ip=$new_ip_address dns=$new_domain_name_servers\"\n");
    lab.run("", "chmod", &["+x", &script]);
    let (leases, pid) = (lab.path("dhc.leases"), lab.path("dhc.pid"));
    let common = ["-4", "-v", "-sf", &script, "-lf", &leases, "-pf", &pid];
    let got = lab.client("dhclient", &[&common[..], &["-1", "cli0"]].concat());
    assert!(got.contains("BOUND ip=10.99.0.100 dns=10.99.0.1"), "{got}");
    let left = lab.client("dhclient", &[&common[..], &["-r", "cli0"]].concat());
    assert!(left.contains("DHCPRELEASE of 10.99.0.100"), "{left}");
    lab.wait_for("event Release");
}

#[test]
fn dhcpcd_probes_and_takes_a_lease() {
    let Some(lab) = Lab::start(&needs(&["dhcpcd", "unshare"]), &[]) else { return };
    let nothing = lab.file("none.sh", b"#!/bin/sh\nexit 0\n");
    lab.run("", "chmod", &["+x", &nothing]);
    // Hide leases of earlier runs in the host's directories.
    let script = format!(
        "mount -t tmpfs tmpfs /run\nfor d in /var/lib/dhcpcd*; do mount -t tmpfs tmpfs $d; done\n\
         dhcpcd -4 -1 -B -t 20 -c {nothing} cli0 2>&1\n"
    );
    let script = lab.file("dhcpcd.sh", script.as_bytes());
    let got = lab.client("unshare", &["-m", "sh", &script]);
    assert!(got.contains("leased 10.99.0.100 for 120 seconds"), "{got}");
}

#[test]
fn systemd_networkd_takes_and_releases_a_lease() {
    let networkd = "/lib/systemd/systemd-networkd";
    if fs::metadata(networkd).is_err() {
        kubedos_skip::skip("systemd-networkd", "is not installed");
        return;
    }
    let Some(lab) = Lab::start(&needs(&["unshare", "timeout"]), &[]) else { return };
    // A private /run; a read-only /sys makes it not wait for udev.
    let script = format!(
        "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/network /run/systemd/netif\nmount -o remount,ro,bind /sys\n\
         printf '[Match]\\nName=cli0\\n[Network]\\nDHCP=ipv4\\nLinkLocalAddressing=no\\n' > /run/systemd/network/10-cli0.network\n\
         timeout 10 {networkd} || true\n"
    );
    let script = lab.file("networkd.sh", script.as_bytes());
    lab.client("unshare", &["-m", "sh", &script]);
    let events = lab.events();
    assert!(events.contains("event Ack mac=Some") && events.contains("ip=Some(10.99.0.100)"), "{events}");
}

#[test]
fn atftp_fetches_every_byte_with_each_window() {
    let file: Vec<u8> = (0..3_000_001u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let Some(lab) = Lab::start(&needs(&["atftp"]), &[("snponly.efi", &file)]) else { return };
    lab.static_client();
    for window in ["1", "2", "16", "64", "65"] {
        fs::remove_file(lab.path("got")).ok();
        let window = format!("windowsize {window}");
        let out = lab.path("got");
        lab.client("atftp", &["--option", &window, "--option", "blksize 1468", "-g", "-r", "snponly.efi", "-l", &out, SERVER]);
        assert!(fs::read(lab.path("got")).unwrap() == file, "{window}");
    }
}

#[test]
fn hole_7_nothing_listens_for_dhcpv6() {
    let Some(lab) = Lab::start(&needs(&["ss"]), &[]) else { return };
    let open = lab.run("srv", "ss", &["-H", "-u", "-l", "-n"]);
    assert!(open.contains(":67 ") && open.contains(":69 "), "{open}");
    assert!(!open.contains(":547 ") && !open.contains("[::]"), "{open}");
}
