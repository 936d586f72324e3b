//! Rules about what comes after the boot loader: kernel, agent, installation, disk.

use cluster_seed::events::{Cause, EventKind, family};

use super::attempt::{Attempt, LONG_SILENCE, SILENCE, facts, is_any};
use super::{Say, bad, good, wait};

/// Starts from its own disk after which the disk does not boot.
const LOOP: usize = 3;
/// Within this time, in milliseconds.
const LOOP_TIME: u64 = 1_800_000;

pub fn no_netboot_image(a: &Attempt<'_>) -> Option<Say> {
    let e = a.last(EventKind::BootScript).filter(|e| facts(e).cause == Some(Cause::NoNetbootImage))?;
    if a.called() || a.after(e, EventKind::HttpStarted) {
        return None;
    }
    bad("It waits: this seed has no netboot image yet.", "Run `seedd image build`; the machine asks again every few seconds.")
}

pub fn kernel_never_fetched(a: &Attempt<'_>) -> Option<Say> {
    let e = a.last(EventKind::BootScript).filter(|e| facts(e).cause == Some(Cause::BootsAgent))?;
    if a.has(EventKind::HttpStarted) || a.called() || !a.overdue(e, SILENCE) {
        return None;
    }
    bad(
        "It has its script and never fetched the kernel.",
        "Look at its screen: iPXE says there why, with a number. Secure Boot refuses a kernel of an unsigned loader.",
    )
}

pub fn agent_never_called(a: &Attempt<'_>) -> Option<Say> {
    let e = a.last(EventKind::HttpStarted)?;
    let whole = a.of(EventKind::HttpStarted).any(|e| facts(e).file.as_deref() == Some("initrd.img"));
    if !whole || a.called() || !a.overdue(e, LONG_SILENCE) {
        return None;
    }
    bad(
        "It fetched kernel and agent, and the agent never called.",
        "Look at its screen or serial line. Usual reasons: too little memory, no driver for the network card in the kernel, or a \
         firewall before the seed's HTTP port.",
    )
}

pub fn disk_does_not_boot(a: &Attempt<'_>) -> Option<Say> {
    let local =
        |e: &&site::store::events::EventRow| e.kind == EventKind::BootScript && facts(e).cause == Some(Cause::BootsLocalDisk);
    let all: Vec<_> = a.before.iter().chain(a.events).filter(local).collect();
    let last = all.last().filter(|_| all.len() >= LOOP)?;
    let first = all[all.len() - LOOP];
    let booted = a.before.iter().chain(a.events).any(|e| e.kind == EventKind::NodeBooted && e.at > first.at);
    if booted || last.at.saturating_sub(first.at) > LOOP_TIME {
        return None;
    }
    bad(
        format!("It was sent to its own disk {} times and came back each time: the disk does not boot.", all.len()),
        "Does its firmware see that disk, and boot in the mode it was installed in (UEFI or BIOS)? Revoke the node to install anew.",
    )
}

pub fn gave_up(a: &Attempt<'_>) -> Option<Say> {
    let ends = [EventKind::EnrollmentFailed, EventKind::EnrollmentDenied, EventKind::EnrollmentEnded];
    let e = a.events.iter().rfind(|e| is_any(e, &ends))?;
    if a.after(e, EventKind::EnrollmentHello) || a.after(e, EventKind::NodeConverged) || a.after(e, EventKind::NodeBooted) {
        return None;
    }
    bad(format!("Its enrollment ended: {}", e.text), "Mend that, then restart the machine: it enrolls again from the start.")
}

pub fn install_stands_still(a: &Attempt<'_>) -> Option<Say> {
    let e = a.last(EventKind::InstallProgress).or_else(|| a.last(EventKind::InstallBegan))?;
    let ends = [EventKind::InstallDone, EventKind::EnrollmentFailed];
    let over = a.events.iter().any(|x| x.id > e.id && is_any(x, &ends));
    if over || !a.overdue(e, LONG_SILENCE) {
        return None;
    }
    bad(
        "Its installation stands still: nothing was reported for two minutes.",
        "Look at its screen: a disk that hangs shows errors there. The installation goes on by itself once the network is back.",
    )
}

pub fn wrong_code(a: &Attempt<'_>) -> Option<Say> {
    let e = a.last(EventKind::EnrollmentWrongCode)?;
    if a.after(e, EventKind::EnrollmentHello) || a.after(e, EventKind::EnrollmentPending) {
        return None;
    }
    wait(
        "The code was wrong; nothing was changed, and the machine shows a new one after a pause.",
        "Read the next code from its console. After five wrong codes the console waits for a key. If the code was typed as it stood \
         there, another program may answer in the seed's place.",
    )
}

pub fn waits_for_approval(a: &Attempt<'_>) -> Option<Say> {
    let e = a.last(EventKind::EnrollmentPending)?;
    let moved_on = |x: &site::store::events::EventRow| x.id > e.id && family::of(&x.kind) == family::ENROLLMENT;
    if a.events.iter().any(moved_on) {
        return None;
    }
    wait("Nothing is wrong: it waits for you.", "Type the code that its console shows, and choose role, name and disk.")
}

pub fn works(a: &Attempt<'_>) -> Option<Say> {
    let good_ends = [EventKind::NodeConverged, EventKind::FabricReady, EventKind::InstallDone];
    let last = a.events.iter().filter_map(|e| e.kind.parse().ok()).rfind(|kind| good_ends.contains(kind))?;
    match last {
        EventKind::NodeConverged => good("It booted, was installed and is a working node.", "Nothing is to be done."),
        EventKind::FabricReady => good("It is installed and on its planes; its role is being applied.", "Nothing is to be done."),
        _ => good("It is installed and starts from its disk now.", "Nothing is to be done."),
    }
}
