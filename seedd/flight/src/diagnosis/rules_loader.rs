//! Rules about the boot loader and its script.

use cluster_seed::events::{Cause, EventKind, family};

use super::attempt::{Attempt, SILENCE, facts};
use super::{Say, bad};

/// Fetches of the loader after which it is a loop.
const LOOP: u32 = 3;
/// Transfers shorter than this were a look at the size, in bytes.
const PROBE: u64 = 2_000;

const SECURE_BOOT: &str = "If Secure Boot is on, the firmware refuses a loader that is not signed for it: turn it off, or give \
                           it the signed one. If not, update the firmware of its network card.";

fn file_of(e: &site::store::events::EventRow) -> String {
    facts(e).file.clone().unwrap_or_else(|| "its loader".to_owned())
}

/// In rows without a cause: only a transfer that began has a count of bytes.
fn is_without_file(e: &site::store::events::EventRow) -> bool {
    facts(e).cause.map_or(facts(e).bytes.is_none(), |cause| cause == Cause::NoSuchFile)
}

pub fn wrong_file_name(a: &Attempt<'_>) -> Option<Say> {
    let e = a.of(EventKind::TftpError).rfind(|e| is_without_file(e))?;
    if a.after(e, EventKind::TftpDone) {
        return None;
    }
    bad(
        format!("It asked for a file that is not served: {}.", file_of(e)),
        "Another DHCP server, or a setting in its firmware, names that file: remove it there; this seed names the right one by itself.",
    )
}

pub fn loader_never_fetched(a: &Attempt<'_>) -> Option<Say> {
    let ack = a.firmware_ack()?;
    let fetched = a.events.iter().any(|e| family::of(&e.kind) == family::TFTP || e.kind == EventKind::HttpStarted);
    if fetched || a.by_http() || a.has(EventKind::BootScript) || a.called() || !a.overdue(ack, SILENCE) {
        return None;
    }
    bad(
        format!("It asked for 67 and has an address, but never fetched the loader {}.", file_of(ack)),
        "A firewall between it and the seed drops UDP 69, or its address cannot reach the seed's: `tcpdump udp port 69` on the \
         seed shows whether anything arrives.",
    )
}

pub fn http_loader_never_fetched(a: &Attempt<'_>) -> Option<Say> {
    let ack = a.firmware_ack().filter(|_| a.by_http())?;
    if a.has(EventKind::HttpStarted) || a.has(EventKind::BootScript) || a.called() || !a.overdue(ack, SILENCE) {
        return None;
    }
    bad(
        format!("Its firmware boots by HTTP, has an address, and never fetched {}.", file_of(ack)),
        "A firewall drops TCP to the seed, or the firmware allows HTTPS only (EDK2: \u{201c}Allow HTTP connections\u{201d}): try PXE instead.",
    )
}

pub fn size_probe_then_silence(a: &Attempt<'_>) -> Option<Say> {
    let probe = a.of(EventKind::TftpAborted).rfind(|e| facts(e).bytes.unwrap_or(0) < PROBE)?;
    if a.after(probe, EventKind::TftpStarted)
        || a.after(probe, EventKind::TftpDone)
        || a.has(EventKind::BootScript)
        || !a.overdue(probe, SILENCE)
    {
        return None;
    }
    bad(
        format!("UEFI size probe of {}, then silence: the firmware asked how large it is and did not fetch it.", file_of(probe)),
        "Its memory for boot files may be too small, or its TFTP has a fault: update the firmware, or choose HTTP boot in its menu.",
    )
}

pub fn transfer_never_began(a: &Attempt<'_>) -> Option<Say> {
    let e = a.of(EventKind::TftpError).rfind(|e| !is_without_file(e) && facts(e).bytes.unwrap_or(0) == 0)?;
    if a.after(e, EventKind::TftpDone) {
        return None;
    }
    bad(
        format!("It asked for {}, and none of the answers was heard.", file_of(e)),
        "TFTP answers from a port of its own: a firewall that lets only UDP 69 through stops every transfer. Allow UDP from the \
         seed, or load its TFTP helper.",
    )
}

pub fn transfer_broke_off(a: &Attempt<'_>) -> Option<Say> {
    let e = a.of(EventKind::TftpError).rfind(|e| facts(e).bytes.unwrap_or(0) > 0)?;
    if a.after(e, EventKind::TftpDone) {
        return None;
    }
    let bytes = facts(e).bytes.unwrap_or(0);
    bad(
        format!("The transfer of {} stopped after {bytes} bytes.", file_of(e)),
        "Packets of full size get lost: look for a smaller MTU on the way, a bad cable or port (`ip -s link` counts errors).",
    )
}

pub fn loader_loop(a: &Attempt<'_>) -> Option<Say> {
    let fetched = a.count(EventKind::TftpDone);
    if fetched < LOOP || a.has(EventKind::BootScript) {
        return None;
    }
    bad(
        format!("It fetched its loader {fetched} times without ever asking for a script: it loads itself in a circle."),
        "Another DHCP server answers the loader's own question with the loader again: look for a foreign server in the timeline.",
    )
}

pub fn loader_does_not_run(a: &Attempt<'_>) -> Option<Say> {
    let done = a.last(EventKind::TftpDone)?;
    let asked = a.of(EventKind::DhcpDiscover).chain(a.of(EventKind::DhcpRequest)).any(|e| facts(e).ipxe && e.id > done.id);
    if asked || a.has(EventKind::BootScript) || a.called() || a.count(EventKind::TftpDone) >= LOOP || !a.overdue(done, SILENCE) {
        return None;
    }
    let advice = match a.is_uefi() {
        true => SECURE_BOOT,
        false => "Its network card's boot ROM and the loader do not get along: update the firmware, or boot it by UEFI.",
    };
    bad(format!("It has {} whole, and then nothing more was heard: the loader does not run.", file_of(done)), advice)
}

pub fn script_never_fetched(a: &Attempt<'_>) -> Option<Say> {
    let ack = a.of(EventKind::DhcpAck).rfind(|e| facts(e).ipxe)?;
    if a.has(EventKind::BootScript) || a.called() || !a.overdue(ack, SILENCE) {
        return None;
    }
    bad(
        "iPXE runs and has an address, but never fetched its script by HTTP.",
        "A firewall drops TCP port 80 to the seed, or something else answers there: `seedd doctor` looks from here, the machine's \
         screen shows iPXE's own error number.",
    )
}
