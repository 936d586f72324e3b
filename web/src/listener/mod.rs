//! The listeners: they accept, limit and close connections, in plain text or under TLS.

mod peers;
mod socket;
mod tls;

mod fast;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tower::ServiceExt as _;

use crate::api::MachineApi;
use crate::limits::{DRAIN_TIME, HANDSHAKE_TIME, HEAD_TIME, MAX_CONNECTIONS, MAX_FILE_THREADS, MAX_PER_ADDRESS, STALL_TIME};
use crate::machine::machine_router;
use crate::meter::HttpMeter;
use fast::{Clock, Fast};
use peers::Peers;
use socket::Impatient;

#[doc(hidden)]
pub use fast::read_head;

/// Pause after the system had no descriptor or memory for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The bounds of a listener; tests use shorter ones.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    connections: usize,
    handshake: Duration,
    head: Duration,
    stall: Duration,
}

const BOUNDS: Bounds = Bounds { connections: MAX_CONNECTIONS, handshake: HANDSHAKE_TIME, head: HEAD_TIME, stall: STALL_TIME };

/// Serves `router` on `listener` until `stop` is done, then lets open requests end within [`DRAIN_TIME`].
///
/// At most [`MAX_CONNECTIONS`] at a time (more wait in the listener's backlog); a request head has [`HEAD_TIME`] to
/// arrive, which also ends an idle connection; a peer that reads almost nothing for [`STALL_TIME`] is dropped, and no
/// address has more than [`MAX_PER_ADDRESS`].
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    run(listener, Way::Plain, router, stop, BOUNDS).await;
}

/// Like [`serve`], under TLS. A connection counts from the moment it is accepted, has [`HANDSHAKE_TIME`] for its
/// handshake, and one that starts with plain HTTP gets an explanation and is closed.
pub async fn serve_tls(listener: TcpListener, tls: Arc<ServerConfig>, router: Router, stop: impl Future<Output = ()>) {
    run(listener, Way::Tls(TlsAcceptor::from(tls)), router, stop, BOUNDS).await;
}

/// Serves machines in plain text, on threads of its own, so that a slow disk delays files but neither leases nor pages.
///
/// Files leave by sendfile (`fast/`); the bounds are those of [`serve`]. Answers are counted in `meter`.
pub async fn serve_machines(
    listener: std::net::TcpListener,
    api: Arc<dyn MachineApi>,
    meter: Arc<HttpMeter>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let began = Instant::now();
    let clock = move || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    serve_machines_by(Box::new(clock), listener, api, meter, stop).await
}

async fn serve_machines_by(
    clock: Clock,
    listener: std::net::TcpListener,
    api: Arc<dyn MachineApi>,
    meter: Arc<HttpMeter>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, MAX_FILE_THREADS);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).thread_name("files").enable_all().build()?;
    let (done, ended) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("files".to_owned()).spawn(move || {
        let result = runtime.block_on(async {
            let fast = Fast::new(api.clone(), machine_router(api), meter, clock);
            let router = fast.router();
            run(TcpListener::from_std(listener)?, Way::Machines(Arc::new(fast)), router, stop, BOUNDS).await;
            Ok(())
        });
        runtime.shutdown_timeout(DRAIN_TIME);
        let _ = done.send(result);
    })?;
    ended.await.unwrap_or_else(|_| Err(io::Error::other("the threads that serve files ended unexpectedly")))
}

/// How the connections of a listener start.
#[derive(Clone)]
enum Way {
    Plain,
    Tls(TlsAcceptor),
    Machines(Arc<Fast>),
}

async fn run(listener: TcpListener, way: Way, router: Router, stop: impl Future<Output = ()>, bounds: Bounds) {
    let (stopping, stopped) = watch::channel(false);
    let slots = Arc::new(Semaphore::new(bounds.connections));
    let peers = Peers::new(MAX_PER_ADDRESS);
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let next = async {
            let slot = slots.clone().acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            () = &mut stop => break,
            next = next => next,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(e) if is_of_one_connection(&e) => continue,
            Err(e) => {
                tracing::warn!(error = %e, "accepting a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = peers.enter(peer.ip()) else {
            tracing::debug!(%peer, "too many connections from one address");
            continue;
        };
        let connection = Connection { peer, router: router.clone(), watcher: graceful.watcher(), bounds, stop: stopped.clone() };
        let way = way.clone();
        tokio::spawn(async move {
            let (_slot, _place) = (slot, place);
            connection.talk(socket, way).await;
        });
    }
    drop(listener);
    let _ = stopping.send(true);
    let all = u32::try_from(bounds.connections).unwrap_or(u32::MAX);
    let quiet = async {
        graceful.shutdown().await;
        let _ = slots.acquire_many(all).await;
    };
    if timeout(DRAIN_TIME, quiet).await.is_err() {
        tracing::info!("some connections were still open at shutdown");
    }
}

struct Connection {
    peer: SocketAddr,
    router: Router,
    watcher: Watcher,
    bounds: Bounds,
    stop: watch::Receiver<bool>,
}

impl Connection {
    async fn talk(self, socket: TcpStream, way: Way) {
        let (peer, bounds) = (self.peer, self.bounds);
        let tls = match way {
            Way::Plain => return self.http(Impatient::new(socket, bounds.stall)).await,
            Way::Machines(fast) => {
                let limits = fast::Limits { head: bounds.head, stall: bounds.stall };
                if let Some(on) = fast::talk(socket, peer, &fast, &limits, self.stop.clone()).await {
                    self.http(Impatient::with_read(on.socket, on.read, bounds.stall)).await;
                }
                return;
            }
            Way::Tls(tls) => tls,
        };
        match timeout(bounds.handshake, tls::handshake(socket, &tls, bounds.stall)).await {
            Ok(Ok(Some(stream))) => self.http(stream).await,
            Ok(Ok(None)) => tracing::debug!(%peer, "not TLS, on the HTTPS port"),
            Ok(Err(e)) => tracing::debug!(%peer, error = %e, "no TLS handshake"),
            Err(_) => tracing::debug!(%peer, "the TLS handshake took too long"),
        }
    }

    async fn http(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Connection { peer, router, watcher, bounds, .. } = self;
        let service = service_fn(move |request| answer(router.clone(), peer, request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(bounds.head)
            // Spelled as in `fast/`; GRUB accepts no other spelling.
            .title_case_headers(true)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(e) = watcher.watch(connection).await {
            tracing::debug!(%peer, error = %e, "connection ended");
        }
    }
}

async fn answer(
    router: Router,
    peer: SocketAddr,
    request: hyper::Request<Incoming>,
) -> Result<axum::response::Response, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    router.oneshot(request).await
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(error.kind(), K::ConnectionAborted | K::ConnectionRefused | K::ConnectionReset | K::Interrupted)
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod tls_tests;
