//! DHCP and TFTP as configured in cluster.yaml: configurations, the files that they serve, and the storage of leases.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use cluster_seed::cluster::Underlay;
use cluster_seed::netboot::{DhcpSpec, InterfaceSpec, Mode, NetworkSpec, OptionSpec, Pool, UefiLoader};
use host::clock::steady;
use host::files;
use pxe::counters::Counters;
use pxe::dhcp::loader::{GRUB, GRUB_ARM64, GRUB_CONFIGS, IPXE_ARM64, IPXE_EFI, SHIM, SHIM_ARM64, SNPONLY, UNDIONLY};
use pxe::script::{KernelCmdline, SeedUrl, grub_first};
use pxe::{
    Commit, DhcpConfig, DhcpMode, DhcpServer, ExtraOption, FileTable, Journal, LoaderTable, NetworkConfig, PoolRange, Presence,
    Reservation, Route, Subnet, TftpConfig, TftpServer,
};
use site::hint;
use site::store::leases::LeaseRow;
use tokio::sync::watch;

use crate::app::App;
use crate::app::wire::Policy;
use crate::clock::bounded;

/// Largest loader served by TFTP, in bytes.
const MAX_LOADER: u64 = 8 << 20;
/// Below the site's directory.
const LEASES: &str = "leases";
/// Interval between checks whether the journal must be folded into the database.
const FOLD_EVERY: Duration = Duration::from_secs(5);

/// Interval between updates of the known nodes.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// The servers of all interfaces.
pub struct Servers {
    dhcp: Vec<DhcpServer>,
    tftp: Vec<TftpServer>,
    leases: Arc<Leases>,
    presences: Vec<Arc<Presence>>,
}

impl Servers {
    /// Opens all ports; no requests are answered yet.
    pub async fn bind(app: &Arc<App>, iface: &str, policy: Arc<Policy>) -> Result<Self> {
        let networking = &app.spec.spec.networking;
        let files = files(app)?;
        let parameters = app.spec.spec.netboot.kernel_parameters.iter().map(String::as_str);
        if let Err(why) = KernelCmdline::new().params(parameters) {
            return Err(hint::with(anyhow!("netboot.kernelParameters: {why}"), "correct it in cluster.yaml"));
        }
        let shim = app.spec.spec.netboot.uefi == UefiLoader::Shim;
        let loaders = LoaderTable::of(shim, |name| files.iter().any(|(n, _)| n == name));
        let files = Arc::new(FileTable::new(files));
        let (leases, found) = Leases::open(app)?;
        let mut configs = vec![own(app, iface, loaders.clone())?];
        for spec in &networking.underlay.dhcp.interfaces {
            configs.push(further(app, spec, loaders.clone())?);
        }
        let mut servers = Servers { dhcp: Vec::new(), tftp: Vec::new(), leases, presences: Vec::new() };
        for config in configs {
            let (name, ip) = (config.iface.clone(), config.server_ip);
            let mut nets = config.networks.iter().map(|n| n.subnet).collect::<Vec<_>>().into_iter();
            let own = nets.next().ok_or_else(|| anyhow!("no network on {name}"))?;
            let commit = servers.leases.clone().commit();
            let dhcp = with_hint(DhcpServer::bind(config, policy.clone(), &found, commit, Arc::new(steady)))?;
            let presence = dhcp.presence();
            let tftp = TftpConfig { relayed: nets.collect(), presence: presence.clone(), ..TftpConfig::new(&name, ip, own) };
            servers.presences.push(presence);
            servers.dhcp.push(dhcp);
            servers.tftp.push(with_hint(TftpServer::bind(tftp, files.clone(), policy.clone()))?);
        }
        tell_members(app, &servers.presences);
        Ok(servers)
    }

    /// Call it with the address of a peer that made a request: its lease gets the normal length.
    pub fn heard(&self) -> web::listener::Heard {
        let presences = self.presences.clone();
        Arc::new(move |ip: IpAddr| {
            if let IpAddr::V4(ip) = ip.to_canonical() {
                presences.iter().for_each(|p| p.heard(ip));
            }
        })
    }

    /// Counters per interface: DHCP, then TFTP.
    pub fn counters(&self) -> (Vec<Arc<Counters>>, Vec<Arc<Counters>>) {
        let dhcp = self.dhcp.iter().map(DhcpServer::counters).collect();
        (dhcp, self.tftp.iter().map(TftpServer::counters).collect())
    }

