//! Rules for getting an address.

use cluster_seed::events::{Cause, EventKind, family};

use super::attempt::{Attempt, SILENCE, facts, is_any, is_firmware};
use super::{Say, bad, wait};

/// Number of unanswered offers that is not a coincidence.
const SEVERAL: u32 = 3;

fn server_of(e: &site::store::events::EventRow) -> String {
    facts(e).server.map_or_else(|| "an unknown address".to_owned(), |s| s.to_string())
}

pub fn other_server_first(a: &Attempt<'_>) -> Option<Say> {
    let chosen = a.last(EventKind::DhcpForeignChosen).or_else(|| a.last(EventKind::DhcpForeignAck));
    let told = chosen.or_else(|| a.ignored("other_server"))?;
    // In the end it accepted this seed's offer, or whoever gave it its address, it boots from here.
    if a.after(told, EventKind::DhcpAck) || a.boots_from_here() {
        return None;
    }
    let server = facts(told).server.map(|s| format!(" {s}")).unwrap_or_default();
    if a.is_beside() {
        let names_one = |e: &&site::store::events::EventRow| facts(e).file.is_some();
        a.of(EventKind::DhcpForeignOffer).chain(a.of(EventKind::DhcpForeignAck)).find(names_one)?;
        return bad(
            format!("Another DHCP server{server}, from which the machine has its address, also names a boot file."),
            "Remove the boot file from that server's configuration (next-server, options 66 and 67): it is random which of the two \
             a machine boots.",
        );
    }
    let advice = "Stop that server, or configure this seed as boot server in it (options 66 and 67), or use proxy \
                  mode.";
    bad(format!("Another DHCP server{server} answered first, and the machine accepted its address."), advice)
}

pub fn other_server_here(a: &Attempt<'_>) -> Option<Say> {
    let offer = a.last(EventKind::DhcpForeignOffer)?;
    // Only where both offer addresses.
    if a.is_beside() || !a.of(EventKind::DhcpOffer).any(|e| facts(e).ip.is_some()) {
        return None;
    }
    let advice = "It is random which offer a machine accepts: stop that server, or use proxy mode.";
    wait(format!("Another DHCP server, {}, also answers on this network.", server_of(offer)), advice)
}

pub fn pool_exhausted(a: &Attempt<'_>) -> Option<Say> {
    let e = a.ignored("pool_exhausted")?;
    if a.after(e, EventKind::DhcpOffer) {
        return None;
    }
    bad(
        "The machine got no address: all addresses of the pool are in use.",
        "Enlarge the pool in cluster.yaml (networking.underlay.pool), or reduce leaseSeconds.",
    )
}

pub fn leases_not_saved(a: &Attempt<'_>) -> Option<Say> {
    let e = a.ignored("journal_failed").or_else(|| a.ignored("journal_full"))?;
    if a.after(e, EventKind::DhcpAck) {
        return None;
    }
    bad(
        "The machine got no address: the seed could not write the lease to its disk.",
        "Run `seedd doctor`: the disk may be full, slow or read-only.",
    )
}

pub fn replies_not_sent(a: &Attempt<'_>) -> Option<Say> {
    let e = a.ignored("send_failed")?;
    if a.after(e, EventKind::DhcpOffer) || a.after(e, EventKind::DhcpAck) {
        return None;
    }
    bad("The seed could not send its reply.", "Run `seedd doctor`: check that the interface is up and has the seed's address.")
}

/// Versions that did not record causes ignored machines for this reason only.
fn is_without_loader(e: &site::store::events::EventRow) -> bool {
    facts(e).cause.is_none_or(|cause| cause == Cause::NoLoader)
}

pub fn no_loader_for_arch(a: &Attempt<'_>) -> Option<Say> {
    let silent = |e: &&site::store::events::EventRow| facts(e).why.as_deref() == Some("policy_silent");
    let e = a.of(EventKind::DhcpIgnored).rfind(|e| silent(e) && is_without_loader(e))?;
    let arch = facts(e).arch.as_deref().unwrap_or("unknown");
    let advice = match arch {
        "arm-rpiboot" => {
            "A Raspberry Pi loads files of its own by TFTP, which this seed does not have; start it from its card or disk."
        }
        _ => "This seed boots x86 BIOS and 64-bit UEFI machines; choose another boot mode in the firmware setup.",
    };
    bad(format!("There is no boot loader for its kind of firmware ({arch})."), advice)
}

