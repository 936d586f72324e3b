//! The start of a connection to the HTTPS port.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::limits::MAX_PLAIN;
use crate::listener::socket::Impatient;

/// First byte of every TLS connection: a record of type handshake (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 0x16;

/// The answer to a plain HTTP request, like nginx's 497. No redirect: its contents have already crossed the network in
/// plain text, and whoever typed the address should see why it does not work.
const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\
Content-Length: 73\r\n\r\nThis port speaks HTTPS only: write https:// at the start of the address.\n";

/// The connection under TLS, or `None` if the peer did not speak TLS. The caller limits the time.
pub(crate) async fn handshake(
    mut socket: TcpStream,
    tls: &TlsAcceptor,
    stall: Duration,
) -> io::Result<Option<TlsStream<Impatient>>> {
    let mut first = [0u8; 1];
    if socket.peek(&mut first).await? == 0 {
        return Ok(None);
    }
    if first[0] != HANDSHAKE_RECORD {
        if first[0].is_ascii_uppercase() {
            refuse_plain(&mut socket).await?;
        }
        return Ok(None);
    }
    tls.accept(Impatient::new(socket, stall)).await.map(Some)
}

/// Reads the request's head, at most [`MAX_PLAIN`] bytes, and answers. Unread data on a closing socket makes the kernel
/// reset the connection, and the answer could be lost; so the rest is read too, up to the limit.
async fn refuse_plain(socket: &mut TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    let mut part = [0u8; 1024];
    while head.len() < MAX_PLAIN && !head.windows(4).any(|w| w == b"\r\n\r\n") {
        match socket.read(&mut part).await? {
            0 => return Ok(()),
            read => head.extend_from_slice(&part[..read]),
        }
    }
    socket.write_all(SPEAK_TLS).await?;
    socket.shutdown().await?;
    let mut left = MAX_PLAIN;
    while left > 0 {
        match socket.read(&mut part).await? {
            0 => break,
            read => left = left.saturating_sub(read),
        }
    }
    Ok(())
}
