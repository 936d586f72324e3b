use super::*;

#[test]
fn a_site_without_a_ca_gets_one_that_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let keys = KeyDir::new(Utf8Path::from_path(dir.path()).unwrap());
    keys.create("correct horse", "a", &[], 1_700_000_000).unwrap();
    assert!(keys.unseal("correct horse").unwrap().ca.is_none() && keys.ca_certificate().unwrap().is_none());
    let permitted = Permitted { domains: vec!["a.lan".to_owned()], networks: Vec::new() };
    let made = keys.make_ca("a", permitted.clone()).unwrap();
    // A power cut between the two files, or a damaged certificate: it is written again.
    for damage in [None, Some("")] {
        match damage {
            None => std::fs::remove_file(dir.path().join("ca.pem")).unwrap(),
            Some(text) => std::fs::write(dir.path().join("ca.pem"), text).unwrap(),
        }
        let again = keys.unseal("correct horse").unwrap().ca.unwrap();
        assert_eq!((again.pem(), &again.permitted), (made.pem(), &permitted));
        assert_eq!(keys.ca_certificate().unwrap(), Some(made.pem()));
    }
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(dir.path().join("ca.age")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let sealed = std::fs::read(dir.path().join("ca.age")).unwrap();
    assert!(sealed.starts_with(b"age-encryption.org/v1") && !sealed.windows(4).any(|w| w == b"key\""));
}

#[test]
fn keys_open_with_their_passphrase_only_and_no_private_half_is_in_clear() {
    let dir = tempfile::tempdir().unwrap();
    let keys = KeyDir::new(Utf8Path::from_path(dir.path()).unwrap());
    assert!(keys.create("short", "a", &[], 1_700_000_000).is_err());
    keys.create("correct horse", "a", &["wg1".to_owned()], 1_700_000_000).unwrap();
    let open = keys.unseal("correct horse").unwrap();
    let wrong = keys.unseal("correct horsf").err().unwrap();
    assert!(wrong.to_string().contains("passphrase is wrong"), "{wrong:#}");
    let secrets = [open.site.as_bytes().to_vec(), open.planes["wg1"].expose().as_bytes().to_vec()];
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for secret in &secrets {
            assert!(!bytes.windows(secret.len()).any(|w| w == secret.as_slice()));
        }
    }
}

fn edit(keys: &KeyDir, change: impl FnOnce(&mut serde_json::Value)) {
    let path = keys.file("public.json");
    let mut value: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    std::fs::write(&path, value.to_string()).unwrap();
}

#[test]
fn every_public_key_on_disk_is_compared_with_its_private_half() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let planes = ["wg1".to_owned()];
    let [keys, stranger] = [&dir, &other].map(|dir| {
        let keys = KeyDir::new(Utf8Path::from_path(dir.path()).unwrap());
        keys.create_with(10, "correct horse", "a", &planes, 1_700_000_000).unwrap();
        keys
    });
    let operator = keys.operator("correct horse").unwrap();
    let good = std::fs::read(keys.file("public.json")).unwrap();
    let theirs: serde_json::Value = serde_json::from_slice(&std::fs::read(stranger.file("public.json")).unwrap()).unwrap();
    let why = || format!("{:#}", keys.unseal_with(&operator).err().expect("unsealed with a strange key"));
    for (field, file) in [("vault", "vault.age"), ("operator", "operator.age"), ("planes", "planes.age")] {
        // Signed keys are refused when they are read; a signature that was taken off does not help.
        edit(&keys, |v| v[field] = theirs[field].clone());
        assert!(keys.public().unwrap_err().to_string().contains("changed after it was signed"), "{field}");
        edit(&keys, |v| drop(v.as_object_mut().unwrap().remove("signed")));
        assert!(keys.public().is_ok() && why().contains(&format!("keys/{file} does not match")), "{field}: {}", why());
        std::fs::write(keys.file("public.json"), &good).unwrap();
    }
    // All of it from elsewhere, with a good signature.
    std::fs::copy(stranger.file("public.json"), keys.file("public.json")).unwrap();
    assert!(keys.public().is_ok() && why().contains("keys/site.age does not match"), "{}", why());
    std::fs::write(keys.file("public.json"), &good).unwrap();
    let own = std::fs::read(keys.file("release.pgp")).unwrap();
    std::fs::copy(stranger.file("release.pgp"), keys.file("release.pgp")).unwrap();
    assert!(why().contains("keys/release.age does not match"), "{}", why());
    std::fs::write(keys.file("release.pgp"), own).unwrap();
    assert!(keys.unseal_with(&operator).is_ok());
}

#[test]
fn unsigned_public_keys_of_a_version_before_are_compared_and_then_signed() {
    let dir = tempfile::tempdir().unwrap();
    let keys = KeyDir::new(Utf8Path::from_path(dir.path()).unwrap());
    let made = keys.create_with(10, "correct horse", "a", &["wg1".to_owned()], 1_700_000_000).unwrap();
    edit(&keys, |v| drop(v.as_object_mut().unwrap().remove("signed")));
    assert_eq!(keys.public().unwrap(), made);
    keys.unseal("correct horse").unwrap();
    edit(&keys, |v| assert!(v["signed"].is_object()));
    assert_eq!(keys.public().unwrap(), made);
}
