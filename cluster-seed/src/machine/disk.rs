//! Disks as a machine reports them, and how one is told apart from the others.

use serde::{Deserialize, Serialize};

use super::text::{MAX_TEXT, is_zero, tame};

/// Logical sector size that artifacts are made for, in bytes: their partition table, FAT and boot sector count in it.
pub const SECTOR: u32 = 512;

/// A disk the artifact could be written to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// Name of its device file without `/dev/`, for example `nvme0n1` or `cciss/c0d0`.
    pub name: String,
    /// Bytes.
    pub size: u64,
    pub model: String,
    pub serial: String,
    pub rotational: bool,
    pub removable: bool,
    /// World Wide Name, EUI-64 or UUID as the kernel prints it, for example `naa.5000c500a1b2c3d4`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub wwn: String,
    /// Where it is connected, for example `0000:00:1f.2 ata1 0:0:0`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Logical sector size in bytes; 0 is [`SECTOR`], which is not sent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub sector: u32,
    /// What it is a part of, for example `Linux software RAID`; empty for a disk of its own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub part_of: String,
}

impl Disk {
    pub(super) fn tamed(mut self) -> Self {
        // The namespace of an NVMe controller is at the end of a long one.
        let excess = self.wwn.trim().chars().count().saturating_sub(MAX_TEXT);
        self.wwn = self.wwn.trim().chars().skip(excess).collect();
        for text in [&mut self.name, &mut self.model, &mut self.serial, &mut self.wwn, &mut self.path, &mut self.part_of] {
            *text = tame(text);
        }
        self
    }

    /// Why no artifact can be installed on it, whatever its size.
    pub fn unfit(&self) -> Option<String> {
        let sector = if self.sector == 0 { SECTOR } else { self.sector };
        (sector != SECTOR).then(|| {
            format!("disk {} has sectors of {sector} bytes, and artifacts are made for sectors of {SECTOR} bytes", self.name)
        })
    }

    /// The text that identifies it among `disks`, those of its machine: the serial number if no other disk of its size has the
    /// same, else with the WWN, else with the place where it is connected. `None` if all of these are equal.
    ///
    /// Two paths to one disk (multipath) have the same WWN and count as one.
    pub fn mark(&self, disks: &[Disk]) -> Option<String> {
        let same_disk = |d: &Disk| !self.wwn.is_empty() && d.wwn == self.wwn && d.serial == self.serial;
        let others: Vec<&Disk> = disks.iter().filter(|d| d.name != self.name && d.size == self.size && !same_disk(d)).collect();
        let marks: [fn(&Disk) -> String; 3] = [
            |d| d.serial.clone(),
            |d| format!("{} wwn {}", d.serial, d.wwn).trim_start().to_owned(),
            |d| format!("{} at {}", d.serial, d.path).trim_start().to_owned(),
        ];
        let own = [&self.serial, &self.wwn, &self.path];
        let unique = marks.iter().zip(own).find(|(mark, text)| !text.is_empty() && others.iter().all(|d| mark(d) != mark(self)));
        match unique {
            Some((mark, _)) => Some(mark(self)),
            // A machine without any of these can still have one disk of this size.
            None => others.is_empty().then(|| self.serial.clone()),
        }
    }

    /// Names of the other paths to the same disk.
    pub fn other_paths<'a>(&self, disks: &'a [Disk]) -> Vec<&'a str> {
        let same = |d: &&Disk| {
            !self.wwn.is_empty() && d.name != self.name && (&d.wwn, &d.serial, d.size) == (&self.wwn, &self.serial, self.size)
        };
        disks.iter().filter(same).map(|d| d.name.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(name: &str, serial: &str, wwn: &str, path: &str) -> Disk {
        let text = |t: &str| t.to_owned();
        Disk { name: text(name), size: 1 << 40, serial: text(serial), wwn: text(wwn), path: text(path), ..Disk::default() }
    }

    #[test]
    fn equal_disks_are_told_apart_or_refused() {
        let marks = |disks: &[Disk]| disks.iter().map(|d| d.mark(disks)).collect::<Vec<_>>();
        let some = |t: &str| Some(t.to_owned());
        for (disks, expected) in [
            // Alone, a disk needs nothing.
            (vec![disk("sda", "", "", "")], vec![some("")]),
            (vec![disk("sda", "S1", "naa.1", "a"), disk("sdb", "S2", "naa.2", "b")], vec![some("S1"), some("S2")]),
            // No serial numbers.
            (vec![disk("sda", "", "naa.1", "a"), disk("sdb", "", "naa.2", "b")], vec![some("wwn naa.1"), some("wwn naa.2")]),
            (vec![disk("sda", "", "", "a"), disk("sdb", "", "", "b")], vec![some("at a"), some("at b")]),
            // The controller's serial number on each of its volumes.
            (vec![disk("sda", "RAID", "", "a"), disk("sdb", "RAID", "", "b")], vec![some("RAID at a"), some("RAID at b")]),
            (vec![disk("sda", "X", "naa.1", ""), disk("sdb", "X", "naa.2", "")], vec![some("X wwn naa.1"), some("X wwn naa.2")]),
            // Nothing tells them apart.
            (vec![disk("sda", "", "", ""), disk("sdb", "", "", "")], vec![None, None]),
            (vec![disk("sda", "X", "", "a"), disk("sdb", "X", "", "a")], vec![None, None]),
            // Only one of two has a serial number.
            (vec![disk("sda", "S1", "", ""), disk("sdb", "", "", "")], vec![some("S1"), None]),
            // Two paths to one disk.
            (vec![disk("sda", "S1", "naa.1", "a"), disk("sdb", "S1", "naa.1", "b")], vec![some("S1"), some("S1")]),
        ] {
            assert_eq!(marks(&disks), expected, "{disks:?}");
        }
        let paths = [disk("sda", "S1", "naa.1", "a"), disk("sdb", "S1", "naa.1", "b"), disk("sdc", "S1", "naa.2", "c")];
        assert_eq!((paths[0].other_paths(&paths), paths[2].other_paths(&paths)), (vec!["sdb"], vec![]));
    }

    #[test]
    fn another_size_needs_no_second_mark() {
        let (a, mut b) = (disk("sda", "", "", ""), disk("sdb", "", "", ""));
        b.size += 512;
        let disks = [a, b];
        assert_eq!(disks[0].mark(&disks).as_deref(), Some(""));
    }

    #[test]
    fn sectors_of_4096_bytes_are_unfit() {
        for (sector, fit) in [(0, true), (512, true), (4096, false), (520, false), (1024, false)] {
            assert_eq!(Disk { sector, ..disk("sda", "", "", "") }.unfit().is_none(), fit, "{sector}");
        }
    }

    #[test]
    fn namespaces_of_one_controller_differ_at_the_end_of_a_long_name() {
        let of = |n: u32| disk("nvme0n1", "S", &format!("nvme.144d-{}-{n:08x}", "5a".repeat(60)), "").tamed();
        assert_ne!(of(1).wwn, of(2).wwn);
        assert_eq!((of(1).wwn.len(), of(1).tamed().wwn), (MAX_TEXT, of(1).wwn));
    }

    #[test]
    fn facts_of_an_older_agent_are_read() {
        let text = r#"{"name":"vda","size":1,"model":"","serial":"s","rotational":false,"removable":false}"#;
        let disk: Disk = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&disk).unwrap(), text);
    }
}
