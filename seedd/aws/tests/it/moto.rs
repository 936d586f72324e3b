//! Against moto, which parses requests by AWS's published models, keeps the blocks, and checks signatures and policies with code
//! that is not ours. It runs on 127.0.0.1 and ends with the test.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws::{AwsError, FaultKind, RunOptions, make_ami, run};
use camino::Utf8PathBuf;
use cluster_seed::progress::Quiet;
use host::tool::{Running, Tool};
use serde_json::{Value, json};

use crate::http::{Reply, Request, Server, forward};
use crate::support::{BLOCK, Bench, REGION, cache, client, client_with, limits};

/// 3 MiB with four blocks of data, the last one cut short.
fn image() -> Bench {
    let mut bench = Bench::new(6, |n| [0, 2, 4, 5].contains(&n));
    bench.bytes.truncate(6 * BLOCK - 512);
    std::fs::write(&bench.image, &bench.bytes).unwrap();
    bench
}

struct Moto {
    at: SocketAddr,
    _process: Running,
    dir: tempfile::TempDir,
}

fn program(name: &str) -> std::path::PathBuf {
    cache().join("tools/moto/bin").join(name)
}

/// `None` and a note, where it is not installed.
fn moto() -> Option<Moto> {
    if !program("moto_server").exists() {
        kubedos_skip::skip("moto", format!("./dev test installs moto_server below {}", cache().display()));
        return None;
    }
    let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let log = File::create(dir.path().join("log")).unwrap();
    let args = ["-H", "127.0.0.1", "-p", &at.port().to_string()];
    let process = Tool::new(program("moto_server")).args(args).env("MOTO_ENABLE_ISO_REGIONS", "false").spawn(log).unwrap();
    let began = Instant::now();
    while TcpStream::connect(at).is_err() {
        let log = || std::fs::read_to_string(dir.path().join("log")).unwrap();
        assert!(began.elapsed() < Duration::from_secs(300), "{}", log());
        std::thread::sleep(Duration::from_millis(100));
    }
    Some(Moto { at, _process: process, dir })
}

impl Moto {
    fn url(&self) -> String {
        format!("http://{}", self.at)
    }

    /// A request as moto's administrator; the signature only names the service.
    fn raw(&self, service: &str, method: &str, path: &str, body: &str) -> Reply {
        let scope =
            format!("AWS4-HMAC-SHA256 Credential=A/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=0");
        let kind = if service == "iam" { "application/x-www-form-urlencoded" } else { "text/plain" };
        let headers = [
            ("host", self.at.to_string()),
            ("authorization", scope),
            ("content-type", kind.to_owned()),
            ("content-length", body.len().to_string()),
        ];
        let headers = headers.map(|(n, v)| (n.to_owned(), v)).to_vec();
        forward(self.at, &Request { method: method.to_owned(), path: path.to_owned(), headers, body: body.into() })
    }

    fn iam(&self, body: &str) -> String {
        let reply = self.raw("iam", "POST", "/", body);
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        assert_eq!(reply.status, 200, "{text}");
        text
    }

    /// How many requests are let through before signatures and policies are checked.
    fn check_after(&self, requests: u32) {
        let reply = self.raw("x", "POST", "/moto-api/reset-auth", &requests.to_string());
        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    }

    /// The stored blocks of a snapshot, as a disk.
    fn disk(&self, snapshot: &str, blocks: usize) -> (usize, Vec<u8>) {
        let list = self.raw("ebs", "GET", &format!("/snapshots/{snapshot}/blocks"), "");
        let list: Value = serde_json::from_slice(&list.body).unwrap();
        let mut disk = vec![0; blocks * BLOCK];
        let stored = list["Blocks"].as_array().unwrap();
        for block in stored {
            let (index, token) = (block["BlockIndex"].as_u64().unwrap(), block["BlockToken"].as_str().unwrap());
            let got = self.raw("ebs", "GET", &format!("/snapshots/{snapshot}/blocks/{index}?blockToken={token}"), "");
            assert_eq!((got.status, got.body.len()), (200, BLOCK));
            disk[usize::try_from(index).unwrap() * BLOCK..][..BLOCK].copy_from_slice(&got.body);
        }
        (stored.len(), disk)
    }
}

#[test]
fn the_blocks_in_aws_are_those_of_the_image() {
    let (Some(moto), bench) = (moto(), image()) else { return };
    let recorded = Arc::new(Mutex::new(Vec::new()));
    let (record, to) = (recorded.clone(), moto.at);
    let proxy = Server::start(move |request| {
        record.lock().unwrap().push(request.clone());
        Some(forward(to, &request))
    });
    let client = client(&proxy.url());
    let made = make_ami(&client, &bench.options(), &Quiet).unwrap();
    assert_eq!((made.blocks_sent, made.existing), (4, false));
    let (stored, disk) = moto.disk(made.snapshot_id.as_ref().unwrap(), 6);
    assert_eq!(stored, 4, "blocks of zeros are not stored");
    assert!(disk[..bench.bytes.len()] == bench.bytes[..] && disk[bench.bytes.len()..].iter().all(|b| *b == 0));

    let again = make_ami(&client, &bench.options(), &Quiet).unwrap();
    assert_eq!((&again.image_id, again.existing, again.blocks_sent), (&made.image_id, true, 0));

    let options = RunOptions { wait: true, user_data: Some("x".into()), ..RunOptions::new(&made.image_id, "t3.small", "web") };
    let first = run(&client, &options, &Quiet).unwrap();
    assert_eq!((first.instances.len(), first.instances[0].state.as_str(), first.existing), (1, "running", false));
    let second = run(&client, &options, &Quiet).unwrap();
    assert_eq!((&second.instances[0].id, second.existing), (&first.instances[0].id, true));

    // moto ignores what it does not know; AWS's models do not.
    let recorded = recorded.lock().unwrap();
    let lines: String = recorded.iter().map(|r| format!("{}\n", line(r))).collect();
    let counted = Tool::new(program("python")).args(["-c", include_str!("model.py")]).stdin(lines).run().unwrap().text();
    assert_eq!(counted, recorded.len().to_string());
}

