//! The machines' listener with real sockets: what leaves by sendfile is what the router would have said.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use camino::Utf8PathBuf;
use cluster_seed::ids::Digest;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::listener::serve_machines_by;
use crate::meter::HttpMeter;
use crate::testing::Mock;

struct Seed {
    dir: TempDir,
    address: std::net::SocketAddr,
    meter: Arc<HttpMeter>,
    chunk: Digest,
    stop: Option<oneshot::Sender<()>>,
    /// Milliseconds.
    clock: Arc<AtomicU64>,
    ended: tokio::task::JoinHandle<std::io::Result<()>>,
}

/// A small and a large file, of which no two places look alike.
fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n / 251 + n % 251) as u8).collect()
}

const LARGE: usize = 5_000_003;

fn seed() -> Seed {
    let dir = TempDir::new().unwrap();
    let root = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    let write = |path: &str, bytes: &[u8]| {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), bytes).unwrap();
    };
    let chunk = Digest::of(b"chunk");
    write("boot/vmlinuz", b"kernel");
    write(&format!("chunks/{chunk}"), b"0123456789");
    write("snapshot/dists/trixie/Release", b"Origin: test\n");
    write("snapshot/large", &bytes(LARGE));
    write("snapshot/empty", b"");
    write("secret", b"SECRET");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, meter) = (listener.local_addr().unwrap(), Arc::new(HttpMeter::default()));
    let (stop, stopped) = oneshot::channel();
    let mock = Arc::new(Mock::new(&root, ""));
    let clock = Arc::new(AtomicU64::new(0));
    let time = clock.clone();
    let now = move || time.load(Ordering::Relaxed);
    let ended = tokio::spawn(serve_machines_by(Box::new(now), listener, mock, meter.clone(), Arc::new(|_| ()), async {
        let _ = stopped.await;
    }));
    Seed { dir, address, meter, chunk, stop: Some(stop), clock, ended }
}

impl Seed {
    /// Until nothing is trusted any more without a look at the disk.
    fn wait_a_second(&self) {
        self.clock.fetch_add(1_000, Ordering::Relaxed);
    }
}

struct Answer {
    status: u16,
    /// Sorted, without the date and the request's id.
    headers: Vec<String>,
    body: Vec<u8>,
    id: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        let of = |h: &'_ String| h.split_once(": ").is_some_and(|(n, _)| n.eq_ignore_ascii_case(name));
        self.headers.iter().find(|h| of(h)).and_then(|h| h.split_once(": ")).map_or("", |(_, value)| value)
    }
}

struct Client(BufStream<TcpStream>);

impl Client {
    async fn new(seed: &Seed) -> Self {
        Client(BufStream::new(TcpStream::connect(seed.address).await.unwrap()))
    }

    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    async fn read(&mut self) -> Answer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let all: Vec<String> = lines.map(str::to_owned).collect();
        assert_eq!(all.iter().filter(|l| l.starts_with("Date: ")).count(), 1, "{all:?}");
        let id = all.iter().find_map(|l| l.strip_prefix("X-Request-Id: ")).unwrap().to_owned();
        let varies = |l: &&String| l.starts_with("Date: ") || l.starts_with("X-Request-Id: ");
        let mut headers: Vec<String> = all.iter().filter(|l| !varies(l)).cloned().collect();
        headers.sort();
        let mut answer = Answer { status, headers, body: Vec::new(), id };
        let len = answer.header("content-length").parse().unwrap_or(0);
        answer.body = vec![0; len];
        if status != 304 {
            self.0.read_exact(&mut answer.body).await.unwrap();
        }
        answer
    }

    async fn get(&mut self, path: &str, more: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: seed\r\n{more}\r\n")).await;
        self.read().await
    }
}

#[tokio::test]
async fn shim_finds_what_is_behind_it() {
    let answer = Client::new(&seed()).await.get("/boot//vmlinuz", "").await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"kernel"[..]));
}

/// GRUB finds the length of a file in no other spelling, from the router, from the cache, and from the general server.
#[tokio::test]
async fn grub_finds_the_length() {
    let seed = seed();
    for more in ["", "", "Expect: 100-continue\r\n"] {
        let answer = Client::new(&seed).await.get("/darksite/current/dists/trixie/Release", more).await;
        assert!(answer.status == 200 && answer.headers.iter().any(|h| h == "Content-Length: 13"), "{:?}", answer.headers);
    }
    let answer = Client::new(&seed).await.get("/boot/ipxe?mac=52:54:00:12:34:56", "").await;
    assert!(answer.status == 200 && answer.headers.iter().any(|h| h.starts_with("Content-Length: ")), "{:?}", answer.headers);
}

