//! A matrix of odd TFTP requests, each spelling of a name with each mode, and other packets, sent to this server and to dnsmasq.
//!
//! Where the two differ: docs/compatibility.md, "TFTP". A name that is no file's is error 1 whatever the mode, since shim goes on to
//! GRUB after that code only; netascii is refused; packets that are no requests get no answer, which could start a loop; an option
//! with a value that RFC 2348 does not allow is left out, where dnsmasq grants another one.

mod lab;

use lab::{Lab, SERVER, needs};

const FILES: &[(&str, &[u8])] = &[("shimx64.efi", b"shim"), ("grub.cfg", b"set timeout=1\n")];
const MODES: [&str; 5] = ["octet", "OCTET", "netascii", "mail", ""];

/// A name (with `\xNN` for bytes), and the answers to it in each of [`MODES`]: of this server, and of dnsmasq. `d` is the file,
/// a digit an error's code, `-` silence.
#[rustfmt::skip]
const NAMES: &[(&str, &str, &str)] = &[
    ("shimx64.efi",            "dd444", "ddd44"),
    ("/shimx64.efi",           "dd444", "ddd44"),
    ("//shimx64.efi",          "dd444", "ddd44"),
    ("./shimx64.efi",          "dd444", "ddd44"),
    ("/././/shimx64.efi",      "dd444", "ddd44"),
    ("\\x5cshimx64.efi",       "dd444", "ddd44"),
    (".\\x5cshimx64.efi",      "dd444", "ddd44"),
    ("SHIMX64.EFI",            "dd444", "11144"),
    ("/Grub.CFG",              "dd444", "11144"),
    ("shimx64.efi/",           "11111", "00044"),
    ("../shimx64.efi",         "11111", "22244"),
    ("../../etc/passwd",       "11111", "22244"),
    ("%2e%2e/etc/passwd",      "11111", "11144"),
    ("/",                      "11111", "00044"),
    (".",                      "11111", "00044"),
    ("",                       "11111", "44444"),
    (" shimx64.efi",           "11111", "11144"),
    ("shimx64.efi ",           "11111", "11144"),
    ("shimx64.efi\\x07",       "11111", "11144"),
    ("shimx64.efi\\xff",       "11111", "11144"),
    ("shimx64.efia\\x11",      "11111", "11144"),
    ("\\xbfNIC one",           "11111", "11144"),
    ("\\xbfOnboard",           "11111", "11144"),
    ("\\x02\\x01\\x0c",        "11111", "11144"),
    ("f\\xc3\\xbcr.efi",       "11111", "11144"),
    ("\\xef\\xbb\\xbfshimx64.efi", "11111", "11144"),
    ("NAME-OF-128",            "11111", "11144"),
    ("NAME-OF-129",            "11111", "11144"),
    ("NAME-OF-300",            "11111", "00044"),
    ("NAME-OF-700",            "11111", "00044"),
    ("pxelinux.cfg/01-52-54-00-aa-bb-cc", "11111", "11144"),
    ("12345678/start4.elf",    "11111", "11144"),
];

/// Other packets in hexadecimal, and the answers of both. `o` is an OACK.
#[rustfmt::skip]
const PACKETS: &[(&str, &str, &str, &str)] = &[
    ("no-nul",         "0001677275622e636667", "1", "4"),
    ("mode-without-nul", "0001677275622e636667006f63746574", "4", "4"),
    ("no-name-at-all", "0001", "1", "4"),
    ("write",          "0002677275622e636667006f6374657400", "2", "4"),
    ("write-new",      "00026e6577006f6374657400", "2", "4"),
    ("data",           "0003000178", "-", "4"),
    ("ack",            "00040000", "-", "4"),
    ("error",          "00050000656e6f75676800", "-", "4"),
    ("oack",           "0006626c6b73697a65003100", "-", "4"),
    ("opcode-7",       "0007", "-", "4"),
    ("one-byte",       "00", "-", "-"),
    ("opcode-swapped", "0100677275622e636667006f6374657400", "-", "4"),
];