/// A request for model.py.
fn line(request: &Request) -> Value {
    let ebs = request.service() == "ebs";
    let action = match (request.path.contains("/completion/"), request.path.contains("/blocks/")) {
        (true, _) => "CompleteSnapshot",
        (_, true) => "PutSnapshotBlock",
        _ => "StartSnapshot",
    };
    // What is in a block does not matter to the model.
    let body = if action == "PutSnapshotBlock" { "x".into() } else { String::from_utf8(request.body.clone()).unwrap() };
    json!({
        "service": request.service(),
        "method": request.method,
        "path": request.path,
        "headers": request.headers,
        "action": action,
        "form": if ebs { vec![] } else { request.form() },
        "body": if ebs { body } else { String::new() },
    })
}

#[test]
fn moto_accepts_the_signatures_and_refuses_wrong_keys() {
    let Some(moto) = moto() else { return };
    let policy = policy();
    moto.iam("Action=CreateUser&Version=2010-05-08&UserName=seed");
    put_policy(&moto, &policy);
    let key = moto.iam("Action=CreateAccessKey&Version=2010-05-08&UserName=seed");
    let part = |name: &str| key.split_once(&format!("<{name}>")).unwrap().1.split('<').next().unwrap().to_owned();
    let (id, secret) = (part("AccessKeyId"), part("SecretAccessKey"));
    moto.check_after(0);
    let bench = image();
    for (id, secret) in [(id.as_str(), "wrong"), ("AKIAUNKNOWN", secret.as_str())] {
        let error = make_ami(&client_with(&moto.url(), id, secret, limits()), &bench.options(), &Quiet).unwrap_err();
        assert_eq!(error.fault(), Some(FaultKind::Credentials), "{error}");
        assert!(error.hint().contains("does not know this access key"), "{}", error.hint());
        assert!(!error.to_string().contains("wrong"), "{error}");
    }
    let client = client_with(&moto.url(), &id, &secret, limits());
    let made = make_ami(&client, &bench.options(), &Quiet).unwrap();
    let options = RunOptions { wait: true, ..RunOptions::new(&made.image_id, "t3.small", "web") };
    run(&client, &options, &Quiet).unwrap();
}

/// The policy that the documentation gives.
fn policy() -> Value {
    let page = include_str!("../../../../docs/foundry-aws.md");
    let text = page.split_once("```json\n").unwrap().1.split_once("```").unwrap().0;
    serde_json::from_str(text).unwrap()
}

fn put_policy(moto: &Moto, policy: &Value) {
    let text: String = policy.to_string().bytes().map(|b| format!("%{b:02X}")).collect();
    moto.iam(&format!("Action=PutUserPolicy&Version=2010-05-08&UserName=seed&PolicyName=p&PolicyDocument={text}"));
}

#[test]
fn the_documented_permissions_are_enough_and_none_is_too_many() {
    let Some(moto) = moto() else { return };
    let policy = policy();
    let actions: Vec<String> = serde_json::from_value(policy["Statement"][0]["Action"].clone()).unwrap();
    moto.iam("Action=CreateUser&Version=2010-05-08&UserName=seed");
    let key = moto.iam("Action=CreateAccessKey&Version=2010-05-08&UserName=seed");
    let part = |name: &str| key.split_once(&format!("<{name}>")).unwrap().1.split('<').next().unwrap().to_owned();
    let client = client_with(&moto.url(), &part("AccessKeyId"), &part("SecretAccessKey"), limits());
    let all = |bench: &Bench| -> Result<(), AwsError> {
        let made = make_ami(&client, &bench.options(), &Quiet)?;
        run(&client, &RunOptions { wait: true, ..RunOptions::new(&made.image_id, "t3.small", &made.name) }, &Quiet).map(drop)
    };
    for (n, missing) in actions.iter().enumerate() {
        let rest: Vec<&String> = actions.iter().filter(|a| *a != missing).collect();
        let mut less = policy.clone();
        less["Statement"][0]["Action"] = json!(rest);
        moto.check_after(1);
        put_policy(&moto, &less);
        // Another image each time, so that nothing is found.
        let error = all(&Bench::new(n + 1, |_| true)).unwrap_err();
        assert_eq!(error.fault(), Some(FaultKind::Denied), "{missing}: {error}");
        assert!(error.hint().contains("docs/foundry-aws.md"));
    }
    moto.check_after(1);
    put_policy(&moto, &policy);
    all(&Bench::new(actions.len() + 1, |_| true)).unwrap();
    assert!(Utf8PathBuf::from_path_buf(moto.dir.path().join("log")).unwrap().exists());
}
