use std::fs;

use camino::Utf8PathBuf;

use super::*;

/// A tar entry with exactly these header bytes: the `tar` crate would refuse to write hostile names.
fn entry(name: &str, kind: EntryType, link: &str, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1);
    header.set_size(content.len() as u64);
    header.set_cksum();
    let mut out = header.as_bytes().to_vec();
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/file"), "untouched").unwrap();
        Bench { dir }
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8PathBuf::from_path_buf(self.dir.path().join(name)).unwrap()
    }

    fn unpack(&self, entries: &[Vec<u8>]) -> Result<u64, UnpackError> {
        let tar = [entries.concat(), vec![0; 1024]].concat();
        unpack(tar::Archive::new(&tar[..]), &Tree::new(&self.path("root")), Owners::Caller, &|_| true)
    }

    fn outside_is_untouched(&self) {
        assert_eq!(fs::read_dir(self.path("outside")).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(self.path("outside/file")).unwrap(), "untouched");
    }
}

const FILE: EntryType = EntryType::Regular;
const LINK: EntryType = EntryType::Symlink;
const HARD: EntryType = EntryType::Link;

#[test]
fn the_files_of_a_package_are_unpacked() {
    let (b, tar) = (Bench::new(), [entry("./a", FILE, "", b"hello"), vec![0; 1024]].concat());
    let mut deb = b"!<arch>\n".to_vec();
    for (name, content) in [("debian-binary", &b"2.0\n"[..]), ("control.tar", b""), ("data.tar", &tar)] {
        deb.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "100644", content.len()).bytes());
        deb.extend_from_slice(content);
    }
    let unpacked = unpack(data_tar(&deb[..]).unwrap(), &Tree::new(&b.path("root")), Owners::Caller, &|_| true);
    assert_eq!(unpacked.unwrap(), 5);
    assert_eq!(fs::read_to_string(b.path("root/a")).unwrap(), "hello");
    assert!(matches!(data_tar(&tar[..]), Err(UnpackError::Package(_))));
}

#[test]
fn hostile_names_are_refused() {
    for name in ["../x", "/etc/x", "a/../../x", "a/..", ".."] {
        let b = Bench::new();
        assert!(matches!(b.unpack(&[entry(name, FILE, "", b"x")]), Err(UnpackError::Entry(TreeError::Name(_)))), "{name}");
        b.outside_is_untouched();
    }
}

#[test]
fn links_never_lead_outside() {
    for target in ["../outside", "/../outside", "../../../../../../outside", "/outside"] {
        let b = Bench::new();
        b.unpack(&[entry("l", LINK, target, b""), entry("l/file", FILE, "", b"x")]).unwrap();
        b.outside_is_untouched();
        assert_eq!(fs::read_to_string(b.path("root/outside/file")).unwrap(), "x", "{target}");
    }
    let b = Bench::new();
    let outside = b.path("outside/file").to_string();
    b.unpack(&[entry("f", LINK, &outside, b""), entry("f", FILE, "", b"x")]).unwrap();
    b.outside_is_untouched();
    assert!(b.unpack(&[entry("h", HARD, "../outside/file", b"")]).is_err());
    assert!(b.unpack(&[entry("s", LINK, "f", b""), entry("h", HARD, "s", b"")]).is_err(), "hard link to a symbolic one");
    assert!(b.unpack(&[entry("a", LINK, "b", b""), entry("b", LINK, "a", b""), entry("a/x", FILE, "", b"")]).is_err());
}

#[test]
fn devices_and_pipes_are_refused() {
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo, EntryType::new(b'Z')] {
        assert!(matches!(Bench::new().unpack(&[entry("d", kind, "", b"")]), Err(UnpackError::Kind { .. })));
    }
}

#[test]
fn merged_usr_links_are_followed_and_hard_links_made() {
    let b = Bench::new();
    let done = b.unpack(&[
        entry("./usr/bin/", EntryType::Directory, "", b""),
        entry("bin", LINK, "usr/bin", b""),
        entry("bin/", EntryType::Directory, "", b""),
        entry("bin/sh", FILE, "", b"#!"),
        entry("bin/sh2", HARD, "./usr/bin/sh", b""),
    ]);
    assert_eq!(done.unwrap(), 2);
    assert_eq!(fs::read_to_string(b.path("root/usr/bin/sh2")).unwrap(), "#!");
}

#[test]
fn sizes_are_bounded_before_anything_is_written() {
    let b = Bench::new();
    let mut header = tar::Header::new_gnu();
    header.set_path("big").unwrap();
    header.set_size(MAX_UNPACKED + 1);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    assert!(matches!(b.unpack(&[header.as_bytes().to_vec()]), Err(UnpackError::TooLarge)));
    assert!(!b.path("root/big").exists());
    let cut = [entry("a", FILE, "", &[1; 600])[..700].to_vec()].concat();
    assert!(unpack(tar::Archive::new(&cut[..]), &Tree::new(&b.path("root")), Owners::Caller, &|_| true).is_err());
}
