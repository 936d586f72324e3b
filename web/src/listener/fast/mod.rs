//! The machines' listener in plain text: HTTP/1.1, with file bytes sent by the kernel.
//!
//! Copying every byte through this program costs more than everything else (docs/adr/0012). So a connection is read here
//! first: plain GETs and small POSTs go through the same router as everything, and if the answer is a file, its bytes
//! are sent with sendfile(2). Anything else is handed over, unread, to the general server, for the rest of the
//! connection. Recently requested files of snapshots and chunks come from [`cache`], others from [`open`].

mod cache;
mod head;
mod open;
mod stamp;

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Method, Request, StatusCode};
use camino::Utf8PathBuf;
use nix::sys::sendfile::sendfile;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Duration, timeout};
use tower::ServiceExt as _;

use crate::api::MachineApi;
use crate::files;
use crate::files::etag::Answer;
use crate::files::handover::{CanSend, Sendable};
use crate::limits::{BODY_TIME, MAX_AGENT_BODY, MAX_HEAD};
use crate::listener::heard::Heard;
use crate::listener::places::{Doing, Place};
use crate::listener::socket::Patience;
use crate::meter::HttpMeter;
use cache::{Entry, FileCache, Held};
use head::{Head, Read, read, rest, write};
use open::{NOSNIFF, Places};
use stamp::{Stamp, reusable};

pub use head::read_head;

/// Bytes per call of sendfile.
const WINDOW: usize = 4 << 20;
/// Largest answer that is no file (a listing of 5000 names), in bytes.
const MAX_ANSWER: usize = 16 << 20;

/// Milliseconds that only count up.
pub(crate) type Clock = Box<dyn Fn() -> u64 + Send + Sync>;

/// State shared by all connections.
pub(crate) struct Fast {
    router: Router,
    meter: Arc<HttpMeter>,
    cache: FileCache,
    places: Places,
    heard: Heard,
    clock: Clock,
}

/// A connection for the general server, with what was already read from it.
pub(crate) struct HandOn {
    pub(crate) socket: TcpStream,
    pub(crate) read: Vec<u8>,
}

pub(crate) struct Limits {
    pub(crate) head: Duration,
    pub(crate) stall: Duration,
}

impl Fast {
    pub(crate) fn new(api: Arc<dyn MachineApi>, router: Router, meter: Arc<HttpMeter>, heard: Heard, clock: Clock) -> Self {
        Fast { router, meter, cache: FileCache::default(), places: Places::new(api), heard, clock }
    }

    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }

    fn now(&self) -> u64 {
        (self.clock)()
    }

    /// The directory of the current snapshot, at most a second old.
    async fn root(&self) -> Option<Utf8PathBuf> {
        self.places.root(None, self.now()).await.map(|r| r.named.clone())
    }

    /// An entry that may be sent: from the cache, or of a file opened now.
    async fn entry(&self, path: &str) -> Option<Arc<Entry>> {
        if let Some(entry) = self.cached(path).await {
            return Some(entry);
        }
        let entry = Arc::new(self.places.open(path, self.now()).await?);
        self.cache.put(path, entry.clone());
        Some(entry)
    }

    async fn cached(&self, path: &str) -> Option<Arc<Entry>> {
        let (entry, now) = (self.cache.get(path)?, self.now());
        if entry.is_fresh(now) {
            return Some(entry);
        }
        let moved = entry.root.is_some() && self.root().await != entry.root;
        if moved || !entry.still_there(now) {
            self.cache.forget(path);
            return None;
        }
        Some(entry)
    }
}

