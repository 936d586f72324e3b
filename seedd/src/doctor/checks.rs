//! Checks that change nothing.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::Duration;

use appliance::control::Client;
use camino::Utf8Path;
use host::clock::{Stopwatch, now};
use host::files::{PRIVATE, Start, free_space, open};
use nix::ifaddrs::getifaddrs;
use site::Site;
use site::store::Store;

use super::{Check, Health, holders};
use crate::clock;
use crate::terminal::amount;

/// Free space below which there is a warning, and below which nothing works, in bytes.
const FEW: u64 = 2 << 30;
const TOO_FEW: u64 = 128 << 20;
/// A durable write that takes longer delays every lease.
const SLOW: Duration = Duration::from_millis(100);

/// What is known before the checks.
pub struct Subject<'a> {
    pub site: &'a Site,
    pub store: Store,
    pub seed: Ipv4Addr,
    pub prefix: u8,
    /// HTTP address for machines.
    pub http: SocketAddrV4,
    /// From the command line, else from the daemon.
    pub iface: Option<String>,
    pub running: bool,
    /// The daemon's process.
    pub pid: Option<u32>,
    pub sealed: Option<bool>,
}

impl<'a> Subject<'a> {
    pub fn new(site: &'a Site, iface: Option<&str>) -> anyhow::Result<Self> {
        let store = site.open_store()?;
        let spec = site.spec()?;
        let underlay = &spec.spec.networking.underlay;
        let daemon = Client::new(&site.control_socket()).doctor().ok();
        let seed = underlay.seed.value;
        Ok(Subject {
            site,
            store,
            seed,
            prefix: underlay.subnet.prefix_len(),
            http: daemon.as_ref().map_or(SocketAddrV4::new(seed, 80), |d| d.listen),
            running: daemon.is_some(),
            pid: daemon.as_ref().map(|d| d.pid),
            sealed: daemon.as_ref().map(|d| d.sealed),
            iface: iface.map(str::to_owned).or_else(|| daemon.map(|d| d.iface).filter(|i| !i.is_empty())),
        })
    }
}

pub fn daemon(s: &Subject<'_>) -> Check {
    match (s.running, s.sealed) {
        (false, _) => Check::new("daemon", Health::Warn, "not running", "start it with `seedd serve --iface IFACE`"),
        (true, Some(true)) => {
            Check::new("daemon", Health::Warn, "running, sealed", "run `seedd unseal`; until then no machine can be approved")
        }
        (true, _) => Check::ok("daemon", "running, unsealed"),
    }
}

/// Up, with a link, and with the seed's address.
pub fn interface(s: &Subject<'_>) -> Check {
    let Some(iface) = s.iface.as_deref() else {
        return Check::skipped("interface", "no interface known; use --iface");
    };
    let dir = Utf8Path::new("/sys/class/net").join(iface);
    if iface.contains('/') || !dir.exists() {
        return Check::new("interface", Health::Bad, format!("{iface} does not exist"), "`ip -brief link` lists the interfaces");
    }
    let carrier = fs::read_to_string(dir.join("carrier")).is_ok_and(|c| c.trim() == "1");
    let up = fs::read_to_string(dir.join("flags"));
    let up = up.ok().and_then(|f| u32::from_str_radix(f.trim().trim_start_matches("0x"), 16).ok()).is_some_and(|f| f & 1 == 1);
    if !up {
        return Check::new("interface", Health::Bad, format!("{iface} is down"), format!("run `ip link set {iface} up`"));
    }
    let (seed, prefix) = (s.seed, s.prefix);
    if !addresses(iface).contains(&(seed, prefix)) {
        let held = addresses(iface).iter().map(|(a, p)| format!("{a}/{p}")).collect::<Vec<_>>().join(", ");
        let held = if held.is_empty() { "no address".to_owned() } else { held };
        let advice =
            format!("run `ip address add {seed}/{prefix} dev {iface}`, or use `seedd cluster overlay` for another network");
        return Check::new("interface", Health::Bad, format!("{iface} has {held}, not the seed's {seed}/{prefix}"), advice);
    }
    if !carrier {
        return Check::new("interface", Health::Bad, format!("{iface} has no link"), "check the cable and the switch");
    }
    Check::ok("interface", format!("{iface} is up and has {seed}/{prefix}"))
}

/// IPv4 addresses of an interface with their prefixes.
pub fn addresses(iface: &str) -> Vec<(Ipv4Addr, u8)> {
    let all = getifaddrs().into_iter().flatten().filter(|a| a.interface_name == iface);
    all.filter_map(|a| {
        let mask = a.netmask.and_then(|m| m.as_sockaddr_in().map(|m| u32::from(m.ip())))?;
        Some((a.address?.as_sockaddr_in()?.ip(), mask.leading_ones() as u8))
    })
    .collect()
}

