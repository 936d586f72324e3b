//! The DHCP and TFTP servers alone, for tests with real clients and for a look by hand:
//! `serve IFACE SERVER_IP PREFIX POOL_FIRST POOL_LAST NETBOOT_DIR SCRIPT_URL LEASE_LOG`.
//!
//! Boot files come from the directory, leases go to the log (one line each, synced before the ACK), events
//! to standard output. It ends when its standard input does.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use pxe::{
    BootDecision, BootEvent, BootPolicy, BootRequest, DhcpConfig, DhcpServer, FileTable, JournalEntry, LeaseRecord, LoaderTable,
    Subnet, TftpConfig, TftpServer,
};
use tokio::sync::{mpsc, watch};

struct Policy {
    url: String,
}

impl BootPolicy for Policy {
    fn decide(&self, request: &BootRequest) -> BootDecision {
        if request.ipxe { BootDecision::Script { url: self.url.clone() } } else { BootDecision::Loader }
    }

    fn observe(&self, event: &BootEvent) {
        let BootEvent { kind, mac, arch, ip, file, bytes, .. } = event;
        println!("event {kind:?} mac={mac:?} arch={arch:?} ip={ip:?} file={file:?} bytes={bytes:?}");
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [iface, server, prefix, first, last, dir, url, log] = &args[..] else {
        return Err("usage: serve IFACE SERVER_IP PREFIX POOL_FIRST POOL_LAST NETBOOT_DIR SCRIPT_URL LEASE_LOG".into());
    };
    let server_ip: Ipv4Addr = server.parse()?;
    let subnet = Subnet::new(server_ip, prefix.parse()?)?;
    let policy = Arc::new(Policy { url: url.clone() });
    let (journal, entries) = mpsc::channel(1024);
    let leases = read_leases(&std::fs::read_to_string(log).unwrap_or_default());
    let mut log = File::options().create(true).append(true).open(log)?;
    tokio::task::spawn_blocking(move || commit(&mut log, entries));

    let config = DhcpConfig {
        iface: iface.clone(),
        server_ip,
        subnet,
        pool_first: first.parse()?,
        pool_last: last.parse()?,
        reservations: BTreeMap::new(),
        router: None,
        dns: Vec::new(),
        domain: Some("lab.test".into()),
        search: Vec::new(),
        ntp: Vec::new(),
        lease_secs: 600,
        next_server: None,
        http_base: Some(format!("http://{server_ip}")),
        loaders: LoaderTable::default(),
    };
    let clock = Arc::new(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()));
    let dhcp = match DhcpServer::bind(config, policy.clone(), leases, journal, clock).await {
        Ok(server) => server,
        Err(error) => return Err(format!("{error}; hint: {}", error.hint()).into()),
    };
    let files = Arc::new(FileTable::new(read_files(dir)?));
    let tftp = TftpServer::bind(TftpConfig::new(iface, server_ip, subnet), files, policy).await?;
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

/// Takes what is waiting, writes and syncs it once, then answers everyone.
fn commit(log: &mut File, mut entries: mpsc::Receiver<JournalEntry>) {
    while let Some(first) = entries.blocking_recv() {
        let mut group = vec![first];
        while let Ok(entry) = entries.try_recv() {
            group.push(entry);
        }
        let text: String = group.iter().map(|(r, _)| format!("{} {} {}\n", r.mac, r.ip, r.expires_at)).collect();
        let result = log.write_all(text.as_bytes()).and_then(|()| log.sync_data()).map_err(|e| e.to_string());
        for (_, done) in group {
            let _ = done.send(result.clone());
        }
    }
}

/// The log of an earlier run; a last line that was cut off is no lease, as nobody was told of it.
fn read_leases(log: &str) -> Vec<LeaseRecord> {
    log.split_inclusive('\n')
        .filter_map(|line| {
            let mut words = line.strip_suffix('\n')?.split(' ');
            let (mac, ip, expires) = (words.next()?, words.next()?, words.next()?);
            let (mac, ip, expires_at) = (mac.parse().ok()?, ip.parse().ok()?, expires.parse().ok()?);
            Some(LeaseRecord { mac, ip, expires_at, hostname: None, client_id: None })
        })
        .collect()
}

fn read_files(dir: &str) -> std::io::Result<Vec<(String, Arc<[u8]>)>> {
    std::fs::read_dir(dir)?
        .map(|entry| {
            let entry = entry?;
            Ok((entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path())?.into()))
        })
        .collect()
}
