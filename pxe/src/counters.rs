//! Counters by packet type and reason, for the metrics page.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::why::{Why, named};

named! {
    /// Outcomes, counted once per packet or transfer.
    Count {
        Discover => "discover",
        Request => "request",
        Inform => "inform",
        Release => "release",
        Decline => "decline",
        Offer => "offer",
        Ack => "ack",
        Nak => "nak",
        ProxyOffer => "proxy_offer",
        BootServerAck => "boot_server_ack",
        OtherServer => "other_server",
        OtherServerDoubted => "other_server_doubted",
        LeaseReclaimed => "lease_reclaimed",
        AddressProbe => "address_probe",
        AddressInUse => "address_in_use",
        ReceiveError => "receive_error",
        TftpRequest => "tftp_request",
        TftpStarted => "tftp_started",
        TftpDone => "tftp_done",
        TftpAborted => "tftp_aborted",
        TftpFailed => "tftp_failed",
        TftpNotFound => "tftp_not_found",
        TftpRefused => "tftp_refused",
        TftpMalformed => "tftp_malformed",
        TftpOffLink => "tftp_off_link",
        TftpBusy => "tftp_busy",
        TftpDuplicate => "tftp_duplicate",
        TftpPushedOut => "tftp_pushed_out",
    }
}

/// Shared counters of one server, without locks.
#[derive(Debug)]
pub struct Counters {
    counts: Vec<AtomicU64>,
    ignored: Vec<AtomicU64>,
    tftp_bytes: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        let zeros = |n: usize| (0..n).map(|_| AtomicU64::new(0)).collect();
        Counters { counts: zeros(Count::ALL.len()), ignored: zeros(Why::ALL.len()), tftp_bytes: AtomicU64::new(0) }
    }
}

impl Counters {
    pub fn add(&self, what: Count) {
        self.counts[what as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn add_ignored(&self, why: Why) {
        self.ignored[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn add_tftp_bytes(&self, bytes: u64) {
        self.tftp_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn get(&self, what: Count) -> u64 {
        self.counts[what as usize].load(Ordering::Relaxed)
    }

    pub fn ignored(&self, why: Why) -> u64 {
        self.ignored[why as usize].load(Ordering::Relaxed)
    }

    /// File bytes acknowledged by TFTP clients.
    pub fn tftp_bytes(&self) -> u64 {
        self.tftp_bytes.load(Ordering::Relaxed)
    }

    /// All counters as (name, reason, value); the reason is empty except for `ignored`.
    pub fn snapshot(&self) -> Vec<(&'static str, &'static str, u64)> {
        let mut rows: Vec<_> = Count::ALL.iter().map(|c| (c.name(), "", self.get(*c))).collect();
        rows.push(("tftp_bytes", "", self.tftp_bytes()));
        rows.extend(Why::ALL.iter().map(|w| ("ignored", w.name(), self.ignored(*w))));
        rows
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_counter_has_its_own_name_and_value() {
        let counters = Counters::default();
        for (i, why) in Why::ALL.iter().enumerate() {
            for _ in 0..=i {
                counters.add_ignored(*why);
            }
        }
        counters.add(Count::Offer);
        for (i, why) in Why::ALL.iter().enumerate() {
            assert_eq!(counters.ignored(*why), i as u64 + 1, "{why}");
        }
        let rows = counters.snapshot();
        let names: BTreeSet<_> = rows.iter().map(|(n, r, _)| (*n, *r)).collect();
        assert_eq!(names.len(), rows.len());
        assert!(rows.contains(&("offer", "", 1)));
        assert!(rows.contains(&("ack", "", 0)));
    }
}
