//! Heads of HTTP/1.1 requests and answers, as bytes (RFC 9112). Pure.

use std::ops::Range;

use axum::http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING, UPGRADE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, Uri};

/// Most header lines of a request; one with more goes to the general server.
const MAX_HEADERS: usize = 64;
/// Paths of files that never change.
const CACHED: [&str; 2] = ["/darksite/", "/chunks/"];

/// What the next bytes of a connection are.
#[derive(Debug)]
pub(crate) enum Read {
    /// An incomplete head.
    More,
    /// Something for the general server.
    Other,
    Request(Head),
}

/// A complete head.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    /// Bytes of the head.
    pub(crate) length: usize,
    /// Bytes of the body that follows.
    pub(crate) body: usize,
    pub(crate) close: bool,
}

impl Head {
    /// The path, if its answer may come from the cache: proofs and extras change under their names.
    pub(crate) fn cached_path(&self) -> Option<&str> {
        let plain = self.method == Method::GET && !self.target.contains(['?', '#']);
        let lasting = !self.target.starts_with("/darksite/extras/") && !self.target.ends_with("/proof.json");
        (plain && lasting && CACHED.iter().any(|p| self.target.starts_with(p))).then_some(self.target.as_str())
    }

    pub(crate) fn uri(&self) -> Option<Uri> {
        self.target.parse().ok()
    }
}

/// Reads a head; `max_body` is the longest body accepted here, in bytes.
pub(crate) fn read(bytes: &[u8], max_body: usize) -> Read {
    let mut lines = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut lines);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Read::More,
        Err(_) => return Read::Other,
    };
    head(&request, length, max_body).map_or(Read::Other, Read::Request)
}

/// For the fuzzer: lengths of the head and the body of a request that is accepted here.
pub fn read_head(bytes: &[u8]) -> Option<(usize, usize)> {
    match read(bytes, crate::limits::MAX_AGENT_BODY) {
        Read::Request(head) => Some((head.length, head.body)),
        Read::More | Read::Other => None,
    }
}

fn head(request: &httparse::Request<'_, '_>, length: usize, max_body: usize) -> Option<Head> {
    let method = match request.method? {
        "GET" => Method::GET,
        "POST" => Method::POST,
        _ => return None,
    };
    let target = request.path.filter(|p| p.starts_with('/'))?;
    if request.version != Some(1) {
        return None;
    }
    let mut headers = HeaderMap::with_capacity(request.headers.len());
    for line in request.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(line.value).ok()?);
    }
    // Anything that makes the length of the body ambiguous is not answered here (RFC 9112 section 6).
    if headers.contains_key(TRANSFER_ENCODING) || headers.contains_key(EXPECT) || headers.contains_key(UPGRADE) {
        return None;
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let body = match (lengths.next(), lengths.next()) {
        (None, _) => 0,
        (Some(one), None) => number(one.as_bytes())?,
        _ => return None,
    };
    if body > max_body || (method == Method::GET && body > 0) {
        return None;
    }
    let lines = headers.get_all(CONNECTION).iter().filter_map(|v| v.to_str().ok());
    let tokens: Vec<&str> = lines.flat_map(|v| v.split(',')).map(str::trim).collect();
    let close = tokens.iter().any(|t| t.eq_ignore_ascii_case("close"));
    if tokens.iter().any(|t| !["close", "keep-alive", ""].iter().any(|k| t.eq_ignore_ascii_case(k))) {
        return None;
    }
    Some(Head { method, target: target.to_owned(), length, body, close, headers })
}

/// Only digits: signs and spaces are how requests are smuggled.
fn number(text: &[u8]) -> Option<usize> {
    let digits = !text.is_empty() && text.len() <= 12 && text.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()
}

/// Status line and headers, without the final empty line. The length comes first: shim 16.0 fails if it is not the first header.
pub(crate) fn write<B>(response: &Response<B>) -> Vec<u8> {
    let status = response.status();
    let mut out = Vec::with_capacity(512);
    out.extend(format!("HTTP/1.1 {} {}\r\n", status.as_u16(), status.canonical_reason().unwrap_or("")).bytes());
    let length = response.headers().get(CONTENT_LENGTH).map(|value| (&CONTENT_LENGTH, value));
    let others = response.headers().iter().filter(|(name, _)| *name != CONNECTION && *name != CONTENT_LENGTH);
    for (name, value) in length.into_iter().chain(others) {
        title_case(name.as_str(), &mut out);
        out.extend(b": ");
        out.extend(value.as_bytes());
        out.extend(b"\r\n");
    }
    out
}

/// Writes a header name in title case, as `Content-Length`: GRUB's HTTP client accepts no other spelling
/// (grub-core/net/http.c compares bytes), and waits for the end of the connection if it finds no length.
fn title_case(name: &str, out: &mut Vec<u8>) {
    let mut first = true;
    out.extend(name.bytes().map(|b| {
        let b = if first { b.to_ascii_uppercase() } else { b };
        first = b == b'-';
        b
    }));
}

