//! Files through the machine's router: ranges, conditions, and names that want out.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use camino::Utf8PathBuf;
use cluster_seed::ids::Digest;
use sha2::Digest as _;
use tempfile::TempDir;

use crate::testing::client::{ask, get, machines};

const RELEASE: &str = "Origin: test\nSuite: trixie\n";

struct Site {
    _dir: TempDir,
    router: Router,
    root: Utf8PathBuf,
    chunk: Digest,
}

fn site() -> Site {
    let dir = TempDir::new().unwrap();
    let root = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    let write = |path: &str, bytes: &[u8]| {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), bytes).unwrap();
    };
    let chunk = Digest::of(b"chunk");
    write("secret", b"SECRET");
    write("boot/vmlinuz", b"kernel");
    write(&format!("chunks/{chunk}"), b"0123456789");
    write("manifest.json", b"{}");
    write("snapshot/dists/trixie/Release", RELEASE.as_bytes());
    write("snapshot/pool/main/g/g++/g++_4%14~rc1+b1_amd64.deb", b"never served: a percent sign");
    write("snapshot/pool/main/g/g++/g++_14~rc1+b1_amd64.deb", b"!<arch>\n");
    write("snapshot/pool/main/<b>&.txt", b"odd");
    write("snapshot/.hidden", b"SECRET");
    write("snapshot/empty", b"");
    write("snapshot/big", &vec![7u8; 300_001]);
    symlink("trixie", root.join("snapshot/dists/stable")).unwrap();
    symlink("../secret", root.join("snapshot/out")).unwrap();
    symlink("/", root.join("snapshot/root")).unwrap();
    symlink("loop", root.join("snapshot/loop")).unwrap();
    write("shelves/abc/rust/rust_1_amd64.deb", b"!<arch>\nrust");
    write("shelves-not/abc/file", b"SECRET");
    symlink("../../../shelves/abc", root.join("snapshot/pool/main/r")).unwrap();
    symlink("../../../shelves-not/abc", root.join("snapshot/pool/main/n")).unwrap();
    drop(UnixListener::bind(root.join("snapshot/socket")).unwrap());
    let (_, router) = machines(&root);
    Site { _dir: dir, router, root, chunk }
}

#[tokio::test]
async fn whole_files_and_their_headers() {
    let s = site();
    let answer = get(&s.router, "/darksite/current/dists/trixie/Release", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, RELEASE));
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!((answer.header("accept-ranges"), answer.header("cache-control")), ("bytes", "no-cache"));
    assert!(answer.header("etag").starts_with('"') && answer.header("last-modified").ends_with(" GMT"));
    for (path, kind, body) in [
        ("/darksite/current/pool/main/g/g++/g++_14~rc1+b1_amd64.deb", "application/vnd.debian.binary-package", "!<arch>\n"),
        (
            "/darksite/current/pool/main/g/g%2B%2b/g%2b%2b_14%7Erc1%2bb1_amd64.deb",
            "application/vnd.debian.binary-package",
            "!<arch>\n",
        ),
        ("/darksite/current/dists/stable/Release", "text/plain; charset=utf-8", RELEASE),
        ("/darksite/current/empty", "application/octet-stream", ""),
        ("/boot/vmlinuz", "application/octet-stream", "kernel"),
        (&format!("/chunks/{}", s.chunk), "application/octet-stream", "0123456789"),
        (&format!("/artifacts/{}/manifest.json", s.chunk), "application/octet-stream", "{}"),
        (&format!("/darksite/{}/dists/trixie/Release", Digest::of(b"snapshot")), "text/plain; charset=utf-8", RELEASE),
    ] {
        let answer = get(&s.router, path, &[]).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type"), answer.text().as_str()), (200, kind, body), "{path}");
        assert_eq!(answer.header("content-length"), body.len().to_string());
        let head = ask(&s.router, "HEAD", path, &[("range", "bytes=0-0")], Body::empty()).await;
        assert_eq!((head.status.as_u16(), head.bytes.len()), (200, 0), "{path}");
        assert_eq!(head.header("content-length"), body.len().to_string(), "{path}");
        assert_eq!(head.header("etag"), answer.header("etag"));
    }
    let big = get(&s.router, "/darksite/current/big", &[]).await;
    assert_eq!(big.bytes, vec![7u8; 300_001], "more than one buffer");
}

