use super::*;
use std::io::Write as _;

/// Made for this test; in two halves, so that this file itself holds none.
fn pem(kind: &str) -> String {
    format!(
        "{}{kind}-----\n{}\n-----END {kind}-----\n",
        "-----BEGIN ",
        "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAAB".repeat(2)
    )
}

fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut out = liblzma::write::XzEncoder::new(Vec::new(), 1);
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

#[test]
fn archives_are_opened() {
    let key = pem("PRIVATE KEY");
    let inner = tar_of(&[("etc/ssl/ok.pem", b"fine"), ("etc/ssl/key.pem", key.as_bytes())]);
    for (packed, place) in [
        (inner.clone(), "x!etc/ssl/key.pem"),
        (gz(&inner), "x!!etc/ssl/key.pem"),
        (xz(&inner), "x!!etc/ssl/key.pem"),
        (zstd::encode_all(&inner[..], 1).unwrap(), "x!!etc/ssl/key.pem"),
        (tar_of(&[("blobs/sha256/aa", &gz(&inner))]), "x!blobs/sha256/aa!!etc/ssl/key.pem"),
        (gz(key.as_bytes()), "x"),
    ] {
        assert_eq!(bytes("x", &packed), [Finding { place: place.into(), what: "a private key" }], "{place}");
    }
    let mut deb = b"!<arch>\n".to_vec();
    for (name, member) in [("debian-binary", b"2.0\n".to_vec()), ("data.tar.xz", xz(&inner))] {
        writeln!(deb, "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`", 1, 0, 0, 100644, member.len()).unwrap();
        deb.extend_from_slice(&member);
        deb.extend(std::iter::repeat_n(b'\n', member.len() % 2));
    }
    assert_eq!(bytes("a.deb", &deb)[0].place, "a.deb!data.tar.xz!!etc/ssl/key.pem");
    assert!(bytes("x", &gz(&tar_of(&[("a", b"nothing")]))).is_empty());
}

#[test]
fn a_secret_across_two_windows_is_seen_and_broken_archives_do_not_matter() {
    let key = pem("PRIVATE KEY");
    for at in [WINDOW - 400, WINDOW - 200, WINDOW - 5, WINDOW, 2 * WINDOW - 100] {
        let mut text = vec![b'\n'; at];
        text.extend_from_slice(key.as_bytes());
        text.extend_from_slice(&[b'\n'; 1000]);
        assert_eq!(bytes("x", &text).len(), 1, "at {at}");
    }
    let good = gz(&tar_of(&[("key", key.as_bytes())]));
    for at in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 0x55;
        let _ = bytes("x", &bad);
        let _ = bytes("x", &good[..at]);
    }
    // Packed deeper than anybody looks: not opened, no error.
    let deep = (0..MAX_DEPTH + 2).fold(key.into_bytes(), |inner, _| gz(&inner));
    assert!(bytes("x", &deep).is_empty());
}
