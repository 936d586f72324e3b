//! Image archives and charts in the forms that other tools write.

use crate::common::images::{Entry, ImageFiles, image, packed, tar_of};
use crate::common::{chain, write};
use crate::extras::gz;
use crate::odd::{fetch, pack};
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::extras::ExtrasManifest;
use cluster_seed::ids::Digest;
use darksite::DirFetch;
use serde_json::{Value, json};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
const TAG: &str = "org.opencontainers.image.ref.name";
const FULL: &str = "io.containerd.image.name";

fn fetched(section: &str, bytes: &[u8]) -> (Result<ExtrasManifest, String>, String) {
    let temp = tempfile::tempdir().unwrap();
    let file = Utf8PathBuf::from_path_buf(temp.path().join("archive")).unwrap();
    write(&file, bytes);
    let (built, said, _) = fetch(&format!("{section}, url: {file}, sha256: {}}}]\n", Digest::of(bytes)), &DirFetch);
    (built.map_err(|e| chain(&e)), said)
}

fn image_from(bytes: &[u8]) -> Result<ExtrasManifest, String> {
    fetched("images: [{name: docker.io/library/a, tag: latest", bytes).0
}

fn entry(image: &ImageFiles, notes: &[(&str, &str)], more: Value) -> Value {
    let size = image.files.iter().find(|(n, _)| n.ends_with(&image.manifest.to_string())).unwrap().1.len();
    let notes: serde_json::Map<_, _> = notes.iter().map(|(k, v)| ((*k).to_owned(), Value::from(*v))).collect();
    let mut entry =
        json!({"mediaType": MANIFEST, "digest": format!("sha256:{}", image.manifest), "size": size, "annotations": notes});
    entry.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    entry
}

/// An archive of images with these entries in index.json.
fn archive(images: &[&ImageFiles], entries: &[Value]) -> Vec<u8> {
    let files: std::collections::BTreeMap<String, Vec<u8>> = images.iter().flat_map(|i| i.files.iter().cloned()).collect();
    let mut files = files;
    files.insert("index.json".into(), json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).to_string().into());
    packed(&files.into_iter().collect::<Vec<_>>())
}

#[test]
fn the_image_that_is_meant_is_found() {
    let (a, b) = (image(b"a"), image(b"b"));
    let platform = |arch: &str| json!({"platform": {"os": "linux", "architecture": arch}});
    let none = || json!({});
    let found = |entries: &[Value]| image_from(&archive(&[&a, &b], entries)).map(|m| m.images[0].digest);
    // `docker save a:latest b:latest`
    for (own, other) in [
        ("docker.io/library/a:latest", "docker.io/library/b:latest"),
        ("a:latest", "b:latest"),
        ("library/a:latest", "example.org/a:latest"),
        ("docker.io/library/a:latest", "docker.io/library/a:1"),
    ] {
        let list = [entry(&b, &[(TAG, "latest"), (FULL, other)], none()), entry(&a, &[(TAG, "latest"), (FULL, own)], none())];
        assert_eq!(found(&list), Ok(a.manifest), "{own} {other}");
        let list = [entry(&a, &[(TAG, own)], none()), entry(&b, &[(TAG, other)], none())];
        assert_eq!(found(&list), Ok(a.manifest), "{own} {other}");
    }
    // One image listed twice, and two names of one image.
    assert_eq!(found(&[entry(&a, &[(TAG, "latest")], none()), entry(&a, &[(TAG, "latest")], none())]), Ok(a.manifest));
    assert_eq!(found(&[entry(&a, &[(TAG, "1")], none()), entry(&a, &[(TAG, "latest")], none())]), Ok(a.manifest));
    let twice = [entry(&a, &[(TAG, "latest")], none()), entry(&b, &[(TAG, "1")], none()), entry(&a, &[(TAG, "latest")], none())];
    assert_eq!(found(&twice), Ok(a.manifest));
    // Two images that only their bytes tell apart.
    for notes in [&[(TAG, "latest")][..], &[], &[(TAG, "latest"), (FULL, "docker.io/library/c:latest")]] {
        let error = found(&[entry(&a, notes, none()), entry(&b, notes, none())]).unwrap_err();
        assert!(error.contains("2 images, but not exactly one named docker.io/library/a:latest"), "{error}");
    }
    let same = [entry(&a, &[(TAG, "latest")], platform("amd64")), entry(&b, &[(TAG, "latest")], platform("amd64"))];
    assert!(found(&same).is_err());
}