/// Ports that the daemon needs: in use by it while it runs, else free.
pub fn ports(s: &Subject<'_>) -> Vec<Check> {
    let udp = [(67, "DHCP", "port 67"), (69, "TFTP", "port 69")];
    let pid = s.pid.filter(|_| s.running);
    let mut checks: Vec<Check> = udp.map(|(port, what, name)| port_check(name, what, pid, &holders::of_udp(port))).into();
    checks.push(port_check("port http", &format!("HTTP on {}", s.http), pid, &holders::of_tcp(s.http.port())));
    checks
}

/// `pid`: the daemon's, while it runs.
fn port_check(name: &'static str, what: &str, pid: Option<u32>, holders: &[String]) -> Check {
    let is_ours = |h: &&String| pid.is_some_and(|pid| h.ends_with(&format!("(pid {pid})")));
    let ours = holders.iter().any(|h| is_ours(&h));
    let others: Vec<_> = holders.iter().filter(|h| !is_ours(h)).cloned().collect();
    let advice = "stop that server, or bind it to another interface";
    match (pid, ours, others.is_empty()) {
        (Some(_), true, _) => Check::ok(name, format!("{what} is served")),
        (Some(_), false, _) => Check::new(
            name,
            Health::Bad,
            format!("the daemon does not serve {what}"),
            "a standby serves nothing; see the daemon's log",
        ),
        (None, _, true) => Check::ok(name, format!("free for {what}")),
        (None, _, false) => Check::new(name, Health::Bad, format!("{} uses the port of {what}", others.join(", ")), advice),
    }
}

/// A TCP connection to the HTTP port, as machines make it.
pub fn http(s: &Subject<'_>) -> Check {
    if !s.running {
        return Check::skipped("http", "the daemon is not running");
    }
    match TcpStream::connect_timeout(&s.http.into(), Duration::from_secs(2)) {
        Ok(_) => Check::ok("http", format!("{} answers", s.http)),
        Err(e) => Check::new(
            "http",
            Health::Bad,
            format!("{} does not answer: {e}", s.http),
            "check this machine's firewall (nft list ruleset)",
        ),
    }
}

/// The files that machines fetch first.
pub fn loaders(s: &Subject<'_>) -> Check {
    let name = "loaders";
    let build = "run `seedd image build`";
    let id = match s.store.netboot() {
        Ok(Some(id)) => id,
        Ok(None) => return Check::new(name, Health::Bad, "no netboot image", build),
        Err(e) => return Check::new(name, Health::Bad, format!("reading the database: {e}"), ""),
    };
    let dir = s.site.join("netboot").join(id.to_string());
    for file in [pxe::dhcp::loader::UNDIONLY, pxe::dhcp::loader::SNPONLY, pxe::dhcp::loader::IPXE_EFI, "vmlinuz", "initrd.img"] {
        if fs::metadata(dir.join(file)).map_or(0, |m| m.len()) == 0 {
            return Check::new(name, Health::Bad, format!("{} is missing or empty", dir.join(file)), build);
        }
    }
    Check::ok(name, format!("netboot set {} is complete", id.short()))
}

/// The snapshot in use, and an artifact for each role.
pub fn snapshot(s: &Subject<'_>) -> Vec<Check> {
    let name = "snapshot";
    let first = match s.store.snapshot() {
        Ok(Some(id)) if s.site.snapshot(id).join("dists").is_dir() => {
            Check::ok(name, format!("{} is published; `seedd darksite verify` checks every byte", id.short()))
        }
        Ok(Some(id)) => Check::new(
            name,
            Health::Bad,
            format!("{} does not exist", s.site.snapshot(id)),
            "run `seedd darksite build`, or `seedd adopt` to import from a medium",
        ),
        Ok(None) => {
            Check::new(name, Health::Bad, "no snapshot", "run `seedd darksite build`, or `seedd adopt` to import from a medium")
        }
        Err(e) => Check::new(name, Health::Bad, format!("reading the database: {e}"), ""),
    };
    let artifacts = s.store.artifacts().unwrap_or_default();
    // `base` and `base:arm64` are one role.
    let roles: BTreeSet<&str> = artifacts.iter().filter_map(|(name, _)| name.split(':').next()).collect();
    let second = match roles.len() {
        0 => Check::new(
            "artifacts",
            Health::Bad,
            "no role has an artifact, so nothing can be installed",
            "run `seedd image build`",
        ),
        n => Check::ok("artifacts", format!("{n} role(s) can be installed")),
    };
    vec![first, second]
}