#[tokio::test]
async fn ranges() {
    let s = site();
    let path = format!("/chunks/{}", s.chunk);
    for (range, status, body, content_range) in [
        ("bytes=0-0", 206, "0", "bytes 0-0/10"),
        ("bytes=9-", 206, "9", "bytes 9-9/10"),
        ("bytes=-3", 206, "789", "bytes 7-9/10"),
        ("bytes=0-99", 206, "0123456789", "bytes 0-9/10"),
        ("bytes=10-", 416, "", "bytes */10"),
        ("bytes=0-1,5-6", 200, "0123456789", ""),
    ] {
        let answer = get(&s.router, &path, &[("range", range)]).await;
        assert_eq!(
            (answer.status.as_u16(), answer.text().as_str(), answer.header("content-range")),
            (status, body, content_range),
            "{range}"
        );
        assert_eq!(answer.header("etag"), format!("\"{}\"", s.chunk));
        assert!(answer.header("cache-control").contains("immutable"));
    }
    let empty = get(&s.router, "/darksite/current/empty", &[("range", "bytes=0-")]).await;
    assert_eq!((empty.status.as_u16(), empty.header("content-range")), (416, "bytes */0"));
}

#[tokio::test]
async fn conditions_follow_the_file() {
    let s = site();
    let path = "/darksite/current/dists/trixie/Release";
    let first = get(&s.router, path, &[]).await;
    let (etag, date) = (first.header("etag").to_owned(), first.header("last-modified").to_owned());
    let again = get(&s.router, path, &[("if-none-match", &etag)]).await;
    assert_eq!((again.status.as_u16(), again.bytes.len(), again.header("etag")), (304, 0, etag.as_str()));
    assert_eq!(get(&s.router, path, &[("if-modified-since", &date)]).await.status, 304);
    assert_eq!(ask(&s.router, "HEAD", path, &[("if-none-match", &etag)], Body::empty()).await.status, 304);
    let part = [("range", "bytes=8-"), ("if-range", etag.as_str())];
    assert_eq!(get(&s.router, path, &part).await.status, 206);
    // A new file of the same size in its place, as a publisher makes it.
    let new = s.root.join("snapshot/new");
    fs::write(&new, RELEASE.replace("test", "TEST")).unwrap();
    fs::File::options().append(true).open(&new).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    fs::rename(&new, s.root.join("snapshot/dists/trixie/Release")).unwrap();
    for headers in [[("if-none-match", etag.as_str())], [("if-modified-since", date.as_str())]] {
        assert_eq!(get(&s.router, path, &headers).await.status, 200);
    }
    let answer = get(&s.router, path, &part).await;
    assert_eq!((answer.status.as_u16(), answer.bytes.len()), (200, RELEASE.len()), "no piece of another file");
    assert_eq!(answer.header("last-modified"), "", "a date of 1970 says nothing");
}

#[tokio::test]
async fn no_name_leads_out() {
    let s = site();
    let long = "a".repeat(60_000);
    let many = "a/".repeat(30_000);
    for rest in [
        "../secret",
        "..%2fsecret",
        "%2e%2e/secret",
        "%2E%2E%2Fsecret",
        "..%5csecret",
        "..\\secret",
        "dists/../../secret",
        "dists/%2e%2e/%2e%2e/secret",
        "%252e%252e/secret",
        ".hidden",
        "%2ehidden",
        "out",
        "root/etc/passwd",
        "root/",
        "loop",
        "socket",
        "/etc/passwd",
        "//etc/passwd",
        "%2fetc%2fpasswd",
        "%00",
        "dists%00",
        "dists/trixie/Release%00",
        "dists/trixie/Release/",
        "dists/trixie/Release/x",
        "dists//trixie/Release",
        "./dists/trixie/Release",
        "dists/trixie/none",
        "%ff",
        "%",
        "%zz",
        "pool/main/g/g++/g++_4%2514~rc1+b1_amd64.deb",
        &long,
        &many,
    ] {
        let answer = get(&s.router, &format!("/darksite/current/{rest}"), &[]).await;
        assert_eq!(answer.status, 404, "{rest:.60}");
        assert!(!answer.text().contains("SECRET"));
    }
    for path in [
        "/darksite/../secret",
        "/darksite/%2e%2e/secret",
        "/darksite/ffff/Release",
        "/boot/..%2fsecret",
        "/boot/%2e%2e",
        "/boot/none",
        "/boot/",
        "/boot/vmlinuz/",
        "/chunks/..%2f..%2fsecret",
        "/chunks/0",
        "/artifacts/..%2fx/manifest.json",
        "/artifacts/0/manifest.json",
        &format!("/chunks/{}", Digest::of(b"none")),
        &format!("/darksite/{}/", Digest::of(b"none")),
        &format!("/chunks/{}%00", s.chunk),
    ] {
        assert_eq!(get(&s.router, path, &[]).await.status, 404, "{path}");
    }
    assert_eq!(ask(&s.router, "POST", "/darksite/current/empty", &[], "x").await.status, 405);
}

