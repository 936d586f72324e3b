//! A registry on 127.0.0.1 that wants a token for every repository, as those on the internet do.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use cluster_seed::ids::Digest;
use serde_json::json;

use super::images::tar_of;

const INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

#[derive(Default)]
pub struct State {
    /// By path; media type and bytes.
    files: Mutex<BTreeMap<String, (String, Vec<u8>)>>,
    /// Uses that are left of each token.
    tokens: Mutex<BTreeMap<String, usize>>,
    issued: AtomicUsize,
    /// Requests that were answered with a file, with their first byte.
    pub served: Mutex<Vec<(String, usize)>>,
    /// So many of the next blobs end after half of their bytes.
    pub cuts: AtomicUsize,
    /// Uses of a new token.
    pub uses: AtomicUsize,
    stop: AtomicBool,
}

pub struct Registry {
    pub url: String,
    pub state: Arc<State>,
    address: SocketAddr,
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

impl Registry {
    pub fn start() -> Registry {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State { uses: AtomicUsize::new(1000), ..State::default() });
        let registry = Registry { url: format!("http://{address}"), state: state.clone(), address };
        let url = registry.url.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if state.stop.load(Ordering::SeqCst) {
                    return;
                }
                let (state, url) = (state.clone(), url.clone());
                // A client may disconnect at any time.
                std::thread::spawn(move || answer(stream, &state, &url));
            }
        });
        registry
    }

    pub fn put(&self, path: &str, kind: &str, bytes: &[u8]) {
        self.state.files.lock().unwrap().insert(path.to_owned(), (kind.to_owned(), bytes.to_vec()));
    }

    /// Adds an image for two platforms, of which only the manifest of linux/amd64 is there; returns the digest of its index.
    pub fn image(&self, name: &str, tag: &str) -> Digest {
        let manifest = self.manifest(name, &"world ".repeat(4000));
        let other = Digest::of(name.as_bytes());
        let platform = |digest: &Digest, size: usize, arch: &str| {
            json!({"mediaType": MANIFEST, "digest": format!("sha256:{digest}"), "size": size,
                "platform": {"os": "linux", "architecture": arch}})
        };
        let list = [platform(&other, 7, "arm64"), platform(&manifest.0, manifest.1, "amd64")];
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": list}).to_string();
        self.document(name, Some(tag), INDEX, index.as_bytes())
    }

    fn manifest(&self, name: &str, content: &str) -> (Digest, usize) {
        let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}, "x": name});
        let layer = tar_of(&[(name, content.as_bytes(), b'0', "")]);
        let blob = |bytes: &[u8], kind: &str| {
            let digest = Digest::of(bytes);
            self.put(&format!("/v2/{name}/blobs/sha256:{digest}"), "application/octet-stream", bytes);
            json!({"mediaType": kind, "digest": format!("sha256:{digest}"), "size": bytes.len()})
        };
        let config = blob(config.to_string().as_bytes(), "application/vnd.docker.container.image.v1+json");
        let layer = blob(&layer, "application/vnd.docker.image.rootfs.diff.tar.gzip");
        let text = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}).to_string();
        (self.document(name, None, MANIFEST, text.as_bytes()), text.len())
    }

    /// Adds a manifest or an index by its digest, and by a tag.
    pub fn document(&self, name: &str, tag: Option<&str>, kind: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        self.put(&format!("/v2/{name}/manifests/sha256:{digest}"), kind, bytes);
        if let Some(tag) = tag {
            self.put(&format!("/v2/{name}/manifests/{tag}"), kind, bytes);
        }
        digest
    }

    /// How often files whose path contains `part` were served.
    pub fn served(&self, part: &str) -> usize {
        self.state.served.lock().unwrap().iter().filter(|(path, _)| path.contains(part)).count()
    }
}

fn answer(stream: TcpStream, state: &State, url: &str) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut out = stream;
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or("/").to_owned();
    let (mut token, mut first) = (String::new(), 0);
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
            break;
        }
        let (name, value) = header.split_once(':').unwrap_or((&header, ""));
        match name.to_ascii_lowercase().as_str() {
            "authorization" => token = value.trim().trim_start_matches("Bearer ").to_owned(),
            "range" => first = value.trim().trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap_or(0),
            _ => {}
        }
    }
    if let Some(query) = path.strip_prefix("/token?service=fake&scope=") {
        let token = format!("{}.{query}", state.issued.fetch_add(1, Ordering::SeqCst));
        state.tokens.lock().unwrap().insert(token.clone(), state.uses.load(Ordering::SeqCst));
        return respond(&mut out, "200 OK", "Content-Type: application/json\r\n", json!({"token": token}).to_string().as_bytes());
    }
    let repository = path.trim_start_matches("/v2/").split("/manifests/").next().and_then(|p| p.split("/blobs/").next());
    let scope = format!("repository:{}:pull", repository.unwrap_or_default());
    let good = match state.tokens.lock().unwrap().get_mut(&token) {
        Some(left) if *left > 0 && token.ends_with(&format!(".{scope}")) => {
            *left -= 1;
            true
        }
        _ => false,
    };
    if !good {
        let challenge = format!("WWW-Authenticate: Bearer realm=\"{url}/token\",service=\"fake\",scope=\"{scope}\"\r\n");
        return respond(&mut out, "401 Unauthorized", &challenge, b"{}");
    }
    let Some((kind, bytes)) = state.files.lock().unwrap().get(&path).cloned() else {
        return respond(&mut out, "404 Not Found", "", b"{}");
    };
    state.served.lock().unwrap().push((path.clone(), first));
    let rest = &bytes[first.min(bytes.len())..];
    let (status, range) = match first {
        0 => ("200 OK", String::new()),
        _ => ("206 Partial Content", format!("Content-Range: bytes {first}-{}/{}\r\n", bytes.len() - 1, bytes.len())),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{range}Content-Length: {}\r\nConnection: close\r\n\r\n",
        rest.len()
    );
    let cut =
        path.contains("/blobs/") && state.cuts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
    out.write_all(head.as_bytes())?;
    out.write_all(if cut { &rest[..rest.len() / 2] } else { rest })
}

fn respond(out: &mut TcpStream, status: &str, headers: &str, body: &[u8]) -> std::io::Result<()> {
    write!(out, "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    out.write_all(body)
}
