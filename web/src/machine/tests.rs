//! The machine's side: what it answers, and what it does not have.

use camino::Utf8Path;
use cluster_seed::agent::{Claim, Confirm, Hello, MAX_BODY, Mismatch, PROTOCOL, Report, ReportBody};
use cluster_seed::held::{Held, MAX_LIST};
use cluster_seed::ids::{Digest, EnrollmentId};
use cluster_seed::pairing::Nonce;
use cluster_seed::seal::{Sealed, SigningKey};

use crate::operator::routes_tests::paths;
use crate::testing::client::{JSON, ask, cookie, get, machines};
use crate::testing::data::pending_id;

const NOWHERE: &str = "/nonexistent";
/// Paths in addition to the operators' routes.
const MORE: [&str; 3] = ["/api/v1/enrollments/02020202020202020202020202020202/approve", "/api/v1/", "/ca.pem/"];

#[tokio::test]
async fn nothing_of_the_operator_is_here() {
    let (_, router) = machines(Utf8Path::new(NOWHERE));
    let cookie = cookie();
    let mut paths = paths();
    paths.extend(MORE.map(str::to_owned));
    assert!(paths.len() > 50);
    for path in &paths {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let answer = ask(&router, method, path, &[("cookie", &cookie), JSON], "{}").await;
            assert_eq!(answer.status, 404, "{method} {path}");
            assert!(!answer.headers.contains_key("set-cookie"));
            assert_eq!(answer.json()["requestId"], answer.header("x-request-id"));
        }
    }
}

#[tokio::test]
async fn what_grub_looks_for_below_the_root_is_there() {
    let (_, router) = machines(Utf8Path::new(NOWHERE));
    for name in ["command.lst", "fs.lst", "crypto.lst", "terminal.lst"] {
        for folder in ["x86_64-efi", "arm64-efi"] {
            let answer = get(&router, &format!("/grub/{folder}/{name}"), &[]).await;
            assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "\n"), "{folder}/{name}");
        }
    }
    assert_eq!(get(&router, "/grub/x86_64-efi/other.mod", &[]).await.status, 404);
}

#[tokio::test]
async fn boot_scripts() {
    let (mock, router) = machines(Utf8Path::new(NOWHERE));
    let answer = get(&router, "/boot/ipxe?mac=52:54:00:ab:00:01&arch=x86_64&uuid=0&other=1", &[]).await;
    assert_eq!(answer.text(), "#!ipxe\n# 52:54:00:ab:00:01\nboot\n");
    assert_eq!((answer.header("content-type"), answer.header("cache-control")), ("text/plain; charset=utf-8", "no-store"));
    for query in ["", "?", "?mac=", "?mac=x%0Aboot+evil", "?mac=52:54:00:ab:00:01&mac=52:54:00:ab:00:02"] {
        assert_eq!(get(&router, &format!("/boot/ipxe{query}"), &[]).await.status, 400, "{query}");
    }
    assert_eq!(mock.state().callers[0].to_string(), "0.0.0.0");
}