/// Removes the bytes that were used up from a buffer.
pub(crate) fn rest(buffer: &mut Vec<u8>, range: Range<usize>) {
    buffer.drain(range);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 100;

    fn is(text: &str) -> &'static str {
        match read(text.as_bytes(), MAX) {
            Read::More => "more",
            Read::Other => "other",
            Read::Request(_) => "request",
        }
    }

    #[test]
    fn plain_requests_are_taken_and_all_doubt_is_left_to_the_general_server() {
        let get = |rest: &str| format!("GET /chunks/ab HTTP/1.1\r\nHost: seed\r\n{rest}\r\n");
        let post = |rest: &str| format!("POST /api/v1/agent/hello HTTP/1.1\r\nHost: seed\r\n{rest}\r\n");
        for (text, kind) in [
            (get(""), "request"),
            (get("Range: bytes=0-1\r\nConnection: keep-alive\r\n"), "request"),
            (get("Connection: close\r\n"), "request"),
            (get("Content-Length: 0\r\n"), "request"),
            (get("Content-Length: 1\r\n"), "other"),
            (get("Connection: upgrade\r\n"), "other"),
            (get("Upgrade: websocket\r\n"), "other"),
            (get("Transfer-Encoding: chunked\r\n"), "other"),
            (post("Content-Length: 100\r\n"), "request"),
            (post("Content-Length: 101\r\n"), "other"),
            (post("Content-Length: +5\r\n"), "other"),
            (post("Content-Length: 5\r\nContent-Length: 5\r\n"), "other"),
            (post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), "other"),
            (post("Content-Length: 5, 5\r\n"), "other"),
            (post("Expect: 100-continue\r\nContent-Length: 5\r\n"), "other"),
            (get("").replace("HTTP/1.1", "HTTP/1.0"), "other"),
            (get("").replace("GET", "HEAD"), "other"),
            (get("").replace("/chunks", "http://seed/chunks"), "other"),
            (get("")[..20].to_owned(), "more"),
            (get("").replace("Host: seed", "Host : seed"), "other"),
            (get(&"A: b\r\n".repeat(MAX_HEADERS)), "other"),
            ("\u{16}\u{3}\u{1}".to_owned(), "other"),
            (String::new(), "more"),
        ] {
            assert_eq!(is(&text), kind, "{text:?}");
        }
    }

    #[test]
    fn the_length_is_the_first_header_and_stands_there_once() {
        let mut response = Response::new(());
        for (name, value) in [("etag", "x"), ("connection", "close"), ("content-length", "7"), ("content-type", "text/plain")] {
            response.headers_mut().append(name, value.parse().unwrap());
        }
        let text = String::from_utf8(write(&response)).unwrap();
        assert_eq!(text, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nEtag: x\r\nContent-Type: text/plain\r\n");
    }

    #[test]
    fn a_head_ends_where_the_next_request_begins() {
        let text = "POST /a HTTP/1.1\r\nContent-Length: 3\r\nConnection: Close\r\n\r\nabcGET /b HTTP/1.1\r\n\r\n";
        let Read::Request(head) = read(text.as_bytes(), MAX) else { panic!() };
        assert_eq!((head.target.as_str(), head.body, head.close), ("/a", 3, true));
        assert_eq!(&text[head.length + head.body..], "GET /b HTTP/1.1\r\n\r\n");
        let Read::Request(next) = read(&text.as_bytes()[head.length + 3..], MAX) else { panic!() };
        assert_eq!((next.target.as_str(), next.close), ("/b", false));
    }

    #[test]
    fn only_files_that_never_change_come_from_the_cache() {
        for (target, cached) in [
            ("/darksite/current/dists/trixie/Release", true),
            ("/chunks/ab", true),
            ("/chunks/ab?x", false),
            ("/boot/vmlinuz", false),
            ("/api/v1/peers", false),
            ("/media/seed-ab.iso", false),
        ] {
            let Read::Request(head) = read(format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes(), MAX) else { panic!() };
            assert_eq!(head.cached_path().is_some(), cached, "{target}");
        }
    }

    #[test]
    fn no_cut_and_no_flipped_bit_harms() {
        let text = b"POST /chunks/ab HTTP/1.1\r\nContent-Length: 3\r\nRange: bytes=0-1\r\n\r\nabc".to_vec();
        for at in 0..text.len() {
            let _ = read(&text[..at], MAX);
            for bit in 0..8 {
                let mut other = text.clone();
                other[at] ^= 1 << bit;
                if let Read::Request(head) = read(&other, MAX) {
                    assert!(head.length <= other.len() && head.body <= MAX && head.target.starts_with('/'));
                }
            }
        }
    }
}