    /// Serves until a stop is requested; then the leases are in the database.
    pub async fn run(self, app: Arc<App>, stopped: watch::Receiver<bool>) {
        let ended = |mut stopped: watch::Receiver<bool>| async move {
            let _ = stopped.wait_for(|s| *s).await;
        };
        let mut tasks = tokio::task::JoinSet::new();
        for dhcp in self.dhcp {
            tasks.spawn(dhcp.run(ended(stopped.clone())));
        }
        for tftp in self.tftp {
            tasks.spawn(tftp.run(ended(stopped.clone())));
        }
        tokio::select! {
            () = fold_for_ever(app.clone(), self.leases.clone()) => {}
            () = tell_members_for_ever(app.clone(), self.presences) => {}
            () = async { while tasks.join_next().await.is_some() {} } => {}
        }
        fold(app, self.leases).await;
    }
}

fn with_hint<T>(result: Result<T, pxe::server::bind::BindError>) -> Result<T> {
    result.map_err(|e| {
        let hint = e.hint();
        hint::with(e, hint)
    })
}

/// The journal, and its leases that are not in the database yet.
pub struct Leases {
    journal: Mutex<Journal>,
    sealed: Mutex<Vec<pxe::server::dhcp::journal::Sealed>>,
}

impl Leases {
    /// Writes the leases in the journal of an earlier run to the database, and returns all leases.
    fn open(app: &App) -> Result<(Arc<Self>, Vec<pxe::LeaseRecord>)> {
        let dir = app.site.join(LEASES);
        let (journal, found) = Journal::open(dir.as_std_path()).with_context(|| format!("opening the lease journal in {dir}"))?;
        let leases = Leases { journal: Mutex::new(journal), sealed: Mutex::default() };
        if !found.is_empty() {
            leases.fold(app).context("writing the lease journal to the database")?;
        }
        let longest = longest_lease(&app.spec.spec.networking.underlay);
        let stored = app.store.leases().context("reading the leases")?;
        let bounded = |l: LeaseRow| pxe::LeaseRecord {
            mac: l.mac,
            ip: l.ip,
            expires_at: bounded(l.expires_at, longest, steady()),
            hostname: l.hostname,
            client_id: l.client_id,
        };
        Ok((Arc::new(leases), stored.into_iter().map(bounded).collect()))
    }

    fn commit(self: Arc<Self>) -> Commit {
        Box::new(move |records| {
            let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
            journal.append(records)
        })
    }

    /// Files are deleted only when the database has their leases, oldest first.
    fn fold(&self, app: &App) -> Result<()> {
        let mut sealed = self.sealed.lock().unwrap_or_else(PoisonError::into_inner);
        let journal = || self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let next = Some(journal()).filter(|j| !j.is_empty()).map(|j| j.next());
        if let Some(next) = next {
            // No lease waits for this.
            let next = next.make().context("creating a new lease journal")?;
            sealed.push(journal().seal(next).context("starting a new lease journal")?);
        }
        while let Some(oldest) = sealed.first() {
            app.store.save_leases(&rows(&oldest.records)).context("saving leases")?;
            sealed.remove(0).remove().context("removing a lease journal that is folded")?;
        }
        Ok(())
    }
}

/// The journal's leases as rows of the database.
fn rows(records: &[pxe::LeaseRecord]) -> Vec<LeaseRow> {
    let row = |l: &pxe::LeaseRecord| LeaseRow {
        mac: l.mac,
        ip: l.ip,
        expires_at: l.expires_at,
        hostname: l.hostname.clone(),
        client_id: l.client_id.clone(),
    };
    records.iter().map(row).collect()
}

async fn fold_for_ever(app: Arc<App>, leases: Arc<Leases>) {
    loop {
        tokio::time::sleep(FOLD_EVERY).await;
        fold(app.clone(), leases.clone()).await;
    }
}

/// Nodes always have leases of the normal length.
fn tell_members(app: &App, presences: &[Arc<Presence>]) {
    let members = app.store.read(|tx| {
        let all = tx.every_enrollment()?;
        tx.macs_of(all.iter().filter(|e| e.state.is_member()).map(|e| e.machine))
    });
    match members {
        Ok(members) => presences.iter().for_each(|p| p.known(members.values().copied().collect())),
        Err(error) => tracing::error!(%error, "reading the nodes; their leases are short"),
    }
}

async fn tell_members_for_ever(app: Arc<App>, presences: Vec<Arc<Presence>>) {
    loop {
        tokio::time::sleep(TELL_EVERY).await;
        let (app, presences) = (app.clone(), presences.clone());
        let _ = tokio::task::spawn_blocking(move || tell_members(&app, &presences)).await;
    }
}

async fn fold(app: Arc<App>, leases: Arc<Leases>) {
    let folded = tokio::task::spawn_blocking(move || leases.fold(&app)).await;
    if let Some(error) = folded.map_err(anyhow::Error::from).and_then(|r| r).err() {
        tracing::error!(error = format!("{error:#}"), "folding leases into the database; they stay in the journal");
    }
}

fn longest_lease(underlay: &Underlay) -> u64 {
    let interfaces = underlay.dhcp.interfaces.iter().map(|i| &i.network);
    let others = underlay.dhcp.relayed.iter().chain(interfaces).filter_map(|n| n.lease_seconds);
    others.chain([underlay.lease_seconds]).max().unwrap_or(underlay.lease_seconds).into()
}

