//! One attempt to boot: a part of the timeline, and the queries that rules use.

use cluster_seed::events::{EventKind, family};
use site::store::events::{EventRow, PacketFacts};

/// After this time without a packet, the firmware's next request is a new attempt, in milliseconds.
const GAP: u64 = 120_000;
/// Time after which a step that should follow immediately is overdue, in milliseconds.
pub const SILENCE: u64 = 15_000;
/// The same for slow steps: the start of the kernel until it has a network.
pub const LONG_SILENCE: u64 = 120_000;

const NOTHING: &PacketFacts = &PacketFacts {
    iface: None,
    xid: None,
    arch: None,
    ipxe: false,
    ip: None,
    server: None,
    file: None,
    bytes: None,
    why: None,
    cause: None,
    vendor_class: None,
    hostname: None,
    uuid: None,
    repeats: None,
};

pub fn facts(e: &EventRow) -> &PacketFacts {
    e.facts.as_ref().unwrap_or(NOTHING)
}

/// Whether the event is of one of these kinds.
pub fn is_any(e: &EventRow, kinds: &[EventKind]) -> bool {
    kinds.iter().any(|kind| e.kind == *kind)
}

/// Whether the firmware itself requests an address, not iPXE and not an operating system.
pub fn is_firmware(e: &EventRow) -> bool {
    facts(e).arch.is_some() && !facts(e).ipxe
}

/// The indexes at which attempts begin; the first is 0.
pub fn starts(timeline: &[EventRow]) -> Vec<usize> {
    let mut starts = vec![0];
    for (i, pair) in timeline.windows(2).enumerate() {
        let asks = pair[1].kind == EventKind::DhcpDiscover && is_firmware(&pair[1]) && facts(&pair[1]).repeats.is_none();
        let asking = [EventKind::DhcpDiscover, EventKind::DhcpOffer, EventKind::DhcpIgnored, EventKind::DhcpForeignOffer];
        let still_asking = is_any(&pair[0], &asking);
        if asks && (!still_asking || pair[1].at.saturating_sub(pair[0].at) > GAP) {
            starts.push(i + 1);
        }
    }
    starts
}

pub struct Attempt<'a> {
    /// The rows of the attempt.
    pub events: &'a [EventRow],
    /// The rows before it.
    pub before: &'a [EventRow],
    /// The time of the diagnosis, in Unix milliseconds.
    pub now: u64,
}

impl<'a> Attempt<'a> {
    pub fn new(timeline: &'a [EventRow], start: usize, end: usize, now: u64) -> Self {
        Attempt { events: &timeline[start..end], before: &timeline[..start], now }
    }

    pub fn of(&self, kind: EventKind) -> impl DoubleEndedIterator<Item = &'a EventRow> + use<'a> {
        self.events.iter().filter(move |e| e.kind == kind)
    }

    pub fn has(&self, kind: EventKind) -> bool {
        self.of(kind).next().is_some()
    }

    pub fn last(&self, kind: EventKind) -> Option<&'a EventRow> {
        self.of(kind).next_back()
    }

    /// The number of events of this kind, including repeats.
    pub fn count(&self, kind: EventKind) -> u32 {
        self.of(kind).map(|e| facts(e).repeats.unwrap_or(1)).fold(0, u32::saturating_add)
    }

    /// The last packet that was ignored for this reason.
    pub fn ignored(&self, why: &str) -> Option<&'a EventRow> {
        self.of(EventKind::DhcpIgnored).rfind(|e| facts(e).why.as_deref() == Some(why))
    }

    /// Whether an event of this kind came after `e`.
    pub fn after(&self, e: &EventRow, kind: EventKind) -> bool {
        self.of(kind).any(|x| x.id > e.id)
    }

    /// Whether `e` is so long ago that the next step is overdue.
    pub fn overdue(&self, e: &EventRow, patience: u64) -> bool {
        self.now.saturating_sub(e.at) >= patience
    }

    /// Whether its agent has contacted the seed.
    pub fn called(&self) -> bool {
        let of_agent = |e: &EventRow| [family::ENROLLMENT, family::INSTALL, family::NODE].contains(&family::of(&e.kind));
        self.events.iter().any(of_agent)
    }

    /// The last DHCP acknowledgment that gave the firmware a boot file.
    pub fn firmware_ack(&self) -> Option<&'a EventRow> {
        self.of(EventKind::DhcpAck).rfind(|e| is_firmware(e) && facts(e).file.is_some())
    }

    /// Whether the seed served beside another DHCP server on purpose: its offer then has no address, and a system that does not
    /// boot from the network gets none at all.
    pub fn is_beside(&self) -> bool {
        self.of(EventKind::DhcpOffer).any(|e| facts(e).ip.is_none()) || self.ignored("proxy_plain").is_some()
    }

    /// Whether the machine got from this seed what it boots.
    pub fn boots_from_here(&self) -> bool {
        let steps = [EventKind::TftpStarted, EventKind::TftpDone, EventKind::HttpStarted, EventKind::BootScript];
        self.called() || self.events.iter().any(|e| is_any(e, &steps))
    }

    /// Whether the firmware uses HTTP boot.
    pub fn by_http(&self) -> bool {
        self.events.iter().any(|e| facts(e).arch.as_deref().is_some_and(|a| a.starts_with("http-")))
    }

    pub fn is_uefi(&self) -> bool {
        self.events.iter().any(|e| is_firmware(e) && facts(e).arch.as_deref().is_some_and(|a| a != "bios" && a != "http-bios"))
    }
}
