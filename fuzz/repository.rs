// The bodies of the targets for files of package repositories.

pub fn packages(data: &[u8]) {
    let lossy = String::from_utf8_lossy(data);
    if let Ok(index) = darksite::index::read(&lossy, "amd64", 0) {
        assert!(index.entries.iter().all(|e| !e.filename.split('/').any(|part| part == "..")));
        let strict = darksite::index::parse(&lossy, "amd64", 0);
        assert!(strict.is_err() || strict.is_ok_and(|own| own.len() >= index.entries.len()), "we read more than ours");
    }
    for offer in darksite::extras::offers::read(&lossy, &["hello"]).usable {
        assert!(offer.name == "hello" && !offer.path.starts_with('/') && !offer.path.split(['/', '\\']).any(|part| part == ".."));
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
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
    use cluster_seed::ids::Digest;
    use darksite::extras::control::Control;
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(control) = Control::parse(text) {
        let stanza = control.stanza("pool/a/a_1_all.deb", 1, Digest([0; 32]));
        let mut paragraphs = darksite::deb822::paragraphs(&stanza);
        let only = paragraphs.next().filter(|p| p.check().is_ok() && paragraphs.next().is_none());
        let said = |name| only.and_then(|p| p.get(name));
        assert_eq!(said("Package"), Some(control.name.as_str()), "a control file says something else in an index");
        assert_eq!((said("Version"), said("Filename")), (Some(control.version.as_str()), Some("pool/a/a_1_all.deb")));
    }
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
    let _ = (darksite::relation::apt_reads(text), darksite::relation::provided(text).count());
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
    let _ = darksite::trust::open(data);
    let _ = darksite::trust::join(b"Suite: s\n", data);
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = darksite::trust::read_release(text);
    }
}

pub fn keyring(data: &[u8]) {
    if let Ok(keyring) = darksite::Keyring::from_bytes(data) {
        assert!(!keyring.fingerprints().is_empty() && keyring.bytes() == data);
    }
}

pub fn netrc(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(netrc) = darksite::upstream::netrc::Netrc::parse(text) {
        for url in ["https://h.example/a", "http://h:80/a/b", text] {
            let sent = netrc.authorization(url);
            assert!(sent.is_none_or(|value| value.starts_with("Basic ") && !value.contains(['\r', '\n'])));
        }
    }
}
