//! One TFTP transfer without its socket: packets and timeouts in, blocks to send and a result out.
//!
//! Time is an argument: a [`Duration`] since some fixed moment of the server's clock.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::limits::Limits;
use super::packet::{Packet, ReadRequest, option_ack_packet, parse};

/// Block size without the option (RFC 1350).
pub const DEFAULT_BLKSIZE: usize = 512;
/// Block sizes that can be negotiated (RFC 2348).
pub const BLKSIZE_RANGE: RangeInclusive<u64> = 8..=65_464;
/// Shortest wait before a retransmission. A client on the link answers sooner unless a packet was lost; one that is
/// merely slow receives a block twice and ignores it.
pub const MIN_WAIT: Duration = Duration::from_millis(20);

/// Longest wait that a client may request (RFC 2349 allows 255 s, which would hold a slot for too long). The answer must
/// repeat the requested value, so a longer one is omitted from it.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(10);
/// A client that requested a wait is given up after about this much silence, and after at least three retransmissions.
pub const MAX_SILENCE: Duration = Duration::from_secs(30);
/// A client that has answered must acknowledge [`PACE_BYTES`] in this time, or finish.
pub const PACE_TIME: Duration = Duration::from_secs(30);
/// Bytes. A ROM that fetches one block of 512 bytes per round trip is this slow only if a round trip takes a second.
pub const PACE_BYTES: u64 = 16 << 10;

/// The state of a transfer after a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    Running,
    /// Every byte is acknowledged.
    Done,
    /// The client sent an ERROR packet; normal for a firmware that only wanted the size.
    Aborted {
        message: String,
    },
    /// The client stopped answering.
    TimedOut,
    /// The client answers, but acknowledged fewer than [`PACE_BYTES`] in [`PACE_TIME`].
    TooSlow,
}

/// What to send now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Send {
    Nothing,
    /// [`Transfer::option_ack`].
    Options,
    /// Each as [`Transfer::header`] and [`Transfer::data`] of its number.
    Blocks(RangeInclusive<u64>),
}

/// What to do now.
#[derive(Debug)]
pub struct Step {
    pub send: Send,
    /// Restart the timer with [`Transfer::wait`]. Packets without progress do not, so that noise cannot keep a transfer alive.
    pub rearm: bool,
    pub status: Status,
}

impl Step {
    const NOTHING: Step = Step { send: Send::Nothing, rearm: false, status: Status::Running };
}

/// The state of one transfer. Blocks are counted from 1 in 64 bits; on the wire the number wraps to 0.
#[derive(Debug)]
pub struct Transfer {
    file: Arc<[u8]>,
    limits: Limits,
    blksize: usize,
    window: u64,
    /// The client requested a timeout, which applies exactly.
    fixed_timeout: bool,
    timeout: Duration,
    option_ack: Option<Vec<u8>>,
    /// The last block acknowledged.
    acked: u64,
    /// The last block sent.
    sent: u64,
    last: u64,
    contacted: bool,
    repeats: u32,
    /// A repeated ACK was answered already since the last progress.
    resent: bool,
    round: RoundTrip,
    /// Start of the current period for the minimum rate, and the bytes acknowledged by then.
    pace: (Duration, u64),
}

/// Round-trip time (RFC 6298, with Karn's algorithm: retransmitted blocks are not measured).
#[derive(Debug, Default)]
struct RoundTrip {
    began: Option<Duration>,
    smooth: Option<Duration>,
    spread: Duration,
}

impl RoundTrip {
    fn answered(&mut self, now: Duration) {
        let Some(took) = self.began.take().map(|b| now.saturating_sub(b)) else { return };
        match self.smooth {
            None => (self.smooth, self.spread) = (Some(took), took / 2),
            Some(smooth) => {
                self.spread = self.spread * 3 / 4 + smooth.abs_diff(took) / 4;
                self.smooth = Some(smooth * 7 / 8 + took / 8);
            }
        }
    }
}

