use camino::Utf8PathBuf;
use std::os::unix::fs::MetadataExt as _;

use super::*;

enum Kind {
    File(Vec<u8>, u32),
    Dir,
    Other(EntryType),
}

fn text(bytes: &[u8]) -> Kind {
    Kind::File(bytes.to_vec(), 0o644)
}

/// A tar with these names as they are: the writer of the tar crate would refuse some.
fn archive(entries: &[(&str, Kind)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind) in entries {
        let mut header = tar::Header::new_ustar();
        let (entry, bytes, mode) = match kind {
            Kind::File(bytes, mode) => (EntryType::Regular, &bytes[..], *mode),
            Kind::Dir => (EntryType::Directory, &[][..], 0o700),
            Kind::Other(entry) => (*entry, &[][..], 0o644),
        };
        header.set_entry_type(entry);
        header.set_mode(mode);
        header.set_size(bytes.len() as u64);
        if entry.is_symlink() || entry.is_hard_link() {
            header.set_link_name("/etc/passwd").unwrap();
        }
        let ustar = header.as_ustar_mut().unwrap();
        ustar.name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, bytes).unwrap();
    }
    zstd::encode_all(&builder.into_inner().unwrap()[..], 1).unwrap()
}

struct Place {
    _dir: tempfile::TempDir,
    /// The directory above the one that is unpacked into.
    above: Utf8PathBuf,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let above = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        fs::create_dir(above.join("in")).unwrap();
        Place { _dir: dir, above }
    }

    fn unpack(&self, bytes: &[u8]) -> Result<usize, UnpackError> {
        unpack(bytes, &self.above.join("in"))
    }

    /// Every entry below the directory; links and other kinds are an error, and so is anything above it.
    fn found(&self) -> Vec<String> {
        let above: Vec<_> = fs::read_dir(&self.above).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(above, ["in"], "written outside");
        let (mut open, mut found) = (vec![self.above.join("in")], Vec::new());
        while let Some(dir) = open.pop() {
            for entry in dir.read_dir_utf8().unwrap().map(Result::unwrap) {
                let kind = entry.file_type().unwrap();
                assert!(kind.is_file() || kind.is_dir(), "{}", entry.path());
                if kind.is_dir() {
                    open.push(entry.path().to_owned());
                } else {
                    found.push(entry.path().strip_prefix(self.above.join("in")).unwrap().to_string());
                }
            }
        }
        found.sort();
        found
    }
}

#[test]
fn files_are_unpacked_with_one_of_two_modes() {
    let place = Place::new();
    let tool = Kind::File(b"#!/bin/sh\n".to_vec(), 0o4711);
    let odd = Kind::File(b"x".to_vec(), 0o666);
    let entries = [("ansible/", Kind::Dir), ("ansible/files/check", tool), ("ansible/odd", odd), ("empty", text(b""))];
    assert_eq!(place.unpack(&archive(&entries)).unwrap(), 3);
    assert_eq!(place.found(), ["ansible/files/check", "ansible/odd", "empty"]);
    let mode = |path: &str| fs::metadata(place.above.join("in").join(path)).unwrap().mode() & 0o7777;
    assert_eq!((mode("ansible/files/check"), mode("ansible/odd"), mode("ansible")), (0o755, 0o644, 0o755));
    assert_eq!(fs::read(place.above.join("in/ansible/files/check")).unwrap(), b"#!/bin/sh\n");
}

#[test]
fn long_names_are_read() {
    let place = Place::new();
    let long = format!("ansible/{}/main.yml", ["d".repeat(60), "e".repeat(60), "f".repeat(60)].join("/"));
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(1);
    header.set_mode(0o644);
    let record = |path: &str| {
        let mut size = path.len() + 7;
        while format!("{size} path={path}\n").len() != size {
            size += 1;
        }
        format!("{size} path={path}\n")
    };
    for path in [&long, "../x"] {
        let body = record(path);
        let mut extended = tar::Header::new_ustar();
        extended.set_entry_type(EntryType::XHeader);
        extended.set_size(body.len() as u64);
        extended.set_cksum();
        builder.append(&extended, body.as_bytes()).unwrap();
        header.set_path("short").unwrap();
        header.set_cksum();
        builder.append(&header, &b"x"[..]).unwrap();
    }
    let bytes = zstd::encode_all(&builder.into_inner().unwrap()[..], 1).unwrap();
    assert!(matches!(place.unpack(&bytes), Err(UnpackError::Path(path)) if path == "../x"));
    assert_eq!(place.found(), [long]);
}

#[test]
fn nothing_is_written_outside_of_the_directory() {
    for name in ["../x", "/x", "a/../../x", "..", ".", "./x", "a//x", "a\nb", "x/"] {
        let place = Place::new();
        assert!(matches!(place.unpack(&archive(&[(name, text(b"1"))])), Err(UnpackError::Path(_))), "{name:?}");
        assert!(place.found().is_empty());
    }
    let place = Place::new();
    assert!(matches!(place.unpack(&archive(&[("../", Kind::Dir)])), Err(UnpackError::Path(_))));
}

#[test]
fn only_files_and_directories_are_unpacked() {
    for kind in [b'1', b'2', b'3', b'4', b'6', b'7', b'S', b'Z'] {
        let place = Place::new();
        let bytes = archive(&[("a", Kind::Other(EntryType::new(kind)))]);
        // tar reads the map of a sparse file itself, and finds none here.
        let found = place.unpack(&bytes);
        let refused = matches!(&found, Err(UnpackError::Kind { .. })) || kind == b'S' && found.is_err();
        assert!(refused, "{}", kind as char);
        assert!(place.found().is_empty());
    }
}