#[test]
fn platforms_without_an_index_get_one() {
    let (a, b) = (image(b"a"), image(b"b"));
    let on =
        |i: &ImageFiles, arch: &str| entry(i, &[(TAG, "latest")], json!({"platform": {"os": "linux", "architecture": arch}}));
    let (one, two) = ([on(&a, "amd64"), on(&b, "arm64")], [on(&b, "arm64"), on(&a, "amd64")]);
    let first = image_from(&archive(&[&a, &b], &one)).unwrap();
    let second = image_from(&archive(&[&a, &b], &two)).unwrap();
    assert_eq!(first.images[0].digest, second.images[0].digest, "the order in the archive does not matter");
    assert_eq!(first.manifests.len(), 3);
    for digest in [a.manifest, b.manifest, a.layer, b.layer, first.images[0].digest] {
        assert!(first.blob(&digest).is_some(), "{digest}");
    }
    assert!(first.manifests.iter().any(|m| m.digest == first.images[0].digest && m.media_type == INDEX));
}

#[test]
fn nested_indexes_layers_of_any_kind_and_mixed_media_types() {
    let one = image(&pack(".zst", &tar_of(&[("f", b"x", b'0', "")])));
    // A manifest that calls itself Docker's, with a layer of zstd.
    let (_, text) = one.files.iter().find(|(n, _)| n.ends_with(&one.manifest.to_string())).unwrap();
    let mut body: Value = serde_json::from_slice(text).unwrap();
    body["mediaType"] = DOCKER.into();
    body["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar+zstd".into();
    let with = |text: Vec<u8>, said: &str| {
        let digest = Digest::of(&text);
        let size = text.len();
        ((format!("blobs/sha256/{digest}"), text), json!({"mediaType": said, "digest": format!("sha256:{digest}"), "size": size}))
    };
    for said in [DOCKER, MANIFEST] {
        let (blob, mut top) = with(body.to_string().into_bytes(), said);
        let mut files: Vec<_> = one.files.iter().filter(|(n, _)| n != "index.json").cloned().collect();
        files.push(blob);
        for depth in 0..4 {
            let list = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [top]}).to_string();
            let mut whole = files.clone();
            whole.push(("index.json".into(), list.clone().into_bytes()));
            let manifest = image_from(&packed(&whole)).unwrap_or_else(|e| panic!("{said} {depth}: {e}"));
            assert_eq!(manifest.manifests.len(), depth + 1, "{said}");
            assert!(manifest.blob(&one.layer).is_some() && manifest.manifests.iter().any(|m| m.media_type == DOCKER));
            let (blob, outer) = with(list.into_bytes(), INDEX);
            files.push(blob);
            top = outer;
        }
    }
    // An index is not an image, whatever its descriptor says.
    let (blob, top) = with(json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}).to_string().into_bytes(), MANIFEST);
    let list = json!({"schemaVersion": 2, "manifests": [top]}).to_string().into_bytes();
    let files = [("oci-layout".to_owned(), b"{}".to_vec()), blob, ("index.json".into(), list)];
    assert!(image_from(&packed(&files)).unwrap_err().contains("media type"));
}

#[test]
fn a_compressed_archive_is_said_to_be_one() {
    let whole = packed(&image(b"a").files);
    for (form, word) in [(".gz", "gzip"), (".xz", "xz"), (".zst", "zstd"), (".bz2", "bzip2")] {
        let error = image_from(&pack(form, &whole)).unwrap_err();
        assert!(error.contains(&format!("compressed with {word}; unpack it with")), "{error}");
    }
}

fn chart(bytes: &[u8]) -> (Result<ExtrasManifest, String>, String) {
    fetched("charts: [{name: hello, version: 1.0.0", bytes)
}

const CHART: &str = "apiVersion: v2\nname: hello\nversion: 1.0.0\n";

