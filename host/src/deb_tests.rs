use super::*;

fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = ar::MAGIC.to_vec();
    for (name, content) in members {
        out.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "100644", content.len()).bytes());
        out.extend_from_slice(content);
        out.resize(out.len().next_multiple_of(2), b'\n');
    }
    out
}

fn read(deb: &[u8], name: &str) -> Result<Vec<u8>, DebError> {
    let mut out = Vec::new();
    member(deb, name)?.read_to_end(&mut out)?;
    Ok(out)
}

const BINARY: (&str, &[u8]) = ("debian-binary", b"2.0\n");

#[test]
fn every_compression_is_read() {
    let (control, data) = (b"the control archive".repeat(9), b"the data archive".repeat(999));
    let mut xz = Vec::new();
    liblzma::read::XzEncoder::new(&data[..], 1).read_to_end(&mut xz).unwrap();
    let mut gz = Vec::new();
    flate2::read::GzEncoder::new(&data[..], flate2::Compression::fast()).read_to_end(&mut gz).unwrap();
    let zst = zstd::bulk::compress(&data, 1).unwrap();
    for (name, packed) in [("data.tar", &data), ("data.tar.xz", &xz), ("data.tar.gz", &gz), ("data.tar.zst", &zst)] {
        let deb = ar(&[BINARY, ("control.tar/", &control), (name, packed)]);
        assert_eq!(read(&deb, "control.tar").unwrap(), control, "{name}");
        assert_eq!(read(&deb, "data.tar").unwrap(), data, "{name}");
    }
}

#[test]
fn what_is_no_package_is_refused() {
    let good = ar(&[BINARY, ("control.tar", b""), ("data.tar", b"")]);
    assert!(read(&good, "data.tar").is_ok());
    for bad in [
        Vec::new(),
        ar::MAGIC.to_vec(),
        b"PK\x03\x04....".to_vec(),
        ar(&[("data.tar", b"")]),
        ar(&[BINARY, ("control.tar", b"")]),
        ar(&[BINARY, ("data.tar.lzma", b"")]),
        [ar(&[BINARY]), vec![b'x'; 60]].concat(),
        ar(&vec![("debian-binary", &b""[..]); MAX_MEMBERS as usize + 1]),
        String::from_utf8(good.clone()).unwrap().replacen("4         `", "-4        `", 1).into_bytes(),
        String::from_utf8(good.clone()).unwrap().replacen("4         `", "9999999999`", 1).into_bytes(),
        good[..good.len() - 61].to_vec(),
    ] {
        assert!(matches!(read(&bad, "data.tar"), Err(DebError::Format(_) | DebError::Compression(_))), "{bad:?}");
    }
    let most = [vec![BINARY; MAX_MEMBERS as usize - 1], vec![("data.tar", &b"x"[..])]].concat();
    assert_eq!(read(&ar(&most), "data.tar").unwrap(), b"x");
}

#[test]
fn every_flipped_byte_and_every_cut_gives_an_answer() {
    let deb = ar(&[BINARY, ("control.tar.zst", &zstd::bulk::compress(b"control", 1).unwrap()), ("data.tar", b"data")]);
    for at in 0..deb.len() {
        let mut bad = deb.clone();
        bad[at] ^= 0x55;
        for name in ["control.tar", "data.tar"] {
            let _ = read(&bad, name);
            let _ = read(&deb[..at], name);
        }
    }
}