pub fn kept_silent(a: &Attempt<'_>) -> Option<Say> {
    let e = a.ignored("policy_silent")?;
    if is_without_loader(e) || a.after(e, EventKind::DhcpOffer) {
        return None;
    }
    wait(
        "The seed ignored the machine, as configured.",
        "The reason is in the timeline; it is a rule of this site, not a fault of the machine.",
    )
}

pub fn unknown_relay(a: &Attempt<'_>) -> Option<Say> {
    a.ignored("unknown_relay")?;
    bad(
        "The request came through a relay in a network that this seed does not serve.",
        "Give the relay an address in the seed's subnet, or add its subnet to cluster.yaml.",
    )
}

/// Reasons for which a packet is refused before anything is decided about it.
const UNREADABLE: [&str; 6] = ["broken_options", "bad_cookie", "no_message_type", "bad_message_type", "too_short", "too_long"];

pub fn broken_packets(a: &Attempt<'_>) -> Option<Say> {
    let e = a.of(EventKind::DhcpIgnored).rfind(|e| facts(e).why.as_deref().is_some_and(|w| UNREADABLE.contains(&w)))?;
    if a.has(EventKind::DhcpOffer) || a.has(EventKind::DhcpAck) {
        return None;
    }
    // Both are sound BOOTP (RFC 951), which old firmware and some switches speak.
    if matches!(facts(e).why.as_deref(), Some("bad_cookie" | "no_message_type")) {
        return bad(
            "The machine speaks BOOTP, not DHCP, and this seed only serves DHCP.",
            "Switch to PXE or UEFI network boot in its firmware setup, or update the firmware.",
        );
    }
    let why = facts(e).why.as_deref().unwrap_or_default().replace('_', " ");
    bad(
        format!("The machine's DHCP packets are malformed ({why})."),
        "Update the firmware of the machine or its network card; attach its packet capture to a support case.",
    )
}

pub fn not_ethernet(a: &Attempt<'_>) -> Option<Say> {
    a.ignored("not_ethernet")?;
    if a.has(EventKind::DhcpOffer) || a.has(EventKind::DhcpAck) {
        return None;
    }
    bad(
        "The machine asks over a network that is not Ethernet, or leaves out its hardware address.",
        "Boot it over an Ethernet port; a card with both kinds of ports (InfiniBand) can be switched in its firmware setup.",
    )
}

pub fn address_in_use(a: &Attempt<'_>) -> Option<Say> {
    let e = a.last(EventKind::DhcpDecline)?;
    let ip = facts(e).ip.map(|i| format!(" {i}")).unwrap_or_default();
    bad(
        format!("The address{ip} that the machine was assigned is used by another host."),
        "Find the host that has this static address (`arping` shows its MAC address), or move the pool in cluster.yaml.",
    )
}

pub fn moved_network(a: &Attempt<'_>) -> Option<Say> {
    let nak = a.last(EventKind::DhcpNak).filter(|_| a.count(EventKind::DhcpNak) >= 2)?;
    if a.after(nak, EventKind::DhcpAck) {
        return None;
    }
    let why = facts(nak).why.as_deref().unwrap_or("refused").replace('_', " ");
    bad(
        format!("The machine keeps requesting an address that it cannot have on this network ({why})."),
        "It was on another network before and still uses that lease: power it off and on.",
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
    if a.is_beside() {
        return bad(
            "The machine got no address: this seed serves boot files only, and no other DHCP server answered it.",
            "Start the other DHCP server, or let this seed assign the addresses (dhcp.mode: auto or full).",
        );
    }
    bad(
        format!(
            "The machine asked for an address {} times, but accepted none of {} offers.",
            a.count(EventKind::DhcpDiscover),
            a.count(EventKind::DhcpOffer)
        ),
        "The offers do not reach it: the switch may block new links (spanning tree without portfast) or filter DHCP servers \
         (DHCP snooping: make the seed's port trusted).",
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
        format!("The machine requested its address {asked} times, although the seed acknowledged it each time."),
        "The acknowledgments do not reach it: look for a DHCP filter on the switch, or another machine with this MAC address.",
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
        "The request came from an operating system, not from booting firmware.",
        "Put the network before the disk in the boot order, or choose network boot in the boot menu (often F12).",
    )
}
