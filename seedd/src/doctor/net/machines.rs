//! A simulated machine that boots as firmware does: DHCP, loader by TFTP, DHCP again as iPXE, script, kernel and initramfs
//! by HTTP. Nothing of what it fetches is kept.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use axum::body::Body;
use cluster_seed::ids::Mac;
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, UdpSocket};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::doctor::dhcp::{self, Message, Reply, Stage};

/// Firmware retries at growing intervals (RFC 2131 section 4.1); these are those of EDK2.
const ASK: [Duration; 4] = [Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8), Duration::from_secs(8)];
/// Beginnings after a NAK, and the pause before the next, which grows.
const STARTS: u32 = 6;
const PAUSE: Duration = Duration::from_millis(500);
/// One TFTP packet.
const PATIENCE: Duration = Duration::from_secs(2);
const TRIES: usize = 6;
const BLOCK: usize = 1_468;
/// Limits on what a seed may hand out: loader and script, in bytes.
const MAX_LOADER: usize = 16 << 20;
const MAX_SCRIPT: usize = 64 << 10;
/// One HTTP file.
const HTTP_TIME: Duration = Duration::from_secs(300);

/// A DHCPNAK.
#[derive(Debug, thiserror::Error)]
#[error("every requested address was refused")]
struct Refused;

/// The one socket of all simulated machines.
pub struct Wire {
    socket: UdpSocket,
    waiting: Mutex<HashMap<u32, mpsc::Sender<Reply>>>,
    /// Answers of other servers than this one end the rehearsal.
    seed: Ipv4Addr,
    foreign: Mutex<Option<Ipv4Addr>>,
}

impl Wire {
    pub fn new(socket: socket2::Socket, seed: Ipv4Addr) -> Result<Arc<Self>> {
        socket.set_nonblocking(true).context("preparing the socket")?;
        let socket = UdpSocket::from_std(socket.into()).context("preparing the socket")?;
        Ok(Arc::new(Wire { socket, waiting: Mutex::default(), seed, foreign: Mutex::default() }))
    }

    /// Distributes answers to the machines that asked; never returns.
    pub async fn listen(self: Arc<Self>) {
        let mut buffer = [0u8; 1_500];
        loop {
            let Ok((len, _)) = self.socket.recv_from(&mut buffer).await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let Some(reply) = dhcp::reply(&buffer[..len]) else { continue };
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).get(&reply.xid).cloned();
            let Some(waiting) = waiting else { continue };
            if reply.server != self.seed {
                *self.foreign.lock().unwrap_or_else(PoisonError::into_inner) = Some(reply.server);
                continue;
            }
            let _ = waiting.try_send(reply);
        }
    }

    /// Another server that answered a simulated machine.
    pub fn foreign(&self) -> Option<Ipv4Addr> {
        *self.foreign.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, bytes: &[u8]) -> Result<()> {
        ensure!(self.foreign().is_none(), "another DHCP server answers on this network");
        self.socket.send_to(bytes, SocketAddrV4::new(Ipv4Addr::BROADCAST, 67)).await.context("sending DHCP")?;
        Ok(())
    }

    async fn exchange(&self, bytes: &[u8], answers: &mut mpsc::Receiver<Reply>, kind: u8) -> Result<Reply> {
        for wait in ASK {
            self.send(bytes).await?;
            let answer = async {
                loop {
                    match answers.recv().await {
                        Some(r) if r.kind == kind => return Ok(r),
                        Some(r) if r.kind == 6 => return Err(Refused.into()),
                        Some(_) => {}
                        None => bail!("the socket was closed"),
                    }
                }
            };
            match timeout(wait, answer).await {
                Ok(result) => return result,
                Err(_) => continue,
            }
        }
        Err(anyhow!("no answer to DHCP {}", if kind == 2 { "DISCOVER" } else { "REQUEST" }))
    }

    /// DISCOVER to ACK; starts over after a NAK, as every client does (RFC 2131 section 3.1).
    pub async fn lease(&self, mac: Mac, stage: Stage, xid: u32) -> Result<Reply> {
        for again in 1..=STARTS {
            match self.lease_once(mac, stage, xid).await {
                Err(e) if e.is::<Refused>() && again < STARTS => tokio::time::sleep(PAUSE * again).await,
                done => return done,
            }
        }
        Err(Refused.into())
    }

    async fn lease_once(&self, mac: Mac, stage: Stage, xid: u32) -> Result<Reply> {
        let (sender, mut answers) = mpsc::channel(8);
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(xid, sender);
        let whole = async {
            let offer = self.exchange(&dhcp::message(Message::Discover, stage, mac, xid), &mut answers, 2).await?;
            let take = Message::Request { ip: offer.ip, server: offer.server };
            self.exchange(&dhcp::message(take, stage, mac, xid), &mut answers, 5).await
        };
        let done = whole.await;
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&xid);
        done
    }

    pub async fn release(&self, mac: Mac, lease: &Reply) {
        let gone = Message::Release { ip: lease.ip, server: lease.server };
        let _ = self.send(&dhcp::message(gone, Stage::Plain, mac, lease.xid)).await;
    }
}

