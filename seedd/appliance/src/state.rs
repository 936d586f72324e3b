//! `seedd appliance state`: finds or creates the state partition and mounts it. Runs as root.
//!
//! After a power cut at any time there is one of these, and each is recognised at the next start: no partition; a partition
//! without a complete file system (it is created again); a complete one (its label is written last).

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, lchown};

use anyhow::{Context as _, Result, anyhow, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use host::files::{Access, open_device, read_limited, read_with_owner, write_atomic};
use host::random;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::User;
use serde::{Deserialize, Serialize};

use super::boot::Preset;
use super::decide::{Action, Decision, Disk, RAM_WARNING, decide};
use super::disks::{Device, devices, disk_of, mounted, mounts};
use super::settings::{FILE, Settings, StatePlace};
use super::table::{Place, Table, Write};
use super::tool;

/// The site's data directory, below the state.
pub const SITE_DIR: &str = "site";
/// File in the run directory with the result, for the daemon and the console.
pub const REPORT: &str = "state.json";
const MAX_SMALL: u64 = 64 << 10;
/// Written over both ends of a new partition, so that old content is not mistaken for a state.
const END: u64 = 1 << 20;

/// Paths of an appliance.
#[derive(Debug, Clone)]
pub struct Places {
    pub state: Utf8PathBuf,
    pub medium: Utf8PathBuf,
    pub run: Utf8PathBuf,
    /// Owner of the state; default: the current user.
    pub user: Option<String>,
}

/// The result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Report {
    /// As text, for people.
    pub place: String,
    pub memory: bool,
    pub warnings: Vec<String>,
}

impl Report {
    /// The result of the last run of `seedd appliance state`; `None` if there was none.
    pub fn read(run: &Utf8Path) -> Option<Self> {
        serde_json::from_slice(&read_limited(&run.join(REPORT), MAX_SMALL).ok()?).ok()
    }
}

/// The settings stored in a state directory, or the defaults; unreadable settings give a warning.
pub fn stored(state: &Utf8Path) -> (Settings, Option<String>) {
    let path = state.join(FILE);
    if !path.exists() {
        return (Settings::default(), None);
    }
    let read = read_limited(&path, MAX_SMALL)
        .map_err(anyhow::Error::from)
        .and_then(|b| serde_json::from_slice(&b).context("reading the settings"));
    read.map_or_else(|e| (Settings::default(), Some(format!("{path} cannot be used: {e:#}"))), |s| (s, None))
}

/// Mounts the state. If it is called again, it keeps the mount, unless that is memory without a site and the settings select
/// another place.
pub fn prepare(places: &Places, preset: &Preset) -> Result<Report> {
    for dir in [&places.state, &places.run] {
        fs::create_dir_all(dir).with_context(|| format!("creating {dir}"))?;
    }
    own(places, &places.run)?;
    let now = mounted(&mounts(Utf8Path::new("/"))?, &places.state);
    let (settings, problem) = stored(&places.state);
    let mut report = match now {
        Some((_, kind)) if kind != "tmpfs" || has_site(places) || settings.state.is_none_or(|s| s == StatePlace::Ram) => {
            Report::read(&places.run).ok_or_else(|| anyhow!("{} was mounted by another program", places.state))?
        }
        Some(_) => move_to(places, preset, settings_text(places)?)?,
        None => first(places, preset)?,
    };
    report.warnings.extend(problem.into_iter().chain(preset.problems.iter().cloned()));
    report.warnings.dedup();
    write_atomic(&places.run.join(REPORT), &serde_json::to_vec_pretty(&report)?, 0o644)?;
    Ok(report)
}

fn has_site(places: &Places) -> bool {
    site::Site::new(&places.state.join(SITE_DIR)).exists()
}

fn settings_text(places: &Places) -> Result<Option<Vec<u8>>> {
    let path = places.state.join(FILE);
    // The daemon's user gets a copy: a link would give it any file of root's.
    if path.exists() { Ok(Some(read_with_owner(&path, MAX_SMALL)?.0)) } else { Ok(None) }
}

