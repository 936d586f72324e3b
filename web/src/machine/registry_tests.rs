//! The registry as its clients use it, and what it refuses.

use std::fs;

use axum::Router;
use axum::body::Body;
use camino::Utf8PathBuf;
use cluster_seed::ids::Digest;
use tempfile::TempDir;

use super::{Want, repository, want};
use crate::testing::client::{ask, get, machines};

const KIND: &str = "application/vnd.oci.image.manifest.v1+json";

/// The mock has one image, `registry.k8s.io/pause`, whose blobs lie in `oci/`.
fn registry() -> (TempDir, Router, Digest, Digest) {
    let dir = TempDir::new().unwrap();
    let root = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    fs::create_dir_all(root.join("oci")).unwrap();
    let put = |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        fs::write(root.join("oci").join(digest.to_string()), bytes).unwrap();
        digest
    };
    let (manifest, layer) = (put(br#"{"schemaVersion":2}"#), put(b"0123456789"));
    let (mock, router) = machines(&root);
    mock.state().image = Some(manifest);
    (dir, router, manifest, layer)
}

#[tokio::test]
async fn a_pull() {
    let (_keep, router, manifest, layer) = registry();
    let base = get(&router, "/v2/", &[]).await;
    assert_eq!((base.status.as_u16(), base.text().as_str()), (200, "{}"));
    assert_eq!(base.header("docker-distribution-api-version"), "registry/2.0");
    for path in [
        "/v2/registry.k8s.io/pause/manifests/3.10".to_owned(),
        "/v2/pause/manifests/3.10?ns=registry.k8s.io".to_owned(),
        "/v2/registry.k8s.io/pause/manifests/3.10?ns=registry.k8s.io".to_owned(),
        format!("/v2/registry.k8s.io/pause/manifests/sha256:{manifest}"),
    ] {
        for method in ["HEAD", "GET"] {
            let answer = ask(&router, method, &path, &[("accept", KIND)], Body::empty()).await;
            assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, KIND), "{method} {path}");
            assert_eq!(answer.header("docker-content-digest"), format!("sha256:{manifest}"));
            assert_eq!((answer.header("content-length"), answer.bytes.len()), ("19", if method == "GET" { 19 } else { 0 }));
        }
    }
    let path = format!("/v2/registry.k8s.io/pause/blobs/sha256:{layer}");
    let whole = get(&router, &path, &[]).await;
    assert_eq!((whole.text().as_str(), whole.header("content-type")), ("0123456789", "application/octet-stream"));
    let rest = get(&router, &path, &[("range", "bytes=4-")]).await;
    assert_eq!((rest.status.as_u16(), rest.text().as_str(), rest.header("content-range")), (206, "456789", "bytes 4-9/10"));
    assert_eq!(get(&router, &path, &[("if-none-match", whole.header("etag"))]).await.status, 304);
    assert_eq!(get(&router, "/v2/_catalog", &[]).await.json()["repositories"][0], "registry.k8s.io/pause");
}

#[tokio::test]
async fn tags_come_in_pages() {
    let (_keep, router, ..) = registry();
    let all = get(&router, "/v2/registry.k8s.io/pause/tags/list", &[]).await;
    assert_eq!(all.json(), serde_json::json!({"name": "registry.k8s.io/pause", "tags": ["3.10", "3.9", "latest"]}));
    assert_eq!(all.header("link"), "");
    let first = get(&router, "/v2/pause/tags/list?ns=registry.k8s.io&n=2", &[]).await;
    assert_eq!(first.json()["tags"], serde_json::json!(["3.10", "3.9"]));
    assert_eq!(first.header("link"), "</v2/registry.k8s.io/pause/tags/list?n=2&last=3.9>; rel=\"next\"");
    let next = get(&router, "/v2/registry.k8s.io/pause/tags/list?n=2&last=3.9", &[]).await;
    assert_eq!((next.json()["tags"].clone(), next.header("link")), (serde_json::json!(["latest"]), ""));
}

#[tokio::test]
async fn what_is_not_there_is_said_in_the_registry_s_words() {
    let (_keep, router, _, layer) = registry();
    let none = Digest::of(b"none");
    for (path, code) in [
        ("/v2/other.io/x/manifests/1".to_owned(), "MANIFEST_UNKNOWN"),
        ("/v2/registry.k8s.io/pause/manifests/4".to_owned(), "MANIFEST_UNKNOWN"),
        (format!("/v2/registry.k8s.io/pause/manifests/sha256:{layer}"), "MANIFEST_UNKNOWN"),
        ("/v2/registry.k8s.io/pause/manifests/..%2f..".to_owned(), "MANIFEST_UNKNOWN"),
        ("/v2/registry.k8s.io/pause/manifests/sha256:zz".to_owned(), "MANIFEST_UNKNOWN"),
        (format!("/v2/registry.k8s.io/pause/blobs/sha256:{none}"), "BLOB_UNKNOWN"),
        (format!("/v2/other.io/x/blobs/sha256:{layer}"), "BLOB_UNKNOWN"),
        ("/v2/registry.k8s.io/pause/blobs/sha512:00".to_owned(), "BLOB_UNKNOWN"),
        ("/v2/../pause/tags/list".to_owned(), "NAME_UNKNOWN"),
        ("/v2/%2e%2e/pause/tags/list".to_owned(), "NAME_UNKNOWN"),
        ("/v2/pause/tags/list".to_owned(), "NAME_UNKNOWN"),
        ("/v2/registry.k8s.io/pause/x".to_owned(), "NAME_UNKNOWN"),
        ("/v2/x".to_owned(), "NAME_UNKNOWN"),
        (format!("/v2/{}/manifests/x", "a/".repeat(2000)), "NAME_UNKNOWN"),
    ] {
        let answer = get(&router, &path, &[]).await;
        assert_eq!((answer.status.as_u16(), answer.json()["errors"][0]["code"].as_str()), (404, Some(code)), "{path:.80}");
    }
    for (method, path) in [
        ("POST", "/v2/registry.k8s.io/pause/blobs/uploads/"),
        ("PUT", "/v2/registry.k8s.io/pause/manifests/3.10"),
        ("DELETE", "/v2/registry.k8s.io/pause/manifests/3.10"),
        ("PATCH", "/v2/x"),
    ] {
        let answer = ask(&router, method, path, &[], "x").await;
        assert_eq!((answer.status.as_u16(), answer.json()["errors"][0]["code"].as_str()), (405, Some("UNSUPPORTED")), "{method}");
    }
}

#[test]
fn paths_and_names() {
    assert_eq!(want("a/b/tags/list"), Some(Want::Tags("a/b")));
    assert_eq!(want("a/manifests/1"), Some(Want::Manifest("a", "1")));
    assert_eq!(want("a/b/c/blobs/sha256:00"), Some(Want::Blob("a/b/c", "sha256:00")));
    // A repository may be called like a part of the path.
    assert_eq!(want("x/manifests/manifests/1"), Some(Want::Manifest("x/manifests", "1")));
    for bad in ["", "a", "manifests/1", "a/other/1", "/tags/lis"] {
        assert_eq!(want(bad), None, "{bad}");
    }
    assert_eq!(repository("pause", Some("registry.k8s.io")).as_deref(), Some("registry.k8s.io/pause"));
    assert_eq!(repository("docker.io/library/nginx", None).as_deref(), Some("docker.io/library/nginx"));
    assert_eq!(repository("library/nginx", Some("../x")), None);
    assert_eq!(repository("pause", None), None);
}