/// Free space, and the time of a durable write, which every lease waits for.
pub fn disk(s: &Subject<'_>) -> Check {
    let name = "disk";
    let free = free_space(&s.site.data).unwrap_or(0);
    let path = s.site.join("tmp").join(format!("doctor.{}", std::process::id()));
    let began = Stopwatch::start();
    let written = open(&path, Start::Empty, PRIVATE).and_then(|mut f| f.write_all(&[0; 4096]).and_then(|()| f.sync_all()));
    let took = began.elapsed();
    let _ = fs::remove_file(&path);
    let text = format!("{} free, a durable write takes {} ms", amount(free), took.as_millis());
    match written {
        Err(e) => Check::new(
            name,
            Health::Bad,
            format!("writing to {}: {e}", s.site.data),
            "check whether it is full or mounted read-only",
        ),
        Ok(()) if free < TOO_FEW => Check::new(
            name,
            Health::Bad,
            text,
            "free space: delete old snapshots with `seedd darksite remove` and unused data with `seedd darksite gc`",
        ),
        Ok(()) if free < FEW => Check::new(name, Health::Warn, text, "free space before the next snapshot or image"),
        Ok(()) if took > SLOW => {
            Check::new(name, Health::Warn, text, "every lease waits for it; move the data directory to a faster disk")
        }
        Ok(()) => Check::ok(name, text),
    }
}

/// The database, and the chain of its event log.
pub fn database(s: &Subject<'_>) -> Check {
    let name = "database";
    match s.store.read(|tx| Ok::<_, site::store::StoreError>((tx.damage()?, tx.broken_event()?))) {
        Ok((None, None)) => Check::ok(name, "intact, and the event log is unmodified"),
        Ok((Some(what), _)) => {
            Check::new(name, Health::Bad, format!("damaged: {what}"), "restore from the latest capsule (`seedd import`)")
        }
        Ok((None, Some(id))) => Check::new(
            name,
            Health::Bad,
            format!("event {id} was modified outside seedd"),
            "someone with write access to seed.db changed it",
        ),
        Err(e) => Check::new(name, Health::Bad, format!("{e}"), ""),
    }
}

pub fn clock(s: &Subject<'_>) -> Check {
    let suite = s.site.spec().map(|spec| spec.spec.darksite.suite).unwrap_or_default();
    let id = s.store.snapshot().ok().flatten();
    let date = id.and_then(|id| clock::snapshot_date(&s.site.snapshot(id), &suite));
    match clock::doubt(now(), date) {
        Some(doubt) => Check::new("clock", Health::Warn, doubt, "run `seedd clock set`; only logs depend on it"),
        None => Check::ok("clock", "plausible"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_the_daemons_or_free_or_somebody_elses() {
        let held = |text: &str| vec![text.to_owned()];
        for (pid, holders, health) in [
            (Some(7), held("seedd (pid 7)"), Health::Ok),
            (Some(7), held("seedd (pid 77)"), Health::Bad),
            (Some(7), vec![], Health::Bad),
            (None, vec![], Health::Ok),
            (None, held("dnsmasq (pid 9)"), Health::Bad),
        ] {
            let check = port_check("port 67", "DHCP", pid, &holders);
            assert_eq!(check.health, health, "{pid:?} {holders:?}");
            assert_eq!(check.advice.is_empty(), health == Health::Ok);
        }
    }

    #[test]
    fn a_site_without_anything_is_told_what_to_do_first() {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::new(Utf8Path::from_path(dir.path()).unwrap());
        site.make_folders().unwrap();
        fs::write(site.cluster_file(), site::default_cluster_yaml("site-a")).unwrap();
        drop(Store::open(&site.database()).unwrap());
        let s = Subject::new(&site, Some("lo")).unwrap();
        let bad = [interface(&s), loaders(&s), snapshot(&s).remove(0), snapshot(&s).remove(1)];
        assert!(bad.iter().all(|c| c.health == Health::Bad && !c.advice.is_empty()), "{bad:?}");
        assert!(bad[0].text.contains("127.0.0.1/8, not the seed's 10.44.0.1/24"), "{}", bad[0].text);
        assert_eq!((daemon(&s).health, http(&s).health), (Health::Warn, Health::Skipped));
        assert_eq!((database(&s).health, disk(&s).health != Health::Bad), (Health::Ok, true));
        let nowhere = Subject::new(&site, None).unwrap();
        assert_eq!(interface(&nowhere).health, Health::Skipped, "no network is touched that was not named");
        assert_eq!(interface(&Subject::new(&site, Some("nonesuch0")).unwrap()).health, Health::Bad);
    }
}