/// The first start since the machine was switched on.
fn first(places: &Places, preset: &Preset) -> Result<Report> {
    let report = settle(places, preset.settings.state.as_ref())?;
    // The settings stored on the stick may select a disk.
    let (settings, _) = stored(&places.state);
    let elsewhere = matches!(settings.state, Some(StatePlace::Disk(_) | StatePlace::Ram));
    if preset.settings.state.is_some() || !elsewhere || report.memory {
        return Ok(report);
    }
    if has_site(places) {
        let why = format!(
            "the settings select another place for the state, but there is a site on the {}, so the state stays there",
            report.place
        );
        return Ok(Report { warnings: [report.warnings, vec![why]].concat(), ..report });
    }
    move_to(places, preset, settings_text(places)?)
}

/// Moves to the place selected in the settings, and copies the settings there.
fn move_to(places: &Places, preset: &Preset, text: Option<Vec<u8>>) -> Result<Report> {
    let (settings, _) = stored(&places.state);
    if let Err(error) = umount2(places.state.as_std_path(), MntFlags::empty()) {
        // It is still in use: a seed in the old place is better than none.
        let mut report = Report::read(&places.run).unwrap_or_default();
        report.warnings.push(format!("the state stays where it is until the next start ({error})"));
        return Ok(report);
    }
    let report = settle(places, preset.over(&settings).state.as_ref())?;
    if let Some(text) = text.filter(|_| !places.state.join(FILE).exists()) {
        write_atomic(&places.state.join(FILE), &text, 0o644)?;
        own(places, &places.state.join(FILE))?;
    }
    Ok(report)
}

/// Inspects the disks, decides, and mounts. If anything fails, the state is in memory, with a warning: a seed without its disk
/// must still be able to show that on its console.
fn settle(places: &Places, wanted: Option<&StatePlace>) -> Result<Report> {
    let wanted = wanted.map(|w| match w {
        // Names like /dev/disk/by-id/… are links.
        StatePlace::Disk(path) => StatePlace::Disk(Utf8Path::new(path).canonicalize_utf8().map_or(path.clone(), String::from)),
        other => other.clone(),
    });
    let seen = Seen::now(places, wanted.as_ref())?;
    let decision = decide(wanted.as_ref(), seen.boot.as_ref(), &seen.others);
    let boot = seen.boot.as_ref().map(|b| b.path.clone());
    match carry_out(places, &decision, &seen.devices, boot.as_deref()) {
        Ok(report) => Ok(report),
        Err(e) => {
            let why = format!("the state cannot be stored in the selected place: {e:#}");
            let warnings = [decision.warnings, vec![why, RAM_WARNING.to_owned()]].concat();
            memory(places, warnings)
        }
    }
}

/// The disks as they are now.
struct Seen {
    devices: Vec<Device>,
    boot: Option<Disk>,
    others: Vec<Disk>,
}

impl Seen {
    fn now(places: &Places, wanted: Option<&StatePlace>) -> Result<Self> {
        let root = Utf8Path::new("/");
        let devices = devices(root);
        let medium = mounted(&mounts(root)?, &places.medium).and_then(|(number, _)| disk_of(root, &number));
        let (mut boot, mut others) = (None, Vec::new());
        for device in &devices {
            let fill = matches!(wanted, Some(StatePlace::Disk(path)) if *path == device.path);
            let disk = match device.look(fill) {
                Ok(disk) => disk,
                Err(error) => {
                    // A failing disk must not prevent the use of another.
                    tracing::warn!(error = format!("{error:#}"), disk = %device.path, "inspecting a disk");
                    continue;
                }
            };
            if device.path.file_name() == medium.as_deref() { boot = Some(disk) } else { others.push(disk) }
        }
        Ok(Seen { devices, boot, others })
    }
}

