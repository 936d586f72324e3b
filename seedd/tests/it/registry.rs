//! Extras from cluster.yaml to a client: fetched, published, and pulled by a real client of registries.

use std::fs;
use std::process::Command;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::progress::Quiet;
use darksite::extras::Job;
use darksite::{Clock, DirFetch, Paths};
use seedd::app::Seed;
use site::{Site, setting};

use crate::support::sites::{A, app, empty, temp};

fn tar_of(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, content.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// An image archive with one layer; its path, and the digest of the manifest and of the layer.
fn archive(dir: &Utf8Path) -> (Utf8PathBuf, Digest, Digest) {
    let mut files = vec![("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec())];
    let mut blob = |bytes: &[u8], kind: &str| {
        let digest = Digest::of(bytes);
        files.push((format!("blobs/sha256/{digest}"), bytes.to_vec()));
        serde_json::json!({"mediaType": kind, "digest": format!("sha256:{digest}"), "size": bytes.len()})
    };
    let layer_bytes = tar_of(&[("hello".to_owned(), b"world".repeat(100_000))]);
    let layer = Digest::of(&layer_bytes);
    let config = serde_json::json!({"architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer}")]}});
    let config = blob(config.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json");
    let layers = [blob(&layer_bytes, "application/vnd.oci.image.layer.v1.tar")];
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers}).to_string();
    let top = blob(manifest.as_bytes(), kind);
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [top]}).to_string();
    files.push(("index.json".to_owned(), index.into_bytes()));
    let path = dir.join("pause.tar");
    fs::write(&path, tar_of(&files)).unwrap();
    (path, Digest::of(manifest.as_bytes()), layer)
}

fn fetch_extras(site: &Site, yaml: &str) {
    let text = fs::read_to_string(site.cluster_file()).unwrap() + yaml;
    fs::write(site.cluster_file(), text).unwrap();
    let spec = site.spec().unwrap().spec.extras;
    let keys = site.keys().unseal(A).unwrap();
    let paths = Paths {
        blobs: site.join("blobs"),
        snapshots: site.join("snapshots"),
        tmp: site.join("tmp"),
        cache: site.join("cache/darksite"),
    };
    let sets = site.join("extras");
    let job = Job {
        spec: &spec,
        paths: &paths,
        sets: &sets,
        fetch: &DirFetch,
        clock: Clock::OfFile,
        release_key: &keys.release,
        site_key: &keys.site,
        previous: None,
        progress: &Quiet,
    };
    let (manifest, _) = darksite::extras::build(&job).unwrap();
    site.open_store().unwrap().set(setting::EXTRAS, &manifest.id.to_string()).unwrap();
}

#[test]
fn an_image_is_pulled_by_skopeo_and_a_file_by_its_path() {
    let t = temp();
    let site = empty(&t.path.join("a"), "site-a", A);
    let (tar, manifest, layer) = archive(&t.path);
    let file = t.path.join("file");
    fs::write(&file, b"content").unwrap();
    let digest = |p: &Utf8Path| Digest::of(&fs::read(p).unwrap());
    fetch_extras(
        &site,
        &format!(
            "  extras:\n    files: [{{path: a/b, url: {file}, sha256: {}}}]\n    images: [{{name: registry.k8s.io/pause, tag: \"3.10\", \
             url: {tar}, sha256: {}}}]\n",
            digest(&file),
            digest(&tar)
        ),
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let router = web::machine_router(Arc::new(Seed(app(&site))));
    runtime.spawn(web::listener::serve(listener, router, std::future::pending()));

    let got =
        ureq::get(format!("http://{address}/darksite/extras/files/a/b")).call().unwrap().into_body().read_to_string().unwrap();
    assert_eq!(got, "content");
    // A folder that looks like a snapshot, and that nobody signed.
    let folder = site.snapshot(Digest::of(b"nobody's"));
    fs::create_dir_all(folder.join("dists")).unwrap();
    fs::write(folder.join("snapshot.json"), b"{}").unwrap();
    let answer = ureq::get(format!("http://{address}/darksite/{}/dists/", Digest::of(b"nobody's"))).call();
    assert!(matches!(answer, Err(ureq::Error::StatusCode(404))), "{answer:?}");
    let head = ureq::head(format!("http://{address}/v2/pause/manifests/3.10?ns=registry.k8s.io")).call().unwrap();
    assert_eq!(head.headers()["docker-content-digest"], format!("sha256:{manifest}").as_str());
    let out = t.path.join("pulled");
    let pull = Command::new("skopeo")
        .args(["--insecure-policy", "copy", "--src-tls-verify=false"])
        .arg(format!("docker://{address}/registry.k8s.io/pause:3.10"))
        .arg(format!("dir:{out}"))
        .output();
    match pull {
        Err(e) => kubedos_skip::skip("skopeo", e),
        Ok(done) => {
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            assert_eq!(digest(&out.join("manifest.json")), manifest);
            assert_eq!(digest(&out.join(layer.to_string())), layer);
            let tags = Command::new("skopeo")
                .args(["list-tags", "--tls-verify=false", &format!("docker://{address}/registry.k8s.io/pause")])
                .output()
                .unwrap();
            assert!(String::from_utf8_lossy(&tags.stdout).contains("3.10"), "{tags:?}");
        }
    }
}
