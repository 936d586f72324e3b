//! `seedd serve`: the listeners and the tasks behind them.

use std::net::{SocketAddr, SocketAddrV4, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use cluster_seed::ids::Digest;
use pxe::{DhcpConfig, DhcpServer, FileTable, JournalEntry, LoaderTable, Subnet, TftpConfig, TftpServer};
use tokio::sync::{mpsc, watch};

use crate::app::Seed;
use crate::app::{App, now};
use crate::hint::{self, Hint as _};
use crate::planes::{self, WireGuard};
use crate::recorder::{Recorder, write_events};
use crate::site::{Site, setting};
use crate::{control, fsio};

/// Leases that may wait for a commit, and most in one commit.
const LEASE_QUEUE: usize = 4_096;
const LEASE_BATCH: usize = 512;
/// Largest loader served by TFTP, in bytes.
const MAX_LOADER: u64 = 8 << 20;
/// How long connections may finish after a stop was asked.
const DRAIN: Duration = Duration::from_secs(5);

pub struct Options {
    pub iface: String,
    /// Where machines reach the seed by HTTP.
    pub listen: SocketAddrV4,
    /// Where operators reach the pages, if no socket was passed in.
    pub pages: SocketAddr,
    pub wireguard: WireGuard,
    /// Unseals at start.
    pub passphrase: Option<zeroize::Zeroizing<String>>,
}

/// Runs until SIGINT or SIGTERM.
pub fn serve(site: Site, options: Options) -> Result<()> {
    let control = control::listen(&site.control_socket())?;
    let socket = site.control_socket();
    let app = Arc::new(App::open(site, options.listen)?);
    if let Some(passphrase) = &options.passphrase {
        app.unseal_with(passphrase, "start")?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let for_control = app.clone();
    std::thread::spawn(move || control::serve(&control, &for_control));
    let result = runtime.block_on(run(app, options));
    runtime.shutdown_timeout(Duration::from_secs(2));
    // A socket that is left behind is replaced at the next start.
    let _ = std::fs::remove_file(socket);
    result
}

async fn run(app: Arc<App>, options: Options) -> Result<()> {
    let machine_listener = listen(options.listen.into())?;
    let pages_listener = pages_socket(options.pages)?;
    let pages_at = pages_listener.local_addr().context("asking for the pages' address")?;
    let (stop, stopped) = watch::channel(false);
    let (recorder, queue) = Recorder::new(pxe::script::SeedUrl(options.listen));
    let (dhcp, tftp) = network(&app, &options, recorder).await?;
    let seed = Arc::new(Seed(app.clone()));

    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(write_events(app.clone(), queue));
    let userspace = Arc::new(planes::Userspace::default());
    tasks.spawn(planes::keep(app.clone(), options.wireguard, userspace.clone()));
    tasks.spawn(watchdog(app.clone()));
    let ended = |mut stopped: watch::Receiver<bool>| async move {
        let _ = stopped.wait_for(|s| *s).await;
    };
    let servers = tokio_servers(dhcp, tftp, &stopped);
    let machine_listener = tokio::net::TcpListener::from_std(machine_listener).context("taking the machines' listener")?;
    let pages_listener = tokio::net::TcpListener::from_std(pages_listener).context("taking the pages' listener")?;
    let machines = web::server::serve(machine_listener, web::machine_router(seed.clone()), ended(stopped.clone()));
    let options_of_pages = web::OperatorOptions::default();
    let pages = web::server::serve(pages_listener, web::operator_router(seed, options_of_pages), ended(stopped.clone()));

    println!("seedd: machines at http://{} on {}, pages at http://{pages_at}", options.listen, options.iface);
    if let Some(code) = app.setup_code() {
        println!("seedd: no administrator yet; open http://{pages_at}/setup with setup code: {code}");
    }
    println!("seedd: {}", if app.is_sealed() { "sealed (run `seedd unseal` or use the page)" } else { "unsealed" });
    app.say(&crate::store::events::NewEvent { kind: "seed.started", text: "the seed started", ..Default::default() });

    // They end only when they were asked to.
    let serving = async { tokio::join!(machines, pages, servers) };
    tokio::pin!(serving);
    tokio::select! {
        _ = &mut serving => return Err(anyhow!("the servers ended by themselves")),
        () = signalled() => {}
    }
    println!("seedd: stopping");
    let _ = stop.send(true);
    let _ = tokio::time::timeout(DRAIN, serving).await;
    tasks.shutdown().await;
    tokio::task::spawn_blocking(move || planes::take_down(&app, options.wireguard, &userspace))
        .await
        .context("taking the planes down")
}

async fn tokio_servers(dhcp: DhcpServer, tftp: TftpServer, stopped: &watch::Receiver<bool>) {
    let (mut a, mut b) = (stopped.clone(), stopped.clone());
    tokio::join!(
        dhcp.run(async move { drop(a.wait_for(|s| *s).await) }),
        tftp.run(async move { drop(b.wait_for(|s| *s).await) }),
    );
}

async fn signalled() {
    let mut term = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(term) => term,
        Err(error) => {
            tracing::error!(%error, "listening for SIGTERM");
            return std::future::pending().await;
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = term.recv() => {}
    }
}

fn listen(addr: SocketAddr) -> Result<TcpListener> {
    let hint = match addr.port() {
        p if p < 1024 => "is the address on an interface of this machine, is the port free, and is this root?",
        _ => "is the address on an interface of this machine, and is the port free? (ss -ltnp shows who has it)",
    };
    let socket = socket2::Socket::new(socket2::Domain::for_address(addr), socket2::Type::STREAM, None)?;
    // A restart after kill -9 must not wait for old connections.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into()).with_context(|| format!("listening on {addr}")).hint(hint)?;
    socket.listen(1024).with_context(|| format!("listening on {addr}")).hint(hint)?;
    Ok(socket.into())
}

/// The first socket passed in (sd_listen_fds(3)), else one of our own.
fn pages_socket(addr: SocketAddr) -> Result<TcpListener> {
    let passed = listenfd::ListenFd::from_env().take_tcp_listener(0).context("taking the passed socket")?;
    match passed {
        Some(listener) => {
            listener.set_nonblocking(true).context("preparing the passed socket")?;
            Ok(listener)
        }
        None => listen(addr),
    }
}

async fn network(app: &Arc<App>, options: &Options, recorder: Arc<Recorder>) -> Result<(DhcpServer, TftpServer)> {
    let underlay = &app.spec.spec.networking.underlay;
    let subnet = Subnet::new(underlay.subnet.network(), underlay.subnet.prefix_len())?;
    let config = DhcpConfig {
        iface: options.iface.clone(),
        server_ip: underlay.seed.value,
        subnet,
        pool_first: underlay.pool.value.first,
        pool_last: underlay.pool.value.last,
        reservations: Default::default(),
        router: underlay.router,
        dns: if underlay.dns.is_empty() { vec![underlay.seed.value] } else { underlay.dns.clone() },
        domain: Some(app.spec.spec.networking.domain.to_string()),
        search: Vec::new(),
        ntp: Vec::new(),
        lease_secs: underlay.lease_seconds,
        next_server: None,
        http_base: Some(app.seed_url()),
        loaders: LoaderTable::default(),
    };
    let (journal, entries) = mpsc::channel(LEASE_QUEUE);
    let leases = app.store.leases().context("reading the leases")?;
    let dhcp = DhcpServer::bind(config, recorder.clone(), leases, journal, Arc::new(now)).await;
    let dhcp = with_pxe_hint(dhcp)?;
    tokio::spawn(save_leases(app.clone(), entries));
    let files = Arc::new(FileTable::new(loaders(app)?));
    let tftp = TftpServer::bind(TftpConfig::new(&options.iface, underlay.seed.value, subnet), files, recorder).await;
    Ok((dhcp, with_pxe_hint(tftp)?))
}

fn with_pxe_hint<T>(result: Result<T, pxe::bind::BindError>) -> Result<T> {
    result.map_err(|e| {
        let hint = e.hint();
        hint::with(e, hint)
    })
}

/// The loaders of the netboot set in use, by name. None yet is no error: the page says so.
fn loaders(app: &App) -> Result<Vec<(String, Arc<[u8]>)>> {
    let Some(id) = app.store.setting(setting::NETBOOT)? else { return Ok(Vec::new()) };
    let id: Digest = id.parse().context("reading the netboot set's id")?;
    let dir = app.site.join("netboot").join(id.to_string());
    let mut files = Vec::new();
    for name in [pxe::loader::UNDIONLY, pxe::loader::SNPONLY, pxe::loader::IPXE_EFI] {
        let bytes = fsio::read_limited(&dir.join(name), MAX_LOADER)?;
        files.push((name.to_owned(), Arc::from(bytes)));
    }
    Ok(files)
}

/// Commits leases in groups, then lets their answers go.
async fn save_leases(app: Arc<App>, mut entries: mpsc::Receiver<JournalEntry>) {
    let mut batch = Vec::with_capacity(LEASE_BATCH);
    while entries.recv_many(&mut batch, LEASE_BATCH).await > 0 {
        let (records, answers): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        let app = app.clone();
        let saved = tokio::task::spawn_blocking(move || app.store.save_leases(&records).map_err(|e| e.to_string())).await;
        let saved = saved.unwrap_or_else(|e| Err(e.to_string()));
        if let Err(error) = &saved {
            tracing::error!(%error, "saving leases; no answer leaves");
        }
        for answer in answers {
            let _ = answer.send(saved.clone());
        }
    }
}

async fn watchdog(app: Arc<App>) {
    let mut tick = tokio::time::interval(Duration::from_secs(20));
    loop {
        tick.tick().await;
        let app = app.clone();
        match tokio::task::spawn_blocking(move || app.watch()).await {
            Ok(Ok(0)) => {}
            Ok(Ok(ended)) => tracing::info!(ended, "enrollments ended by the watchdog"),
            Ok(Err(error)) => tracing::error!(%error, "running the watchdog"),
            Err(error) => tracing::error!(%error, "running the watchdog"),
        }
    }
}