fn carry_out(places: &Places, decision: &Decision, devices: &[Device], boot: Option<&str>) -> Result<Report> {
    let (disk, place) = match &decision.action {
        Action::Ram => return memory(places, decision.warnings.clone()),
        Action::Use { disk, place } => (disk, Some(*place)),
        Action::Make { disk, place } => (disk, Some(*place)),
        Action::Add { disk, place } => (disk, Some(*place)),
        Action::Fill { disk } => (disk, None),
    };
    let device = devices.iter().find(|d| d.path == *disk).ok_or_else(|| anyhow!("{disk} no longer exists"))?;
    let place = match &decision.action {
        Action::Add { .. } => add(device)?,
        Action::Fill { .. } => fill(device)?,
        _ => place.ok_or_else(|| anyhow!("{disk} has no space for the state"))?,
    };
    let fresh = !matches!(decision.action, Action::Use { .. });
    let part = open(device, place, fresh)?;
    let flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID | MsFlags::MS_NOATIME;
    let target = places.state.as_std_path();
    mount(Some(part.as_str()), target, Some("ext4"), flags, Some("errors=remount-ro"))
        .with_context(|| format!("mounting the state of {disk}"))?;
    own(places, &places.state)?;
    let word = if boot == Some(disk) { "stick" } else { "disk" };
    let place = format!("{word} {disk} (partition {}, {} MiB)", place.number, place.len >> 20);
    Ok(Report { place, memory: false, warnings: decision.warnings.clone() })
}

fn memory(places: &Places, warnings: Vec<String>) -> Result<Report> {
    let flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
    mount(Some("tmpfs"), places.state.as_std_path(), Some("tmpfs"), flags, Some("mode=0750,size=50%"))
        .context("mounting a memory file system for the state")?;
    own(places, &places.state)?;
    Ok(Report { place: "memory".to_owned(), memory: true, warnings })
}

/// Changes the owner of a path to the daemon's user; of a link, not of what it points to.
fn own(places: &Places, path: &Utf8Path) -> Result<()> {
    let Some(name) = &places.user else { return Ok(()) };
    let Some(user) = User::from_name(name).context("looking up a user")? else {
        tracing::warn!(user = name, "there is no such user; the state belongs to the current user");
        return Ok(());
    };
    lchown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
        .with_context(|| format!("changing the owner of {path} to {name}"))?;
    if *path == places.state {
        fs::set_permissions(path, fs::Permissions::from_mode(0o750)).with_context(|| format!("protecting {path}"))?;
    }
    Ok(())
}

/// The partition's device, with a checked file system; `fresh` creates the file system first.
pub fn open(device: &Device, place: Place, fresh: bool) -> Result<String> {
    let part = tool::attach(&device.path, place)?;
    let ready = if fresh { tool::make(&part) } else { tool::check(&part) };
    if let Err(error) = ready {
        if let Err(e) = tool::detach(&part) {
            tracing::warn!(error = format!("{e:#}"), "closing a loop device");
        }
        return Err(error);
    }
    Ok(part)
}

/// Adds the state partition in the free space of the disk.
pub fn add(device: &Device) -> Result<Place> {
    let head = device.head()?;
    let table = Table::parse(&head, device.size, device.sector)?;
    ensure!(table.ours.is_none(), "{} already has a state partition", device.path);
    let place = table.free(&head)?;
    let mut id = [0u8; 16];
    id.copy_from_slice(&random::bytes::<16>()?);
    let zeros = |at| Write { at, bytes: vec![0; END as usize] };
    let clear = [zeros(place.start), zeros(place.start + place.len - END)];
    write(device, &[clear.to_vec(), table.add(&head, place, id)].concat())?;
    Ok(place)
}

/// Writes a partition table with the state partition to a blank disk.
pub fn fill(device: &Device) -> Result<Place> {
    ensure!(device.look(true)?.blank, "{} is not blank", device.path);
    let (place, writes) = device.filling()?;
    write(device, &writes)?;
    Ok(place)
}

fn write(device: &Device, writes: &[Write]) -> Result<()> {
    let path = &device.path;
    let file: File = open_device(path, Access::Write, 0).with_context(|| format!("opening {path} for writing"))?;
    for w in writes {
        ensure!(w.at.checked_add(w.bytes.len() as u64).is_some_and(|end| end <= device.size), "writing beyond the end of {path}");
        file.write_all_at(&w.bytes, w.at).and_then(|()| file.sync_all()).with_context(|| format!("writing to {path}"))?;
    }
    Ok(())
}
