//! `seedd serve`: the listeners and the tasks behind them.

use std::net::{SocketAddr, SocketAddrV4, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use appliance::console::host::Host;
use appliance::{control, tool};
use cluster_seed::events::EventKind;
use flight::recorder::{Recorder, sniff};
use host::process;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use site::Site;
use site::hint::Hint as _;
use site::mode::Mode;
use site::tls::{Tls, check_plain};
use tokio::sync::watch;
use web::meter::DoorMeter;

use crate::app::console::AtConsole;
use crate::app::wire::{Policy, write_events};
use crate::app::{App, Seed};
use crate::clock::write_config;
use crate::live::setup::own_address;
use crate::metrics::Meters;
use crate::netboot::Servers;
use crate::plane_listener;
use crate::planes::{self, WireGuard};

/// How long connections may take to finish after a stop request.
const DRAIN: Duration = Duration::from_secs(5);

pub struct Options {
    pub iface: String,
    /// HTTP address for machines.
    pub listen: SocketAddrV4,
    /// Address of the web interface, unless a socket was passed in.
    pub pages: SocketAddr,
    /// Plain HTTP for the web interface; on a loopback address only.
    pub pages_without_tls: bool,
    pub wireguard: WireGuard,
    /// Unseals at start.
    pub passphrase: Option<zeroize::Zeroizing<String>>,
    /// The machine it runs on.
    pub host: Host,
    /// An open control socket to use instead of opening the site's own.
    pub control: Option<control::Server>,
    /// A listener of the web interface to use instead of opening one.
    pub front: Option<Front>,
    /// Add the seed's address on the boot network to the interface, also after the site was replaced by another.
    pub own_network: bool,
    /// Warnings that stay on every page.
    pub lasting: Vec<String>,
}

/// An open socket for the web interface, and the key of its certificate.
pub struct Front {
    pub listener: TcpListener,
    pub tls: Arc<Tls>,
}

/// Runs until SIGINT or SIGTERM.
pub fn serve(site: Site, mut options: Options) -> Result<()> {
    raise_open_files();
    // Before the database is opened: two daemons never share a site.
    let socket = match &options.control {
        Some(_) => None,
        None => Some(control::listen(&site.control_socket())?),
    };
    site.protect()?;
    lock_memory();
    let front = options.front.take();
    let app = Arc::new(match &front {
        Some(front) => App::open_with(site, options.listen, front.tls.clone())?,
        None => App::open(site, options.listen)?,
    });
    app.lasting.set(std::mem::take(&mut options.lasting)).map_err(|_| anyhow!("the site was opened twice"))?;
    if let Some(passphrase) = &options.passphrase {
        app.unseal_with(passphrase, "start")?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let answers = Arc::new(AtConsole { app: app.clone(), host: options.host.clone() });
    let own = socket.map(|s| s.start(answers.clone()));
    if let Some(running) = &options.control {
        running.hand_over(answers);
    }
    let control = own.as_ref().or(options.control.as_ref());
    let result = runtime.block_on(run_until_stopped(app, &options, front, control));
    runtime.shutdown_timeout(Duration::from_secs(2));
    if let Some(control) = own {
        control.remove();
    }
    result
}

/// Every connection and every transfer needs a descriptor; a shell's limit is often 1,024. The hard limit is the administrator's.
fn raise_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| match soft < hard {
        true => setrlimit(Resource::RLIMIT_NOFILE, hard, hard),
        false => Ok(()),
    });
    if let Err(error) = raised {
        tracing::warn!(%error, "raising the limit of open files");
    }
}

/// Keys stay out of swap where this process may lock memory; the log says where it may not.
fn lock_memory() {
    match process::lock_memory() {
        Ok(true) => {}
        Ok(false) => {
            tracing::warn!(
                "the memory is not locked: keys of an unsealed seed may reach swap space (LimitMEMLOCK=infinity allows it)"
            );
        }
        Err(error) => tracing::warn!(%error, "locking the memory: keys of an unsealed seed may reach swap space"),
    }
}

/// Why the listeners stopped.
enum End {
    Stopped,
    /// The site was replaced, or its mode changed: it is reopened.
    Changed,
}

async fn run_until_stopped(
    mut app: Arc<App>,
    options: &Options,
    front: Option<Front>,
    control: Option<&control::Server>,
) -> Result<()> {
    // A passed socket can be taken only once.
    let pages = front.map_or_else(|| pages_socket(options.pages), |f| Ok(f.listener))?;
    let (asked, stop) = watch::channel(false);
    tokio::spawn(async move {
        signalled().await;
        let _ = asked.send(true);
    });
    loop {
        let listener = pages.try_clone().context("duplicating the web listener")?;
        match run(app.clone(), options, listener, stop.clone()).await? {
            End::Stopped => return Ok(()),
            End::Changed => {
                println!("seedd: the site changed; reloading");
                let fresh = tokio::task::spawn_blocking(move || app.reopened()).await.context("reloading the site")?;
                app = Arc::new(fresh.context("reloading the site")?);
                if let Some(control) = control {
                    control.hand_over(Arc::new(AtConsole { app: app.clone(), host: options.host.clone() }));
                }
            }
        }
    }
}

