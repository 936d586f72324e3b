//! Rules for the boot loader and its script.

use cluster_seed::events::{Cause, EventKind, family};

use super::attempt::{Attempt, SILENCE, facts};
use super::{Say, bad};

/// Number of downloads of the loader that counts as a loop.
const LOOP: u32 = 3;
/// Transfers shorter than this only probed the size, in bytes.
const PROBE: u64 = 2_000;

const SECURE_BOOT: &str = "If Secure Boot is on, the firmware refuses unsigned loaders: turn it off, or use the signed loader \
                           (netboot.uefi: shim). If it is off, update the firmware of the network card.";

fn file_of(e: &site::store::events::EventRow) -> String {
    facts(e).file.clone().unwrap_or_else(|| "its loader".to_owned())
}

/// In rows without a cause, only a transfer that began has a number of bytes.
fn is_without_file(e: &site::store::events::EventRow) -> bool {
    facts(e).cause.map_or(facts(e).bytes.is_none(), |cause| cause == Cause::NoSuchFile)
}

fn is_refused(e: &site::store::events::EventRow) -> bool {
    facts(e).cause == Some(Cause::Refused)
}

/// The configuration that GRUB reads, and not a program.
fn is_configuration(e: &site::store::events::EventRow) -> bool {
    facts(e).file.as_deref().is_some_and(|f| f.to_ascii_lowercase().ends_with(".cfg"))
}

pub fn wrong_file_name(a: &Attempt<'_>) -> Option<Say> {
    let e = a.of(EventKind::TftpError).rfind(|e| is_without_file(e))?;
    // Loaders try several names; GRUB does so for its lists of modules, after its configuration.
    if a.after(e, EventKind::TftpDone) || a.has(EventKind::BootScript) || a.called() {
        return None;
    }
    bad(
        format!("The machine requested a file that is not served: {}.", file_of(e)),
        "Another DHCP server, or a setting in its firmware, specifies that file: remove it; the seed sends the right file name.",
    )
}

pub fn request_refused(a: &Attempt<'_>) -> Option<Say> {
    let e = a.of(EventKind::TftpError).rfind(|e| is_refused(e))?;
    if a.after(e, EventKind::TftpDone) || a.has(EventKind::BootScript) || a.called() {
        return None;
    }
    let why = facts(e).why.as_deref().unwrap_or("refused");
    bad(
        format!("The machine sent a TFTP request that this seed does not serve ({why})."),
        "The seed serves files for reading, in mode octet, to the networks in cluster.yaml: compare the machine's address and the \
         settings of its boot program.",
    )
}

pub fn loader_never_fetched(a: &Attempt<'_>) -> Option<Say> {
    let ack = a.firmware_ack()?;
    let fetched = a.events.iter().any(|e| family::of(&e.kind) == family::TFTP || e.kind == EventKind::HttpStarted);
    if fetched || a.by_http() || a.has(EventKind::BootScript) || a.called() || !a.overdue(ack, SILENCE) {
        return None;
    }
    bad(
        format!("The machine has an address and a boot file name, but did not download the loader {}.", file_of(ack)),
        "A firewall drops UDP 69, or there is no route from its address to the seed: `tcpdump udp port 69` on the seed shows \
         whether requests arrive.",
    )
}

pub fn http_loader_never_fetched(a: &Attempt<'_>) -> Option<Say> {
    let ack = a.firmware_ack().filter(|_| a.by_http())?;
    if a.has(EventKind::HttpStarted) || a.has(EventKind::BootScript) || a.called() || !a.overdue(ack, SILENCE) {
        return None;
    }
    bad(
        format!("The firmware uses HTTP boot and has an address, but did not download {}.", file_of(ack)),
        "A firewall drops TCP, or the firmware allows HTTPS only (EDK2: \u{201c}Allow HTTP connections\u{201d}): try PXE.",
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
        format!("UEFI asked for the size of {}, but did not download it.", file_of(probe)),
        "The firmware's memory for boot files may be too small, or its TFTP may have a bug: update it, or use HTTP boot.",
    )
}

pub fn transfer_never_began(a: &Attempt<'_>) -> Option<Say> {
    let e = a.of(EventKind::TftpError).rfind(|e| !is_without_file(e) && !is_refused(e) && facts(e).bytes.unwrap_or(0) == 0)?;
    if a.after(e, EventKind::TftpDone) {
        return None;
    }
    bad(
        format!("The machine requested {}, but received none of the replies.", file_of(e)),
        "TFTP replies come from another port: a firewall that allows only UDP 69 blocks every transfer. Allow UDP from the seed, \
         or load the firewall's TFTP helper.",
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
        "Full-size packets get lost: look for a smaller MTU on the path, a bad cable or port (`ip -s link` counts errors).",
    )
}

/// How often the file that was downloaded most was downloaded. Shim, GRUB and its configuration are three files and no loop.
fn most_downloads(a: &Attempt<'_>) -> u32 {
    let of = |file: &Option<String>| {
        let same = a.of(EventKind::TftpDone).filter(|e| facts(e).file == *file);
        same.map(|e| facts(e).repeats.unwrap_or(1)).fold(0, u32::saturating_add)
    };
    a.of(EventKind::TftpDone).map(|e| of(&facts(e).file)).max().unwrap_or(0)
}

pub fn loader_loop(a: &Attempt<'_>) -> Option<Say> {
    let fetched = most_downloads(a);
    if fetched < LOOP || a.has(EventKind::BootScript) {
        return None;
    }
    bad(
        format!(
            "The machine downloaded its loader {fetched} times without requesting a script: the loader starts itself in a loop."
        ),
        "Another DHCP server answers iPXE with the loader again: look for another server in the timeline.",
    )
}

pub fn loader_does_not_run(a: &Attempt<'_>) -> Option<Say> {
    let done = a.last(EventKind::TftpDone).filter(|e| !is_configuration(e))?;
    let asked = a.of(EventKind::DhcpDiscover).chain(a.of(EventKind::DhcpRequest)).any(|e| facts(e).ipxe && e.id > done.id);
    if asked || a.has(EventKind::BootScript) || a.called() || most_downloads(a) >= LOOP || !a.overdue(done, SILENCE) {
        return None;
    }
    let advice = match a.is_uefi() {
        true => SECURE_BOOT,
        false => "The loader does not work with the boot ROM of the network card: update the firmware, or boot with UEFI.",
    };
    bad(
        format!("The machine downloaded {} completely, but sent nothing afterwards: the loader does not run.", file_of(done)),
        advice,
    )
}

pub fn script_never_fetched(a: &Attempt<'_>) -> Option<Say> {
    let by_ipxe = a.of(EventKind::DhcpAck).rfind(|e| facts(e).ipxe);
    let by_grub = a.of(EventKind::TftpDone).rfind(|e| is_configuration(e));
    let (who, last) = by_ipxe.map(|e| ("iPXE", e)).or(by_grub.map(|e| ("GRUB", e)))?;
    if a.has(EventKind::BootScript) || a.called() || !a.overdue(last, SILENCE) {
        return None;
    }
    bad(
        format!("{who} runs and has an address, but did not download its script over HTTP."),
        "A firewall drops TCP port 80 to the seed, or another program answers there: run `seedd doctor`; the machine's \
         screen shows the error.",
    )
}