#[tokio::test]
async fn the_cache_says_what_the_router_says() {
    let seed = seed();
    let mut client = Client::new(&seed).await;
    let chunk = format!("/chunks/{}", seed.chunk);
    for (path, body) in [
        ("/darksite/current/dists/trixie/Release", b"Origin: test\n".to_vec()),
        ("/darksite/current/large", bytes(LARGE)),
        ("/darksite/current/empty", Vec::new()),
        (chunk.as_str(), b"0123456789".to_vec()),
        ("/boot/vmlinuz", b"kernel".to_vec()),
    ] {
        let first = client.get(path, "").await;
        let second = client.get(path, "").await;
        assert_eq!((first.status, second.status), (200, 200), "{path}");
        assert!(first.body == body && second.body == body, "{path}");
        assert_eq!(first.headers, second.headers, "{path}");
        assert!(first.id.len() == 16 && first.id != second.id);
        assert_eq!(first.header("x-content-type-options"), "nosniff");
        // A condition and a range, answered from the cache and, on another seed, by the router.
        let fresh = self::seed();
        let mut other = Client::new(&fresh).await;
        let tag = first.header("etag").to_owned();
        for (more, status) in [
            (format!("If-None-Match: {tag}\r\n"), 304),
            ("Range: bytes=1-3\r\n".to_owned(), if body.is_empty() { 416 } else { 206 }),
            ("Range: bytes=99999999-\r\n".to_owned(), 416),
            ("Range: bytes=0-1,3-4\r\n".to_owned(), 200),
        ] {
            let (ours, theirs) = (client.get(path, &more).await, other.get(path, &more.replace(&tag, "*")).await);
            assert_eq!((ours.status, theirs.status), (status, status), "{path} {more}");
            assert!(ours.body == theirs.body, "{path} {more}");
            let no_tag = |a: &Answer| {
                a.headers.iter().filter(|h| !h.starts_with("Etag") && !h.starts_with("Last-M")).cloned().collect::<Vec<_>>()
            };
            assert_eq!(no_tag(&ours), no_tag(&theirs), "{path} {more}");
            if status == 206 {
                assert_eq!(ours.body, body[1..4], "{path}");
            }
        }
    }
}

#[tokio::test]
async fn requests_follow_each_other_whatever_they_are() {
    let seed = seed();
    let mut client = Client::new(&seed).await;
    let large = "GET /darksite/current/large HTTP/1.1\r\n\r\n";
    let hello =
        format!("POST /api/v1/agent/hello HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n{{{large}");
    // Pipelined: a body that ends where the next request begins.
    client.send(&format!("{large}{hello}GET /nothing HTTP/1.1\r\n\r\n")).await;
    assert!(client.read().await.body == bytes(LARGE));
    let refused = client.read().await;
    assert_eq!(refused.status, 400);
    assert!(String::from_utf8(refused.body).unwrap().contains(&refused.id));
    assert!(client.read().await.body == bytes(LARGE));
    assert_eq!(client.read().await.status, 404);
    // Names that want out are refused as ever.
    for path in
        ["/darksite/current/../secret", "/darksite/current/%2e%2e/secret", "/boot/..%2fsecret", "/chunks/..", "/media/x.iso"]
    {
        assert_eq!(client.get(path, "").await.status, 404, "{path}");
    }
    // What is not plain goes to the general server, and everything after it, too.
    client
        .send("HEAD /darksite/current/large HTTP/1.1\r\nHost: seed\r\n\r\nGET /boot/vmlinuz HTTP/1.1\r\nHost: seed\r\n\r\n")
        .await;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.0.read_u8().await.unwrap());
    }
    assert!(String::from_utf8(head).unwrap().contains(&format!("Content-Length: {LARGE}")));
    assert_eq!(client.read().await.body, b"kernel");
    assert_eq!(client.get("/darksite/current/large", "").await.body.len(), LARGE);
}

