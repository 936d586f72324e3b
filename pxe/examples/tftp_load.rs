//! Simulates many TFTP clients in one thread, like a booting rack:
//! `tftp_load SERVER NAME CLIENTS BLKSIZE WINDOW SECONDS LOSS-PER-1000 FIRST-ADDRESS`.
//!
//! Each client has its own address (FIRST-ADDRESS and the following ones) and a new port for every transfer. It fetches the
//! file repeatedly and checks its length and checksum. The client drops packets in both directions, so that every server sees
//! the same link on a kernel without netem. Prints one line of JSON.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use pxe::tftp::packet::{ack_packet, read_packet};

type Failure = Box<dyn std::error::Error>;

/// A client repeats its last packet after this long without a new one; most firmware waits 1 to 4 s.
const PATIENCE: Duration = Duration::from_secs(1);

struct Settings {
    server: SocketAddrV4,
    name: String,
    blksize: usize,
    window: u16,
    /// Per 1000 packets.
    loss: u64,
}

struct Client {
    address: Ipv4Addr,
    socket: UdpSocket,
    connected: bool,
    next: u64,
    in_window: u16,
    /// As granted; a server without window support omits the option.
    window: u16,
    /// Blocks after a gap are not requested one by one.
    gap_told: bool,
    bytes: u64,
    sum: crc32fast::Hasher,
    last: Vec<u8>,
    heard: Instant,
    began: Instant,
}

struct Rng(u64);

impl Rng {
    fn below_1000(&mut self) -> u64 {
        // xorshift64 (Marsaglia 2003).
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % 1000
    }
}

#[derive(Default)]
struct Totals {
    bytes: u64,
    done: u64,
    failed: u64,
    repeats: u64,
    times: Vec<f64>,
    known: Option<(u64, u32)>,
    wrong: u64,
}