/// Fetches a file by TFTP as EDK2 does; its length.
pub async fn tftp(own: Ipv4Addr, server: Ipv4Addr, name: &str) -> Result<usize> {
    let socket = UdpSocket::bind(SocketAddrV4::new(own, 0)).await.context("opening a TFTP socket")?;
    let mut request = b"\0\x01".to_vec();
    for word in [name, "octet", "blksize", &BLOCK.to_string(), "tsize", "0"] {
        request.extend(word.as_bytes());
        request.push(0);
    }
    let (mut sent, mut to) = (request, SocketAddr::from((server, 69)));
    let (mut buffer, mut total, mut block, mut size) = ([0u8; BLOCK + 4], 0usize, 0u16, BLOCK);
    loop {
        let mut received = None;
        for _ in 0..TRIES {
            socket.send_to(&sent, to).await.context("sending TFTP")?;
            match timeout(PATIENCE, socket.recv_from(&mut buffer)).await {
                Ok(Ok((len, from))) if from.ip() == IpAddr::from(server) => {
                    received = Some((len, from));
                    break;
                }
                _ => {}
            }
        }
        let (len, from) = received.ok_or_else(|| anyhow!("no answer to TFTP after {total} bytes of {name}"))?;
        to = from;
        match buffer[..len] {
            [0, 6, ..] => sent = vec![0, 4, 0, 0],
            [0, 3, hi, lo, ref data @ ..] => {
                if total == 0 && block == 0 && data.len() < BLOCK && data.len() == 512 {
                    // A server without options.
                    size = 512;
                }
                if u16::from_be_bytes([hi, lo]) == block.wrapping_add(1) {
                    block = block.wrapping_add(1);
                    total += data.len();
                    ensure!(total <= MAX_LOADER, "{name} is larger than {MAX_LOADER} bytes");
                    sent = [&[0u8, 4][..], &block.to_be_bytes()].concat();
                    if data.len() < size {
                        socket.send_to(&sent, to).await.context("sending TFTP")?;
                        return Ok(total);
                    }
                }
            }
            [0, 5, ..] => bail!("the seed refused {name} over TFTP"),
            _ => bail!("unexpected TFTP packet"),
        }
    }
}