impl Transfer {
    /// Negotiates the options. A malformed or out-of-range option is omitted from the answer, as RFC 2347 requires for
    /// options that a server does not accept; the transfer continues without it.
    pub fn new(file: Arc<[u8]>, request: &ReadRequest, limits: Limits) -> Self {
        let mut transfer = Transfer {
            limits,
            blksize: DEFAULT_BLKSIZE,
            window: 1,
            fixed_timeout: false,
            timeout: limits.timeout,
            option_ack: None,
            acked: 0,
            sent: 0,
            last: 0,
            contacted: false,
            repeats: 0,
            resent: false,
            round: RoundTrip::default(),
            pace: (Duration::ZERO, 0),
            file,
        };
        let mut granted: Vec<(&str, u64)> = Vec::new();
        for (name, value) in &request.options {
            // A number of up to 19 digits; signs and spaces are not numbers.
            let digits = (1..=19).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit());
            let Some(value) = digits.then(|| value.parse::<u64>().ok()).flatten() else { continue };
            if granted.iter().any(|(n, _)| n == name) {
                continue;
            }
            if let Some(row) = transfer.grant(name, value) {
                granted.push(row);
            }
        }
        transfer.last = (transfer.file.len() / transfer.blksize) as u64 + 1;
        transfer.option_ack = (!granted.is_empty()).then(|| option_ack_packet(&granted));
        transfer
    }

    fn grant(&mut self, name: &str, value: u64) -> Option<(&'static str, u64)> {
        match name {
            "blksize" if BLKSIZE_RANGE.contains(&value) => {
                let granted = value.min(u64::from(self.limits.max_blksize).max(*BLKSIZE_RANGE.start()));
                self.blksize = granted as usize;
                Some(("blksize", granted))
            }
            "tsize" => Some(("tsize", self.file.len() as u64)),
            "timeout" if (1..=MAX_TIMEOUT.as_secs()).contains(&value) => {
                (self.timeout, self.fixed_timeout) = (Duration::from_secs(value), true);
                Some(("timeout", value))
            }
            "windowsize" if (1..=65_535).contains(&value) => {
                self.window = value.min(u64::from(self.limits.max_window).max(1));
                Some(("windowsize", self.window))
            }
            _ => None,
        }
    }

    /// How long to wait for the client now. After the first answers it follows the measured round trip, so that a lost
    /// packet costs milliseconds; each retransmission doubles it, up to the limit. Before the first answer the client's
    /// value is not used: the request may be forged.
    pub fn wait(&self) -> Duration {
        if !self.contacted {
            return self.limits.timeout;
        }
        match self.round.smooth {
            Some(smooth) if !self.fixed_timeout => {
                let base = (smooth + 4 * self.round.spread).max(MIN_WAIT);
                base.saturating_mul(1 << self.repeats.min(10)).min(self.timeout)
            }
            _ => self.timeout,
        }
    }

    /// Bytes of the file that the client has acknowledged.
    pub fn acked_bytes(&self) -> u64 {
        (self.acked * self.blksize as u64).min(self.file.len() as u64)
    }

    /// Whether the client has answered at least once.
    pub fn contacted(&self) -> bool {
        self.contacted
    }

    /// One block at a time, and an ACK for each.
    pub fn is_lock_step(&self) -> bool {
        self.window == 1
    }

    /// The packet that grants the options, until it is acknowledged.
    pub fn option_ack(&self) -> &[u8] {
        self.option_ack.as_deref().unwrap_or_default()
    }

    /// The first four bytes of a block's packet.
    pub fn header(&self, block: u64) -> [u8; 4] {
        let [a, b] = (block as u16).to_be_bytes();
        [0, 3, a, b]
    }

    /// The file's part in a block, numbered from 1: `blksize` bytes, fewer (or none) in the last.
    pub fn data(&self, block: u64) -> &[u8] {
        let start = usize::try_from(block.saturating_sub(1)).map_or(usize::MAX, |n| n.saturating_mul(self.blksize));
        let start = start.min(self.file.len());
        &self.file[start..(start + self.blksize).min(self.file.len())]
    }

    /// The length of every packet of blocks but the last one's.
    pub fn packet_len(&self) -> usize {
        self.blksize + 4
    }

    /// The first packets: the granted options, or without any the first block.
    pub fn start(&mut self, now: Duration) -> Step {
        self.round.began = Some(now);
        Step { send: self.current(), rearm: true, status: Status::Running }
    }

    /// Handles a packet from the client. Anything but an ACK in the window or an ERROR is ignored.
    pub fn on_packet(&mut self, bytes: &[u8], now: Duration) -> Step {
        if self.is_too_slow(now) {
            return Step { status: Status::TooSlow, ..Step::NOTHING };
        }
        // Fast path: most packets are ACKs.
        match bytes {
            [0, 4, a, b, ..] => self.on_ack(u16::from_be_bytes([*a, *b]), now).unwrap_or(Step::NOTHING),
            _ => match parse(bytes) {
                Ok(Packet::Error { message, .. }) => Step { status: Status::Aborted { message }, ..Step::NOTHING },
                _ => Step::NOTHING,
            },
        }
    }

    /// The timer expired: retransmit the blocks in flight, or give up.
    pub fn on_timeout(&mut self, now: Duration) -> Step {
        if self.is_too_slow(now) {
            return Step { status: Status::TooSlow, ..Step::NOTHING };
        }
        if self.repeats >= self.budget() {
            return Step { status: Status::TimedOut, ..Step::NOTHING };
        }
        self.repeats += 1;
        self.resent = true;
        self.round.began = None;
        Step { send: self.current(), rearm: true, status: Status::Running }
    }

    /// Retransmissions without progress before the client is given up.
    fn budget(&self) -> u32 {
        match (self.contacted, self.fixed_timeout) {
            (false, _) => self.limits.first_retries,
            (true, false) => self.limits.retries,
            (true, true) => {
                let fit = MAX_SILENCE.as_secs() / self.timeout.as_secs().max(1);
                self.limits.retries.min(u32::try_from(fit).unwrap_or(u32::MAX).max(3))
            }
        }
    }

    /// Whether the client holds its slot without fetching the file. A transfer with enough progress starts a new period.
    fn is_too_slow(&mut self, now: Duration) -> bool {
        let (since, bytes) = self.pace;
        if !self.contacted || now.saturating_sub(since) < PACE_TIME {
            return false;
        }
        let acked = self.acked_bytes();
        self.pace = (now, acked);
        acked - bytes < PACE_BYTES
    }

    fn on_ack(&mut self, block: u16, now: Duration) -> Option<Step> {
        // The window is far below 65,536, so the distance distinguishes new from old.
        let ahead = u64::from(block.wrapping_sub(self.acked as u16));
        if self.option_ack.is_some() {
            if block != 0 {
                return None;
            }
            self.option_ack = None;
        } else if ahead == 0 {
            return self.on_repeated_ack();
        } else if ahead > self.sent - self.acked {
            return None;
        }
        self.acked += ahead;
        if !self.contacted {
            (self.contacted, self.pace) = (true, (now, 0));
        }
        self.repeats = 0;
        // An ACK inside the window means the rest of it was lost; what follows here repeats it already.
        self.resent = self.acked < self.sent;
        self.round.answered(now);
        if self.acked == self.last {
            return Some(Step { status: Status::Done, ..Step::NOTHING });
        }
        if !self.resent {
            self.round.began = Some(now);
        }
        Some(Step { send: self.current(), rearm: true, status: Status::Running })
    }

    /// In lock-step a repeated ACK is never answered (RFC 1123 section 4.2.3.1). With a window it means that the first
    /// block was lost (RFC 7440 section 4): retransmit once, then leave it to the timer.
    fn on_repeated_ack(&mut self) -> Option<Step> {
        if self.window == 1 || self.resent {
            return None;
        }
        self.resent = true;
        self.round.began = None;
        Some(Step { send: self.current(), ..Step::NOTHING })
    }

    fn current(&mut self) -> Send {
        if self.option_ack.is_some() {
            return Send::Options;
        }
        let end = (self.acked + self.window).min(self.last);
        self.sent = end;
        Send::Blocks(self.acked + 1..=end)
    }
}

#[cfg(test)]
mod tests;
