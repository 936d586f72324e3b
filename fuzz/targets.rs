// The bodies of the fuzz targets, and the replay test's (tests/tests/fuzz_corpus.rs): one function per parser.
// None of them may panic, whatever the bytes.

/// Name and body of a target.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: &[Target] = &[
    ("dhcp", dhcp),
    ("tftp", tftp),
    ("cluster_yaml", cluster_yaml),
    ("sealed", sealed),
    ("capsule", capsule),
    ("packages", packages),
    ("deb822", deb822),
    ("relations", relations),
    ("release", release),
    ("lock", lock),
    ("inrelease", inrelease),
    ("medium", medium),
];

pub fn dhcp(data: &[u8]) {
    let Ok(subnet) = pxe::Subnet::new(std::net::Ipv4Addr::new(10, 44, 0, 0), 24) else { return };
    let facts = pxe::Facts { iface: "br0".into(), subnet };
    let _ = pxe::classify(data, &facts);
}

pub fn tftp(data: &[u8]) {
    let _ = pxe::tftp::packet::parse(data);
}

pub fn cluster_yaml(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = cluster_seed::cluster::ClusterSpec::parse(text);
    }
}

pub fn sealed(data: &[u8]) {
    use cluster_seed::manifest::ArtifactManifest;
    use cluster_seed::peers::PeersFile;
    use cluster_seed::seal::{Sealed, SigningKey};
    let key = SigningKey::from_bytes(&[7; 32]).verifying_key();
    if let Ok(sealed) = serde_json::from_slice::<Sealed<ArtifactManifest>>(data) {
        assert!(sealed.open(&key).is_err(), "nobody signed this");
    }
    if let Ok(manifest) = serde_json::from_slice::<ArtifactManifest>(data) {
        let _ = manifest.check();
        let _ = manifest.stored_size();
    }
    let _ = serde_json::from_slice::<PeersFile>(data);
}

pub fn medium(data: &[u8]) {
    use cluster_seed::medium::{MediumManifest, Volume, maker_key};
    if let Some(volume) = Volume::parse(data) {
        assert!(volume.id.len() <= 32 && !volume.id.contains(|c: char| c.is_control()));
        assert!(!volume.is_seed() || data[40..47] == *b"KUBEDOS");
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = maker_key(text);
    }
    if let Ok(manifest) = serde_json::from_slice::<MediumManifest>(data)
        && manifest.check().is_ok()
    {
        let inside = |name: &str| !name.starts_with('/') && !name.split('/').any(|part| part == "..");
        assert!(manifest.files.iter().all(|f| inside(&f.name) && manifest.file(&f.name) == Some(f)));
    }
}

pub fn capsule(data: &[u8]) {
    use cluster_seed::capsule::{CapsuleHeader, CapsuleManifest, FileRow, KeyRow, PREFIX, TextRow, frame_len, header_len};
    use cluster_seed::seal::{Sealed, SigningKey};
    let key = SigningKey::from_bytes(&[7; 32]).verifying_key();
    if let Some((prefix, rest)) = data.split_first_chunk::<PREFIX>()
        && let Ok(length) = header_len(prefix)
        && let Some(json) = rest.get(..length)
        && let Ok(sealed) = serde_json::from_slice::<Sealed<CapsuleHeader>>(json)
    {
        assert!(CapsuleHeader::open(&sealed, &key).is_err(), "nobody signed this");
        if let Some((field, _)) = rest[length..].split_first_chunk::<4>() {
            let _ = frame_len(0, *field);
            let _ = frame_len(1, *field);
        }
    }
    if let Ok(manifest) = serde_json::from_slice::<CapsuleManifest>(data)
        && let Ok(bytes) = manifest.check()
    {
        let sum: u64 = manifest.entries.iter().map(|e| e.size()).sum();
        assert_eq!(bytes, sum);
    }
    for line in String::from_utf8_lossy(data).lines() {
        if let Ok(row) = FileRow::parse(line) {
            let plain = |c: std::path::Component<'_>| matches!(c, std::path::Component::Normal(_));
            assert!(std::path::Path::new(&row.path).components().all(plain), "{:?} leaves its folder", row.path);
        }
        for name in [TextRow::parse(line).map(|r| r.0), KeyRow::parse(line).map(|r| r.0.to_owned())].into_iter().flatten() {
            assert!(!name.contains('/') && !name.starts_with('.'), "{name:?}");
        }
    }
}

pub fn packages(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(entries) = darksite::index::parse(text, "amd64", 0) {
        assert!(entries.len() <= text.len());
    }
    let _ = darksite::relation::parse(text);
    if let Ok(lock) = darksite::SnapshotLock::parse(text) {
        let again = darksite::SnapshotLock::parse(&lock.render());
        assert!(again.is_ok_and(|l| l.id() == lock.id()), "a lock that was read is not read again");
    }
    if let Some((a, b)) = text.split_once('\n') {
        assert_eq!(darksite::version::compare(a, b), darksite::version::compare(b, a).reverse());
    }
}

pub fn deb822(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut kept = 0;
    for paragraph in darksite::deb822::paragraphs(text) {
        kept += paragraph.raw().len();
        let fields: Vec<_> = paragraph.fields().collect();
        assert_eq!(fields.iter().all(Result::is_ok), paragraph.fields().all(|f| f.is_ok()));
        if paragraph.check().is_ok() {
            let named = fields.iter().flatten().map(|f| (f.name, f.value));
            let again = darksite::deb822::render(named);
            let back = darksite::deb822::paragraphs(&again).next().map(|p| p.fields().flatten().count());
            assert!(fields.is_empty() || back == Some(fields.len()), "a paragraph that was written is not read again");
        }
    }
    assert!(kept <= text.len());
}

pub fn relations(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(groups) = darksite::relation::parse(text) {
        let written = groups.iter().map(|g| darksite::relation::group_text(g)).collect::<Vec<_>>().join(", ");
        assert_eq!(darksite::relation::parse(&written).as_ref(), Ok(&groups));
    }
}

pub fn release(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(release) = darksite::trust::read_release(text) {
        let inside = |path: &str| !path.starts_with('/') && !path.split('/').any(|part| part == "..");
        assert!(!release.files.is_empty() && release.files.keys().all(|p| inside(p)));
    }
}

pub fn lock(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(lock) = darksite::SnapshotLock::parse(text) {
        assert_eq!(lock.render(), text, "only the form that is written is read");
        let inside = |path: &str| !path.starts_with('/') && !path.split('/').any(|part| part == "..");
        assert!(lock.packages.iter().all(|p| inside(&p.filename)));
        assert!(lock.indexes.iter().chain(&lock.files).all(|f| inside(&f.path)));
        assert!(darksite::diff(&lock, &lock).is_empty());
    }
}

pub fn inrelease(data: &[u8]) {
    let _ = darksite::trust::read_message(data);
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = darksite::trust::read_release(text);
    }
}