/// Fetches a file by HTTP from an address of its own; the beginning of the body, and its length.
pub async fn http(own: Ipv4Addr, url: &str, keep: usize) -> Result<(Vec<u8>, u64)> {
    let rest = url.strip_prefix("http://").ok_or_else(|| anyhow!("{url} is not an HTTP URL"))?;
    let (host, path) = rest.split_once('/').ok_or_else(|| anyhow!("{url} has no path"))?;
    let to: SocketAddr = if host.contains(':') { host.parse() } else { format!("{host}:80").parse() }.context("reading a URL")?;
    let whole = async {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((own, 0)))?;
        let stream = socket.connect(to).await.with_context(|| format!("reaching {to}"))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.context("starting HTTP")?;
        let connection = tokio::spawn(connection);
        let request = Request::get(format!("/{path}")).header(HOST, host).header("connection", "close").body(Body::empty());
        let mut answer = sender.send_request(request.context("writing a request")?).await.context("sending a request")?;
        ensure!(answer.status() == 200, "{path} answered {}", answer.status());
        let (mut kept, mut total) = (Vec::new(), 0u64);
        let body = answer.body_mut();
        while let Some(frame) = std::future::poll_fn(|cx| hyper::body::Body::poll_frame(std::pin::Pin::new(&mut *body), cx)).await
        {
            if let Ok(data) = frame.context("reading the answer")?.into_data() {
                total += data.len() as u64;
                kept.extend_from_slice(&data[..data.len().min(keep - kept.len().min(keep))]);
            }
        }
        connection.abort();
        Ok((kept, total))
    };
    timeout(HTTP_TIME, whole).await.map_err(|_| anyhow!("{path} took more than {} s", HTTP_TIME.as_secs()))?
}

/// What a boot fetched.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fetched {
    pub tftp: u64,
    pub http: u64,
}

/// One boot, from power on to the kernel. `address` puts an address on the interface.
pub async fn boot(wire: &Wire, mac: Mac, number: u32, address: impl Fn(&Reply) -> Result<()>) -> Result<Fetched> {
    let xid = 0x6b64_0000 | number << 1;
    let first = wire.lease(mac, Stage::Firmware, xid).await.context("firmware")?;
    address(&first)?;
    let loader = first.file.clone().ok_or_else(|| anyhow!("the firmware got no boot file"))?;
    let tftp = tftp(first.ip, first.next, &loader).await.context("loader")? as u64;
    let second = wire.lease(mac, Stage::Ipxe, xid | 1).await.context("iPXE")?;
    ensure!(second.ip == first.ip, "the address changed from {} to {}", first.ip, second.ip);
    let script = second.file.clone().ok_or_else(|| anyhow!("iPXE got no script"))?;
    let (text, mut bytes) = http(first.ip, &script, MAX_SCRIPT).await.context("script")?;
    for url in files_of(&String::from_utf8_lossy(&text)) {
        bytes += http(first.ip, &url, 0).await.with_context(|| format!("fetching {url}"))?.1;
    }
    wire.release(mac, &second).await;
    Ok(Fetched { tftp, http: bytes })
}

/// URLs of the kernel and the initramfs in an iPXE script, each once: the entries of its menu differ in the command line.
pub fn files_of(script: &str) -> Vec<String> {
    fn line(l: &str) -> Option<&str> {
        let verb = l.split_whitespace().next()?;
        let fetches = ["kernel", "initrd", "imgfetch"].contains(&verb);
        l.split_whitespace().find(|w| fetches && w.starts_with("http://"))
    }
    let mut found: Vec<String> = Vec::new();
    for url in script.lines().filter_map(line) {
        if !found.iter().any(|f| f == url) {
            found.push(url.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_our_own_script_are_found() {
        use pxe::script::{AgentBoot, FileName, KernelCmdline, SeedUrl, agent_script};
        let file = |n| FileName::new(n).unwrap();
        let seed = SeedUrl("10.44.0.1:80".parse().unwrap());
        let (kernel, initrd, extra) = (file("vmlinuz"), file("initrd.img"), KernelCmdline::new());
        let boot = AgentBoot {
            seed,
            mac: Mac([2; 6]),
            arch: cluster_seed::arch::Arch::Amd64,
            kernel: &kernel,
            initrd: &initrd,
            consoles: &[],
            extra: &extra,
            rescue: true,
        };
        let script = agent_script(&boot).unwrap();
        let found = files_of(&script);
        assert_eq!(found.len(), 2, "{script}");
        assert!(found[0].ends_with("/boot/vmlinuz") && found[1].ends_with("/boot/initrd.img"), "{found:?}");
        assert!(files_of("#!ipxe\necho http://x\nboot\n").is_empty());
    }
}
