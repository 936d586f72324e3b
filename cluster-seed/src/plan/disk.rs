//! Which disk a plan or a rule wants, and which one of a machine that is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::field::MAX_FIELD;
use crate::machine::{Disk, HardwareFacts};
use crate::trouble::Trouble;

/// The word before a disk's serial number.
const SERIAL: &str = "serial:";
/// Longest name of a disk, in characters.
const MAX_NAME: usize = 64;

/// A wish as it is written: `only`, `smallest`, `largest`, `serial:S5GXNX0T123456`, or the kernel's name (`nvme0n1`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DiskWish {
    /// The only one that fits: with several, a person decides.
    #[default]
    Only,
    Smallest,
    Largest,
    Serial(String),
    Name(String),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a disk (want only, smallest, largest, serial:NUMBER, or a name such as nvme0n1)")]
pub struct WishError(String);

/// Why a machine has no disk for a wish.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiskTrouble {
    #[error("the machine has no disk that could be installed on")]
    None,
    #[error("disk {name} has {size} bytes, and the role needs {need}")]
    TooSmall { name: String, size: u64, need: u64 },
    #[error("{count} disks fit, and the plan does not say which one")]
    Several { count: usize },
    #[error("the machine has no disk {0}")]
    Missing(String),
    #[error("{0}")]
    Unfit(String),
}

impl DiskTrouble {
    pub fn trouble(&self) -> Trouble {
        match self {
            DiskTrouble::None => Trouble::NoDisk,
            DiskTrouble::TooSmall { .. } => Trouble::DiskTooSmall,
            DiskTrouble::Several { .. } => Trouble::DiskUnclear,
            DiskTrouble::Missing(_) => Trouble::DiskMissing,
            DiskTrouble::Unfit(_) => Trouble::DiskUnfit,
        }
    }
}

impl DiskWish {
    pub(super) fn is_default(&self) -> bool {
        *self == DiskWish::Only
    }

    /// The disk of a machine. `need` is the smallest size in bytes. A machine that runs from its disk keeps that one, whatever
    /// the wish: nothing is written.
    pub fn choose<'a>(&self, facts: &'a HardwareFacts, need: u64) -> Result<&'a Disk, DiskTrouble> {
        if let Some(root) = &facts.root_disk {
            return facts.disks.iter().find(|d| d.name == *root).ok_or_else(|| DiskTrouble::Missing(root.clone()));
        }
        match self {
            DiskWish::Name(name) => named(facts.disks.iter().find(|d| d.name == *name), name, need),
            DiskWish::Serial(serial) => {
                named(facts.disks.iter().find(|d| d.serial.eq_ignore_ascii_case(serial)), &self.to_string(), need)
            }
            DiskWish::Only | DiskWish::Smallest | DiskWish::Largest => self.by_size(&facts.disks, need),
        }
    }

    fn by_size<'a>(&self, all: &'a [Disk], need: u64) -> Result<&'a Disk, DiskTrouble> {
        let own: Vec<&Disk> = all.iter().filter(|d| !d.removable && d.part_of.is_empty() && d.unfit().is_none()).collect();
        let Some(largest) = own.iter().max_by_key(|d| d.size) else { return Err(DiskTrouble::None) };
        let fits: Vec<&Disk> = own.iter().copied().filter(|d| d.size >= need).collect();
        if fits.is_empty() {
            return Err(DiskTrouble::TooSmall { name: largest.name.clone(), size: largest.size, need });
        }
        let chosen = match (self, &fits[..]) {
            (DiskWish::Smallest, fits) => fits.iter().min_by_key(|d| d.size),
            // The first of several of one size, as with the smallest.
            (DiskWish::Largest, fits) => fits.iter().rev().max_by_key(|d| d.size),
            (_, [only]) => Some(only),
            _ => None,
        };
        chosen.copied().ok_or(DiskTrouble::Several { count: fits.len() })
    }
}

fn named<'a>(disk: Option<&'a Disk>, wanted: &str, need: u64) -> Result<&'a Disk, DiskTrouble> {
    let disk = disk.ok_or_else(|| DiskTrouble::Missing(wanted.to_owned()))?;
    if disk.size < need {
        return Err(DiskTrouble::TooSmall { name: disk.name.clone(), size: disk.size, need });
    }
    disk.unfit().map_or(Ok(disk), |why| Err(DiskTrouble::Unfit(why)))
}

impl fmt::Display for DiskWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DiskWish::Only => f.write_str("only"),
            DiskWish::Smallest => f.write_str("smallest"),
            DiskWish::Largest => f.write_str("largest"),
            DiskWish::Serial(serial) => write!(f, "{SERIAL}{serial}"),
            DiskWish::Name(name) => f.write_str(name),
        }
    }
}

impl FromStr for DiskWish {
    type Err = WishError;

    fn from_str(text: &str) -> Result<Self, WishError> {
        let bad = || WishError(text.chars().take(MAX_NAME).collect());
        let text = text.trim();
        match text {
            "" | "only" => return Ok(DiskWish::Only),
            "smallest" => return Ok(DiskWish::Smallest),
            "largest" => return Ok(DiskWish::Largest),
            _ => {}
        }
        if let Some(serial) = text.strip_prefix(SERIAL) {
            let serial = serial.trim();
            let good = !serial.is_empty() && serial.chars().count() <= MAX_FIELD && !serial.contains(char::is_control);
            return if good { Ok(DiskWish::Serial(serial.to_owned())) } else { Err(bad()) };
        }
        // People write the path of the device.
        let name = text.strip_prefix("/dev/").unwrap_or(text);
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_');
        let good = name.len() <= MAX_NAME && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(plain);
        if good { Ok(DiskWish::Name(name.to_owned())) } else { Err(bad()) }
    }
}

impl Serialize for DiskWish {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DiskWish {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}
