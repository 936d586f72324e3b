//! Only the DHCP and TFTP servers, for tests with real clients and for manual tests:
//! `serve IFACE SERVER_IP PREFIX POOL_FIRST POOL_LAST NETBOOT_DIR SCRIPT_URL LEASE_DIR [WORD…]`.
//!
//! Boot files come from the directory, leases go to a journal in the lease directory, events to standard
//! output. It exits when standard input is closed.

use std::io::Read;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use pxe::{
    BootDecision, BootEvent, BootPolicy, BootRequest, ClientArch, Commit, DhcpConfig, DhcpMode, DhcpServer, FileTable, Journal,
    NetworkConfig, PoolRange, Reservation, Subnet, TftpConfig, TftpServer,
};
use tokio::sync::watch;

struct Policy {
    url: String,
    quiet: bool,
}

impl BootPolicy for Policy {
    fn decide(&self, request: &BootRequest) -> BootDecision {
        if request.takes_script() { BootDecision::Script { url: self.url.clone() } } else { BootDecision::Loader }
    }

    fn observe(&self, event: &BootEvent) {
        if self.quiet {
            return;
        }
        let BootEvent { kind, mac, arch, ip, file, bytes, .. } = event;
        println!("event {kind:?} mac={mac:?} arch={arch:?} ip={ip:?} file={file:?} bytes={bytes:?}");
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [iface, server, prefix, first, last, dir, url, log, more @ ..] = &args[..] else {
        return Err("usage: serve IFACE SERVER_IP PREFIX POOL_FIRST POOL_LAST NETBOOT_DIR SCRIPT_URL LEASE_DIR [WORD…]".into());
    };
    let server_ip: Ipv4Addr = server.parse()?;
    let subnet = Subnet::new(server_ip, prefix.parse()?)?;
    let quiet = more.iter().any(|w| w == "quiet");
    let policy = Arc::new(Policy { url: url.clone(), quiet });
    let (mut journal, leases) = Journal::open(Path::new(log))?;
    let commit: Commit = Box::new(move |records| journal.append(records));
    let range = PoolRange { first: first.parse()?, last: last.parse()? };
    let mut own = NetworkConfig::new(subnet, vec![range], 600);
    own.domain = Some("lab.test".into());
    let mut config = DhcpConfig::new(iface, server_ip, mode_of(more)?, own);
    config.http_base = Some(format!("http://{server_ip}"));
    let mut tftp_config = TftpConfig::new(iface, server_ip, subnet);
    for word in more {
        further(word, &mut config, &mut tftp_config)?;
    }
    let clock = Arc::new(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()));
    let dhcp = match DhcpServer::bind(config, policy.clone(), &leases, commit, clock) {
        Ok(server) => server,
        Err(error) => return Err(format!("{error}; hint: {}", error.hint()).into()),
    };
    tftp_config.presence = dhcp.presence();
    let files = Arc::new(FileTable::new(read_files(dir)?));
    let tftp = TftpServer::bind(tftp_config, files, policy)?;
    println!("ready");

    let (stop, stopped) = watch::channel(());
    let wait = |mut stopped: watch::Receiver<()>| async move {
        let _ = stopped.changed().await;
    };
    let servers = [tokio::spawn(dhcp.run(wait(stopped.clone()))), tokio::spawn(tftp.run(wait(stopped)))];
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    drop(stop);
    for server in servers {
        server.await?;
    }
    Ok(())
}

fn mode_of(words: &[String]) -> Result<DhcpMode, Failure> {
    let mode = words.iter().find_map(|w| w.strip_prefix("mode="));
    Ok(match mode {
        None | Some("full") => DhcpMode::Full,
        Some("reservation") => DhcpMode::Reservation,
        Some("proxy") => DhcpMode::Proxy,
        Some("auto") => DhcpMode::Auto,
        Some(other) => return Err(format!("mode {other:?}").into()),
    })
}

/// Words after the fixed arguments: `noprobe`, `nowatch`, `quiet`, `mode=MODE`, `relay=NET/LEN,FIRST,LAST`,
/// `reserve=MAC,IP`, `loader=ARCH-CODE,NAME`, `transfers=N`,
/// `pools=FIRST,LAST`.
fn further(word: &str, config: &mut DhcpConfig, tftp: &mut TftpConfig) -> Result<(), Failure> {
    let (name, value) = word.split_once('=').unwrap_or((word, ""));
    let parts: Vec<&str> = value.split(',').collect();
    match (name, &parts[..]) {
        ("noprobe", _) => config.probe = false,
        ("nowatch", _) => config.watch = false,
        ("quiet" | "mode", _) => {}
        ("relay", [net, first, last]) => {
            let (address, prefix) = net.split_once('/').ok_or("NET/LEN")?;
            let range = PoolRange { first: first.parse()?, last: last.parse()? };
            let subnet = Subnet::new(address.parse()?, prefix.parse()?)?;
            tftp.relayed.push(subnet);
            config.networks.push(NetworkConfig::new(subnet, vec![range], 600));
        }
        ("reserve", [mac, ip]) => {
            let reservation = Reservation { ip: ip.parse()?, hostname: None };
            config.networks[0].reservations.insert(mac.parse()?, reservation);
        }
        ("loader", [code, name]) => config.loaders.set(ClientArch::from_code(code.parse()?), name)?,
        ("pools", [first, last]) => {
            config.networks[0].ranges = vec![PoolRange { first: first.parse()?, last: last.parse()? }];
        }
        ("transfers", [n]) => (tftp.max_transfers, tftp.max_per_address) = (n.parse()?, n.parse()?),
        _ => return Err(format!("{word:?}").into()),
    }
    Ok(())
}

/// The files below the directory, by relative path.
fn read_files(dir: &str) -> std::io::Result<Vec<(String, Arc<[u8]>)>> {
    let mut files = Vec::new();
    let mut folders = vec![Path::new(dir).to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(name) = path.strip_prefix(dir) {
                files.push((name.to_string_lossy().into_owned(), std::fs::read(&path)?.into()));
            }
        }
    }
    Ok(files)
}
