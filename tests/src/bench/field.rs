//! Where servers are measured: two namespaces with a cable, and one server at a time in one of them.

use std::fs;
use std::io::PipeWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::netns::{Netns, PREFIX};
use crate::tool::{self, Background};

/// The servers' address, and the first of those the clients have.
pub const SERVER: &str = "10.99.0.1";
pub const CLIENT: &str = "10.99.0.2";
pub const FIRST_CLIENT: &str = "10.99.240.0";
/// Addresses of clients: a rack's.
pub const CLIENTS: u32 = 300;
pub const SERVER_DEV: &str = "srv0";
pub const CLIENT_DEV: &str = "cli0";

/// The two namespaces.
pub struct Field {
    pub server: Netns,
    pub client: Netns,
    pub dir: PathBuf,
}

/// A server that runs.
pub struct Running {
    process: Background,
    pid: u32,
    /// The example ends with its standard input.
    _stdin: PipeWriter,
}

impl Field {
    pub fn new(dir: &Path) -> Result<Self> {
        let name = |side: &str| format!("{PREFIX}{}-{side}", std::process::id());
        let (server, client) = (Netns::empty(&name("bs"), dir)?, Netns::empty(&name("bc"), dir)?);
        server.ip(&["link", "add", SERVER_DEV, "type", "veth", "peer", "name", CLIENT_DEV, "netns", client.name()])?;
        server.ip(&["addr", "add", &format!("{SERVER}/16"), "dev", SERVER_DEV])?;
        client.ip(&["addr", "add", &format!("{CLIENT}/16"), "dev", CLIENT_DEV])?;
        server.ip(&["link", "set", SERVER_DEV, "up"])?;
        client.ip(&["link", "set", CLIENT_DEV, "up"])?;
        let first: std::net::Ipv4Addr = FIRST_CLIENT.parse().context("reading an address")?;
        for n in 0..CLIENTS {
            let address = std::net::Ipv4Addr::from(u32::from(first) + n);
            client.ip(&["addr", "add", &format!("{address}/16"), "dev", CLIENT_DEV])?;
        }
        Ok(Field { server, client, dir: dir.to_owned() })
    }

    /// Starts a server and gives it a moment to open its ports.
    pub fn start(&self, name: &str, argv: &[String]) -> Result<Running> {
        let (reader, writer) = std::io::pipe().context("making a pipe")?;
        let log = self.dir.join(format!("{name}.log"));
        let mut process = Background::spawn(name, &self.server.argv(argv), &log, Some(reader.into()))?;
        std::thread::sleep(Duration::from_millis(1_500));
        if process.ended()?.is_some() {
            bail!("{name} ended at once: {}", tool::tail(&log, 5));
        }
        // `ip netns exec` and the shell became the server: the pid is its own.
        let pid = process.pid();
        Ok(Running { process, pid, _stdin: writer })
    }
}

impl Running {
    /// Processor time of all its threads and of its children that ended, in seconds.
    pub fn cpu(&self) -> Result<f64> {
        let path = format!("/proc/{}/stat", self.pid);
        let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let after = text.rsplit_once(')').context("a stat line without a name")?.1;
        let ticks = |n: usize| after.split_whitespace().nth(n).and_then(|w| w.parse::<u64>().ok());
        // proc(5): fields 14 to 17, of which the name's end is field 2; a tick is 10 ms (USER_HZ).
        let all = (11..=14).map(ticks).sum::<Option<u64>>().context("too few fields")?;
        Ok(all as f64 / 100.0)
    }

    pub fn stop(mut self) {
        let _ = self.process.terminate(Duration::from_secs(3));
    }
}

/// Writes and syncs files as builds and imports do, until it is dropped.
pub struct BusyDisk(Arc<AtomicBool>, Option<JoinHandle<()>>);

impl BusyDisk {
    pub fn new(dir: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (file, end) = (dir.join("busy"), stop.clone());
        let work = move || {
            let block = vec![7u8; 16 << 20];
            while !end.load(Ordering::Relaxed) {
                // A disk that is full is not busy; the numbers will tell.
                let _ = fs::write(&file, &block).and_then(|()| fs::File::open(&file)?.sync_all());
            }
            let _ = fs::remove_file(&file);
        };
        BusyDisk(stop, Some(std::thread::spawn(work)))
    }
}

impl Drop for BusyDisk {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        let _ = self.1.take().map(JoinHandle::join);
    }
}

/// A program beside this one's own directory, built with optimizations.
pub fn example(name: &str) -> Result<String> {
    let own = std::env::current_exe().context("finding this program")?;
    let target = own.parent().and_then(Path::parent).context("the lab lies in target/PROFILE")?;
    let path = target.join("release/examples").join(name);
    if !path.is_file() {
        bail!("{} is not built\nhint: cargo build --release -p pxe --examples", path.display());
    }
    Ok(path.to_string_lossy().into_owned())
}

/// A peer: installed, or unpacked into the cache where its package conflicts with another peer's.
pub fn peer(program: &str) -> Option<String> {
    let unpacked = crate::dirs::cache().join("peers/root/usr/sbin").join(program);
    let found = unpacked.is_file().then_some(unpacked).or_else(|| tool::find(program))?;
    Some(found.to_string_lossy().into_owned())
}
