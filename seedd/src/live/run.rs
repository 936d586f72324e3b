//! `seedd appliance run`: configures the network, then serves the site, or sets it up first. One process, one socket for the web
//! interface.

use std::net::{SocketAddr, SocketAddrV4, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use appliance::boot::Preset;
use appliance::console::host::{Host, Place};
use appliance::console::view::{ConsoleView, Phase};
use appliance::control::answer::{Clock, Status};
use appliance::control::{self, Controlled, SOCKET};
use appliance::network::{Network, choose, nics, plan, wake};
use appliance::settings::{Settings, StatePlace};
use appliance::state::{Places, Report, SITE_DIR, stored};
use camino::Utf8Path;
use cluster_seed::cluster::ClusterSpec;
use host::files::write_atomic;
use site::hint::Hint as _;
use site::tls::{Tls, host_names};
use site::{Site, default_cluster_yaml};
use transfer::medium::adopt::Medium;
use zeroize::Zeroizing;

use super::setup::{Given, SetUp, own_address};
use crate::app::socket;
use crate::daemon::{self, Front, pages_socket, signalled};
use crate::planes::WireGuard;

/// Directory for files that do not survive a reboot.
pub const RUN_DIR: &str = "/run/kubedos";
/// Below the run directory: leases, and the trigger file of the unit that moves the state to another disk.
const LEASES: &str = "leases";
pub const RESTATE: &str = "restate";
/// HTTP port for machines.
const HTTP_PORT: u16 = 80;
/// Interval between checks for the netboot interface.
const WAIT: Duration = Duration::from_secs(2);

pub struct Options {
    pub places: Places,
    pub preset: Preset,
    /// Interface for netboot that is configured externally; without it the appliance configures all interfaces.
    pub iface: Option<String>,
    pub pages: SocketAddr,
    /// Address for machines, instead of the seed's address in cluster.yaml.
    pub listen: Option<SocketAddrV4>,
    pub wireguard: WireGuard,
}

/// What is kept from the set-up to the daemon.
struct Machine {
    options: Options,
    site: Site,
    host: Host,
    network: Mutex<Network>,
    /// Warnings about the state, the boot parameters and the network.
    warnings: Vec<String>,
    tls: Arc<Tls>,
}

/// Runs until SIGINT or SIGTERM.
pub fn run(options: Options) -> Result<()> {
    let places = &options.places;
    for dir in [&places.state, &places.run] {
        std::fs::create_dir_all(dir).with_context(|| format!("creating {dir}"))?;
    }
    let report = Report::read(&places.run);
    let mut warnings = report.as_ref().map_or_else(Vec::new, |r| r.warnings.clone());
    for problem in &options.preset.problems {
        if !warnings.contains(problem) {
            warnings.push(problem.clone());
        }
    }
    let state = report.map_or_else(|| format!("directory {}", places.state), |r| r.place);
    let site = Site::new(&places.state.join(SITE_DIR));
    let place = Place { state: places.state.clone(), run: places.run.clone() };
    let host = Host { root: "/".into(), appliance: Some(place), state };
    let control = control::listen(&places.run.join(SOCKET))?;
    let listener = pages_socket(options.pages)?;
    let spec = spec(&options, &site)?;
    let (network, told) = bring_up(&options, &spec, site.exists())?;
    warnings.extend(told);
    let tls = Tls::new(host_names(Some(&spec)))?;
    let machine = Arc::new(Machine { options, site, host, network: Mutex::new(network), warnings, tls });
    if machine.site.exists() {
        return machine.serve(listener, Control::Socket(control), None);
    }
    let Some((control, passphrase)) = machine.set_up(&listener, control)? else { return Ok(()) };
    machine.serve(listener, Control::Server(control), Some(passphrase))
}

enum Control {
    Socket(control::Socket),
    Server(control::Server),
}

/// The cluster.yaml of the site, or of the site that the medium would create.
fn spec(options: &Options, site: &Site) -> Result<ClusterSpec> {
    if site.exists() {
        return site.spec();
    }
    let text = match &options.preset.maker {
        Some(maker) => Medium::open(&options.places.medium, maker).and_then(|m| m.cluster()),
        None => Ok(default_cluster_yaml("new")),
    };
    // A damaged medium is reported during set-up, which must be reachable for that.
    let text = text.unwrap_or_else(|error| {
        tracing::error!(error = format!("{error:#}"), "inspecting the medium");
        default_cluster_yaml("new")
    });
    ClusterSpec::parse(&text).map_err(|e| anyhow!("{e}")).context("reading the medium's cluster.yaml")
}

fn in_force(options: &Options) -> Settings {
    options.preset.over(&stored(&options.places.state).0)
}

/// Configures every interface; failures become warnings.
fn bring_up(options: &Options, spec: &ClusterSpec, site: bool) -> Result<(Network, Vec<String>)> {
    if options.iface.is_some() {
        return Ok((Network::default(), Vec::new()));
    }
    let nics = wake(Utf8Path::new("/"));
    let settings = in_force(options);
    let netboot = choose(settings.iface.as_deref(), &nics);
    let plan = plan(&settings, &nics, netboot.as_deref().ok(), own_address(spec)?, site);
    tracing::info!(?plan, "addresses");
    let (network, mut warnings) = Network::start(&plan, &options.places.run.join(LEASES));
    warnings.extend(netboot.err());
    Ok((network, warnings))
}

impl Machine {
    /// Serves the set-up page and the console until there is a site; `None` if a stop was requested.
    fn set_up(
        self: &Arc<Self>,
        listener: &TcpListener,
        control: control::Socket,
    ) -> Result<Option<(control::Server, Zeroizing<String>)>> {
        let pages = listener.local_addr().context("reading the address of the web interface")?;
        let (for_settings, for_change) = (self.clone(), self.clone());
        let given = Given {
            site: self.site.clone(),
            medium: self.options.preset.maker.map(|maker| (self.options.places.medium.clone(), maker)),
            host: self.host.clone(),
            settings: Box::new(move || in_force(&for_settings.options)),
            on_settings: Box::new(move |settings| for_change.changed(settings)),
            pages,
            tls: self.tls.clone(),
            warnings: self.warnings.clone(),
        };
        let setup = SetUp::new(given)?;
        let control = control.start(setup.clone() as Arc<dyn Controlled>);
        println!("seedd: no site yet; open https://{pages}/setup with setup code: {}", setup.code());
        println!("seedd: the pages' certificate has the sha256 fingerprint {}", self.tls.fingerprint());
        let socket = listener.try_clone().context("duplicating the socket of the web interface")?;
        let tls = self.tls.server_config()?;
        let router = web::first_setup_router(setup.page(), web::OperatorOptions { secure_cookies: true });
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("starting the runtime")?;
        let made = runtime.block_on(async {
            let socket = tokio::net::TcpListener::from_std(socket).context("registering the listener of the web interface")?;
            let mut done = setup.done();
            let mut until = setup.done();
            let ended = async move {
                tokio::select! {
                    _ = until.wait_for(Option::is_some) => {}
                    () = signalled() => {}
                }
            };
            web::listener::serve_tls(socket, tls, router, ended).await;
            anyhow::Ok(done.borrow_and_update().clone())
        })?;
        runtime.shutdown_timeout(Duration::from_secs(2));
        Ok(made.map(|passphrase| (control, Zeroizing::new(passphrase.to_string()))))
    }

    /// Applies new settings while there is no site: they take effect immediately.
    fn changed(self: &Arc<Self>, settings: &Settings) -> Result<()> {
        let places = &self.options.places;
        let memory = Report::read(&places.run).is_some_and(|r| r.memory);
        if memory && matches!(settings.state, Some(StatePlace::Disk(_) | StatePlace::Stick)) {
            // A systemd unit, running as root, restarts this program on the selected disk.
            return Ok(write_atomic(&places.run.join(RESTATE), b"requested on the console\n", 0o644)?);
        }
        let machine = self.clone();
        // Getting an address takes time, and an operator waits for the answer on the console.
        std::thread::spawn(move || {
            let mut network = machine.network.lock().unwrap_or_else(PoisonError::into_inner);
            *network = Network::default();
            let again = spec(&machine.options, &machine.site).and_then(|spec| bring_up(&machine.options, &spec, false));
            match again {
                Ok((new, warnings)) => {
                    *network = new;
                    warnings.iter().for_each(|w| tracing::warn!("{w}"));
                }
                Err(error) => tracing::error!(error = format!("{error:#}"), "changing the addresses"),
            }
        });
        Ok(())
    }

    fn serve(self: Arc<Self>, listener: TcpListener, control: Control, passphrase: Option<Zeroizing<String>>) -> Result<()> {
        let options = &self.options;
        let spec = self.site.spec()?;
        let own = own_address(&spec)?;
        let starting =
            Arc::new(Starting { host: self.host.clone(), site: spec.metadata.name.to_string(), why: Mutex::default() });
        let control = match control {
            Control::Server(server) => {
                server.hand_over(starting.clone());
                server
            }
            Control::Socket(socket) => socket.start(starting.clone()),
        };
        let iface = match &options.iface {
            Some(iface) => iface.clone(),
            None => self.netboot(&starting),
        };
        self.link_socket()?;
        let listen = options.listen.unwrap_or(SocketAddrV4::new(own.addr(), HTTP_PORT));
        let mut warnings = self.warnings.clone();
        warnings.extend(self.other_medium());
        daemon::serve(
            self.site.clone(),
            daemon::Options {
                iface,
                listen,
                pages: options.pages,
                pages_without_tls: false,
                wireguard: options.wireguard,
                passphrase,
                host: self.host.clone(),
                control: Some(control),
                front: Some(Front { listener, tls: self.tls.clone() }),
                own_network: options.iface.is_none(),
                lasting: warnings,
            },
        )
    }

    /// Waits for the netboot interface without a time limit: a card may appear late, or be selected in the meantime.
    fn netboot(&self, starting: &Starting) -> String {
        loop {
            let settings = in_force(&self.options);
            match choose(settings.iface.as_deref(), &nics(Utf8Path::new("/"))) {
                Ok(iface) => return iface,
                Err(why) => {
                    let mut told = starting.why.lock().unwrap_or_else(PoisonError::into_inner);
                    if *told != why {
                        tracing::warn!("waiting for the netboot interface: {why}");
                        *told = why;
                    }
                }
            }
            std::thread::sleep(WAIT);
        }
    }

    /// `seedd unseal --data` and other commands expect the socket in the site's directory.
    fn link_socket(&self) -> Result<()> {
        let link = self.site.control_socket();
        match std::fs::remove_file(&link) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e).with_context(|| format!("removing {link}")),
            _ => {}
        }
        std::os::unix::fs::symlink(self.options.places.run.join(SOCKET), &link).with_context(|| format!("creating {link}"))
    }

    /// A warning if the medium is not the one whose files are in use.
    fn other_medium(&self) -> Option<String> {
        let maker = self.options.preset.maker.as_ref()?;
        let adopted = self.site.open_store().ok()?.read(|tx| tx.medium()).ok()??;
        match Medium::open(&self.options.places.medium, maker) {
            Ok(medium) if medium.manifest.id == adopted => None,
            Ok(_) => Some(format!(
                "the packages and images of this site come from another medium: insert that medium, or run \
                 `seedd adopt {} --data {}`",
                self.options.places.medium, self.site.data
            )),
            Err(error) => Some(format!("the medium cannot be used, so packages and images are missing: {error:#}")),
        }
    }
}

/// Answers the console while a site is being opened.
struct Starting {
    host: Host,
    site: String,
    /// What it is waiting for.
    why: Mutex<String>,
}

impl Controlled for Starting {
    fn clock(&self) -> Result<Clock> {
        Ok(socket::clock(crate::clock::of_machine()))
    }

    fn set_clock(&self, to_ms: u64) -> Result<Clock> {
        Ok(socket::clock(crate::clock::set_machine(to_ms)?))
    }

    fn status(&self) -> Result<Status> {
        Err(anyhow!("the seed is starting")).hint("try again in a moment")
    }

    fn unseal(&self, _passphrase: &str) -> Result<()> {
        Err(anyhow!("the seed is starting")).hint("try again in a moment")
    }

    fn view(&self) -> Result<ConsoleView> {
        let why = self.why.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let waits = if why.is_empty() { "the seed is starting".to_owned() } else { format!("nothing is served yet: {why}") };
        Ok(ConsoleView { phase: Phase::Sealed, site: Some(self.site.clone()), warnings: vec![waits], ..ConsoleView::default() })
    }

    fn host(&self) -> &Host {
        &self.host
    }

    fn settings_changed(&self, _settings: &Settings) -> Result<()> {
        Ok(())
    }
}