impl Client {
    fn new(address: Ipv4Addr, epoll: &Epoll, n: usize, settings: &Settings) -> Result<Self, Failure> {
        let socket = UdpSocket::bind(SocketAddrV4::new(address, 0))?;
        socket.set_nonblocking(true)?;
        epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, n as u64))?;
        let (blksize, window) = (settings.blksize.to_string(), settings.window.to_string());
        let mut options = vec![("blksize", blksize.as_str()), ("tsize", "0")];
        if settings.window > 1 {
            options.push(("windowsize", window.as_str()));
        }
        let last = read_packet(&settings.name, &options);
        socket.send_to(&last, settings.server)?;
        let now = Instant::now();
        let sum = crc32fast::Hasher::new();
        Ok(Client {
            address,
            socket,
            connected: false,
            next: 1,
            in_window: 0,
            window: 1,
            gap_told: false,
            bytes: 0,
            sum,
            last,
            heard: now,
            began: now,
        })
    }

    /// True once the file is complete; an error ends the transfer.
    fn receive(&mut self, packet: &[u8], settings: &Settings, lose_ack: bool, now: Instant) -> Result<bool, Failure> {
        match packet {
            [0, 6, ..] if self.next == 1 => {
                let text = String::from_utf8_lossy(&packet[2..]).to_ascii_lowercase();
                let mut words = text.split('\0');
                while let (Some(name), Some(value)) = (words.next(), words.next()) {
                    if name == "blksize" && value.parse() != Ok(settings.blksize) {
                        return Err("another block size was granted".into());
                    }
                    if name == "windowsize" {
                        self.window = value.parse()?;
                    }
                }
                self.answer(0, lose_ack, now);
                Ok(false)
            }
            [0, 3, a, b, data @ ..] => {
                if u16::from_be_bytes([*a, *b]) != self.next as u16 {
                    let again = u16::from_be_bytes([*a, *b]) == (self.next - 1) as u16;
                    if self.window == 1 && again {
                        // The ACK was lost or is late.
                        self.answer((self.next - 1) as u16, lose_ack, now);
                    } else if self.window > 1 && !self.gap_told {
                        self.gap_told = true;
                        self.in_window = 0;
                        self.answer((self.next - 1) as u16, lose_ack, now);
                    }
                    return Ok(false);
                }
                self.gap_told = false;
                self.sum.update(data);
                self.bytes += data.len() as u64;
                self.next += 1;
                self.in_window += 1;
                let whole = data.len() < settings.blksize;
                if whole || self.in_window >= self.window {
                    self.in_window = 0;
                    // Never drop the last ACK: the transfer is over for this client.
                    self.answer((self.next - 1) as u16, lose_ack && !whole, now);
                }
                Ok(whole)
            }
            [0, 5, ..] => Err(String::from_utf8_lossy(&packet[4..]).into()),
            _ => Ok(false),
        }
    }

    fn answer(&mut self, block: u16, lost: bool, now: Instant) {
        self.last = ack_packet(block);
        self.heard = now;
        if !lost {
            let _ = self.socket.send(&self.last);
        }
    }
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [server, name, clients, blksize, window, seconds, loss, first] = &args[..] else {
        return Err("usage: tftp_load SERVER NAME CLIENTS BLKSIZE WINDOW SECONDS LOSS-PER-1000 FIRST-ADDRESS".into());
    };
    let settings = Settings {
        server: SocketAddrV4::new(server.parse()?, 69),
        name: name.clone(),
        blksize: blksize.parse()?,
        window: window.parse()?,
        loss: loss.parse()?,
    };
    let first = u32::from(first.parse::<Ipv4Addr>()?);
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(seconds.parse()?);
    let mut all = Vec::new();
    for n in 0..clients.parse::<u32>()? {
        all.push(Client::new(Ipv4Addr::from(first + n), &epoll, n as usize, &settings)?);
    }
    let mut totals = Totals::default();
    let mut rng = Rng(0x9e37_79b9_7f4a_7c15);
    let mut events = vec![EpollEvent::empty(); 512];
    let mut buffer = vec![0u8; 65_536];
    let mut looked = start;
    loop {
        let ready = epoll.wait(&mut events, EpollTimeout::from(20u8)).unwrap_or(0);
        let now = Instant::now();
        if now >= end {
            break;
        }
        for event in &events[..ready] {
            let n = event.data() as usize;
            serve(&mut all[n], n, &epoll, &settings, &mut totals, &mut rng, &mut buffer, now)?;
        }
        if now - looked > Duration::from_millis(50) {
            looked = now;
            for client in all.iter_mut().filter(|c| now - c.heard > PATIENCE) {
                client.heard = now;
                totals.repeats += 1;
                let _ = if client.connected {
                    client.socket.send(&client.last)
                } else {
                    client.socket.send_to(&client.last, settings.server)
                };
            }
        }
    }
    let took = start.elapsed().as_secs_f64();
    totals.bytes += all.iter().map(|c| c.bytes).sum::<u64>();
    totals.times.sort_by(f64::total_cmp);
    let at = |share: f64| totals.times.get((totals.times.len() as f64 * share) as usize).copied().unwrap_or(0.0);
    println!(
        "{{\"mb_per_s\": {:.1}, \"completions_per_s\": {:.2}, \"done\": {}, \"failed\": {}, \"wrong\": {}, \"repeats\": {}, \"p50_s\": {:.3}, \"p99_s\": {:.3}}}",
        totals.bytes as f64 / 1e6 / took,
        totals.done as f64 / took,
        totals.done,
        totals.failed,
        totals.wrong,
        totals.repeats,
        at(0.5),
        at(0.99)
    );
    Ok(())
}

#[allow(clippy::too_many_arguments)]
fn serve(
    client: &mut Client,
    n: usize,
    epoll: &Epoll,
    settings: &Settings,
    totals: &mut Totals,
    rng: &mut Rng,
    buffer: &mut [u8],
    now: Instant,
) -> Result<(), Failure> {
    // All packets of a window are queued.
    for _ in 0..client.window.max(1) {
        let len = match client.socket.recv_from(buffer) {
            Ok((len, from)) => {
                if !client.connected
                    && let SocketAddr::V4(from) = from
                {
                    client.socket.connect(from)?;
                    client.connected = true;
                }
                len
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(_) => 0,
        };
        if settings.loss > 0 && rng.below_1000() < settings.loss {
            continue;
        }
        let lose_ack = settings.loss > 0 && rng.below_1000() < settings.loss;
        let ended = match client.receive(&buffer[..len], settings, lose_ack, now) {
            Ok(false) => continue,
            Ok(true) => {
                let found = (client.bytes, client.sum.clone().finalize());
                totals.wrong += u64::from(*totals.known.get_or_insert(found) != found);
                totals.done += 1;
                totals.times.push((now - client.began).as_secs_f64());
                client.bytes
            }
            Err(error) => {
                if totals.failed == 0 {
                    eprintln!("{error}");
                }
                totals.failed += 1;
                client.bytes
            }
        };
        totals.bytes += ended;
        epoll.delete(&client.socket)?;
        *client = Client::new(client.address, epoll, n, settings)?;
        return Ok(());
    }
    Ok(())
}
