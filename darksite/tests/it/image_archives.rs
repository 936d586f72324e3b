//! Image archives: what is taken from them, and the hostile ones.

use std::collections::BTreeMap;

use camino::Utf8Path;
use cluster_seed::ids::Digest;
use cluster_seed::progress::Quiet;
use darksite::extras::{ExtrasError, oci};

use crate::common::images::{Entry, ImageFiles, image, packed, tar_of};
use crate::common::{chain, tree};
use crate::extras::gz;

/// Takes an archive into an empty blob store; what was stored is returned.
fn take(bytes: &[u8], tag: &str) -> (Result<oci::Image, ExtrasError>, usize) {
    let temp = tempfile::tempdir().unwrap();
    let root = Utf8Path::from_path(temp.path()).unwrap();
    let file = root.join("archive");
    std::fs::write(&file, bytes).unwrap();
    let (blobs, tmp) = (root.join("blobs"), root.join("tmp"));
    let store = oci::Store { blobs: &blobs, tmp: &tmp, progress: &Quiet };
    let result = oci::Layout::open(&file, "x").and_then(|mut layout| layout.take(tag, &store));
    let stored = if blobs.exists() { tree(&blobs).len() } else { 0 };
    let outside: Vec<_> = tree(root).into_keys().filter(|p| !p.starts_with("blobs") && p != "archive").collect();
    assert!(outside.is_empty(), "{outside:?}");
    (result, stored)
}

#[test]
fn hostile_archives_are_refused() {
    let good = image(b"layer");
    let (result, stored) = take(&packed(&good.files), "3.10");
    assert_eq!((result.unwrap().digest, stored), (good.manifest, 3));
    let entries: Vec<Entry<'_>> = good.files.iter().map(|(n, c)| (n.as_str(), c.as_slice(), b'0', "")).collect();
    let blob = format!("blobs/sha256/{}", good.layer);
    for (what, extra) in [
        ("out", ("../evil", &b"x"[..], b'0', "")),
        ("out", ("blobs/../../evil", b"x", b'0', "")),
        ("absolute", ("/etc/evil", b"x", b'0', "")),
        ("a symbolic link", ("blobs/link", b"", b'2', "/etc/passwd")),
        ("a hard link", ("blobs/link", b"", b'1', "/etc/passwd")),
        ("a character device", ("dev", b"", b'3', "")),
        ("a block device", ("dev", b"", b'4', "")),
        ("a pipe", ("fifo", b"", b'6', "")),
        ("a duplicate", ("index.json", b"{}", b'0', "")),
        ("a duplicate", (&blob, b"other", b'0', "")),
    ] {
        for at in [0, entries.len()] {
            let mut list = entries.clone();
            list.insert(at, extra);
            let (result, stored) = take(&tar_of(&list), "3.10");
            assert!(result.is_err() && stored == 0, "{what}: {}", extra.0);
        }
    }
    let without = |name: &str| packed(&good.files.iter().filter(|(n, _)| !n.contains(name)).cloned().collect::<Vec<_>>());
    for name in ["oci-layout", "index.json", &good.layer.to_string(), &good.manifest.to_string()] {
        assert!(take(&without(name), "3.10").0.is_err(), "without {name}");
    }
    // A blob that is not what its name says: nothing of that name is stored.
    let mut lie = good.files.clone();
    lie.iter_mut().find(|(n, _)| n.contains(&good.layer.to_string())).unwrap().1 = b"LAYER".to_vec();
    assert!(chain(&take(&packed(&lie), "3.10").0.unwrap_err()).contains("does not match its digest"));
    // A size in the header that goes past the end, and one in a PAX header that lies.
    let whole = packed(&good.files);
    for cut in [600, 1600, whole.len() / 2] {
        assert!(take(&whole[..cut], "3.10").0.is_err(), "cut at {cut}");
    }
    let mut list = entries.clone();
    list.insert(1, ("pax", b"23 size=99999999999999\n", b'x', ""));
    assert!(take(&tar_of(&list), "3.10").0.is_err());
    for bad in [&b""[..], b"not a tar at all", &[0u8; 1024], &gz(&whole)] {
        assert!(take(bad, "3.10").0.is_err());
    }
    for at in (0..whole.len()).step_by(3) {
        let mut bad = whole.clone();
        bad[at] ^= 0x41;
        // Whatever it says, no blob gets a name that is not its digest, and nothing lies outside (see `take`).
        if let (Ok(image), _) = take(&bad, "3.10") {
            assert_eq!(image.digest, good.manifest, "byte {at}");
        }
    }
}

#[test]
fn tags_platforms_and_types() {
    let (one, two) = (image(b"one"), image(b"two"));
    let describe = |i: &ImageFiles, name: &str| {
        let size = i.files.iter().find(|(n, _)| n.ends_with(&i.manifest.to_string())).unwrap().1.len();
        serde_json::json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": format!("sha256:{}", i.manifest),
            "size": size, "annotations": {"org.opencontainers.image.ref.name": name}})
    };
    let mut files: BTreeMap<String, Vec<u8>> = one.files.iter().chain(&two.files).cloned().collect();
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [describe(&one, "1"), describe(&two, "registry.io/x:2")]});
    files.insert("index.json".into(), index.to_string().into_bytes());
    let both: Vec<_> = files.clone().into_iter().collect();
    assert_eq!(take(&packed(&both), "1").0.unwrap().digest, one.manifest);
    assert_eq!(take(&packed(&both), "2").0.unwrap().digest, two.manifest);
    assert!(take(&packed(&both), "3").0.is_err(), "not one alone");
    // An index of two platforms, one of them absent.
    let mut absent = describe(&two, "");
    absent["digest"] = format!("sha256:{}", Digest::of(b"arm")).into();
    let list = serde_json::json!({"schemaVersion": 2, "manifests": [describe(&one, ""), absent]}).to_string();
    let digest = Digest::of(list.as_bytes());
    let top = serde_json::json!({"schemaVersion": 2, "manifests": [{"mediaType": "application/vnd.oci.image.index.v1+json",
        "digest": format!("sha256:{digest}"), "size": list.len()}]});
    let mut sparse: Vec<_> = one.files.iter().filter(|(n, _)| n != "index.json").cloned().collect();
    sparse.push((format!("blobs/sha256/{digest}"), list.into_bytes()));
    sparse.push(("index.json".into(), top.to_string().into_bytes()));
    let image = take(&packed(&sparse), "any").0.unwrap();
    assert_eq!((image.digest, image.manifests.len(), image.blobs.len()), (digest, 2, 4));
    for (body, said, good) in [
        (r#"{"schemaVersion":2,"manifests":[]}"#, "", true),
        (r#"{"schemaVersion":1,"manifests":[]}"#, "", false),
        (r#"{"schemaVersion":2}"#, "", false),
        (r#"{"schemaVersion":2,"mediaType":"a/b","manifests":[]}"#, "a/b", true),
        (r#"{"schemaVersion":2,"mediaType":"a/b","manifests":[]}"#, "a/c", false),
        (r#"{"schemaVersion":2,"mediaType":"a/b\r\nX: y","manifests":[]}"#, "", false),
        ("[]", "", false),
    ] {
        assert_eq!(oci::document(body.as_bytes(), said).is_ok(), good, "{body}");
    }
}
