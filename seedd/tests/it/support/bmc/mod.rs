//! A simulated Redfish controller: small, with the habits of real ones. Its machine can be asked what was done to it.

/// What it is and does.
mod model;

/// Its certificates.
pub mod tls;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use model::{MAC, Machine, PASSWORD, Quirk};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

/// A request as it arrived.
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Value,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

/// `status` 0: the connection ends without an answer.
pub struct Response {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

/// One that runs until it is dropped.
pub struct Bmc {
    pub at: SocketAddr,
    machine: Arc<Mutex<Machine>>,
    stop: Arc<AtomicBool>,
    /// Bytes that arrived, decrypted.
    heard: Arc<Mutex<Vec<u8>>>,
    tls: Option<Arc<Mutex<Arc<ServerConfig>>>>,
}

impl Bmc {
    pub fn new(quirks: &[Quirk]) -> Self {
        Bmc::start(quirks, None)
    }

    pub fn with_tls(config: Arc<ServerConfig>) -> Self {
        Bmc::start(&[], Some(config))
    }

    fn start(quirks: &[Quirk], tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let machine = Arc::new(Mutex::new(Machine::new(quirks, &format!("{scheme}://{at}"))));
        let bmc = Bmc { at, machine, stop: Arc::default(), heard: Arc::default(), tls: tls.map(|t| Arc::new(Mutex::new(t))) };
        let (machine, stop, heard, tls) = (bmc.machine.clone(), bmc.stop.clone(), bmc.heard.clone(), bmc.tls.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (machine, heard) = (machine.clone(), heard.clone());
                let tls = tls.as_ref().map(|t| t.lock().unwrap().clone());
                std::thread::spawn(move || {
                    let stream = stream.unwrap();
                    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                    match tls {
                        None => serve(stream, &machine, &heard),
                        Some(config) => serve(StreamOwned::new(ServerConnection::new(config).unwrap(), stream), &machine, &heard),
                    }
                });
            }
        });
        bmc
    }

    pub fn address(&self) -> String {
        format!("{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.at)
    }

    /// Another certificate from now on, at the same address; what was heard so far is forgotten.
    pub fn show(&self, config: Arc<ServerConfig>) {
        *self.tls.as_ref().unwrap().lock().unwrap() = config;
        self.heard.lock().unwrap().clear();
    }

    pub fn look<T>(&self, at: impl FnOnce(&mut Machine) -> T) -> T {
        at(&mut self.machine.lock().unwrap())
    }

    /// Everything that it was sent inside TLS, or without.
    pub fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned()
    }
}

impl Drop for Bmc {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.at);
    }
}

fn serve(mut stream: impl Read + Write, machine: &Mutex<Machine>, heard: &Mutex<Vec<u8>>) {
    let Some(request) = read(&mut stream, heard) else { return };
    let response = machine.lock().unwrap().answer(&request);
    if response.status == 0 {
        return;
    }
    let mut head = format!("HTTP/1.1 {} X\r\nContent-Length: {}\r\n", response.status, response.body.len());
    response.headers.iter().for_each(|(n, v)| head += &format!("{n}: {v}\r\n"));
    let _ = stream.write_all(&[head.as_bytes(), b"\r\n", &response.body].concat());
    let _ = stream.flush();
}

fn read(stream: &mut impl Read, heard: &Mutex<Vec<u8>>) -> Option<Request> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let n = stream.read(&mut buffer).ok().filter(|n| *n > 0)?;
        heard.lock().unwrap().extend(&buffer[..n]);
        bytes.extend(&buffer[..n]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let mut lines = head.lines();
        let mut first = lines.next()?.split(' ');
        let headers: Vec<(String, String)> =
            lines.filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        let request = Request { method: first.next()?.into(), path: first.next()?.into(), headers, body: Value::Null };
        let length = request.header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
        if body.len() >= length {
            return Some(Request { body: serde_json::from_str(body).unwrap_or_default(), ..request });
        }
    }
}
