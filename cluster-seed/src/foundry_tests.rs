//! Names, ids and checks of outputs.

use super::*;

fn spec() -> OutputSpec {
    OutputSpec {
        recipe: RECIPE,
        target: Target::Qcow2,
        site: "north".to_owned(),
        role: Some("base".to_owned()),
        node: None,
        contains_secret: false,
        version: "20260829T140000Z".to_owned(),
        arch: "amd64".to_owned(),
        artifact: Some(Digest::of(b"artifact")),
        raw: Some(Digest::of(b"raw")),
        snapshot: Digest::of(b"snapshot"),
        join: Digest::of(b"join"),
        options: BTreeMap::new(),
    }
}

fn manifest(names: &[&str]) -> OutputManifest {
    let spec = spec();
    let file = |name: &&str| BootFile { name: (*name).to_owned(), size: 1, sha256: Digest::of(name.as_bytes()) };
    let (files, primary) = (names.iter().map(file).collect(), names.first().map_or("", |n| n).to_owned());
    OutputManifest { id: spec.id(), spec, files, primary, tools: Vec::new() }
}

#[test]
fn every_name_of_a_target_is_read_back_and_no_two_are_equal() {
    let mut seen = std::collections::BTreeSet::new();
    for target in Target::ALL {
        for name in std::iter::once(target.name()).chain(target.aliases().iter().copied()) {
            assert!(seen.insert(name), "{name}");
            assert_eq!(name.parse(), Ok(target));
        }
        assert_eq!(serde_json::to_string(&target).unwrap(), format!("\"{target}\""));
    }
    assert_eq!("floppy".parse::<Target>().unwrap_err(), "no target \"floppy\"");
}

#[test]
fn the_name_says_what_it_is_and_changes_with_every_input() {
    let name = spec().name();
    assert!(name.starts_with("north-base-20260829T140000Z-qcow2-"), "{name}");
    let mut other = spec();
    other.join = Digest::of(b"another seed");
    assert_ne!(other.name(), name);
    let named = OutputSpec { node: Some("edge".to_owned()), ..spec() };
    assert!(named.name().starts_with("north-base-edge-20260829T140000Z-qcow2-"), "{}", named.name());
    assert_ne!(named.id(), spec().id());
}

#[test]
fn the_manifest_of_an_output_with_a_token_says_so_and_others_have_the_bytes_they_had() {
    let text = |spec: &OutputSpec| serde_json::to_string(spec).unwrap();
    let generic = text(&spec());
    assert!(!generic.contains("containsSecret") && !generic.contains("node"), "{generic}");
    let secret = OutputSpec { node: Some("edge".to_owned()), contains_secret: true, ..spec() };
    assert!(text(&secret).contains(r#""node":"edge","containsSecret":true"#), "{}", text(&secret));
    assert_eq!(serde_json::from_str::<OutputSpec>(&text(&secret)).unwrap(), secret);
}

#[test]
fn what_an_output_is_made_from_is_read_back() {
    let mut one = spec();
    assert_eq!((one.netboot(), one.artifacts()), (None, BTreeMap::from([("base", Digest::of(b"artifact"))])));
    (one.role, one.artifact) = (None, None);
    one.set_netboot(Digest::of(b"netboot"));
    one.set_artifact("db", Digest::of(b"db"));
    assert_eq!((one.netboot(), one.artifacts()), (Some(Digest::of(b"netboot")), BTreeMap::from([("db", Digest::of(b"db"))])));
}

#[test]
fn paths_are_inside_and_sorted_and_the_primary_file_is_listed() {
    assert_eq!(manifest(&["a.qcow2", "a.spdx.json"]).check(), Ok(()));
    assert_eq!(manifest(&[]).check(), Err(OutputError::Count(0)));
    for bad in ["../a", "/a", "a//b", ""] {
        assert_eq!(manifest(&[bad]).check(), Err(OutputError::Path(bad.to_owned())), "{bad}");
    }
    assert_eq!(manifest(&["a", "a"]).check(), Err(OutputError::Order("a".to_owned())));
    let mut other = manifest(&["a"]);
    other.primary = "b".to_owned();
    assert_eq!(other.check(), Err(OutputError::Primary("b".to_owned())));
    other.spec.role = None;
    assert_eq!(other.check(), Err(OutputError::Id));
}

#[test]
fn an_envelope_opens_with_its_key_and_nothing_changed() {
    let (key, other) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
    let envelope = Envelope::sign(STATEMENT, b"{}", &key);
    assert_eq!(envelope.open(&key.verifying_key()).as_deref(), Some(&b"{}"[..]));
    assert_eq!(envelope.open(&other.verifying_key()), None);
    for change in [
        |e: &mut Envelope| e.payload = B64.encode(b"[]"),
        |e: &mut Envelope| e.payload_type.push('x'),
        |e: &mut Envelope| e.signatures.clear(),
    ] {
        let mut changed = envelope.clone();
        change(&mut changed);
        assert_eq!(changed.open(&key.verifying_key()), None);
    }
    // The example of the DSSE protocol, "PAE".
    assert_eq!(
        authenticated("http://example.com/HelloWorld", b"hello world"),
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    );
}