#[tokio::test]
async fn directories_can_be_read_by_people() {
    let s = site();
    for (path, to) in [
        ("/darksite", "/darksite/current/"),
        ("/darksite/", "/darksite/current/"),
        ("/darksite/current", "/darksite/current/"),
        ("/darksite/current/dists", "/darksite/current/dists/"),
    ] {
        let answer = get(&s.router, path, &[]).await;
        assert!(answer.status.is_redirection() && answer.header("location") == to, "{path}: {}", answer.header("location"));
    }
    let shelf = get(&s.router, "/darksite/current/pool/main/r/rust/rust_1_amd64.deb", &[]).await;
    assert_eq!((shelf.status.as_u16(), shelf.text().as_str()), (200, "!<arch>\nrust"));
    assert!(get(&s.router, "/darksite/current/pool/main/r/", &[]).await.text().contains("href=\"./rust/\""));
    assert_eq!(get(&s.router, "/darksite/current/pool/main/n/file", &[]).await.status, 404);
    let pool = get(&s.router, "/darksite/current/pool/main/", &[]).await.text();
    assert!(pool.contains("href=\"./r/\"") && pool.contains("href=\"./n\""), "{pool}");
    let page = get(&s.router, "/darksite/current/", &[]).await;
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    // The policy allows the style by the digest of what is between its tags.
    let style = page.text().split_once("<style>").unwrap().1.split_once("</style>").unwrap().0.to_owned();
    let digest = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(style));
    assert!(page.header("content-security-policy").ends_with(&format!("style-src 'sha256-{digest}'")));
    let text = page.text();
    assert!(text.contains("href=\"./dists/\"") && !text.contains("hidden") && !text.contains("../"));
    let odd = get(&s.router, "/darksite/current/pool/main/", &[]).await.text();
    assert!(odd.contains("href=\"./%3Cb%3E%26.txt\"") && odd.contains("&#60;b&#62;&#38;.txt") && odd.contains("href=\"../\""));
    assert_eq!(get(&s.router, "/darksite/current/pool/main/%3Cb%3E%26.txt", &[]).await.text(), "odd");
}

#[tokio::test]
async fn a_listing_is_in_the_browsers_language() {
    let s = site();
    for (language, path, parts) in [
        ("en", "/darksite/current/dists/", ["<html lang=\"en\">", "<caption>2 entries</caption>", ">Modified (UTC)<"]),
        ("en", "/darksite/current/dists/trixie/", ["<html lang=\"en\">", "<caption>1 entry</caption>", ">Bytes<"]),
        ("de", "/darksite/current/dists/", ["<html lang=\"de\">", "<caption>2 Einträge</caption>", ">Geändert (UTC)<"]),
        ("de", "/darksite/current/dists/trixie/", ["<html lang=\"de\">", "<caption>1 Eintrag</caption>", ">Bytes<"]),
    ] {
        let text = get(&s.router, path, &[("accept-language", language)]).await.text();
        for part in parts {
            assert!(text.contains(part), "{language} {path}: {part}: {text}");
        }
    }
}

#[tokio::test]
async fn extras_and_proofs_have_fixed_places() {
    let s = site();
    assert_eq!(get(&s.router, "/darksite/extras/files/a", &[]).await.status, 404);
    assert_eq!(get(&s.router, "/darksite/current/proof.json", &[]).await.status, 404);
    fs::create_dir_all(s.root.join("extras/charts")).unwrap();
    fs::create_dir_all(s.root.join("extras/apt/dists/extras")).unwrap();
    fs::write(s.root.join("extras/charts/index.yaml"), "{}").unwrap();
    fs::write(s.root.join("extras/charts/c-1.tgz"), "x").unwrap();
    fs::write(s.root.join("extras/apt/keyring.gpg"), "k").unwrap();
    fs::write(s.root.join("extras/apt/dists/extras/Release.gpg"), "s").unwrap();
    fs::write(s.root.join("proof.json"), "{}").unwrap();
    for (path, kind) in [
        ("/darksite/extras/charts/index.yaml", "application/yaml"),
        ("/darksite/extras/charts/c-1.tgz", "application/gzip"),
        ("/darksite/extras/apt/keyring.gpg", "application/pgp-keys"),
        ("/darksite/extras/apt/dists/extras/Release.gpg", "application/pgp-signature"),
        ("/darksite/extras/", "text/html; charset=utf-8"),
        ("/darksite/current/proof.json", "application/octet-stream"),
        (&format!("/darksite/{}/proof.json", Digest::of(b"snapshot")), "application/octet-stream"),
    ] {
        let answer = get(&s.router, path, &[]).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, kind), "{path}");
    }
    for path in ["/darksite/extras/../secret", "/darksite/extras/%2e%2e/secret", "/darksite/extras/none"] {
        assert_eq!(get(&s.router, path, &[]).await.status, 404, "{path}");
    }
    assert_eq!(get(&s.router, "/darksite/extras", &[]).await.header("location"), "/darksite/extras/");
}
