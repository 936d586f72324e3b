//! Servers with habits of their own, and those that want a password.

use std::sync::{Arc, Mutex};

use crate::common::chain;
use crate::odd::{HELLO, Odd, Server, Signed, fetch, file_at};
use crate::odd_repository::{Change, plan, temp};
use cluster_seed::ids::Digest;
use darksite::upstream::netrc::Netrc;
use darksite::{AnyFetch, HttpLimits};

/// The server reads a plus as a space, says 403 for what is missing, or has a page of its own for it.
#[test]
fn servers_with_habits() {
    let (_temp, root) = temp();
    let packages = HELLO.replace("1.0", "1.0+b1");
    let by_hash: Change = |t| t + "Acquire-By-Hash: yes\n";
    let repo = Odd {
        version: "1.0+b1",
        file: "pool/hello_1.0+b1_amd64.deb",
        packages: packages.into(),
        absent: &[".xz"],
        signed: Signed::Armored,
        release: by_hash,
        ..Odd::default()
    };
    repo.write(&root);
    for (plus, status, page) in
        [(false, 404, ""), (true, 404, ""), (true, 403, "<Error/>"), (true, 410, ""), (true, 200, "<html>no</html>")]
    {
        let (at, page) = (root.clone(), page.as_bytes().to_vec());
        let server = Server::start(Arc::new(move |path: &str, _: &[String]| match file_at(&at, path, plus) {
            Some(body) => (200, body),
            None => (status, page.clone()),
        }));
        let yaml = repo.yaml(&server.url, &root.join("key.gpg"), "odd", &Digest::of(&repo.deb()));
        let built = fetch(&yaml, &AnyFetch::new(HttpLimits::default())).0;
        let manifest = built.unwrap_or_else(|e| panic!("{plus} {status}: {}", chain(&e)));
        assert!(manifest.origins[0].url.ends_with("/pool/hello_1.0%2Bb1_amd64.deb"), "{}", manifest.origins[0].url);
        let site = crate::common::Site::new();
        let planned = plan(&server.url).unwrap_or_else(|e| panic!("{plus} {status}: {}", chain(&e)));
        site.build(&planned, &AnyFetch::new(HttpLimits::default())).unwrap();
    }
}

#[test]
fn a_password_goes_to_its_server_and_nowhere_else() {
    let (_temp, root) = temp();
    let repo = Odd::default();
    repo.write(&root);
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let elsewhere = Arc::clone(&seen);
    let other_root = root.clone();
    let other = Server::start(Arc::new(move |path: &str, lines: &[String]| {
        elsewhere.lock().unwrap().extend(lines.iter().filter(|l| l.to_lowercase().starts_with("authorization")).cloned());
        file_at(&other_root, path, false).map_or((404, Vec::new()), |body| (200, body))
    }));
    let at = root.clone();
    // "case:s3cretword" in base64
    let server = Server::start(Arc::new(move |path: &str, lines: &[String]| {
        if !lines.iter().any(|l| l.eq_ignore_ascii_case("authorization: Basic Y2FzZTpzM2NyZXR3b3Jk")) {
            return (401, Vec::new());
        }
        file_at(&at, path, false).map_or((404, Vec::new()), |body| (200, body))
    }));
    let netrc = |url: &str| Netrc::parse(&format!("machine {url} login case password s3cretword")).unwrap();
    let run = |logins: Netrc| {
        let yaml = repo.yaml(&server.url, &root.join("key.gpg"), "odd", &Digest::of(&repo.deb()));
        fetch(&yaml, &AnyFetch::with_logins(HttpLimits::default(), logins))
    };
    let (built, said, site) = run(netrc(&server.url));
    let manifest = built.unwrap();
    for (path, bytes) in crate::common::tree(site.root()) {
        assert!(!bytes.windows(10).any(|w| w == b"s3cretword"), "{path} has the password");
    }
    assert!(!said.contains("s3cret") && !serde_json::to_string(&manifest).unwrap().contains("s3cret"));
    let error = run(Netrc::default()).0.unwrap_err();
    assert!(chain(&error).contains("status 401") && error.hint().unwrap().contains("--netrc"), "{}", chain(&error));
    assert!(run(netrc(&other.url)).0.is_err());
    let yaml = repo.yaml(&other.url, &root.join("key.gpg"), "odd", &Digest::of(&repo.deb()));
    fetch(&yaml, &AnyFetch::with_logins(HttpLimits::default(), netrc(&server.url))).0.unwrap();
    assert!(seen.lock().unwrap().is_empty(), "the password was sent to another server");
    // Signed addresses are secrets too.
    let file = format!(
        "files: [{{path: f, url: \"{}/pool/hello_1.0_amd64.deb?token=s3cret\", sha256: {}}}]",
        other.url,
        Digest::of(&repo.deb())
    );
    let tokens = Server::start(Arc::new({
        let root = root.clone();
        move |path: &str, _: &[String]| {
            let path = path.strip_suffix("?token=s3cret").unwrap_or("/none");
            file_at(&root, path, false).map_or((404, Vec::new()), |body| (200, body))
        }
    }));
    let manifest = fetch(&file.replace(&other.url, &tokens.url), &AnyFetch::new(HttpLimits::default())).0.unwrap();
    assert_eq!(manifest.origins[0].url, format!("{}/pool/hello_1.0_amd64.deb", tokens.url));
}
