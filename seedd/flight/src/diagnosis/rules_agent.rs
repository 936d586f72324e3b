//! Rules for what follows the boot loader: kernel, agent, installation, disk.

use cluster_seed::events::{Cause, EventKind, family};

use super::attempt::{Attempt, LONG_SILENCE, SILENCE, facts, is_any};
use super::{Say, bad, good, wait};

/// Number of boots from the local disk after which the disk is considered not bootable.
const LOOP: usize = 3;
/// Within this time, in milliseconds.
const LOOP_TIME: u64 = 1_800_000;

pub fn no_netboot_image(a: &Attempt<'_>) -> Option<Say> {
    let e = a.last(EventKind::BootScript).filter(|e| facts(e).cause == Some(Cause::NoNetbootImage))?;
    if a.called() || a.after(e, EventKind::HttpStarted) {
        return None;
    }
    bad(
        "The machine is waiting: this seed has no netboot image yet.",
        "Run `seedd image build`; the machine retries every few seconds.",
    )
}

pub fn kernel_never_fetched(a: &Attempt<'_>) -> Option<Say> {
    let e = a.last(EventKind::BootScript).filter(|e| facts(e).cause == Some(Cause::BootsAgent))?;
    if a.has(EventKind::HttpStarted) || a.called() || !a.overdue(e, SILENCE) {
        return None;
    }
    bad(
        "The machine received its boot script, but did not download the kernel.",
        "Look at its screen: iPXE shows an error number. With Secure Boot, an unsigned loader cannot start a kernel.",
    )
}

pub fn agent_never_called(a: &Attempt<'_>) -> Option<Say> {
    let e = a.last(EventKind::HttpStarted)?;
    let whole = a.of(EventKind::HttpStarted).any(|e| facts(e).file.as_deref() == Some("initrd.img"));
    if !whole || a.called() || !a.overdue(e, LONG_SILENCE) {
        return None;
    }
    bad(
        "The machine downloaded kernel and agent, but the agent never contacted the seed.",
        "Look at its screen or serial console. Common causes: too little memory, no driver for the network card, or a \
         firewall that blocks the seed's HTTP port.",
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
        format!("The machine was sent to its own disk {} times and came back each time: the disk does not boot.", all.len()),
        "Check that its firmware detects the disk and boots in the right mode (UEFI or BIOS). To reinstall, revoke the node.",
    )
}

pub fn gave_up(a: &Attempt<'_>) -> Option<Say> {
    let ends = [EventKind::EnrollmentFailed, EventKind::EnrollmentDenied, EventKind::EnrollmentEnded];
    let e = a.events.iter().rfind(|e| is_any(e, &ends))?;
    if a.after(e, EventKind::EnrollmentHello) || a.after(e, EventKind::NodeConverged) || a.after(e, EventKind::NodeBooted) {
        return None;
    }
    bad(format!("Its enrollment ended: {}", e.text), "Fix the problem, then restart the machine: it enrolls again.")
}

pub fn install_stands_still(a: &Attempt<'_>) -> Option<Say> {
    let e = a.last(EventKind::InstallProgress).or_else(|| a.last(EventKind::InstallBegan))?;
    let ends = [EventKind::InstallDone, EventKind::EnrollmentFailed];
    let over = a.events.iter().any(|x| x.id > e.id && is_any(x, &ends));
    if over || !a.overdue(e, LONG_SILENCE) {
        return None;
    }
    bad(
        "The installation has stalled: no progress was reported for two minutes.",
        "Look at its screen for disk errors. If the network was interrupted, the installation resumes when it is back.",
    )
}

pub fn wrong_code(a: &Attempt<'_>) -> Option<Say> {
    let e = a.last(EventKind::EnrollmentWrongCode)?;
    if a.after(e, EventKind::EnrollmentHello) || a.after(e, EventKind::EnrollmentPending) {
        return None;
    }
    wait(
        "The code was wrong; nothing was changed, and the machine shows a new one after a pause.",
        "Read the next code from its console. After five wrong codes the console waits for a key. If the code was entered as \
         shown there, another host may be impersonating the seed.",
    )
}

pub fn waits_for_approval(a: &Attempt<'_>) -> Option<Say> {
    let e = a.last(EventKind::EnrollmentPending)?;
    let moved_on = |x: &site::store::events::EventRow| x.id > e.id && family::of(&x.kind) == family::ENROLLMENT;
    if a.events.iter().any(moved_on) {
        return None;
    }
    wait("Nothing is wrong: the machine waits for approval.", "Enter the code from its console, and choose role, name and disk.")
}

pub fn works(a: &Attempt<'_>) -> Option<Say> {
    let good_ends = [EventKind::NodeConverged, EventKind::FabricReady, EventKind::InstallDone];
    let last = a.events.iter().filter_map(|e| e.kind.parse().ok()).rfind(|kind| good_ends.contains(kind))?;
    match last {
        EventKind::NodeConverged => good("The machine booted, was installed and is a working node.", "Nothing to do."),
        EventKind::FabricReady => {
            good("The machine is installed and on its planes; its role is being applied.", "Nothing to do.")
        }
        _ => good("The machine is installed and now boots from its disk.", "Nothing to do."),
    }
}