#[tokio::test]
async fn close_means_close_and_noise_gets_an_answer() {
    let seed = seed();
    let mut client = Client::new(&seed).await;
    let answer = client.get("/boot/vmlinuz", "Connection: close\r\n").await;
    assert_eq!((answer.header("connection"), answer.body.as_slice()), ("close", &b"kernel"[..]));
    assert_eq!(client.0.read(&mut [0]).await.unwrap(), 0);
    for noise in ["\u{16}\u{3}\u{1} TLS\r\n\r\n", "GET / HTTP/9.9\r\n\r\n"] {
        let mut rude = Client::new(&seed).await;
        rude.send(noise).await;
        let mut said = Vec::new();
        let _ = rude.0.read_to_end(&mut said).await;
        assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 400"), "{said:?}");
    }
    let mut long = Client::new(&seed).await;
    long.send(&format!("GET /boot/vmlinuz HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(20_000))).await;
    assert_eq!(long.read().await.body, b"kernel", "the general server takes longer heads");
}

#[tokio::test]
async fn a_file_that_was_replaced_is_noticed() {
    let seed = seed();
    let mut client = Client::new(&seed).await;
    let path = "/darksite/current/dists/trixie/Release";
    for _ in 0..2 {
        assert_eq!(client.get(path, "").await.body, b"Origin: test\n");
    }
    let file = seed.dir.path().join("snapshot/dists/trixie/Release");
    fs::write(file.with_extension("new"), b"Origin: other\n").unwrap();
    fs::rename(file.with_extension("new"), &file).unwrap();
    seed.clock.fetch_add(999, Ordering::Relaxed);
    assert_eq!(client.get(path, "").await.body, b"Origin: test\n", "trusted for a second");
    seed.clock.fetch_sub(999, Ordering::Relaxed);
    seed.wait_a_second();
    assert_eq!(client.get(path, "").await.body, b"Origin: other\n");
    fs::remove_file(&file).unwrap();
    seed.wait_a_second();
    assert_eq!(client.get(path, "").await.status, 404);
}

#[tokio::test]
async fn answers_are_counted_and_a_stop_ends_idle_connections() {
    let mut seed = seed();
    let mut client = Client::new(&seed).await;
    let chunk = format!("/chunks/{}", seed.chunk);
    for _ in 0..3 {
        client.get(&chunk, "").await;
    }
    client.get(&chunk, "Range: bytes=0-3\r\n").await;
    let counted: Vec<_> = seed.meter.requests().filter(|r| r.2 > 0).collect();
    assert_eq!(counted, [("chunks", "2xx", 4)]);
    assert_eq!(seed.meter.bytes().find(|b| b.0 == "chunks"), Some(("chunks", 34)));
    seed.stop.take().unwrap().send(()).unwrap();
    assert_eq!(client.0.read(&mut [0]).await.unwrap(), 0, "an idle connection is closed");
    seed.ended.await.unwrap().unwrap();
    assert!(TcpStream::connect(seed.address).await.is_err());
}

#[tokio::test]
async fn what_is_opened_here_is_what_the_router_finds() {
    use std::os::unix::fs::symlink;
    let seed = seed();
    let (top, snapshot) = (seed.dir.path(), seed.dir.path().join("snapshot"));
    fs::create_dir_all(snapshot.join("pool/g++")).unwrap();
    for name in ["g++_4:14_amd64.deb", "Packages.xz", "proof.json", "Release.gpg"] {
        fs::write(snapshot.join("pool/g++").join(name), name).unwrap();
    }
    symlink("dists", snapshot.join("inside")).unwrap();
    symlink("dists/trixie/Release", snapshot.join("link")).unwrap();
    symlink(top.join("secret"), snapshot.join("outside")).unwrap();
    symlink("../secret", snapshot.join("up")).unwrap();
    symlink("loop", snapshot.join("loop")).unwrap();
    nix::unistd::mkfifo(&snapshot.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let id = Digest::of(b"snapshot");
    let mut client = Client::new(&seed).await;
    let chunk = format!("/chunks/{}", seed.chunk);
    let below = [
        "dists/trixie/Release",
        "pool/g++/g++_4:14_amd64.deb",
        "pool/g%2b%2b/g++_4%3a14_amd64.deb",
        "pool/g++/Packages.xz",
        "pool/g++/proof.json",
        "pool/g++/Release.gpg",
        "large",
        "empty",
        "inside/trixie/Release",
        "link",
        "outside",
        "up",
        "loop",
        "fifo",
        "pool",
        "pool/",
        "pool/g++/",
        "pool/nothing",
        "large/x",
        "../secret",
        "pool/../large",
        "%2e%2e/secret",
        "pool%2fg++",
        "",
    ];
    let current = below.iter().map(|p| format!("/darksite/current/{p}"));
    let named = below.iter().map(|p| format!("/darksite/{id}/{p}"));
    let others = ["/darksite/nothing/large", "/darksite/extras/x", "/chunks/x", "/chunks/", chunk.as_str()];
    let strange = format!("/darksite/{}/large", Digest::of(b"no such snapshot"));
    for path in current.chain(named).chain(others.map(str::to_owned)).chain([strange]) {
        // A query makes no difference to the router, and keeps everybody else from answering.
        let (ours, theirs) = (client.get(&path, "").await, client.get(&format!("{path}?"), "").await);
        assert_eq!(ours.status, theirs.status, "{path}");
        assert_eq!(ours.headers, theirs.headers, "{path}");
        let same = ours.body == theirs.body || String::from_utf8_lossy(&ours.body).contains(&ours.id);
        assert!(same, "{path}");
        assert!(!ours.body.windows(6).any(|w| w == b"SECRET"), "{path}");
    }
}

#[tokio::test]
async fn a_snapshot_that_appears_or_goes_is_noticed() {
    let seed = seed();
    let mut client = Client::new(&seed).await;
    let (dir, away) = (seed.dir.path().join("snapshot"), seed.dir.path().join("away"));
    assert_eq!(client.get("/darksite/current/empty", "").await.status, 200);
    fs::rename(&dir, &away).unwrap();
    seed.wait_a_second();
    for path in ["/darksite/current/empty", "/darksite/current/dists/trixie/Release"] {
        assert_eq!(client.get(path, "").await.status, 404, "{path}");
    }
    fs::rename(&away, &dir).unwrap();
    seed.wait_a_second();
    assert_eq!(client.get("/darksite/current/dists/trixie/Release", "").await.status, 200);
}