type Serving = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

async fn ended(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|s| *s).await;
}

/// The servers for machines: DHCP, TFTP and HTTP. Only the active seed of a site runs them.
async fn machines(
    app: &Arc<App>,
    options: &Options,
    policy: Arc<Policy>,
    pages: Arc<DoorMeter>,
    stopped: &watch::Receiver<bool>,
) -> Result<Serving> {
    if app.mode()? != Mode::Active {
        println!("seedd: this seed is not active; serving only the web interface");
        return Ok(Box::pin(ended(stopped.clone())));
    }
    if options.own_network {
        let own = own_address(&app.spec)?.to_string();
        let iface = options.iface.clone();
        let set = move || tool::link_up(&iface).and_then(|()| tool::add_address(&iface, &own));
        tokio::task::spawn_blocking(set).await.context("setting the seed's address")??;
    }
    let listener = listen(app.http.into())?;
    let servers = Servers::bind(app, &options.iface, policy).await?;
    let (dhcp, tftp) = servers.counters();
    let meters = Meters { dhcp, tftp, http: Arc::default(), pages };
    let meter = meters.http.clone();
    let _ = app.meters.set(meters);
    let (api, heard) = (Arc::new(Seed(app.clone())), servers.heard());
    let http = web::listener::serve_machines(listener, api, meter, heard, ended(stopped.clone()));
    let servers = servers.run(app.clone(), stopped.clone());
    Ok(Box::pin(async move {
        let (served, ()) = tokio::join!(http, servers);
        if let Err(error) = served {
            tracing::error!(%error, "serving machines by HTTP");
        }
    }))
}

/// Records the packets of the boot network. Without permission to capture packets the seed still serves.
fn listen_in(app: &App, options: &Options, recorder: &Recorder) -> Option<sniff::Sniffer> {
    app.flight.set_iface(&options.iface);
    let seed = app.spec.spec.networking.underlay.seed.value;
    let sniffer = sniff::start(&options.iface, seed, app.flight.ring.clone(), recorder.queue.clone());
    sniffer.inspect_err(|error| tracing::warn!("the flight recorder is off: {error:#}")).ok()
}