/// Serves a connection to its end, or until a request arrives that belongs to the general server.
pub(crate) async fn talk(
    socket: TcpStream,
    peer: SocketAddr,
    fast: &Fast,
    limits: &Limits,
    place: &Place,
    mut stop: watch::Receiver<bool>,
) -> Option<HandOn> {
    let _ = socket.set_nodelay(true);
    let (buffer, patience, stamp) = (Vec::with_capacity(2048), Patience::new(limits.stall), Stamp::new()?);
    let mut talk = Talk { socket, peer, fast, buffer, patience, stamp };
    let mut is_first = true;
    loop {
        let head = tokio::select! {
            // Checked only between requests.
            _ = stop.wait_for(|s| *s), if talk.buffer.is_empty() => return None,
            () = place.to_leave() => return None,
            head = timeout(limits.head, talk.head()) => head,
        };
        if matches!(head, Ok(Ok(Some(_)))) && std::mem::take(&mut is_first) {
            (fast.heard)(peer.ip());
        }
        match head {
            Ok(Ok(Some(Read::Request(mut head)))) => {
                head.close |= place.is_scarce();
                match talk.answer(head, place).await {
                    Ok(true) if !*stop.borrow() => place.does(Doing::Nothing),
                    Ok(_) => return None,
                    Err(error) => {
                        tracing::debug!(%peer, %error, "connection ended");
                        return None;
                    }
                }
            }
            Ok(Ok(Some(_))) => return Some(HandOn { socket: talk.socket, read: talk.buffer }),
            // Closed, broken, or too slow.
            Ok(Ok(None) | Err(_)) | Err(_) => return None,
        }
    }
}

struct Talk<'f> {
    socket: TcpStream,
    peer: SocketAddr,
    fast: &'f Fast,
    buffer: Vec<u8>,
    patience: Patience,
    stamp: Stamp,
}

