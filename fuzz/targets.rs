// The bodies of the fuzz targets, and the replay test's (tests/tests/fuzz_corpus.rs): one function per parser.
// None of them may panic, whatever the bytes.

/// Name and body of a target.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: &[Target] = &[
    ("dhcp", dhcp),
    ("tftp", tftp),
    ("cluster_yaml", cluster_yaml),
    ("sealed", sealed),
    ("packages", packages),
    ("inrelease", inrelease),
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

pub fn inrelease(data: &[u8]) {
    let _ = darksite::trust::read_message(data);
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = darksite::trust::read_release(text);
    }
}
