//! Two seeds on one segment, and a machine that boots from the wrong one: its operator has everything but the code on the
//! machine's console. The machine stays outside of both sites, and its disk keeps every byte.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::api::{Client, Decision};
use crate::daemon::Daemon;
use crate::dirs::RunDirs;
use crate::fleet::{Fleet, PASSWORD, USER};
use crate::member::Member;
use crate::netns::{Netns, PREFIX, SEED_IP};
use crate::protocol::wrong_code;
use crate::say;
use crate::seedd::Seedd;
use crate::site::{PASSPHRASE, Template, for_the_lab};
use crate::stop;
use crate::tool;
use crate::trust::ca_of;
use crate::vm::{Accel, Firmware, Spec, Vm};

/// Address of the operator's own seed; the wrong one has the lab's.
const RIGHT_IP: &str = "10.44.0.2";
const BOOT_LIMIT: Duration = Duration::from_secs(20 * 60);
/// A machine pauses 10, then 20 seconds after a wrong code.
const NEW_CODE: Duration = Duration::from_secs(180);
/// Codes that the wrong seed's operator tries.
const GUESSES: u32 = 2;
/// Old data on the disk: at its start, in the middle and at its end.
const OLD: &[u8] = b"ten years of somebody's accounts ";
const OLD_BYTES: usize = 4 << 20;

/// The site that the operator works for: a seed that runs, without images.
struct Right {
    daemon: Daemon,
    client: Client,
    ns: Netns,
}

pub fn run(dirs: &RunDirs, template: &Template, accel: Accel) -> Result<()> {
    let (work, logs) = dirs.part("wrong-seed")?;
    // The wrong seed is complete: it could install the machine at once.
    let mut wrong =
        Fleet::start(&format!("{PREFIX}{}-wrong", std::process::id()), template.copy(&work.join("wrong"))?, 0, &work, &logs)?;
    let mut right = right_seed(template, &wrong.ns, &work, &logs)?;
    let (disk, before) = old_disk(&work)?;
    let spec = Spec::new("blank", 64, Firmware::SeaBios);
    wrong.ns.tap(&spec.name)?;
    let vm = Vm::power_on(&wrong.ns, spec, accel, disk.clone(), &work, &logs)?;
    wrong.members.push(Member::new(vm));
    wrong.until("the machine to show a code to the wrong seed", BOOT_LIMIT, |f| Ok(f.waiting_code(0).is_some()))?;
    let code = wrong.waiting_code(0).context("no code on the console")?;
    unknown_to(&mut right, &wrong)?;
    guesses(&mut wrong, code)?;
    wrong.members.clear();
    same(&disk, &before)?;
    say::line("the disk has every old byte");
    for ns in [&wrong.ns, &right.ns] {
        ns.must_be_quiet()?;
    }
    Ok(())
}

/// Another site with keys of its own, on the same segment.
fn right_seed(template: &Template, segment: &Netns, work: &Path, logs: &Path) -> Result<Right> {
    let mut seedd: Seedd = template.seedd.on(&work.join("right"));
    RIGHT_IP.clone_into(&mut seedd.address);
    seedd.init()?;
    let text = fs::read_to_string(seedd.cluster_file()).context("reading cluster.yaml")?;
    let text = for_the_lab(&text, "ssh-ed25519 AAAA lab")?.replace(&format!("seed: {SEED_IP}"), &format!("seed: {RIGHT_IP}"));
    fs::write(seedd.cluster_file(), text).context("writing cluster.yaml")?;
    let ns = Netns::lab_at(&format!("{PREFIX}{}-right", std::process::id()), work, RIGHT_IP, &[])?;
    segment.cable("right", &ns, "uplink", "52:54:00:6b:67:02")?;
    ns.ip(&["link", "set", "uplink", "master", crate::netns::BRIDGE])?;
    let mut daemon = Daemon::new(0, &logs.join("right.log"))?;
    daemon.start(&ns, &seedd).context("starting the operator's own seed")?;
    let mut client = Client::compared(&daemon.address()?);
    client.setup(&daemon.setup_code()?, USER, PASSWORD)?;
    client.unseal(PASSPHRASE)?.good("unsealing")?;
    client.trust(&[ca_of(&seedd.data)?]);
    Ok(Right { daemon, client, ns })
}

/// A disk with data, and a copy to compare with.
fn old_disk(work: &Path) -> Result<(PathBuf, PathBuf)> {
    let (disk, before) = (work.join("blank.raw"), work.join("blank.before"));
    let size = Spec::new("blank", 64, Firmware::SeaBios).disk;
    let file = File::create(&disk).context("making the disk")?;
    file.set_len(size).context("sizing the disk")?;
    let old: Vec<u8> = OLD.iter().copied().cycle().take(OLD_BYTES).collect();
    for at in [0, size / 2, size - OLD_BYTES as u64] {
        file.write_all_at(&old, at).context("writing old data")?;
    }
    tool::run(&["cp", "--sparse=always", &disk.to_string_lossy(), &before.to_string_lossy()])?;
    Ok((disk, before))
}

/// The operator finds no such machine at the own seed: there is nothing to type the code into.
fn unknown_to(right: &mut Right, wrong: &Fleet) -> Result<()> {
    right.daemon.must_run()?;
    let mac = &wrong.members[0].vm.spec.mac;
    let found = right.client.machines()?.into_iter().find(|m| &m.mac == mac);
    let state = found.as_ref().map(|m| m.state().to_owned());
    ensure!(
        state.as_deref().is_none_or(|s| ["", "Discovered"].contains(&s)),
        "the machine booted from the wrong seed, but the right one has it as {state:?}"
    );
    say::line(&format!(
        "at the operator's own seed the machine is {}",
        state.as_deref().filter(|s| !s.is_empty()).unwrap_or("not waiting")
    ));
    Ok(())
}

/// The wrong seed's operator approves without the code: the machine refuses each time and reveals nothing.
fn guesses(wrong: &mut Fleet, mut code: String) -> Result<()> {
    let (role, disk) = wrong.choice(0)?;
    for guess in 1..=GUESSES {
        let id = wrong.members[0].enrollment().context("no enrollment to approve")?.to_owned();
        let guessed = wrong_code(&code)?;
        say::line(&format!("the wrong seed approves with code {guessed}, a guess; the console shows {code}"));
        let decision = Decision { code: &guessed, role: &role, hostname: "blank", disk: &disk, replace: false };
        wrong.client.approve(&id, &decision)?.good("approving with a guess")?;
        wrong.members[0].over = Some(id);
        code = stop::wait_for("another code after the guess", NEW_CODE, || {
            wrong.tick(true)?;
            let state = wrong.members[0].state().to_owned();
            ensure!(!["Issued", "Installing"].contains(&state.as_str()), "a guess made the machine {state}");
            Ok(wrong.waiting_code(0).filter(|c| *c != code))
        })?;
        say::line(&format!("guess {guess}: refused by the machine, which shows another code"));
    }
    let events = wrong.client.events()?;
    let issued = events.iter().find(|e| e.kind == "enrollment.issued");
    ensure!(issued.is_none(), "the wrong seed issued an identity: {issued:?}");
    Ok(())
}

fn same(disk: &Path, before: &Path) -> Result<()> {
    let differ = tool::outcome(&tool::words(&["cmp", &disk.to_string_lossy(), &before.to_string_lossy()]))?;
    ensure!(differ.code == 0, "the disk was changed: {}{}", differ.stdout.trim(), differ.stderr.trim());
    Ok(())
}
