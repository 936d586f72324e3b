//! One TFTP transfer without its socket: packets and timeouts in, packets and an end out.

use std::sync::Arc;
use std::time::Duration;

use super::packet::{Packet, ReadRequest, data_packet, option_ack_packet, parse};

/// Block size without the option (RFC 1350).
pub const DEFAULT_BLKSIZE: usize = 512;
/// What may be negotiated at all (RFC 2348).
pub const BLKSIZE_RANGE: std::ops::RangeInclusive<u64> = 8..=65_464;

/// What the server grants and how patient it is.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest block granted; 1468 fills an Ethernet frame without fragments.
    pub max_blksize: u16,
    /// The most blocks in flight (RFC 7440), at least 1.
    pub max_window: u16,
    /// Wait before a repeat, unless the client asks for another (RFC 2349).
    pub timeout: Duration,
    /// Repeats without progress before giving up.
    pub retries: u32,
    /// Repeats before the client has answered once: whoever is at the address may not have asked.
    pub first_retries: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { max_blksize: 1468, max_window: 16, timeout: Duration::from_secs(1), retries: 6, first_retries: 3 }
    }
}

/// How a transfer stands after a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    Running,
    /// Every byte is acknowledged.
    Done,
    /// The client sent an ERROR packet; normal for a firmware that only wanted the size.
    Aborted {
        message: String,
    },
    /// The client fell silent.
    TimedOut,
}

/// What to do now.
#[derive(Debug)]
pub struct Step {
    pub send: Vec<Vec<u8>>,
    /// Start the timer anew, with [`Transfer::timeout`]. Packets without progress do not, so that nobody
    /// keeps a transfer alive with noise.
    pub rearm: bool,
    pub status: Status,
}

/// The state of one transfer. Blocks are counted from 1 in 64 bits; on the wire the number wraps to 0.
#[derive(Debug)]
pub struct Transfer {
    file: Arc<[u8]>,
    limits: Limits,
    blksize: usize,
    window: u64,
    timeout: Duration,
    option_ack: Option<Vec<u8>>,
    /// The last block acknowledged.
    acked: u64,
    /// The last block sent.
    sent: u64,
    last: u64,
    contacted: bool,
    repeats: u32,
    /// A repeated ACK has been answered already since the last progress.
    resent: bool,
}

impl Transfer {
    /// Negotiates the options. One that is malformed or out of its range is left out of the answer, as RFC
    /// 2347 says of options a server does not accept; the transfer then goes on without it.
    pub fn new(file: Arc<[u8]>, request: &ReadRequest, limits: Limits) -> Self {
        let mut transfer = Transfer {
            limits,
            blksize: DEFAULT_BLKSIZE,
            window: 1,
            timeout: limits.timeout,
            option_ack: None,
            acked: 0,
            sent: 0,
            last: 0,
            contacted: false,
            repeats: 0,
            resent: false,
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
            "timeout" if (1..=255).contains(&value) => {
                self.timeout = Duration::from_secs(value);
                Some(("timeout", value))
            }
            "windowsize" if (1..=65_535).contains(&value) => {
                self.window = value.min(u64::from(self.limits.max_window).max(1));
                Some(("windowsize", self.window))
            }
            _ => None,
        }
    }

    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Bytes of the file that the client has acknowledged.
    pub fn acked_bytes(&self) -> u64 {
        (self.acked * self.blksize as u64).min(self.file.len() as u64)
    }

    /// The client has answered at least once.
    pub fn contacted(&self) -> bool {
        self.contacted
    }

    /// The first packets: the granted options, or without any the first block.
    pub fn start(&mut self) -> Step {
        let send = self.current();
        Step { send, rearm: true, status: Status::Running }
    }

    /// Takes a packet of the client. Anything but an ACK in the window or an ERROR changes nothing.
    pub fn on_packet(&mut self, bytes: &[u8]) -> Step {
        let nothing = Step { send: Vec::new(), rearm: false, status: Status::Running };
        match parse(bytes) {
            Ok(Packet::Ack { block }) => self.on_ack(block).unwrap_or(nothing),
            Ok(Packet::Error { message, .. }) => Step { status: Status::Aborted { message }, ..nothing },
            _ => nothing,
        }
    }

    /// The timer ran out: repeat what is in flight, or give up.
    pub fn on_timeout(&mut self) -> Step {
        let budget = if self.contacted { self.limits.retries } else { self.limits.first_retries };
        if self.repeats >= budget {
            return Step { send: Vec::new(), rearm: false, status: Status::TimedOut };
        }
        self.repeats += 1;
        self.resent = true;
        Step { send: self.current(), rearm: true, status: Status::Running }
    }

    fn on_ack(&mut self, block: u16) -> Option<Step> {
        // The window is far below 65,536, so the distance tells new from old.
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
        self.contacted = true;
        self.repeats = 0;
        // An ACK inside the window means the rest of it was lost; what follows here repeats it already.
        self.resent = self.acked < self.sent;
        if self.acked == self.last {
            return Some(Step { send: Vec::new(), rearm: false, status: Status::Done });
        }
        Some(Step { send: self.current(), rearm: true, status: Status::Running })
    }

    /// In lock-step a repeated ACK is never answered (RFC 1123 section 4.2.3.1). With a window it says that
    /// the first block of it was lost (RFC 7440 section 4): repeated once, the rest is for the timer.
    fn on_repeated_ack(&mut self) -> Option<Step> {
        if self.window == 1 || self.resent {
            return None;
        }
        self.resent = true;
        Some(Step { send: self.current(), rearm: false, status: Status::Running })
    }

    fn current(&mut self) -> Vec<Vec<u8>> {
        if let Some(packet) = &self.option_ack {
            return vec![packet.clone()];
        }
        let end = (self.acked + self.window).min(self.last);
        self.sent = end;
        (self.acked + 1..=end).map(|block| self.block(block)).collect()
    }

    fn block(&self, block: u64) -> Vec<u8> {
        let start = (block - 1) as usize * self.blksize;
        let end = (start + self.blksize).min(self.file.len());
        data_packet(block as u16, &self.file[start..end])
    }
}

#[cfg(test)]
#[path = "transfer_tests.rs"]
mod tests;
