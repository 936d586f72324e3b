//! `GET /metrics` on the metrics plane, one connection at a time.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;

use super::shared::{Shared, locked};
use crate::metrics;

/// Most bytes of a request's head.
const MAX_REQUEST: usize = 4096;
/// Most reads for one head: a client that sends it byte by byte is let go.
const MAX_READS: usize = 64;
/// Longest wait for one read or write.
const LIMIT: Duration = Duration::from_secs(2);
/// Between two attempts to listen: the plane may come up later.
const RETRY: Duration = Duration::from_secs(2);

/// Listens on a thread of its own, from when the address exists.
pub(super) fn start(shared: Shared, address: SocketAddr) -> anyhow::Result<()> {
    let run = move || loop {
        match TcpListener::bind(address) {
            Ok(listener) => listener.incoming().filter_map(Result::ok).for_each(|stream| {
                if let Err(e) = answer(stream, &shared) {
                    tracing::debug!(error = %e, "answering a scrape");
                }
            }),
            Err(e) => tracing::debug!(%address, error = %e, "waiting for the address"),
        }
        thread::sleep(RETRY);
    };
    thread::Builder::new().name("metrics".to_owned()).spawn(run).context("starting a thread")?;
    Ok(())
}

fn answer(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let (status, body) = match head(&mut stream)?.as_deref() {
        Some("/metrics") => {
            let state = locked(shared);
            ("200 OK", metrics::text(&state.header, &state.book))
        }
        Some(_) => ("404 Not Found", "only /metrics is here\n".to_owned()),
        None => ("400 Bad Request", "only GET is understood\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

/// The path of a GET request; `None` for anything else.
fn head(stream: &mut impl Read) -> std::io::Result<Option<String>> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 1024]);
    for _ in 0..MAX_READS {
        let n = stream.read(&mut buffer)?;
        bytes.extend_from_slice(&buffer[..n]);
        if bytes.windows(4).any(|w| w == b"\r\n\r\n") {
            return Ok(path(&bytes));
        }
        if n == 0 || bytes.len() > MAX_REQUEST {
            break;
        }
    }
    Ok(None)
}

fn path(head: &[u8]) -> Option<String> {
    let line = head.split(|b| *b == b'\r').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let (method, path, version) = (words.next()?, words.next()?, words.next()?);
    let path = path.split('?').next()?;
    (method == "GET" && version.starts_with("HTTP/1.")).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn only_a_get_has_a_path() {
        for (text, wanted) in [
            ("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", Some("/metrics")),
            ("GET /metrics?x=1 HTTP/1.0\r\n\r\n", Some("/metrics")),
            ("POST /metrics HTTP/1.1\r\n\r\n", None),
            ("GET /metrics\r\n\r\n", None),
            ("\r\n\r\n", None),
            ("GET /metrics HTTP/1.1\r\n", None),
        ] {
            assert_eq!(head(&mut text.as_bytes()).unwrap().as_deref(), wanted, "{text}");
        }
    }

    #[test]
    fn a_head_has_a_limit() {
        let of = |n: usize| {
            let start = "GET /metrics HTTP/1.1\r\nX: ";
            format!("{start}{}\r\n\r\n", "a".repeat(n - start.len() - 4))
        };
        assert!(head(&mut of(MAX_REQUEST).as_bytes()).unwrap().is_some());
        assert!(head(&mut of(MAX_REQUEST + 2048).as_bytes()).unwrap().is_none());
    }

    #[test]
    fn a_scrape_is_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Shared::default();
        let thread = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || answer(listener.accept().unwrap().0, &shared).unwrap())
        };
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        thread.join().unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("\nkubedos_flow_counting 1\n"), "{text}");
    }
}
