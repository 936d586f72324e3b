//! Decides where the state is kept, from what is known about the machine's disks. Pure.

use super::settings::StatePlace;
use super::table::{NAME, Place, TableError};

/// Label of an incomplete file system; it becomes [`NAME`] when it is complete.
pub const UNFINISHED: &str = "KUBEDOS-NEW";

/// Content of a state partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    State,
    /// Nothing, or a file system whose creation was interrupted.
    HalfMade,
    /// Something else, as text. It is never changed.
    Foreign(String),
}

/// Content of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Path under /dev.
    pub path: String,
    pub writable: bool,
    /// The state partition and its content.
    pub ours: Option<(Place, Content)>,
    /// Where a partition could be added.
    pub free: Result<Place, TableError>,
    /// All bytes that were checked are zero; no partitions; not in use.
    pub blank: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Check it and mount it.
    Use {
        disk: String,
        place: Place,
    },
    /// The partition exists, but its file system does not.
    Make {
        disk: String,
        place: Place,
    },
    /// Create a partition in the free space of the boot disk.
    Add {
        disk: String,
        place: Place,
    },
    /// Create a partition table and a partition on a blank disk.
    Fill {
        disk: String,
    },
    Ram,
}

/// What to do, and a warning for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub action: Action,
    pub warnings: Vec<String>,
}

/// The warning if the state is in memory.
pub const RAM_WARNING: &str = "the state is in memory: everything is lost when this machine is switched off";

/// The content of a state partition, from its ext superblock (at byte 1024) or blkid. `head` is its first 4 KiB, `probed`
/// blkid's `TYPE` and `LABEL` if it recognises the content.
pub fn content(head: &[u8], probed: Option<&str>) -> Content {
    // linux/fs/ext4/ext4.h: s_magic at 0x38, s_volume_name at 0x78.
    let block = head.get(1024..1024 + 136).unwrap_or_default();
    if block.get(0x38..0x3a) == Some(&[0x53, 0xef]) {
        let label = block[0x78..].split(|b| *b == 0).next().unwrap_or_default();
        return match label {
            l if l == NAME.as_bytes() => Content::State,
            l if l == UNFINISHED.as_bytes() => Content::HalfMade,
            l => Content::Foreign(format!("an ext file system labelled {:?}", String::from_utf8_lossy(l))),
        };
    }
    match probed {
        Some(words) => Content::Foreign(words.to_owned()),
        None => Content::HalfMade,
    }
}

fn ram(why: Option<String>) -> Decision {
    let warnings = why.into_iter().chain([RAM_WARNING.to_owned()]).collect();
    Decision { action: Action::Ram, warnings }
}

fn good(action: Action) -> Decision {
    Decision { action, warnings: Vec::new() }
}

/// What to do with an existing state partition.
fn existing(disk: &Disk, place: Place, content: &Content) -> Decision {
    let path = disk.path.clone();
    match content {
        Content::State if disk.writable => good(Action::Use { disk: path, place }),
        Content::HalfMade if disk.writable => good(Action::Make { disk: path, place }),
        Content::Foreign(what) => ram(Some(format!(
            "the state partition of {path} contains {what} and was not changed; delete the partition to have a new one created"
        ))),
        _ => ram(Some(format!("{path} is read-only"))),
    }
}

/// Decides. `boot` is the disk with the medium, `others` are all other disks.
pub fn decide(wanted: Option<&StatePlace>, boot: Option<&Disk>, others: &[Disk]) -> Decision {
    match wanted {
        Some(StatePlace::Ram) => ram(None),
        Some(StatePlace::Disk(path)) if boot.is_none_or(|b| b.path != *path) => chosen(path, others),
        Some(StatePlace::Stick | StatePlace::Disk(_)) => on_boot_disk(boot),
        None => match boot.and_then(|b| b.ours.as_ref().map(|(place, content)| existing(b, *place, content))) {
            Some(decision) => decision,
            None => found(boot, others),
        },
    }
}