#[test]
fn no_path_occurs_twice() {
    for second in [("a", text(b"2")), ("a/b", text(b"2")), ("a/", Kind::Dir)] {
        let place = Place::new();
        assert!(place.unpack(&archive(&[("a", text(b"1")), second])).is_err());
        assert_eq!(fs::read(place.above.join("in/a")).unwrap(), b"1");
    }
    let place = Place::new();
    assert!(place.unpack(&archive(&[("a/", Kind::Dir), ("a", text(b"1"))])).is_err());
}

#[test]
fn a_file_has_a_limit_and_so_have_all_together() {
    let zeros = |size: u64| {
        let mut header = tar::Header::new_ustar();
        header.set_size(size);
        header.set_mode(0o644);
        header
    };
    let write = |sizes: &[u64]| {
        let mut out = zstd::Encoder::new(Vec::new(), 1).unwrap();
        for (n, size) in sizes.iter().enumerate() {
            let mut header = zeros(*size);
            header.set_path(format!("f{n}")).unwrap();
            header.set_cksum();
            out.write_all(header.as_bytes()).unwrap();
            io::copy(&mut io::repeat(0).take(size.next_multiple_of(512)), &mut out).unwrap();
        }
        out.write_all(&[0; 1024]).unwrap();
        out.finish().unwrap()
    };
    let place = Place::new();
    assert_eq!(place.unpack(&write(&[MAX_FILE])).unwrap(), 1);
    assert!(matches!(Place::new().unpack(&write(&[MAX_FILE + 1])), Err(UnpackError::TooLarge("a file"))));
    // A size that the archive only claims.
    let mut header = zeros(u64::MAX >> 4);
    header.set_path("f").unwrap();
    header.set_cksum();
    let claimed = zstd::encode_all(&header.as_bytes()[..], 1).unwrap();
    assert!(matches!(Place::new().unpack(&claimed), Err(UnpackError::TooLarge(_))));
}

#[test]
fn the_number_of_files_has_a_limit() {
    let entries = |count: usize| {
        let mut builder = tar::Builder::new(Vec::new());
        for n in 0..count {
            let mut header = tar::Header::new_ustar();
            header.set_path(format!("{}/{n}", n % 100)).unwrap();
            header.set_size(0);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append(&header, io::empty()).unwrap();
        }
        zstd::encode_all(&builder.into_inner().unwrap()[..], 1).unwrap()
    };
    assert_eq!(Place::new().unpack(&entries(MAX_FILES)).unwrap(), MAX_FILES);
    assert!(matches!(Place::new().unpack(&entries(MAX_FILES + 1)), Err(UnpackError::TooLarge("number of files"))));
}

#[test]
fn content_after_the_end_is_refused() {
    let mut tar = zstd::decode_all(&archive(&[("a", text(b"1"))])[..]).unwrap();
    let good = tar.clone();
    tar.extend_from_slice(&[0; 10_000]);
    assert!(Place::new().unpack(&zstd::encode_all(&tar[..], 1).unwrap()).is_ok());
    tar.push(1);
    assert!(Place::new().unpack(&zstd::encode_all(&tar[..], 1).unwrap()).is_err());
    for cut in [1, 511, 512, 513, 700] {
        assert!(Place::new().unpack(&zstd::encode_all(&good[..cut], 1).unwrap()).is_err(), "{cut}");
    }
}

/// Mutated archives: whatever happens, nothing is written outside, no link is created, and nothing panics.
#[test]
fn mutated_archives_do_no_harm() {
    let entries = [
        ("ansible/", Kind::Dir),
        ("ansible/roles/a/tasks/main.yml", text(b"- name: a\n")),
        ("ansible/roles/a/files/check", Kind::File(b"#!/bin/sh\n".to_vec(), 0o755)),
        ("salt/a.sls", text(&[b'x'; 700])),
    ];
    let tar = zstd::decode_all(&archive(&entries)[..]).unwrap();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let words: [&[u8]; 8] =
        [b"../../x", b"/etc/x", b"2", b"1", b"0000000\0", b"7777777", b"L", b"\x80\xff\xff\xff\xff\xff\xff\xff"];
    for _ in 0..600 {
        let mut bad = tar.clone();
        for _ in 0..=random(4) {
            let word = words[random(words.len())];
            let at = match random(3) {
                // Names, kinds and sizes of headers, with a checksum that is right.
                0 => 512 * random(bad.len() / 512) + [0, 124, 156, 157, 345][random(5)],
                _ => random(bad.len() - 8),
            };
            let end = (at + word.len()).min(bad.len());
            bad[at..end].copy_from_slice(&word[..end - at]);
        }
        for block in 0..bad.len() / 512 {
            let range = 512 * block..512 * (block + 1);
            if &bad[range.clone()][257..262] == b"ustar" {
                let mut header = tar::Header::new_ustar();
                header.as_mut_bytes().copy_from_slice(&bad[range.clone()]);
                header.set_cksum();
                bad[range].copy_from_slice(header.as_bytes());
            }
        }
        let place = Place::new();
        let _ = place.unpack(&zstd::encode_all(&bad[..], 1).unwrap());
        place.found();
    }
}