/// The files of the netboot set in use, by name, and GRUB's first configuration. If there is none, that is not an error: the web
/// interface shows it.
fn files(app: &App) -> Result<Vec<(String, Arc<[u8]>)>> {
    let Some(id) = app.store.netboot()? else { return Ok(Vec::new()) };
    let dir = app.site.join("netboot").join(id.to_string());
    let mut files = Vec::new();
    let needed = [UNDIONLY, SNPONLY, IPXE_EFI].map(|name| (name, true));
    let optional = [IPXE_ARM64, SHIM, GRUB, SHIM_ARM64, GRUB_ARM64].map(|name| (name, false));
    for (name, needed) in needed.into_iter().chain(optional) {
        // A set of an older version has no Secure Boot chain.
        if needed || dir.join(name).exists() {
            files.push((name.to_owned(), Arc::from(files::read_limited(&dir.join(name), MAX_LOADER)?)));
        }
    }
    let grub: Arc<[u8]> = grub_first(SeedUrl(app.http), !app.spec.spec.netboot.rescue.is_off()).into_bytes().into();
    files.extend(GRUB_CONFIGS.map(|name| (name.to_owned(), grub.clone())));
    Ok(files)
}

fn mode(mode: Mode) -> DhcpMode {
    match mode {
        Mode::Full => DhcpMode::Full,
        Mode::Reservation => DhcpMode::Reservation,
        Mode::Proxy => DhcpMode::Proxy,
        Mode::Auto => DhcpMode::Auto,
    }
}

fn ranges(pools: &[Pool]) -> Vec<PoolRange> {
    pools.iter().map(|p| PoolRange { first: p.first, last: p.last }).collect()
}

fn extras(options: &[OptionSpec]) -> Result<Vec<ExtraOption>> {
    let one = |o: &OptionSpec| Ok::<_, anyhow::Error>(ExtraOption::new(o.code, o.bytes().map_err(anyhow::Error::msg)?)?);
    options
        .iter()
        .map(|o| one(o).map_err(|why| hint::with(anyhow!("dhcp.options: {why}"), "correct it in cluster.yaml")))
        .collect()
}

/// The boot network and the networks behind its relays.
fn own(app: &App, iface: &str, loaders: LoaderTable) -> Result<DhcpConfig> {
    let networking = &app.spec.spec.networking;
    let underlay = &networking.underlay;
    let seed = underlay.seed.value;
    let DhcpSpec { search, routes, relayed, relays, probe, .. } = &underlay.dhcp;
    let mut network = network_of(app, &underlay.network(), seed)?;
    network.search = search.iter().map(ToString::to_string).collect();
    for route in routes {
        network.routes.push(Route { to: Subnet::new(route.to.network(), route.to.prefix_len())?, via: route.via });
    }
    let mut config = DhcpConfig::new(iface, seed, mode(underlay.dhcp.mode), network);
    for spec in relayed {
        config.networks.push(network_of(app, spec, seed)?);
    }
    config.relays.clone_from(relays);
    config.probe = *probe;
    config.http_base = Some(app.seed_url());
    config.loaders = loaders;
    Ok(config)
}

/// Another interface. Machines there reach the seed through its address on their network.
fn further(app: &App, spec: &InterfaceSpec, loaders: LoaderTable) -> Result<DhcpConfig> {
    let mut network = network_of(app, &spec.network, spec.seed)?;
    network.router = network.router.or(Some(spec.seed));
    let mut config = DhcpConfig::new(&spec.interface, spec.seed, mode(spec.mode), network);
    config.probe = app.spec.spec.networking.underlay.dhcp.probe;
    config.http_base = Some(app.seed_url());
    config.loaders = loaders;
    Ok(config)
}

fn network_of(app: &App, spec: &NetworkSpec, seed: Ipv4Addr) -> Result<NetworkConfig> {
    let networking = &app.spec.spec.networking;
    let subnet = Subnet::new(spec.subnet.network(), spec.subnet.prefix_len())?;
    let lease = spec.lease_seconds.unwrap_or(networking.underlay.lease_seconds);
    let mut network = NetworkConfig::new(subnet, ranges(&spec.pools), lease);
    network.router = spec.router;
    network.dns = if spec.dns.is_empty() { vec![seed] } else { spec.dns.clone() };
    network.domain = Some(networking.domain.to_string());
    network.ntp = if app.spec.spec.time.serve { vec![seed] } else { Vec::new() };
    network.mtu = spec.mtu;
    network.extra = extras(&spec.options)?;
    for r in &spec.reservations {
        let hostname = r.hostname.as_ref().map(ToString::to_string);
        network.reservations.insert(r.mac, Reservation { ip: r.address, hostname });
    }
    Ok(network)
}
