//! A hostile mirror: relays the real one, but modifies or truncates chosen files.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::api::http_agent;
use crate::tool;

/// Connections that may be open at once, and the largest file it relays.
const MAX_CONNECTIONS: usize = 32;
const MAX_FILE: u64 = 256 << 20;
/// Longest request line or header read.
const MAX_HEAD: u64 = 16 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// One byte of every package index is another.
    ChangedIndex,
    /// One byte of every package is another.
    ChangedPackage,
    /// Every package ends half-way.
    StopsHalfWay,
}

/// The mirror, on 127.0.0.1; it stops when dropped.
#[derive(Debug)]
pub struct Liar {
    pub url: String,
    stop: Arc<AtomicBool>,
}

impl Liar {
    pub fn start(lie: Lie) -> Result<Self> {
        let upstream = upstream()?;
        let listener = TcpListener::bind("127.0.0.1:0").context("opening the hostile mirror's socket")?;
        let url = format!("http://{}", listener.local_addr().context("asking for an address")?);
        listener.set_nonblocking(true).context("preparing the hostile mirror")?;
        let stop = Arc::new(AtomicBool::new(false));
        let (flag, open) = (Arc::clone(&stop), Arc::new(AtomicUsize::new(0)));
        std::thread::spawn(move || {
            while !flag.load(Ordering::Relaxed) {
                let Ok((stream, _)) = listener.accept() else {
                    std::thread::sleep(Duration::from_millis(20));
                    continue;
                };
                if open.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
                    open.fetch_sub(1, Ordering::Relaxed);
                    continue;
                }
                let (upstream, open) = (upstream.clone(), Arc::clone(&open));
                std::thread::spawn(move || {
                    // A client that disconnects is not an error.
                    let _ = serve(stream, &upstream, lie);
                    open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Ok(Liar { url, stop })
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The Debian mirror that this machine's apt uses.
pub fn upstream() -> Result<String> {
    let text = tool::run(&["apt-get", "indextargets", "--format", "$(LABEL)|$(REPO_URI)", "Created-By: Packages"])?;
    let found = text.lines().find_map(|l| l.strip_prefix("Debian|")).map(|u| u.trim_end_matches('/').to_owned());
    found.context("apt on this machine knows no Debian mirror")
}

fn serve(mut stream: TcpStream, upstream: &str, lie: Lie) -> Result<()> {
    stream.set_nonblocking(false).context("preparing a connection")?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).context("limiting a connection")?;
    let mut reader = BufReader::new(stream.try_clone().context("sharing a connection")?.take(MAX_HEAD));
    let mut request = String::new();
    reader.read_line(&mut request).context("reading a request")?;
    let mut header = String::new();
    while reader.read_line(&mut header).context("reading headers")? > 2 {
        header.clear();
    }
    let path = request.split(' ').nth(1).context("no path")?;
    if !request.starts_with("GET ") {
        return stream.write_all(b"HTTP/1.1 405 no\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").context("answering");
    }
    let mut answer = http_agent(Duration::from_secs(120)).get(format!("{upstream}{path}")).call().context("asking upstream")?;
    let status = answer.status().as_u16();
    let mut body = answer.body_mut().with_config().limit(MAX_FILE).read_to_vec().context("reading upstream")?;
    let length = body.len();
    if status == 200 {
        distort(path, &mut body, lie);
    }
    let head = format!("HTTP/1.1 {status} answer\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).context("answering")?;
    if stream.write_all(&body).is_err() {
        bail!("the client hung up");
    }
    Ok(())
}

fn distort(path: &str, body: &mut Vec<u8>, lie: Lie) {
    let (index, package) = (path.contains("/binary-"), path.ends_with(".deb"));
    let middle = body.len() / 2;
    match lie {
        Lie::StopsHalfWay if package => body.truncate(middle),
        Lie::ChangedIndex if index => body.iter_mut().skip(middle).take(1).for_each(|b| *b ^= 1),
        Lie::ChangedPackage if package => body.iter_mut().skip(middle).take(1).for_each(|b| *b ^= 1),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_of_this_machine_is_known() {
        if tool::find("apt-get").is_none() {
            kubedos_skip::skip("apt-get", "is not installed");
            return;
        }
        match upstream() {
            Ok(url) => assert!(url.contains("://") && !url.ends_with('/') && !url.contains("security"), "{url}"),
            Err(error) => kubedos_skip::skip("apt-sources", error),
        }
    }

    #[test]
    fn only_the_chosen_files_are_modified() {
        let (index, package) = ("/dists/trixie/main/binary-amd64/Packages.xz", "/pool/main/h/hello/hello_1_amd64.deb");
        let table = [
            (Lie::ChangedIndex, index, true),
            (Lie::ChangedIndex, package, false),
            (Lie::ChangedPackage, package, true),
            (Lie::ChangedPackage, "/dists/trixie/InRelease", false),
            (Lie::StopsHalfWay, package, true),
            (Lie::StopsHalfWay, index, false),
        ];
        for (lie, path, changed) in table {
            let mut body = b"0123456789".to_vec();
            distort(path, &mut body, lie);
            assert_eq!(body != b"0123456789", changed, "{lie:?} {path}");
        }
    }
}
