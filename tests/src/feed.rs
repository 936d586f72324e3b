//! The live feed of a seed's pages (WHATWG HTML, section 9.2), read from an address of one's own: the pages limit the connections
//! of each address.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, Stream};
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use ureq::tls::Certificate;

/// Where the feed is.
const PATH: &str = "/api/v1/events/stream";
/// How long one read waits for an event.
const PATIENCE: Duration = Duration::from_millis(500);
/// Most bytes of a line: an event has a short text.
const MAX_LINE: usize = 64 << 10;

/// A connection on which events arrive.
pub struct Feed {
    connection: ClientConnection,
    socket: TcpStream,
    /// The beginning of a line.
    rest: Vec<u8>,
}

impl Feed {
    /// Connects from `source`, an address of the loopback network, and waits for the head of the answer.
    pub fn open(source: Ipv4Addr, pages: SocketAddr, ca: &Certificate<'_>, token: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(ca.der().to_vec())).context("trusting the site's CA")?;
        let config =
            ClientConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions()?;
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let connection = ClientConnection::new(Arc::new(config), ServerName::from(pages.ip())).context("preparing TLS")?;
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).context("making a socket")?;
        socket.bind(&SocketAddr::from((source, 0)).into()).with_context(|| format!("using {source}"))?;
        socket.connect(&pages.into()).with_context(|| format!("reaching {pages}"))?;
        let socket = TcpStream::from(socket);
        let mut feed = Feed { connection, socket, rest: Vec::new() };
        let ask = format!("GET {PATH} HTTP/1.1\r\nHost: {pages}\r\nAuthorization: Bearer {token}\r\n\r\n");
        Stream::new(&mut feed.connection, &mut feed.socket).write_all(ask.as_bytes()).context("asking for the feed")?;
        let status = feed.line()?.context("the connection ended before an answer")?;
        ensure!(status.contains(" 200 "), "{PATH}: {status}");
        feed.socket.set_read_timeout(Some(PATIENCE)).context("limiting a read")?;
        Ok(feed)
    }

    /// The next event, or `None` after half a second without one.
    pub fn event(&mut self) -> Result<Option<Value>> {
        while let Some(line) = self.line()? {
            // Lines of the chunked coding, the names of events and comments are of no interest here.
            if let Some(data) = line.strip_prefix("data:") {
                return serde_json::from_str(data.trim()).with_context(|| format!("reading the event {data}")).map(Some);
            }
        }
        Ok(None)
    }

    /// One line without its end, or `None` if none came in time.
    fn line(&mut self) -> Result<Option<String>> {
        loop {
            if let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()));
            }
            ensure!(self.rest.len() < MAX_LINE, "the feed has a line without an end");
            let mut bytes = [0; 16 << 10];
            match Stream::new(&mut self.connection, &mut self.socket).read(&mut bytes) {
                Ok(0) => bail!("the seed ended the feed"),
                Ok(n) => self.rest.extend_from_slice(&bytes[..n]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(None),
                Err(e) => return Err(e).context("reading the feed"),
            }
        }
    }
}
