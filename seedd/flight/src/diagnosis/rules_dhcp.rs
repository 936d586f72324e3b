//! Rules about the way to an address.

use cluster_seed::events::{Cause, EventKind, family};

use super::attempt::{Attempt, SILENCE, facts, is_any, is_firmware};
use super::{Say, bad, wait};

/// Unanswered offers after which it is no accident.
const SEVERAL: u32 = 3;

fn server_of(e: &site::store::events::EventRow) -> String {
    facts(e).server.map_or_else(|| "an unknown address".to_owned(), |s| s.to_string())
}

pub fn other_server_first(a: &Attempt<'_>) -> Option<Say> {
    let chosen = a.last(EventKind::DhcpForeignChosen).or_else(|| a.last(EventKind::DhcpForeignAck));
    let told = chosen.or_else(|| a.ignored("other_server"))?;
    // It came to us after all.
    if a.after(told, EventKind::DhcpAck) {
        return None;
    }
    let server = facts(told).server.map(|s| format!(" {s}")).unwrap_or_default();
    let advice = "Stop that server on this network, or let it name this seed as its boot server (options 66 and 67), or serve in \
                  proxy mode beside it.";
    bad(format!("It was answered by another server{server} first, and took its address."), advice)
}

pub fn other_server_here(a: &Attempt<'_>) -> Option<Say> {
    let offer = a.last(EventKind::DhcpForeignOffer)?;
    let advice = "Which of the two a machine takes is chance: stop that one, or serve in proxy mode beside it.";
    wait(format!("Another DHCP server, {}, answers on this network too.", server_of(offer)), advice)
}

pub fn pool_exhausted(a: &Attempt<'_>) -> Option<Say> {
    let e = a.ignored("pool_exhausted")?;
    if a.after(e, EventKind::DhcpOffer) {
        return None;
    }
    bad(
        "It got no address: every address of the pool is taken.",
        "Make the pool larger in cluster.yaml (networking.underlay.pool), or a shorter leaseSeconds.",
    )
}

pub fn leases_not_saved(a: &Attempt<'_>) -> Option<Say> {
    let e = a.ignored("journal_failed").or_else(|| a.ignored("journal_full"))?;
    if a.after(e, EventKind::DhcpAck) {
        return None;
    }
    bad(
        "It got no address: the seed could not write the lease to its disk.",
        "Run `seedd doctor`: is the disk full, slow or read-only?",
    )
}

pub fn replies_not_sent(a: &Attempt<'_>) -> Option<Say> {
    let e = a.ignored("send_failed")?;
    if a.after(e, EventKind::DhcpOffer) || a.after(e, EventKind::DhcpAck) {
        return None;
    }
    bad(
        "The seed's answer did not leave this machine.",
        "Run `seedd doctor`: is the interface up, and does it have the seed's address?",
    )
}

/// The versions before causes were recorded kept silent for no other reason.
fn is_without_loader(e: &site::store::events::EventRow) -> bool {
    facts(e).cause.is_none_or(|cause| cause == Cause::NoLoader)
}

pub fn no_loader_for_arch(a: &Attempt<'_>) -> Option<Say> {
    let silent = |e: &&site::store::events::EventRow| facts(e).why.as_deref() == Some("policy_silent");
    let e = a.of(EventKind::DhcpIgnored).rfind(|e| silent(e) && is_without_loader(e))?;
    let arch = facts(e).arch.as_deref().unwrap_or("unknown");
    bad(
        format!("There is no boot loader for its kind of firmware ({arch})."),
        "This seed boots x86 BIOS and 64-bit UEFI machines; look in the firmware's set-up for another boot mode.",
    )
}

pub fn kept_silent(a: &Attempt<'_>) -> Option<Say> {
    let e = a.ignored("policy_silent")?;
    if is_without_loader(e) || a.after(e, EventKind::DhcpOffer) {
        return None;
    }
    wait(
        "The seed kept silent on purpose.",
        "The reason stands in the timeline; it is a rule of this site and no fault of the machine.",
    )
}

pub fn unknown_relay(a: &Attempt<'_>) -> Option<Say> {
    a.ignored("unknown_relay")?;
    bad(
        "Its question came through a relay of a network that this seed does not serve.",
        "Set the relay's address to one of the seed's subnet, or add that subnet to cluster.yaml.",
    )
}

