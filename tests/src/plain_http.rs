//! HTTP/1.1 (RFC 9112) from an address of the machine's own: the seed counts what each address does. One request per connection.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::api::Answer;

const PATIENCE: Duration = Duration::from_secs(60);
/// Most bytes of an answer: the peer list of a large site is the largest one.
const MAX_ANSWER: u64 = 16 << 20;

/// Sends one request from `source` to the seed. Without a body it is a GET, otherwise a POST of JSON.
pub fn ask(source: Ipv4Addr, seed: SocketAddr, path: &str, body: Option<&[u8]>) -> Result<Answer> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).context("making a socket")?;
    socket.bind(&SocketAddr::from((source, 0)).into()).with_context(|| format!("using {source}"))?;
    socket.connect_timeout(&seed.into(), PATIENCE).with_context(|| format!("reaching {seed}"))?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).context("limiting a read")?;
    stream.write_all(&request(seed, path, body)).with_context(|| format!("asking {path}"))?;
    let mut bytes = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut bytes).with_context(|| format!("reading the answer to {path}"))?;
    answer(&bytes).with_context(|| format!("reading the answer to {path}"))
}

fn request(seed: SocketAddr, path: &str, body: Option<&[u8]>) -> Vec<u8> {
    let method = if body.is_some() { "POST" } else { "GET" };
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {seed}\r\nConnection: close\r\n");
    if let Some(body) = body {
        text.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
    }
    let mut bytes = (text + "\r\n").into_bytes();
    bytes.extend_from_slice(body.unwrap_or_default());
    bytes
}

fn answer(bytes: &[u8]) -> Result<Answer> {
    let end = memchr::memmem::find(bytes, b"\r\n\r\n").context("no end of the head")?;
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    ensure!(!head.contains("transfer-encoding"), "a coding that this client does not know");
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).context("no status")?;
    let body = &bytes[end + 4..];
    let length = head.lines().find_map(|l| l.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    ensure!(length.is_none_or(|length| length == body.len()), "{} bytes of {length:?}", body.len());
    let text = String::from_utf8_lossy(body).into_owned();
    Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whole_or_not_at_all() {
        let good = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"a\": 12}";
        let read = answer(good).unwrap();
        assert_eq!((read.status, &read.body["a"]), (200, &serde_json::json!(12)));
        assert!(answer(&good[..good.len() - 1]).is_err(), "a body that was cut");
        assert!(answer(b"HTTP/1.1 200 OK\r\n").is_err());
        assert!(answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").is_err());
        assert_eq!(answer(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().status, 204);
        let seed = "10.44.0.1:80".parse().unwrap();
        assert!(request(seed, "/x", None).starts_with(b"GET /x HTTP/1.1\r\nHost: 10.44.0.1:80\r\n"));
        assert!(request(seed, "/x", Some(b"{}")).ends_with(b"Content-Length: 2\r\n\r\n{}"));
    }
}