#[test]
fn charts_as_people_pack_them() {
    let one = |name: &'static str, text: &'static str| gz(&tar_of(&[(name, text.as_bytes(), b'0', "")]));
    for (name, text) in [
        ("hello/Chart.yaml", CHART),
        ("other-folder/Chart.yaml", CHART),
        ("hello//Chart.yaml", CHART),
        ("hello/./Chart.yaml", CHART),
        ("hello\\Chart.yaml", CHART),
        ("hello/Chart.yaml", "\u{feff}apiVersion: v1\nname: hello\nversion: 1.0.0\n"),
        ("hello/Chart.yaml", "name: hello\nversion: 1.0.0\n"),
        ("hello/Chart.yaml", "apiVersion: ''\nname: hello\nversion: 1.0.0\n"),
        ("hello/Chart.yaml", "# c\r\napiVersion: v1\r\nname: \"hello\"\r\nversion: '1.0.0'\r\nappVersion: 1.10\r\nx: [y]\r\n"),
    ] {
        let (built, said) = chart(&one(name, text));
        assert!(built.is_ok() && said.is_empty(), "{name} {text:?}: {built:?} {said}");
    }
    // Taken, but Helm itself does not read it: a word about it.
    let (built, said) = chart(&one("./hello/Chart.yaml", CHART));
    assert!(built.is_ok() && said.contains("repack it with `helm package`"), "{built:?} {said}");
    for (name, text, word) in [
        ("Chart.yaml", CHART, "does not contain hello/Chart.yaml"),
        ("../Chart.yaml", CHART, "does not contain"),
        ("/hello/Chart.yaml", CHART, "does not contain"),
        ("hello/charts/sub/Chart.yaml", CHART, "does not contain"),
        ("hello/chart.yaml", CHART, "does not contain"),
        ("hello/Chart.yaml", "apiVersion: v2\nname: hello\nversion: 2.0.0\n", "the archive contains hello 2.0.0"),
        ("hello/Chart.yaml", "apiVersion: v2\nname: bye\nversion: 1.0.0\n", "the archive contains bye 1.0.0"),
        ("hello/Chart.yaml", "apiVersion: v2\nname: hello\n", "malformed Chart.yaml"),
        ("hello/Chart.yaml", "", "malformed Chart.yaml"),
    ] {
        let error = chart(&one(name, text)).0.expect_err(name);
        assert!(error.contains(word), "{name}: {error}");
    }
    let two: [Entry<'_>; 2] = [("hello/Chart.yaml", CHART.as_bytes(), b'0', ""), ("b/Chart.yaml", CHART.as_bytes(), b'0', "")];
    assert!(chart(&gz(&tar_of(&two))).0.unwrap_err().contains("more than one Chart.yaml"));
    let plain = tar_of(&[("hello/Chart.yaml", CHART.as_bytes(), b'0', "")]);
    assert!(chart(&plain).0.unwrap_err().contains("not a chart archive"));
    // Dependencies lie below charts/, and long names have headers of their own.
    let sub = format!("hello/charts/{}/Chart.yaml", "x".repeat(60));
    let with_sub: [Entry<'_>; 2] =
        [(&sub, b"apiVersion: v1\nname: sub\nversion: 9.0.0\n", b'0', ""), ("hello/Chart.yaml", CHART.as_bytes(), b'0', "")];
    assert!(chart(&gz(&tar_of(&with_sub))).0.is_ok());
}

#[test]
fn a_chart_without_a_version_of_its_format_is_listed_as_helm_lists_it() {
    let temp = tempfile::tempdir().unwrap();
    let file = Utf8Path::from_path(temp.path()).unwrap().join("c.tgz");
    let bytes = gz(&tar_of(&[("x/Chart.yaml", b"name: hello\nversion: 1.0.0\n", b'0', "")]));
    write(&file, &bytes);
    let (yaml, odd) = darksite::extras::charts::read(&file, "hello", "1.0.0").unwrap();
    assert_eq!((yaml.api_version.as_str(), odd), ("v1", None));
    let list = [darksite::extras::charts::Chart { yaml, digest: Digest::of(&bytes), file: "hello-1.0.0.tgz".into() }];
    assert!(darksite::extras::charts::index(&list).unwrap().contains("\"apiVersion\": \"v1\""));
}
