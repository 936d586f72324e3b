//! An HTTP server on 127.0.0.1 that serves a directory, and misbehaves on request.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use camino::Utf8PathBuf;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    None,
    /// Closes the connection after half of the body.
    HalfWay,
    /// As above, and does not support ranges.
    HalfWayNoRange,
    /// Stops sending after half of the body.
    Stall,
    /// Flips one bit of the body.
    Flip,
    /// An endless body without a length.
    Endless,
    /// Returns 200 with an HTML page.
    Html,
    /// Redirects in a circle.
    Redirect,
    Status(u16),
}

pub struct Server {
    pub url: String,
    /// Requests for the affected path.
    pub asked: Arc<AtomicUsize>,
    /// Values of the Range headers seen.
    pub ranges: Arc<Mutex<Vec<String>>>,
    /// Requested paths that do not exist.
    pub missing: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    address: std::net::SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

impl Server {
    /// Misbehaves for paths that contain `about`, the first `times` times.
    pub fn start(root: Utf8PathBuf, lie: Lie, about: &str, times: usize) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, ranges) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let stop = Arc::new(AtomicBool::new(false));
        let missing = Arc::new(Mutex::new(Vec::new()));
        let server = Server { url: format!("http://{address}"), asked, ranges, missing, stop, address };
        let (asked, ranges, stop) = (server.asked.clone(), server.ranges.clone(), server.stop.clone());
        let missing = server.missing.clone();
        let about = about.to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (root, about) = (root.clone(), about.clone());
                let (asked, ranges, stop) = (asked.clone(), ranges.clone(), stop.clone());
                let missing = missing.clone();
                std::thread::spawn(move || {
                    let choose = |path: &str| {
                        let hit = path.contains(&about);
                        if hit && asked.fetch_add(1, Ordering::SeqCst) < times { lie } else { Lie::None }
                    };
                    // A client may disconnect at any time.
                    let _ = answer(stream, &root, choose, (&ranges, &missing), &stop);
                });
            }
        });
        server
    }
}

fn answer(
    stream: TcpStream,
    root: &Utf8PathBuf,
    choose: impl Fn(&str) -> Lie,
    (ranges, missing): (&Mutex<Vec<String>>, &Mutex<Vec<String>>),
    stop: &AtomicBool,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut out = stream;
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
    let mut offset = None;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
            break;
        }
        if let Some(range) = header.to_ascii_lowercase().strip_prefix("range: bytes=") {
            ranges.lock().unwrap().push(range.trim().to_owned());
            offset = range.trim().trim_end_matches('-').parse::<usize>().ok();
        }
    }
    let lie = choose(&path);
    match lie {
        Lie::Status(code) => return write!(out, "HTTP/1.1 {code} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        Lie::Redirect => {
            return write!(out, "HTTP/1.1 302 Found\r\nLocation: /{path}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
        Lie::Html => {
            let page = "<html><body>Please log in to the network</body></html>";
            return write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}", page.len());
        }
        Lie::Endless => {
            write!(out, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            while !stop.load(Ordering::SeqCst) {
                out.write_all(&[b'x'; 4096])?;
            }
            return Ok(());
        }
        _ => {}
    }
    let Ok(mut body) = std::fs::read(root.join(&path)) else {
        missing.lock().unwrap().push(path);
        return write!(out, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    if lie == Lie::Flip {
        let middle = body.len() / 2;
        body[middle] ^= 1;
    }
    let start = offset.filter(|o| *o < body.len() && lie != Lie::HalfWayNoRange).unwrap_or(0);
    send(&mut out, &body, start, lie, stop)
}

/// Sends the body from `start`, as far as `lie` allows.
fn send(out: &mut TcpStream, body: &[u8], start: usize, lie: Lie, stop: &AtomicBool) -> std::io::Result<()> {
    let total = body.len();
    let body = &body[start..];
    if start > 0 {
        write!(out, "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-{}/{total}\r\n", total - 1)?;
    } else {
        write!(out, "HTTP/1.1 200 OK\r\n")?;
    }
    write!(out, "Content-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    match lie {
        Lie::HalfWay | Lie::HalfWayNoRange => out.write_all(&body[..body.len() / 2]),
        Lie::Stall => {
            out.write_all(&body[..body.len() / 2])?;
            while !stop.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(())
        }
        _ => out.write_all(body),
    }
}
