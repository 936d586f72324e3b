use super::*;
use crate::manifest::BootFile;

const D: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn good() -> String {
    format!(
        "keys: {{k8s: {{url: https://x/key, sha256: {D}}}}}
files:
  - {{path: k8s/kubectl, url: https://x/kubectl, sha256: {D}, signature: {{url: https://x/sig, key: k8s}}}}
images:
  - {{name: registry.k8s.io/pause, tag: \"3.10\", url: /srv/pause.tar, sha256: {D}}}
charts:
  - {{name: cilium, version: 1.16.0, url: https://x/c.tgz, sha256: {D}}}
repositories:
  k8s: {{url: https://x/deb, suite: /, key: k8s}}
packages:
  - {{repository: k8s, package: kubelet, version: 1.33.1-1.1, sha256: {D}}}
debs:
  - {{url: https://x/a.deb, sha256: {D}}}
"
    )
}

fn read(text: &str) -> Result<ExtrasSpec, String> {
    let spec: ExtrasSpec = serde_saphyr::from_str(text).map_err(|e| e.to_string())?;
    spec.check().map_err(|(why, _)| why).map(|()| spec)
}

#[test]
fn a_whole_section() {
    let spec = read(&good()).unwrap();
    assert_eq!((spec.packages[0].architecture.as_str(), spec.files.len(), spec.is_empty()), ("amd64", 1, false));
    assert!(ExtrasSpec::default().is_empty() && ExtrasSpec::default().check().is_ok());
}

#[test]
fn mistakes_are_named() {
    for (from, to, word) in [
        ("path: k8s/kubectl", "path: ../kubectl", "plain relative"),
        ("path: k8s/kubectl", "path: /kubectl", "plain relative"),
        ("path: k8s/kubectl", "path: .hidden", "plain relative"),
        ("key: k8s}}", "key: other}}", "no key"),
        ("suite: /, key: k8s", "suite: /, key: other", "no key"),
        ("suite: /", "suite: stable", "suite and component"),
        ("suite: /", "suite: /, component: main", "suite and component"),
        ("repository: k8s", "repository: other", "no repository"),
        ("registry.k8s.io/pause", "pause", "not an image name"),
        ("registry.k8s.io/pause", "registry.k8s.io/Pause", "not an image name"),
        ("registry.k8s.io/pause", "registry.k8s.io/../x", "not an image name"),
        ("tag: \"3.10\"", "tag: \"-x\"", "not a tag"),
        ("url: https://x/a.deb", "url: ftp://x/a.deb", "not an address"),
        ("url: https://x/a.deb", "url: \"https://x/a b\"", "not an address"),
        ("version: 1.16.0", "version: ../1", "name or version"),
        ("kubelet, version: 1.33.1-1.1", "kubelet, version: \"1 2\"", "not a package"),
        (&D[1..], &D[2..], "digest"),
        ("debs:", "deps:", "deps"),
        ("suite: /,", "suite: ../x/,", "suite and component"),
        ("suite: /,", "suite: x//,", "suite and component"),
        ("url: https://x/a.deb", "url: https://u:p@x/a.deb", "a user name or a password"),
        ("url: https://x/deb", "url: https://u@x/deb", "a user name or a password"),
        ("url: https://x/sig", "url: http://u:p@x/sig", "a user name or a password"),
    ] {
        let text = good();
        assert!(text.contains(from), "{from}");
        let why = read(&text.replacen(from, to, 1)).expect_err(to);
        assert!(why.contains(word), "{to}: {why}");
    }
    let twice = |line: &str| good().replacen(line, &format!("{line}{line}"), 1);
    for line in [
        format!("  - {{name: registry.k8s.io/pause, tag: \"3.10\", url: /srv/pause.tar, sha256: {D}}}\n"),
        format!("  - {{name: cilium, version: 1.16.0, url: https://x/c.tgz, sha256: {D}}}\n"),
        format!("  - {{repository: k8s, package: kubelet, version: 1.33.1-1.1, sha256: {D}}}\n"),
    ] {
        assert!(read(&twice(&line)).expect_err(&line).contains("twice"));
    }
    let both = good().replacen("images:", &format!("  - {{path: k8s, url: https://x/y, sha256: {D}}}\nimages:"), 1);
    assert!(read(&both).unwrap_err().contains("a file and a folder"));
}

#[test]
fn names_at_their_limits() {
    for good in ["a/b", "registry.k8s.io/pause", "localhost:5000/x/y-z.w", "docker.io/library/nginx"] {
        assert!(is_image_name(good), "{good}");
    }
    let long = format!("a/{}", "b".repeat(254));
    for bad in ["", "a", "a/", "/a", "a//b", "a/b:c", "a/../b", "a/-b", "a/b-", "A/b", "a/b\n", &long] {
        assert!(!is_image_name(bad), "{bad:?}");
    }
    assert!(is_image_name(&long[..255]) && is_tag(&"x".repeat(128)) && is_tag("_x") && is_tag("V1.2-rc_1"));
    for bad in ["", ".x", "-x", "a/b", "a:b", "a b", &"x".repeat(129)] {
        assert!(!is_tag(bad), "{bad:?}");
    }
}

fn manifest(files: &[&str]) -> ExtrasManifest {
    let file = |n: &&str| BootFile { name: (*n).to_owned(), size: 1, sha256: Digest::of(n.as_bytes()) };
    let mut m = ExtrasManifest {
        version: VERSION,
        id: Digest([0; 32]),
        serial: 0,
        origins: vec![],
        images: vec![],
        manifests: vec![],
        files: files.iter().map(file).collect(),
    };
    m.id = Digest::of(m.naming().as_bytes());
    m
}

#[test]
fn a_manifest_is_bound_to_its_id_and_its_folder() {
    let oci = format!("oci/sha256/{D}");
    let good = manifest(&[&oci, "tree/apt/dists/extras/main/binary-amd64/by-hash/SHA256/x", "tree/files/a"]);
    assert_eq!(good.check(), Ok(()));
    assert!(good.blob(&D.parse().unwrap()).is_some() && good.file("tree/files/b").is_none());
    assert!(ExtrasManifest { id: Digest([1; 32]), ..good.clone() }.check().is_err());
    assert!(ExtrasManifest { version: 2, ..good }.check().is_err());
    for bad in [
        &["tree/../x"][..],
        &["/x"],
        &["extras.json"],
        &["oci/sha256/x"],
        &["tree/a", "tree/a"],
        &["tree/b", "tree/a"],
        &["tree/"],
    ] {
        assert!(manifest(bad).check().is_err(), "{bad:?}");
    }
}

#[test]
fn flat_repositories_and_digests_in_other_forms() {
    for suite in ["./", "binary/", "./binary/", "a/b-c.d/"] {
        let spec = read(&good().replacen("suite: /,", &format!("suite: {suite},"), 1)).unwrap();
        assert_eq!(spec.repositories["k8s"].suite, suite);
    }
    let spec = read(&good().replace(D, &D.to_uppercase())).unwrap();
    assert_eq!(spec.packages[0].sha256.to_string(), D);
    let secret = good().replacen("https://x/a.deb", "https://user:s3cret@x/a.deb", 1);
    let why = read(&secret).unwrap_err();
    assert!(!why.contains("s3cret") && !why.contains("user:"), "{why}");
    assert!(!has_login("https://x/a@b") && !has_login("/srv/a@b") && has_login("https://a@b"));
}