#[tokio::test]
async fn the_agents_messages() {
    let (_, router) = machines(Utf8Path::new(NOWHERE));
    let key = SigningKey::from_bytes(&[5; 32]);
    let enrollment = EnrollmentId([2; 16]);
    let nonce = Nonce::from_random([1; 32]);
    let hello = |protocol| serde_json::to_string(&Hello { protocol, boot_mac: None, token: None }).unwrap();
    let claim = Sealed::sign(&Claim { enrollment, challenge: nonce, nonce }, &key).unwrap();
    let report = Sealed::sign(&Report { enrollment, seq: 1, body: ReportBody::InstallDone { seconds: 1 } }, &key).unwrap();
    let confirmation = "00".repeat(32).parse().unwrap();
    let confirm = Sealed::sign(&Confirm { enrollment, confirmation }, &key).unwrap();
    let mismatch = Sealed::sign(&Mismatch { enrollment }, &key).unwrap();
    let held = Held { enrollment, seq: 1, epoch: 1, version: 1, digest: Digest::of(b"x"), next: [].into(), refused: None };
    let held = Sealed::sign(&held, &key).unwrap();
    let agent = |rest: &str| format!("/api/v1/agent/{}/{rest}", pending_id());
    for (method, path, body, status, says) in [
        ("POST", "/api/v1/agent/hello".to_owned(), hello(PROTOCOL), 200, "\"number\":12"),
        ("POST", "/api/v1/agent/hello".to_owned(), hello(PROTOCOL + 1), 400, "another protocol"),
        ("POST", "/api/v1/agent/hello".to_owned(), "{".to_owned(), 400, "hint"),
        ("POST", "/api/v1/agent/hello".to_owned(), r#"{"protocol":1,"commitment":"00"}"#.to_owned(), 400, "another protocol"),
        ("GET", agent("status"), String::new(), 200, "Pending"),
        ("GET", "/api/v1/agent/ffffffffffffffffffffffffffffffff/status".to_owned(), String::new(), 404, "enrollment"),
        ("GET", "/api/v1/agent/FFFF/status".to_owned(), String::new(), 404, "error"),
        ("POST", agent("claim"), serde_json::to_string(&claim).unwrap(), 409, "issued"),
        ("POST", agent("confirm"), serde_json::to_string(&confirm).unwrap(), 423, "sealed"),
        ("POST", agent("mismatch"), serde_json::to_string(&mismatch).unwrap(), 200, "Denied"),
        ("POST", agent("confirm"), serde_json::to_string(&report).unwrap().replace('}', ""), 400, "error"),
        ("POST", agent("report"), serde_json::to_string(&report).unwrap(), 200, "Installing"),
        ("POST", agent("reveal"), "{}".to_owned(), 400, "missing field"),
        ("GET", "/api/v1/peers".to_owned(), String::new(), 403, "members"),
        ("POST", agent("held"), serde_json::to_string(&held).unwrap(), 200, "signature"),
        ("POST", agent("held"), "{}".to_owned(), 400, "missing field"),
        ("POST", agent("list"), "{}".to_owned(), 400, "invalid"),
        ("POST", "/api/v1/agent/09090909090909090909090909090909/list".to_owned(), "{".to_owned(), 403, "not requested"),
        ("GET", "/api/v1/epoch".to_owned(), String::new(), 200, "signature"),
        ("GET", "/api/v1/agent/hello".to_owned(), String::new(), 405, "error"),
        ("DELETE", agent("status"), String::new(), 405, "error"),
    ] {
        let answer = ask(&router, method, &path, &[], body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        assert!(answer.text().contains(says), "{path}: {}", answer.text());
        assert_eq!(answer.header("cache-control"), "no-store");
    }
}

#[tokio::test]
async fn bodies_end_at_their_limit() {
    let (_, router) = machines(Utf8Path::new(NOWHERE));
    for (len, status) in [(MAX_BODY, 400), (MAX_BODY + 1, 413)] {
        assert_eq!(ask(&router, "POST", "/api/v1/agent/hello", &[], vec![b'['; len]).await.status, status);
    }
}

#[tokio::test]
async fn a_list_is_read_only_where_it_was_asked_for() {
    let (_, router) = machines(Utf8Path::new(NOWHERE));
    let path = |id: &str| format!("/api/v1/agent/{id}/list");
    let nobody = "09".repeat(16);
    let long = |len: usize| vec![b'['; len];
    // Larger than every other message of an agent, and refused before it is read.
    assert_eq!(ask(&router, "POST", &path(&nobody), &[], long(MAX_LIST + 1)).await.status, 403);
    for (len, status) in [(MAX_BODY + 1, 400), (MAX_LIST + 1, 413)] {
        assert_eq!(ask(&router, "POST", &path(&pending_id().to_string()), &[], long(len)).await.status, status, "{len}");
    }
}

#[tokio::test]
async fn the_control_plane_has_lists_and_epochs_only() {
    let (mock, _) = machines(Utf8Path::new(NOWHERE));
    let router = crate::member_router(mock);
    for (path, status) in [("/api/v1/peers", 200), ("/api/v1/epoch", 200), ("/boot/ipxe?mac=52:54:00:ab:00:01", 404), ("/", 404)]
    {
        assert_eq!(get(&router, path, &[]).await.status, status, "{path}");
    }
    assert_eq!(get(&router, "/api/v1/agent/02020202020202020202020202020202/held", &[]).await.status, 405);
}

#[tokio::test]
async fn inner_errors_stay_inside() {
    let (mock, router) = machines(Utf8Path::new(NOWHERE));
    mock.state().broken = true;
    let answer = get(&router, "/boot/ipxe?mac=52:54:00:ab:00:01", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.json()["error"].as_str()), (500, Some("internal error")));
    assert!(!answer.text().contains("SQL"));
}
