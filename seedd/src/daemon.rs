//! `seedd serve`: the listeners and the tasks behind them.

use std::net::{SocketAddr, SocketAddrV4, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use tokio::sync::watch;

use crate::app::App;
use crate::app::Seed;
use crate::app::console::AtConsole;
use crate::app::mode::Mode;
use crate::appliance::setup::own_address;
use crate::appliance::tool;
use crate::clock::write_config;
use crate::console::host::Host;
use crate::control;
use crate::hint::Hint as _;
use crate::metrics::Meters;
use crate::netboot::Servers;
use crate::planes::{self, WireGuard};
use crate::recorder::{Recorder, sniff_server, write_events};
use crate::site::Site;
use crate::tls::{Tls, check_plain};

/// How long connections may finish after a stop was asked.
const DRAIN: Duration = Duration::from_secs(5);

pub struct Options {
    pub iface: String,
    /// Where machines reach the seed by HTTP.
    pub listen: SocketAddrV4,
    /// Where operators reach the pages, if no socket was passed in.
    pub pages: SocketAddr,
    /// Plain HTTP for the pages; on a loopback address only.
    pub pages_without_tls: bool,
    pub wireguard: WireGuard,
    /// Unseals at start.
    pub passphrase: Option<zeroize::Zeroizing<String>>,
    /// The machine it runs on.
    pub host: Host,
    /// A control socket that is open already and is taken over; without it the site's own is opened.
    pub control: Option<control::Server>,
    /// Pages that are shown already and are taken over.
    pub front: Option<Front>,
    /// The seed's address on the boot network is put on the interface, also when another site's takes its place.
    pub own_network: bool,
    /// Warnings that stay on every page.
    pub lasting: Vec<String>,
}

/// An open socket for the pages, and the key their certificate is for.
pub struct Front {
    pub listener: TcpListener,
    pub tls: Arc<Tls>,
}

/// Runs until SIGINT or SIGTERM.
pub fn serve(site: Site, mut options: Options) -> Result<()> {
    // Before the database is opened: two daemons never share a site.
    let socket = match &options.control {
        Some(_) => None,
        None => Some(control::listen(&site.control_socket())?),
    };
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

/// Why the listeners ended.
enum End {
    Stopped,
    /// The site is another one now, or may do other things: it is opened anew.
    Changed,
}

async fn run_until_stopped(
    mut app: Arc<App>,
    options: &Options,
    front: Option<Front>,
    control: Option<&control::Server>,
) -> Result<()> {
    // A passed socket can be taken once only.
    let pages = front.map_or_else(|| pages_socket(options.pages), |f| Ok(f.listener))?;
    let (asked, stop) = watch::channel(false);
    tokio::spawn(async move {
        signalled().await;
        let _ = asked.send(true);
    });
    loop {
        let listener = pages.try_clone().context("keeping the pages' listener")?;
        match run(app.clone(), options, listener, stop.clone()).await? {
            End::Stopped => return Ok(()),
            End::Changed => {
                println!("seedd: the site has changed; opening it anew");
                let fresh = tokio::task::spawn_blocking(move || app.reopened()).await.context("opening the site anew")?;
                app = Arc::new(fresh.context("opening the site anew")?);
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

/// What machines need: DHCP, TFTP and HTTP. Only the issuer of a site serves them.
async fn machines(
    app: &Arc<App>,
    options: &Options,
    recorder: Arc<Recorder>,
    stopped: &watch::Receiver<bool>,
) -> Result<Serving> {
    if app.mode()? != Mode::Active {
        println!("seedd: not the issuer of this site: pages only");
        return Ok(Box::pin(ended(stopped.clone())));
    }
    if options.own_network {
        let own = own_address(&app.spec)?.to_string();
        let iface = options.iface.clone();
        let set = move || tool::link_up(&iface).and_then(|()| tool::add_address(&iface, &own));
        tokio::task::spawn_blocking(set).await.context("setting the seed's address")??;
    }
    let listener = listen(app.http.into())?;
    let servers = Servers::bind(app, &options.iface, recorder).await?;
    let (dhcp, tftp) = servers.counters();
    let meters = Meters { dhcp, tftp, http: Arc::default() };
    let meter = meters.http.clone();
    let _ = app.meters.set(meters);
    let http = web::listener::serve_machines(listener, Arc::new(Seed(app.clone())), meter, ended(stopped.clone()));
    let servers = servers.run(app.clone(), stopped.clone());
    Ok(Box::pin(async move {
        let (served, ()) = tokio::join!(http, servers);
        if let Err(error) = served {
            tracing::error!(%error, "serving machines by HTTP");
        }
    }))
}

/// Hears the packets of the boot network beside the servers. A seed that may not is a seed all the same.
fn listen_in(app: &App, options: &Options, recorder: &Recorder) -> Option<sniff_server::Sniffer> {
    app.flight.set_iface(&options.iface);
    let seed = app.spec.spec.networking.underlay.seed.value;
    let sniffer = sniff_server::start(&options.iface, seed, app.flight.ring.clone(), recorder.queue.clone());
    sniffer.inspect_err(|error| tracing::warn!("no packets are kept for the machines' pages: {error:#}")).ok()
}

async fn run(app: Arc<App>, options: &Options, pages_listener: TcpListener, mut stop: watch::Receiver<bool>) -> Result<End> {
    let pages_at = pages_listener.local_addr().context("asking for the pages' address")?;
    let tls = if options.pages_without_tls {
        check_plain(pages_at)?;
        None
    } else {
        Some(app.tls.server_config()?)
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    app.pages.set((scheme, pages_at)).map_err(|_| anyhow!("the pages listen twice"))?;
    let (end, stopped) = watch::channel(false);
    let mut changed = app.changed.subscribe();
    let (recorder, queue) = Recorder::new(pxe::script::SeedUrl(app.http), &app.flight);
    // Lives as long as the servers do.
    let _sniffer = listen_in(&app, options, &recorder);
    let machines = machines(&app, options, recorder, &stopped).await?;
    let seed = Arc::new(Seed(app.clone()));

    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(write_events(app.clone(), queue));
    let userspace = Arc::new(planes::Userspace::default());
    tasks.spawn(planes::keep(app.clone(), options.wireguard, userspace.clone()));
    tasks.spawn(watchdog(app.clone()));
    let pages_listener = tokio::net::TcpListener::from_std(pages_listener).context("taking the pages' listener")?;
    write_config(&app.spec);
    announce(&app, options, scheme, pages_at);
    let router = web::operator_router(seed, web::OperatorOptions { secure_cookies: tls.is_some() });
    let ended_pages = ended(stopped.clone());
    let pages = async move {
        match tls {
            Some(tls) => web::listener::serve_tls(pages_listener, tls, router, ended_pages).await,
            None => web::listener::serve(pages_listener, router, ended_pages).await,
        }
    };
    app.say(&crate::store::events::NewEvent { kind: "seed.started", text: "the seed started", ..Default::default() });

    // They end only when they were asked to.
    let serving = async { tokio::join!(machines, pages) };
    tokio::pin!(serving);
    let why = tokio::select! {
        _ = &mut serving => return Err(anyhow!("the servers ended by themselves")),
        _ = stop.wait_for(|s| *s) => End::Stopped,
        _ = changed.wait_for(|c| *c) => End::Changed,
    };
    println!("seedd: stopping");
    let _ = end.send(true);
    let _ = tokio::time::timeout(DRAIN, serving).await;
    tasks.shutdown().await;
    let how = options.wireguard;
    tokio::task::spawn_blocking(move || planes::take_down(&app, how, &userspace)).await.context("taking the planes down")?;
    Ok(why)
}

/// The lines a person at the terminal, or the lab, waits for.
fn announce(app: &App, options: &Options, scheme: &str, pages_at: SocketAddr) {
    println!("seedd: machines at http://{} on {}, pages at {scheme}://{pages_at}", app.http, options.iface);
    if let Some(fingerprint) = app.fingerprint() {
        println!("seedd: the pages' certificate has the sha256 fingerprint {fingerprint}");
    }
    if let Some(code) = app.setup_code() {
        println!("seedd: no administrator yet; open {scheme}://{pages_at}/setup with setup code: {code}");
    }
    println!("seedd: {}", if app.is_sealed() { "sealed (run `seedd unseal` or use the page)" } else { "unsealed" });
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
pub(crate) fn pages_socket(addr: SocketAddr) -> Result<TcpListener> {
    let passed = listenfd::ListenFd::from_env().take_tcp_listener(0).context("taking the passed socket")?;
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
            // Addresses come and go; the certificate names those that are there.
            if let Err(error) = app.certify() {
                tracing::error!(error = format!("{error:#}"), "making a certificate");
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