pub fn broken_packets(a: &Attempt<'_>) -> Option<Say> {
    let reasons = ["broken_options", "bad_cookie", "no_message_type", "bad_message_type", "too_short", "too_long"];
    let e = a.of(EventKind::DhcpIgnored).rfind(|e| facts(e).why.as_deref().is_some_and(|w| reasons.contains(&w)))?;
    if a.has(EventKind::DhcpOffer) || a.has(EventKind::DhcpAck) {
        return None;
    }
    let why = facts(e).why.as_deref().unwrap_or_default().replace('_', " ");
    bad(
        format!("Its DHCP packets cannot be read ({why})."),
        "Update its firmware or network card; the download of its packets shows what it sends, and a support case needs that.",
    )
}

pub fn address_in_use(a: &Attempt<'_>) -> Option<Say> {
    let e = a.last(EventKind::DhcpDecline)?;
    let ip = facts(e).ip.map(|i| format!(" {i}")).unwrap_or_default();
    bad(
        format!("The address{ip} that it was given is used by somebody else."),
        "Find the device with that address set by hand (`arping` shows its MAC address), or move the pool in cluster.yaml.",
    )
}

pub fn moved_network(a: &Attempt<'_>) -> Option<Say> {
    let nak = a.last(EventKind::DhcpNak).filter(|_| a.count(EventKind::DhcpNak) >= 2)?;
    if a.after(nak, EventKind::DhcpAck) {
        return None;
    }
    let why = facts(nak).why.as_deref().unwrap_or("refused").replace('_', " ");
    bad(
        format!("It keeps asking for an address that it cannot have here ({why})."),
        "It was in another network before and does not start anew: power it off and on.",
    )
}

pub fn offers_not_taken(a: &Attempt<'_>) -> Option<Say> {
    let offer = a.last(EventKind::DhcpOffer)?;
    let others = [EventKind::DhcpForeignOffer, EventKind::DhcpForeignAck, EventKind::DhcpForeignChosen];
    let foreign = a.events.iter().any(|e| is_any(e, &others)) || a.ignored("other_server").is_some();
    if foreign
        || a.has(EventKind::DhcpRequest)
        || a.has(EventKind::DhcpAck)
        || a.count(EventKind::DhcpOffer) < SEVERAL
        || !a.overdue(offer, 2_000)
    {
        return None;
    }
    bad(
        format!(
            "It asked for an address {} times and took none of {} offers.",
            a.count(EventKind::DhcpDiscover),
            a.count(EventKind::DhcpOffer)
        ),
        "The offers do not reach it: does the switch block new links (spanning tree without portfast), or filter DHCP servers \
         (DHCP snooping: make the seed's port trusted)?",
    )
}

pub fn ack_not_heard(a: &Attempt<'_>) -> Option<Say> {
    let (asked, acked) = (a.count(EventKind::DhcpRequest), a.count(EventKind::DhcpAck));
    let ack = a.last(EventKind::DhcpAck)?;
    let went_on = a.has(EventKind::TftpStarted) || a.has(EventKind::BootScript) || a.called() || a.has(EventKind::HttpStarted);
    let several = asked > SEVERAL && acked > SEVERAL && facts(ack).repeats.is_some();
    if went_on || !several {
        return None;
    }
    bad(
        format!("It asked {asked} times for the address that it was given each time."),
        "The acknowledgments get lost on the way back: look for a filter for DHCP on the switch, or for two machines with this \
         MAC address.",
    )
}

pub fn not_a_network_boot(a: &Attempt<'_>) -> Option<Say> {
    let asked = a.last(EventKind::DhcpDiscover).or_else(|| a.last(EventKind::DhcpRequest))?;
    let boots = a.events.iter().any(|e| is_firmware(e) || facts(e).ipxe) || a.has(EventKind::BootScript) || a.called();
    let booted_before = a.before.iter().any(|e| family::of(&e.kind) == family::ENROLLMENT);
    if boots || booted_before || !a.overdue(asked, SILENCE) {
        return None;
    }
    wait(
        "It asked for an address as an operating system does, not as firmware that wants to boot.",
        "Put the network before the disk in its boot order, or choose network boot in its boot menu (often F12).",
    )
}
