//! What AWS refuses is an error at once, with what to do about it.

use aws::{AwsError, Client, Credentials, FaultKind, Target, make_ami};
use cluster_seed::progress::Quiet;

use crate::cloud::{self, Fault, refusal, rest_refusal};
use crate::http::{Reply, Server};
use crate::support::{Bench, REGION, client, client_with, limits, target};

#[test]
fn refusals_are_not_repeated_and_have_a_hint() {
    let date = httpdate::fmt_http_date(std::time::SystemTime::now() + std::time::Duration::from_secs(7200));
    let cases = [
        ("DescribeImages", refusal(401, "AuthFailure"), FaultKind::Credentials, "check both"),
        ("DescribeImages", refusal(401, "AuthFailure").header("date", &date), FaultKind::Clock, "behind AWS's"),
        ("DescribeImages", refusal(403, "UnauthorizedOperation"), FaultKind::Denied, "foundry-aws.md"),
        ("DescribeImages", refusal(400, "OptInRequired"), FaultKind::Region, "enable it"),
        ("StartSnapshot", rest_refusal(403, "UnrecognizedClientException"), FaultKind::Credentials, "check both"),
        ("StartSnapshot", rest_refusal(403, "ExpiredTokenException"), FaultKind::Expired, "new temporary credentials"),
        ("StartSnapshot", rest_refusal(400, "ServiceQuotaExceededException"), FaultKind::Quota, "quota"),
        ("PutSnapshotBlock", rest_refusal(403, "AccessDeniedException"), FaultKind::Denied, "foundry-aws.md"),
        ("RegisterImage", refusal(400, "InvalidParameterValue"), FaultKind::Other, "message"),
    ];
    for (wrong, reply, kind, hint) in cases {
        let (bench, aws) = (Bench::new(1, |_| true), cloud::start());
        aws.trouble(move |action, _| (action == wrong).then(|| Fault::Instead(reply.clone())));
        let error = make_ami(&client(&aws.url()), &bench.options(), &Quiet).unwrap_err();
        assert_eq!(error.fault(), Some(kind), "{wrong}: {error}");
        assert!(error.hint().contains(hint), "{wrong}: {}", error.hint());
        assert!(error.to_string().starts_with(&format!("{wrong}: AWS answered ")), "{error}");
        assert_eq!(aws.count(wrong), 1, "{wrong} was repeated");
        assert!(aws.cloud().images.is_empty());
    }
}

#[test]
fn an_answer_that_is_not_of_the_api_is_an_error() {
    for body in ["", "<html>", "not XML", "<R/>"] {
        let server = Server::start(move |_| Some(Reply::new(200, body)));
        let bench = Bench::new(1, |_| true);
        let error = make_ami(&client(&server.url()), &bench.options(), &Quiet).unwrap_err();
        assert!(matches!(error, AwsError::Answer { .. }), "{body}: {error}");
    }
}

#[test]
fn a_redirect_is_not_followed() {
    let (elsewhere, bench) = (cloud::start(), Bench::new(1, |_| true));
    let to = elsewhere.url();
    let server = Server::start(move |_| Some(Reply::new(307, "").header("location", &to)));
    make_ami(&client(&server.url()), &bench.options(), &Quiet).unwrap_err();
    assert!(elsewhere.cloud().calls.is_empty(), "a signature was sent to another host");
}

#[test]
fn a_region_that_does_not_exist_is_not_asked_for_long() {
    // Names below .invalid never resolve (RFC 2606).
    let target = Target { endpoint: Some("https://ec2.invalid".into()), ..Target::of_region(REGION) };
    let client = Client::new(&target, Credentials::explicit("A", "s", None), limits(), host::clock::now).unwrap();
    let error = make_ami(&client, &Bench::new(1, |_| true).options(), &Quiet).unwrap_err();
    assert!(matches!(&error, AwsError::Transport { host, .. } if host == "ec2.invalid"), "{error}");
    // Behind a proxy the proxy resolves it, and has its own words.
    assert!(error.hint().contains("check the"), "{}", error.hint());
}

#[test]
fn nothing_listens_there() {
    let server = Server::start(|_| None);
    let url = server.url();
    drop(server);
    let error = make_ami(&client(&url), &Bench::new(1, |_| true).options(), &Quiet).unwrap_err();
    assert!(matches!(error, AwsError::Transport { action: "DescribeImages", .. }), "{error}");
    assert!(error.hint().contains("resume"));
}

#[test]
fn a_file_of_certificates_without_one_is_refused() {
    let bench = Bench::new(1, |_| true);
    let new = |path: camino::Utf8PathBuf| {
        let target = Target { ca_file: Some(path), ..target("https://127.0.0.1:1") };
        Client::new(&target, Credentials::explicit("A", "s", None), limits(), host::clock::now).map(drop).unwrap_err()
    };
    std::fs::write(bench.path("ca.pem"), "nothing").unwrap();
    assert!(matches!(new(bench.path("ca.pem")), AwsError::Certificates { .. }));
    assert!(matches!(new(bench.path("none.pem")), AwsError::File(_)));
}

#[test]
fn the_secret_is_in_no_request_and_the_token_is() {
    let (sender, requests) = std::sync::mpsc::channel();
    let server = Server::start(move |request| {
        sender.send(request).unwrap();
        Some(refusal(403, "UnauthorizedOperation"))
    });
    let bench = Bench::new(1, |_| true);
    make_ami(&client_with(&server.url(), "AKIAX", "s3cret-value", limits()), &bench.options(), &Quiet).unwrap_err();
    let request = requests.recv().unwrap();
    assert!(request.headers.iter().all(|(_, v)| !v.contains("s3cret")) && request.header("x-amz-security-token").is_empty());
    assert!(request.header("authorization").starts_with("AWS4-HMAC-SHA256 Credential=AKIAX/"));
    let keys = Credentials::explicit("AKIAX", "s3cret-value", Some("t0ken"));
    let client = Client::new(&target(&server.url()), keys, limits(), host::clock::now).unwrap();
    make_ami(&client, &bench.options(), &Quiet).unwrap_err();
    let request = requests.recv().unwrap();
    assert_eq!(request.header("x-amz-security-token"), "t0ken");
    assert!(
        request
            .header("authorization")
            .contains("SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token,")
    );
}