/// Nothing was selected, and the boot disk has no state: use the state on another disk, otherwise create one on the boot disk.
fn found(boot: Option<&Disk>, others: &[Disk]) -> Decision {
    let mut with_state = others.iter().filter_map(|d| match &d.ours {
        Some((place, Content::State)) if d.writable => Some((d, *place)),
        _ => None,
    });
    match (with_state.next(), with_state.next()) {
        (Some((disk, place)), None) => good(Action::Use { disk: disk.path.clone(), place }),
        (Some((a, _)), Some((b, _))) => ram(Some(format!(
            "{} and {} both contain the state of a seed: select one with kubedos.state= or on the console",
            a.path, b.path
        ))),
        (None, _) => on_boot_disk(boot),
    }
}

fn on_boot_disk(boot: Option<&Disk>) -> Decision {
    let Some(disk) = boot else {
        return ram(Some(
            "the medium is not on a disk: select a disk for the state with kubedos.state= or on the console".to_owned(),
        ));
    };
    if let Some((place, content)) = &disk.ours {
        return existing(disk, *place, content);
    }
    match &disk.free {
        _ if !disk.writable => ram(Some(format!("{} is read-only, so the state cannot be stored on it", disk.path))),
        Ok(place) => good(Action::Add { disk: disk.path.clone(), place: *place }),
        Err(why) => ram(Some(format!("the state cannot be stored on {}: {why}", disk.path))),
    }
}

