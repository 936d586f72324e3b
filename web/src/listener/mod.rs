//! The listeners: they accept, limit and close connections, in plain text or under TLS.

mod complaints;
mod general;
mod heard;
mod places;
mod socket;
mod tls;

mod fast;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::api::MachineApi;
use crate::limits::{
    DRAIN_TIME, HANDSHAKE_TIME, HEAD_TIME, MAX_CONNECTIONS, MAX_FILE_THREADS, MAX_OF_BROWSER, MAX_OF_MACHINE, MAX_REFUSALS,
    REFUSAL_TIME, STALL_TIME,
};
use crate::machine::machine_router;
use crate::meter::{DoorMeter, HttpMeter, Turn};
use complaints::Complaints;
use fast::{Clock, Fast};
use places::{Capacity, Place, Places};
use socket::Impatient;

#[doc(hidden)]
pub use fast::read_head;
pub use heard::Heard;

/// Pause after the system had no descriptor or memory for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Answer to a connection to the machines' listener if there is no slot for it.
const TURNED_AWAY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// The bounds of a listener; tests use shorter ones.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    capacity: Capacity,
    handshake: Duration,
    head: Duration,
    stall: Duration,
}

const BOUNDS: Bounds = Bounds {
    capacity: Capacity { connections: MAX_CONNECTIONS, per_address: MAX_OF_BROWSER },
    handshake: HANDSHAKE_TIME,
    head: HEAD_TIME,
    stall: STALL_TIME,
};

const MACHINES: Bounds = Bounds { capacity: Capacity { connections: MAX_CONNECTIONS, per_address: MAX_OF_MACHINE }, ..BOUNDS };

/// Serves `router` on `listener` until `stop` completes, then lets open requests finish within [`DRAIN_TIME`].
///
/// At most [`MAX_CONNECTIONS`] at a time and [`MAX_OF_BROWSER`] of one address (see `places`); a request head has [`HEAD_TIME`]
/// to arrive, which also ends an idle connection; a peer that reads almost nothing for [`STALL_TIME`] is dropped.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    serve_pages(listener, None, router, Arc::default(), stop).await;
}

/// Like [`serve`], under TLS. A connection counts from the moment it is accepted, has [`HANDSHAKE_TIME`] for its
/// handshake, and one that starts with plain HTTP gets an explanation and is closed.
pub async fn serve_tls(listener: TcpListener, tls: Arc<ServerConfig>, router: Router, stop: impl Future<Output = ()>) {
    serve_pages(listener, Some(tls), router, Arc::default(), stop).await;
}

/// The same, with or without TLS; refused connections are counted in `meter`.
pub async fn serve_pages(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    meter: Arc<DoorMeter>,
    stop: impl Future<Output = ()>,
) {
    let way = tls.map_or(Way::Plain, |tls| Way::Tls(TlsAcceptor::from(tls)));
    run(listener, way, router, meter, stop, BOUNDS).await;
}

/// Serves machines in plain text, on threads of its own, so that a slow disk delays files but neither leases nor pages.
///
/// Files are sent with sendfile(2) (`fast/`); the limits are those of [`serve`], but [`MAX_OF_MACHINE`] per address. Answers are
/// counted in `meter`; `heard` gets the addresses of peers.
pub async fn serve_machines(
    listener: std::net::TcpListener,
    api: Arc<dyn MachineApi>,
    meter: Arc<HttpMeter>,
    heard: Heard,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let began = Instant::now();
    let clock = move || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    serve_machines_by(Box::new(clock), listener, api, meter, heard, stop).await
}

async fn serve_machines_by(
    clock: Clock,
    listener: std::net::TcpListener,
    api: Arc<dyn MachineApi>,
    meter: Arc<HttpMeter>,
    heard: Heard,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, MAX_FILE_THREADS);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).thread_name("files").enable_all().build()?;
    let (done, ended) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("files".to_owned()).spawn(move || {
        let result = runtime.block_on(async {
            let door = meter.door().clone();
            let fast = Fast::new(api.clone(), machine_router(api), meter, heard, clock);
            let router = fast.router();
            run(TcpListener::from_std(listener)?, Way::Machines(Arc::new(fast)), router, door, stop, MACHINES).await;
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

async fn run(
    listener: TcpListener,
    way: Way,
    router: Router,
    meter: Arc<DoorMeter>,
    stop: impl Future<Output = ()>,
    bounds: Bounds,
) {
    let (stopping, stopped) = watch::channel(false);
    let places = Places::new(bounds.capacity, meter.clone());
    let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
    let (alive, mut ended) = mpsc::channel::<()>(1);
    let mut complaints = Complaints::default();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(e) if is_of_one_connection(&e) => continue,
            Err(error) => {
                meter.count(Turn::System);
                if let Some(times) = complaints.say(tokio::time::Instant::now()) {
                    tracing::warn!(%error, times, "accepting a connection");
                }
                places.close_one();
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Unsent data for a peer that is gone or does not read is dropped, too.
        let _ = socket2::SockRef::from(&socket).set_tcp_user_timeout(Some(bounds.stall * 2));
        let own = socket.local_addr().is_ok_and(|local| local.ip() == peer.ip());
        let place = match places.enter(peer.ip(), own) {
            Ok(place) => place,
            Err(why) => {
                tracing::debug!(%peer, why = why.name(), "no slot for a connection");
                if let (Ok(turn), Way::Plain | Way::Machines(_)) = (refusals.clone().try_acquire_owned(), &way) {
                    tokio::spawn(async move {
                        let _turn = turn;
                        let _ = timeout(REFUSAL_TIME, turn_away(socket)).await;
                    });
                }
                continue;
            }
        };
        let connection = Connection { peer, router: router.clone(), place: Arc::new(place), bounds, stop: stopped.clone() };
        let (way, alive) = (way.clone(), alive.clone());
        tokio::spawn(async move {
            let _alive = alive;
            let place = connection.place.clone();
            tokio::select! {
                () = place.cut_off() => {}
                () = connection.talk(socket, way) => {}
            }
        });
    }
    drop((listener, alive));
    let _ = stopping.send(true);
    if timeout(DRAIN_TIME, ended.recv()).await.is_err() {
        tracing::info!("some connections were still open at shutdown");
    }
}

/// Unread data on a closing socket makes the kernel reset the connection, and the answer could be lost; so some is read.
async fn turn_away(mut socket: TcpStream) -> io::Result<()> {
    let mut some = [0u8; 1024];
    socket.write_all(TURNED_AWAY).await?;
    socket.shutdown().await?;
    while socket.read(&mut some).await? > 0 {}
    Ok(())
}

struct Connection {
    peer: SocketAddr,
    router: Router,
    place: Arc<Place>,
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
                if let Some(on) = fast::talk(socket, peer, &fast, &limits, &self.place, self.stop.clone()).await {
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
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(error.kind(), K::ConnectionAborted | K::ConnectionRefused | K::ConnectionReset | K::Interrupted)
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod tls_tests;
