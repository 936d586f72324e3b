//! The socket of a connection, with a limit on how long its peer may read almost nothing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use crate::limits::STALL_BYTES;

/// How much longer a peer may let us wait: `limit` in total until it has read [`STALL_BYTES`]. Only time in which there is
/// something to send counts, so a peer that is silent for long is no problem here.
#[derive(Debug, Clone)]
pub(crate) struct Patience {
    limit: Duration,
    /// Time waited, and bytes read by the peer, since it last read enough.
    waited: Duration,
    taken: usize,
}

impl Patience {
    pub(crate) fn new(limit: Duration) -> Self {
        Patience { limit, waited: Duration::ZERO, taken: 0 }
    }

    pub(crate) fn left(&self) -> Duration {
        self.limit.saturating_sub(self.waited)
    }

    pub(crate) fn waited(&mut self, time: Duration) {
        self.waited += time;
    }

    pub(crate) fn took(&mut self, bytes: usize) {
        self.taken = self.taken.saturating_add(bytes);
        if self.taken >= STALL_BYTES {
            (self.waited, self.taken) = (Duration::ZERO, 0);
        }
    }
}

/// A socket whose writes fail once its peer has used up its [`Patience`].
pub(crate) struct Impatient {
    socket: TcpStream,
    /// Already read from the socket; comes first.
    before: Vec<u8>,
    patience: Patience,
    /// When the pending write started to wait, and the timer that ends it.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Impatient {
    pub(crate) fn new(socket: TcpStream, limit: Duration) -> Self {
        Impatient { socket, before: Vec::new(), patience: Patience::new(limit), waiting: None }
    }

    /// Returns `before` first.
    pub(crate) fn with_read(socket: TcpStream, before: Vec<u8>, limit: Duration) -> Self {
        Impatient { before, ..Impatient::new(socket, limit) }
    }

    fn watch(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(result) = &polled {
            if let Some((since, _)) = self.waiting.take() {
                self.patience.waited(since.elapsed());
            }
            self.patience.took(*result.as_ref().unwrap_or(&0));
            return polled;
        }
        let left = self.patience.left();
        let begin = || (Instant::now(), Box::pin(tokio::time::sleep(left)));
        let (_, timer) = self.waiting.get_or_insert_with(begin);
        timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Impatient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.before.is_empty() {
            let len = self.before.len().min(buf.remaining());
            buf.put_slice(&self.before[..len]);
            self.before.drain(..len);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Impatient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.watch(cx, polled)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write_vectored(cx, bytes);
        self.watch(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A TCP socket has nothing to flush.
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
