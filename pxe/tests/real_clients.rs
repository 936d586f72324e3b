//! Stock DHCP and TFTP clients against the real servers, in network namespaces made for the test.

mod lab;

use std::fs;
use std::time::Duration;

use lab::{Lab, SERVER, needs};

/// Larger than 65,536 blocks of 8 bytes, and no multiple of any block size used here.
fn loader() -> Vec<u8> {
    (0..600_001u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

#[test]
fn udhcpc_gets_renews_and_releases_a_lease() {
    let Some(lab) = Lab::start(&needs(&["udhcpc"]), &[]) else { return };
    let script = lab.file(
        "script.sh",
        b"#!/bin/sh\n[ $1 = bound ] && ip address replace $ip/24 dev $interface\necho \"$1 ip=$ip mask=$subnet dns=$dns domain=$domain lease=$lease server=$serverid boot=$boot_file\"\n",
    );
    lab.run("", "chmod", &["+x", &script]);
    let common = ["-i", "cli0", "-f", "-n", "-q", "-t", "5", "-T", "1", "-s", &script];
    let first = lab.client("udhcpc", &[&common[..], &["-x", "hostname:<b>x</b>"]].concat());
    assert!(
        first.contains("bound ip=10.99.0.100 mask=255.255.255.0 dns=10.99.0.1 domain=lab.test lease=120 server=10.99.0.1"),
        "{first}"
    );
    // This one exits as soon as it has its lease, and releases it.
    let leave = lab.file("leave.sh", format!("#!/bin/sh\n{script} $1\n[ $1 = bound ] && kill -TERM $PPID\n").as_bytes());
    lab.run("", "chmod", &["+x", &leave]);
    let again = format!("udhcpc -i cli0 -f -n -t 5 -T 1 -R -r 10.99.0.100 -s {leave} || true");
    let again = lab.client("sh", &["-c", &again]);
    assert!(again.contains("bound ip=10.99.0.100"), "{again}");
    // Another machine, then one that names itself by option 61.
    let second = lab.client("udhcpc", &[&common[..], &["-x", "0x3d:00aabbccdd"]].concat());
    assert!(second.contains("bound ip=10.99.0.101"), "{second}");
    lab.wait_for("event Release");

    let log = lab.leases();
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines.len() >= 3 && lines[0].contains("10.99.0.100"), "every ACK is in the log: {log}");
}

#[test]
fn an_acknowledged_lease_survives_kill_9() {
    let Some(mut lab) = Lab::start(&needs(&["udhcpc"]), &[]) else { return };
    let script = lab.file("script.sh", b"#!/bin/sh\necho \"$1 ip=$ip\"\n");
    lab.run("", "chmod", &["+x", &script]);
    let args = ["-i", "cli0", "-f", "-n", "-q", "-t", "5", "-T", "1", "-s", &script];
    for (last, address) in [(1, "10.99.0.100"), (2, "10.99.0.101"), (3, "10.99.0.102")] {
        lab.set_client_mac(&format!("02:00:00:00:00:0{last}"));
        let got = lab.client("udhcpc", &args);
        assert!(got.contains(&format!("bound ip={address}")), "{got}");
        lab.kill_and_restart();
    }
    lab.set_client_mac("02:00:00:00:00:01");
    let got = lab.client("udhcpc", &args);
    assert!(got.contains("bound ip=10.99.0.100"), "{got}");
}

#[test]
fn udhcpc_with_pxe_options_gets_its_loader() {
    let Some(lab) = Lab::start(&needs(&["udhcpc"]), &[]) else { return };
    let script = lab.file("script.sh", b"#!/bin/sh\necho \"$1 next=$siaddr boot=$boot_file file=$bootfile name=$tftp\"\n");
    lab.run("", "chmod", &["+x", &script]);
    let ask = |vendor: &str, arch: &str, more: &[&str]| {
        let arch = format!("0x5d:{arch}");
        let args =
            ["-i", "cli0", "-f", "-n", "-q", "-t", "5", "-T", "1", "-s", &script, "-V", vendor, "-x", &arch, "-O", "bootfile"];
        lab.client("udhcpc", &[&args[..], more].concat())
    };
    let bios = ask("PXEClient:Arch:00000:UNDI:002001", "0000", &[]);
    assert!(bios.contains("undionly.kpxe"), "{bios}");
    let efi = ask("PXEClient:Arch:00007:UNDI:003000", "0007", &[]);
    assert!(efi.contains("snponly.efi"), "{efi}");
    let http = ask("HTTPClient:Arch:00016:UNDI:003000", "0010", &[]);
    assert!(http.contains("http://10.99.0.1/boot/snponly.efi"), "{http}");
    let ipxe = ask("PXEClient", "0007", &["-x", "0x4d:69505845"]);
    assert!(ipxe.contains("http://10.99.0.1/boot/ipxe"), "{ipxe}");
}

#[test]
fn tftp_hpa_fetches_every_byte() {
    let file = loader();
    let Some(lab) = Lab::start(&needs(&["tftp"]), &[("undionly.kpxe", &file), ("empty", b"")]) else { return };
    lab.static_client();
    for blksize in ["", "8", "512", "1468", "1469", "65464"] {
        let option = if blksize.is_empty() { String::new() } else { format!("blksize {blksize}\n") };
        fs::remove_file(lab.path("got")).ok();
        let commands = lab.file("commands", format!("binary\n{option}get undionly.kpxe {}\nquit\n", lab.path("got")).as_bytes());
        lab.run("cli", "sh", &["-c", &format!("tftp {SERVER} < {commands}")]);
        assert!(fs::read(lab.path("got")).unwrap() == file, "blksize {blksize}");
    }
    let commands = lab.file(
        "commands",
        format!("binary\nget empty {}\nget ../../etc/passwd {}\nquit\n", lab.path("none"), lab.path("bad")).as_bytes(),
    );
    let said = lab.run("cli", "sh", &["-c", &format!("tftp {SERVER} < {commands}")]);
    assert_eq!(fs::read(lab.path("none")).unwrap(), b"");
    assert!(said.contains("no such file"), "{said}");
    // Its default mode is netascii, which this server refuses.
    let commands = lab.file("commands", format!("get empty {}\nquit\n", lab.path("ascii")).as_bytes());
    let said = lab.run("cli", "sh", &["-c", &format!("tftp {SERVER} < {commands}")]);
    assert!(said.contains("only mode octet"), "{said}");
}

#[test]
fn curl_fetches_every_byte_with_each_block_size() {
    let file = loader();
    let Some(lab) = Lab::start(&needs(&["curl"]), &[("snponly.efi", &file)]) else { return };
    lab.static_client();
    let url = format!("tftp://{SERVER}/snponly.efi");
    for blksize in ["8", "512", "1024", "1468", "1469", "65464"] {
        fs::remove_file(lab.path("got")).ok();
        lab.run("cli", "curl", &["-s", "-S", "-m", "60", "--tftp-blksize", blksize, "-o", &lab.path("got"), &url]);
        assert!(fs::read(lab.path("got")).unwrap() == file, "blksize {blksize}");
    }
    lab.run("cli", "curl", &["-s", "-S", "-m", "60", "--tftp-no-options", "-o", &lab.path("plain"), &url]);
    assert!(fs::read(lab.path("plain")).unwrap() == file);
}

#[test]
fn curl_fetches_every_byte_over_a_link_that_loses_packets() {
    // 55 blocks: each loss costs a client's or the server's timeout.
    let file = loader()[..80_000].to_vec();
    let Some(lab) = Lab::start(&needs(&["curl", "nft"]), &[("snponly.efi", &file)]) else { return };
    lab.static_client();
    if !lab.lossy() {
        kubedos_skip::skip("nft-numgen", "the kernel has no nftables with numgen");
        return;
    }
    let url = format!("tftp://{SERVER}/snponly.efi");
    lab.run("cli", "curl", &["-s", "-S", "-m", "300", "--tftp-blksize", "1468", "-o", &lab.path("got"), &url]);
    assert!(fs::read(lab.path("got")).unwrap() == file);
}

#[test]
fn a_second_server_on_the_interface_is_an_error_with_a_hint() {
    let Some(lab) = Lab::start(&needs(&[]), &[]) else { return };
    let said = lab.second_server("srv0");
    assert!(said.contains("UDP port 67 on interface srv0 is in use") && said.contains("ss -ulpn"), "{said}");
    let said = lab.second_server("nonesuch0");
    assert!(said.contains("nonesuch0") && said.contains("does not exist") && said.contains("ip -brief link"), "{said}");
}

#[test]
fn hostile_packets_change_nothing() {
    let Some(lab) = Lab::start(&needs(&["udhcpc", "python3"]), &[("snponly.efi", b"loader")]) else { return };
    lab.static_client();
    // Bounded: 2,000 packets to each of the two ports of the server in this test's own namespace.
    let flood = "import random,socket\nr=random.Random(1)\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n\
        for i in range(2000):\n for p in (67,69):\n  s.sendto(r.randbytes(r.randrange(0,1400)),('10.99.0.1',p))\n";
    let flood = lab.file("flood.py", flood.as_bytes());
    lab.run("cli", "python3", &[&flood]);
    std::thread::sleep(Duration::from_millis(200));
    let script = lab.file("script.sh", b"#!/bin/sh\necho \"$1 ip=$ip\"\n");
    lab.run("", "chmod", &["+x", &script]);
    let got = lab.client("udhcpc", &["-i", "cli0", "-f", "-n", "-q", "-t", "5", "-T", "1", "-s", &script]);
    assert!(got.contains("bound ip=10.99.0.100"), "{got}");
}