fn chosen(path: &str, others: &[Disk]) -> Decision {
    let Some(disk) = others.iter().find(|d| d.path == path) else {
        return ram(Some(format!("there is no disk {path} (use a whole disk, not a partition)")));
    };
    match &disk.ours {
        Some((place, content)) => existing(disk, *place, content),
        None if !disk.writable => ram(Some(format!("{path} is read-only"))),
        None if disk.blank => good(Action::Fill { disk: path.to_owned() }),
        None => ram(Some(format!("{path} is not blank and has no state of a seed; it was not changed"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wanted, the boot disk, the others, what is decided, words of the warning.
    type Row = (Option<StatePlace>, Option<Disk>, Vec<Disk>, Action, &'static str);

    const PLACE: Place = Place { number: 3, start: 1 << 30, len: 1 << 30 };

    fn disk(path: &str) -> Disk {
        Disk { path: path.into(), writable: true, ours: None, free: Err(TableError::Missing), blank: false }
    }
    fn with(path: &str, content: Content) -> Disk {
        Disk { ours: Some((PLACE, content)), ..disk(path) }
    }
    fn free(path: &str) -> Disk {
        Disk { free: Ok(PLACE), ..disk(path) }
    }
    fn foreign() -> Content {
        Content::Foreign("xfs".into())
    }
    fn locked(disk: Disk) -> Disk {
        Disk { writable: false, ..disk }
    }
    fn usb(n: &str) -> String {
        format!("/dev/{n}")
    }

    #[test]
    fn the_table_of_decisions() {
        let on = |path: &str| Some(StatePlace::Disk(path.to_owned()));
        let (stick, ram) = (Some(StatePlace::Stick), Some(StatePlace::Ram));
        let blank = Disk { blank: true, ..disk("/dev/sdb") };
        let use_ = |d: &str| Action::Use { disk: usb(d), place: PLACE };
        let make = |d: &str| Action::Make { disk: usb(d), place: PLACE };
        let add = |d: &str| Action::Add { disk: usb(d), place: PLACE };
        let state = |d: &str| with(&usb(d), Content::State);
        let half = |d: &str| with(&usb(d), Content::HalfMade);
        let full = Disk { free: Err(TableError::Full), ..disk("/dev/sda") };
        let table: Vec<Row> = vec![
            // Nobody chose.
            (None, Some(free("/dev/sda")), vec![disk("/dev/sdb")], add("sda"), ""),
            (None, Some(state("sda")), vec![], use_("sda"), ""),
            (None, Some(state("sda")), vec![state("sdb")], use_("sda"), ""),
            (None, Some(half("sda")), vec![], make("sda"), ""),
            (None, Some(with("/dev/sda", foreign())), vec![], Action::Ram, "contains xfs"),
            (None, Some(free("/dev/sda")), vec![state("sdb")], use_("sdb"), ""),
            (None, Some(free("/dev/sda")), vec![state("sdb"), state("sdc")], Action::Ram, "both contain"),
            (None, Some(free("/dev/sda")), vec![half("sdb")], add("sda"), ""),
            (None, Some(locked(free("/dev/sda"))), vec![], Action::Ram, "read-only"),
            (None, Some(locked(state("sda"))), vec![], Action::Ram, "read-only"),
            (None, Some(full.clone()), vec![blank.clone()], Action::Ram, "full"),
            // A CD.
            (None, None, vec![disk("/dev/sdb"), blank.clone()], Action::Ram, "not on a disk"),
            (None, None, vec![state("sdb")], use_("sdb"), ""),
            (None, None, vec![locked(state("sdb"))], Action::Ram, "not on a disk"),
            (stick.clone(), None, vec![state("sdb")], Action::Ram, "not on a disk"),
            // Chosen.
            (ram.clone(), Some(state("sda")), vec![], Action::Ram, "in memory"),
            (stick.clone(), Some(free("/dev/sda")), vec![state("sdb")], add("sda"), ""),
            (on("/dev/sda"), Some(free("/dev/sda")), vec![], add("sda"), ""),
            (on("/dev/sdb"), Some(state("sda")), vec![blank.clone()], Action::Fill { disk: usb("sdb") }, ""),
            (on("/dev/sdb"), Some(state("sda")), vec![state("sdb")], use_("sdb"), ""),
            (on("/dev/sdb"), Some(free("/dev/sda")), vec![half("sdb")], make("sdb"), ""),
            (on("/dev/sdb"), Some(free("/dev/sda")), vec![disk("/dev/sdb")], Action::Ram, "not blank"),
            (on("/dev/sdb"), Some(free("/dev/sda")), vec![free("/dev/sdb")], Action::Ram, "not blank"),
            (on("/dev/sdb"), Some(free("/dev/sda")), vec![locked(blank.clone())], Action::Ram, "read-only"),
            (on("/dev/sdb"), Some(free("/dev/sda")), vec![with("/dev/sdb", foreign())], Action::Ram, "was not changed"),
            (on("/dev/sdb1"), Some(free("/dev/sda")), vec![blank], Action::Ram, "no disk /dev/sdb1"),
        ];
        for (n, (wanted, boot, others, action, words)) in table.into_iter().enumerate() {
            let decision = decide(wanted.as_ref(), boot.as_ref(), &others);
            assert_eq!(decision.action, action, "line {n}");
            assert_eq!(decision.warnings.is_empty(), words.is_empty(), "line {n}: {:?}", decision.warnings);
            assert!(decision.warnings.join(" ").contains(words), "line {n}: {:?}", decision.warnings);
            assert_eq!(decision.warnings.last().map(String::as_str) == Some(RAM_WARNING), action == Action::Ram, "line {n}");
        }
    }

    #[test]
    fn content_is_judged_by_label() {
        let ext = |label: &str| {
            let mut head = vec![0u8; 4096];
            head[1024 + 0x38..1024 + 0x3a].copy_from_slice(&[0x53, 0xef]);
            head[1024 + 0x78..1024 + 0x78 + label.len()].copy_from_slice(label.as_bytes());
            head
        };
        assert_eq!(content(&ext(NAME), None), Content::State);
        assert_eq!(content(&ext(UNFINISHED), Some("ext4")), Content::HalfMade);
        assert!(matches!(content(&ext("home"), None), Content::Foreign(what) if what.contains("home")));
        assert!(matches!(content(&ext(""), None), Content::Foreign(_)));
        assert_eq!(content(&[0; 4096], None), Content::HalfMade);
        assert_eq!(content(&[0; 4096], Some("vfat")), Content::Foreign("vfat".into()));
        assert_eq!(content(&[], None), Content::HalfMade);
    }
}