async fn run(app: Arc<App>, options: &Options, pages_listener: TcpListener, mut stop: watch::Receiver<bool>) -> Result<End> {
    let pages_at = pages_listener.local_addr().context("reading the address of the web interface")?;
    let tls = if options.pages_without_tls {
        check_plain(pages_at)?;
        None
    } else {
        Some(app.tls.server_config()?)
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    app.pages.set((scheme, pages_at)).map_err(|_| anyhow!("the web interface was started twice"))?;
    let (end, stopped) = watch::channel(false);
    let mut changed = app.changed.subscribe();
    let (recorder, queue) = Recorder::new(&app.flight);
    // Lives as long as the servers do.
    let _sniffer = listen_in(&app, options, &recorder);
    let policy = Arc::new(Policy { seed: pxe::script::SeedUrl(app.http), recorder });
    let door: Arc<DoorMeter> = Arc::default();
    let machines = machines(&app, options, policy, door.clone(), &stopped).await?;
    let seed = Arc::new(Seed(app.clone()));

    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(write_events(app.clone(), queue));
    let userspace = Arc::new(planes::Userspace::default());
    tasks.spawn(planes::keep(app.clone(), options.wireguard, userspace.clone()));
    if options.wireguard != WireGuard::Off && app.mode()? == Mode::Active {
        tasks.spawn(plane_listener::keep(app.clone(), stopped.clone()));
        tasks.spawn(plane_listener::keep_metrics(app.clone(), stopped.clone()));
    }
    tasks.spawn(watchdog(app.clone()));
    app.start_webhooks(&mut tasks);
    app.start_asking(&mut tasks);
    let pages_listener = tokio::net::TcpListener::from_std(pages_listener).context("registering the web listener")?;
    write_config(&app.spec);
    announce(&app, options, scheme, pages_at);
    let router = web::operator_router(seed, web::OperatorOptions { secure_cookies: tls.is_some() });
    let ended_pages = ended(stopped.clone());
    let pages = web::listener::serve_pages(pages_listener, tls, router, door, ended_pages);
    app.say(&site::store::events::NewEvent::new(EventKind::SeedStarted, "the seed started"));

    // They end only on request.
    let serving = async { tokio::join!(machines, pages) };
    tokio::pin!(serving);
    let why = tokio::select! {
        _ = &mut serving => return Err(anyhow!("the servers stopped unexpectedly")),
        _ = stop.wait_for(|s| *s) => End::Stopped,
        _ = changed.wait_for(|c| *c) => End::Changed,
    };
    println!("seedd: shutting down");
    let _ = end.send(true);
    let _ = tokio::time::timeout(DRAIN, serving).await;
    tasks.shutdown().await;
    let how = options.wireguard;
    tokio::task::spawn_blocking(move || planes::take_down(&app, how, &userspace)).await.context("removing the planes")?;
    Ok(why)
}

/// The lines that a person at the terminal, or the lab, waits for.
fn announce(app: &App, options: &Options, scheme: &str, pages_at: SocketAddr) {
    println!("seedd: machines at http://{} on {}, pages at {scheme}://{pages_at}", app.http, options.iface);
    if let Some(fingerprint) = app.fingerprint() {
        println!("seedd: certificate sha256 fingerprint {fingerprint}");
    }
    if let Some(code) = app.setup_code() {
        println!("seedd: no administrator yet; open {scheme}://{pages_at}/setup with setup code: {code}");
    }
    println!("seedd: {}", if app.is_sealed() { "sealed (run `seedd unseal` or use the web interface)" } else { "unsealed" });
}

/// Ends with SIGINT or SIGTERM.
pub(crate) async fn signalled() {
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
    let socket = socket2::Socket::new(socket2::Domain::for_address(addr), socket2::Type::STREAM, None)?;
    // A restart after kill -9 must not wait for old connections.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    let bound = socket.bind(&addr.into()).and_then(|()| socket.listen(1024));
    match bound.map_err(|e| (remedy(e.kind(), addr.port()), e)) {
        Ok(()) => Ok(socket.into()),
        Err((hint, error)) => Err(error).with_context(|| format!("listening on {addr}")).hint(hint),
    }
}

/// What to do about an address that cannot be listened on.
fn remedy(kind: std::io::ErrorKind, port: u16) -> String {
    match kind {
        std::io::ErrorKind::AddrInUse => format!("`ss -ltnp 'sport = :{port}'` shows the program that uses it; stop that one"),
        std::io::ErrorKind::AddrNotAvailable => "no interface has this address; `ip -brief address` lists them".to_owned(),
        std::io::ErrorKind::PermissionDenied => "run as root, or with CAP_NET_BIND_SERVICE".to_owned(),
        _ => "check that an interface has this address and that the port is free (ss -ltnp)".to_owned(),
    }
}

/// The first socket passed in (sd_listen_fds(3)), else one of our own.
pub(crate) fn pages_socket(addr: SocketAddr) -> Result<TcpListener> {
    let passed = listenfd::ListenFd::from_env().take_tcp_listener(0).context("using the passed socket")?;
    match passed {
        Some(listener) => {
            listener.set_nonblocking(true).context("preparing the passed socket")?;
            Ok(listener)
        }
        None => listen(addr),
    }
}

async fn watchdog(app: Arc<App>) {
    let mut tick = tokio::time::interval(Duration::from_secs(20));
    loop {
        tick.tick().await;
        let app = app.clone();
        let round = tokio::task::spawn_blocking(move || {
            // Addresses change, and the certificate names the current ones.
            if let Err(error) = app.certify() {
                tracing::error!(error = format!("{error:#}"), "creating a certificate");
            }
            app.measure_space();
            if let Err(error) = app.keep_log() {
                tracing::error!(%error, "bounding the event log");
            }
            app.watch()
        });
        match round.await {
            Ok(Ok(0)) => {}
            Ok(Ok(ended)) => tracing::info!(ended, "enrollments ended by the watchdog"),
            Ok(Err(error)) => tracing::error!(%error, "running the watchdog"),
            Err(error) => tracing::error!(%error, "running the watchdog"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_names_the_cause_of_an_address_that_cannot_be_listened_on() {
        let first = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let taken = first.local_addr().unwrap();
        for (addr, part) in [(taken, "ss -ltnp 'sport"), ("192.0.2.1:0".parse().unwrap(), "no interface has this address")] {
            let error = listen(addr).unwrap_err();
            assert!(site::hint::all(&error, &|_| None).iter().any(|h| h.contains(part)), "{error:#}");
        }
        assert!(remedy(std::io::ErrorKind::PermissionDenied, 80).contains("CAP_NET_BIND_SERVICE"));
    }
}