impl Talk<'_> {
    /// The next request; `None` at the end of the connection.
    async fn head(&mut self) -> io::Result<Option<Read>> {
        loop {
            if !self.buffer.is_empty() {
                match read(&self.buffer, MAX_AGENT_BODY) {
                    // The general server answers what is wrong with it.
                    Read::More if self.buffer.len() >= MAX_HEAD => return Ok(Some(Read::Other)),
                    Read::More => {}
                    other => return Ok(Some(other)),
                }
            }
            if self.fill().await? == 0 {
                return Ok(None);
            }
        }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        loop {
            match self.socket.try_read_buf(&mut self.buffer) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.socket.readable().await?,
                done => {
                    if self.buffer.len() == self.buffer.capacity() {
                        self.buffer.reserve(self.buffer.len());
                    }
                    return done;
                }
            }
        }
    }

    /// True if the connection may go on.
    async fn answer(&mut self, head: Head, place: &Place) -> io::Result<bool> {
        let close = head.close;
        place.does(Doing::Reading);
        if let Some(path) = head.cached_path()
            && let Some(entry) = self.fast.entry(path).await
        {
            place.does(Doing::Answering);
            self.send_cached(&entry, &head).await?;
            rest(&mut self.buffer, 0..head.length);
            return Ok(!close);
        }
        let body = self.body(&head).await?;
        self.ask_router(head, body, place).await?;
        Ok(!close)
    }

    /// The request body; what follows it stays in the buffer.
    async fn body(&mut self, head: &Head) -> io::Result<Vec<u8>> {
        let whole = head.length + head.body;
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        timeout(BODY_TIME, async {
            while self.buffer.len() < whole {
                if self.fill().await? == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
                }
            }
            Ok(())
        })
        .await
        .map_err(late)??;
        let body = self.buffer[head.length..whole].to_vec();
        rest(&mut self.buffer, 0..whole);
        Ok(body)
    }

    async fn send_cached(&mut self, entry: &Entry, head: &Head) -> io::Result<()> {
        let whole = entry.of.validators.len;
        let answer = files::answer(&entry.of, &Method::GET, &head.headers);
        let (status, mut out) = match answer {
            Answer::Whole => (StatusCode::OK, entry.head.to_vec()),
            other => {
                let response = files::head(&entry.of, other).map_err(|_| io::Error::other("writing a head"))?;
                let mut out = write(&response);
                out.extend(NOSNIFF);
                if other == Answer::Unsatisfiable {
                    out.extend(b"Content-Length: 0\r\n");
                }
                (response.status(), out)
            }
        };
        let (start, len) = answer.part(whole).unwrap_or((0, 0));
        self.stamp.end(&mut out, head.close);
        self.fast.meter.answered(&head.target, status.as_u16(), len);
        match &entry.held {
            Held::Small(bytes) => {
                let part = usize::try_from(start).ok().zip(usize::try_from(len).ok()).and_then(|(s, l)| bytes.get(s..s + l));
                let part = part.ok_or_else(|| io::Error::other("a range past its file"))?;
                self.write_both(&out, part).await
            }
            Held::Large(file) => {
                self.write_both(&out, &[]).await?;
                self.send_file(file, start, len).await
            }
        }
    }

    async fn ask_router(&mut self, head: Head, body: Vec<u8>, place: &Place) -> io::Result<()> {
        let cached = head.cached_path().map(str::to_owned);
        // Before the answer, so that a snapshot published meanwhile is noticed at the next check.
        let root = match &cached {
            Some(path) if path.starts_with("/darksite/current/") => self.fast.root().await,
            _ => None,
        };
        let uri = head.uri().ok_or_else(|| io::Error::other("a request target that is not a path"))?;
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = head.headers;
        request.extensions_mut().insert(ConnectInfo(self.peer));
        request.extensions_mut().insert(CanSend);
        let Ok(mut response) = self.fast.router.clone().oneshot(request).await;
        place.does(Doing::Answering);
        let found = response.extensions_mut().remove::<Sendable>();
        let status = response.status();
        let (body, head_bytes) = match &found {
            Some(_) => (Vec::new(), write(&response)),
            None => {
                let (parts, body) = response.into_parts();
                let body = to_bytes(body, MAX_ANSWER).await.map_err(io::Error::other)?.to_vec();
                let mut response = axum::http::Response::from_parts(parts, ());
                let no_body = status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
                // In a 304 it would be the length of the file (RFC 9110 section 8.6).
                match no_body {
                    true => drop(response.headers_mut().remove("content-length")),
                    false => drop(response.headers_mut().insert("content-length", HeaderValue::from(body.len()))),
                }
                (body, write(&response))
            }
        };
        let len = found.as_ref().map_or(body.len() as u64, |f| f.len);
        self.fast.meter.answered(&head.target, status.as_u16(), len);
        let mut out = head_bytes.clone();
        self.stamp.finish(&mut out, head.close);
        self.write_both(&out, &body).await?;
        let Some(found) = found else { return Ok(()) };
        self.send_file(&found.file, found.start, found.len).await?;
        if let (Some(path), StatusCode::OK) = (cached, status)
            && let Some(entry) = Entry::new(&found, reusable(&head_bytes), root, self.fast.now())
        {
            self.fast.cache.put(&path, Arc::new(entry));
        }
        Ok(())
    }

    async fn writable(&mut self) -> io::Result<()> {
        let began = Instant::now();
        let ready = timeout(self.patience.left(), self.socket.writable()).await;
        self.patience.waited(began.elapsed());
        ready.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    async fn write_both(&mut self, mut head: &[u8], mut body: &[u8]) -> io::Result<()> {
        while !head.is_empty() || !body.is_empty() {
            match self.socket.try_write_vectored(&[io::IoSlice::new(head), io::IoSlice::new(body)]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.patience.took(n);
                    let of_head = n.min(head.len());
                    (head, body) = (&head[of_head..], &body[n - of_head..]);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.writable().await?,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    async fn send_file(&mut self, file: &File, start: u64, len: u64) -> io::Result<()> {
        let too_far = |_| io::Error::other("an offset past what files have");
        let (mut offset, end) = (i64::try_from(start).map_err(too_far)?, i64::try_from(start + len).map_err(too_far)?);
        while offset < end {
            let want = usize::try_from(end - offset).unwrap_or(WINDOW).min(WINDOW);
            let send = || sendfile(self.socket.as_fd(), file.as_fd(), Some(&mut offset), want).map_err(io::Error::from);
            match self.socket.try_io(Interest::WRITABLE, send) {
                // The file was truncated. Only a broken connection can tell the client that the promised length is wrong.
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(sent) => {
                    self.patience.took(sent);
                    tokio::task::consume_budget().await;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.writable().await?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