/// Options after a good name, and the answers of both.
#[rustfmt::skip]
const OPTIONS: &[(&str, &str, &str, &str)] = &[
    ("blksize 1468",          "blksize\\x001468\\x00", "o", "o"),
    ("blksize 8",             "blksize\\x008\\x00", "o", "o"),
    ("blksize 7",             "blksize\\x007\\x00", "d", "o"),
    ("blksize 65464",         "blksize\\x0065464\\x00", "o", "o"),
    ("blksize 0",             "blksize\\x000\\x00", "d", "o"),
    ("blksize -1",            "blksize\\x00-1\\x00", "d", "o"),
    ("blksize text",          "blksize\\x00large\\x00", "d", "o"),
    ("blksize twice",         "blksize\\x00512\\x00blksize\\x001024\\x00", "o", "o"),
    ("BLKSIZE",               "BLKSIZE\\x001024\\x00", "o", "o"),
    ("without a value",       "blksize\\x00", "d", "d"),
    ("value without its nul", "blksize\\x00512", "d", "4"),
    ("tsize",                 "tsize\\x000\\x00", "o", "o"),
    ("windowsize 0",          "windowsize\\x000\\x00", "d", "d"),
    ("windowsize 65535",      "windowsize\\x0065535\\x00", "o", "d"),
    ("timeout 0",             "timeout\\x000\\x00", "d", "d"),
    ("unknown",               "multicast\\x00\\x00rollover\\x000\\x00", "d", "d"),
    ("forty, then tsize",     "FORTYtsize\\x000\\x00", "o", "d"),
    ("padded with zeros",     "ZEROS", "d", "d"),
    ("padded with others",    "OTHERS", "d", "4"),
];

/// Text with `\xNN` as bytes.
fn bytes(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let mut out = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        out.push(u8::from_str_radix(&part[..2], 16).unwrap());
        out.extend(part[2..].bytes());
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn corpus() -> String {
    let mut lines = String::new();
    for (n, (name, ..)) in NAMES.iter().enumerate() {
        let name = match name.strip_prefix("NAME-OF-") {
            Some(len) => vec![b'n'; len.parse().unwrap()],
            None => bytes(name),
        };
        for mode in MODES {
            let mode = if mode.is_empty() { Vec::new() } else { [mode.as_bytes(), &[0]].concat() };
            lines += &format!("{n} {}\n", hex(&[&[0, 1][..], &name, &[0], &mode].concat()));
        }
    }
    for (name, packet, ..) in PACKETS {
        lines += &format!("{name} {packet}\n");
    }
    for (n, (_, options, ..)) in OPTIONS.iter().enumerate() {
        let forty: String = (0..40).map(|n| format!("o{n}\\x00\\x00")).collect();
        let mut packet = [&b"\0\x01shimx64.efi\0octet\0"[..], &bytes(&options.replace("FORTY", &forty))].concat();
        match *options {
            "ZEROS" => packet.splice(20.., vec![0; 600]).for_each(drop),
            "OTHERS" => packet.splice(20.., vec![b'x'; 600]).for_each(drop),
            _ => {}
        }
        lines += &format!("option-{n} {}\n", hex(&packet));
    }
    lines
}

fn letter(line: &str) -> char {
    match line.split(' ').skip(1).collect::<Vec<_>>()[..] {
        ["data"] => 'd',
        ["options"] => 'o',
        ["error", code] => code.chars().next().unwrap_or('?'),
        ["silence"] => '-',
        _ => '?',
    }
}

fn check(lab: &Lab, of_dnsmasq: bool) {
    lab.rack_address();
    let said = lab.run("cli", &Lab::example("ask_tftp"), &[&lab.file("corpus", corpus().as_bytes()), SERVER]);
    let letters: Vec<char> = said.lines().map(letter).collect();
    let (names, others) = letters.split_at(NAMES.len() * MODES.len());
    let got: Vec<String> =
        names.chunks(MODES.len()).map(|c| c.iter().collect()).chain(others.iter().map(char::to_string)).collect();
    let want = NAMES.iter().map(|(name, ours, theirs)| (*name, *ours, *theirs));
    let want = want.chain(PACKETS.iter().chain(OPTIONS).map(|(name, _, ours, theirs)| (*name, *ours, *theirs)));
    let wrong: Vec<String> = want
        .zip(&got)
        .map(|((name, ours, theirs), got)| (name, if of_dnsmasq { theirs } else { ours }, got))
        .filter(|(_, want, got)| want != got)
        .map(|(name, want, got)| format!("{name}: {got}, not {want}"))
        .collect();
    assert_eq!(got.len(), NAMES.len() + PACKETS.len() + OPTIONS.len());
    assert!(wrong.is_empty(), "{MODES:?}\n{}", wrong.join("\n"));
}

#[test]
fn this_server_answers_odd_names_as_listed() {
    let Some(lab) = Lab::start_with(&needs(&[]), FILES, &["noprobe", "nowatch"]) else { return };
    check(&lab, false);
}

#[test]
fn dnsmasq_answers_odd_names_as_listed() {
    let Some(mut lab) = Lab::without_server(&needs(&["dnsmasq"]), FILES, &[]) else { return };
    let (root, pid) = (format!("--tftp-root={}", lab.path("netboot")), format!("--pid-file={}", lab.path("dnsmasq.pid")));
    let fixed = ["-k", "-C", "/dev/null", "-p", "0", "-i", "srv0", "--user=root", "--enable-tftp"];
    lab.background("srv", "dnsmasq", &[&fixed[..], &[&root, &pid]].concat());
    check(&lab, true);
}
