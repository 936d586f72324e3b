use std::fs;
use std::os::unix::fs::symlink;

use super::*;

struct Machine {
    _dir: tempfile::TempDir,
    root: Utf8PathBuf,
}

impl Machine {
    fn file(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn link(&self, to: &str, path: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(self.root.join(to), path).unwrap();
    }

    fn disk(&self, name: &str, number: &str, parts: &[(&str, &str)]) {
        let dir = format!("sys/devices/{name}");
        self.file(&format!("{dir}/size"), "4096\n");
        self.file(&format!("{dir}/ro"), "0\n");
        self.file(&format!("{dir}/dev"), &format!("{number}\n"));
        self.link(&dir, &format!("sys/block/{name}"));
        self.link(&dir, &format!("sys/class/block/{name}"));
        self.link(&dir, &format!("sys/dev/block/{number}"));
        for (part, number) in parts {
            self.file(&format!("{dir}/{part}/partition"), "1\n");
            self.file(&format!("{dir}/{part}/dev"), &format!("{number}\n"));
            self.link(&format!("{dir}/{part}"), &format!("sys/class/block/{part}"));
            self.link(&format!("{dir}/{part}"), &format!("sys/dev/block/{number}"));
        }
    }

    fn uses(&self, name: &str, precious: Vec<Precious>) -> Vec<String> {
        Survey::new(&self.root, precious).target(name).unwrap().uses
    }
}

fn machine() -> Machine {
    let dir = tempfile::tempdir().unwrap();
    let root = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    let machine = Machine { _dir: dir, root };
    machine.disk("sda", "8:0", &[("sda1", "8:1"), ("sda2", "8:2")]);
    machine.disk("sdb", "8:16", &[]);
    machine.file("proc/self/mountinfo", "");
    machine.file("proc/swaps", "Filename Type Size Used Priority\n");
    machine
}

#[test]
fn a_free_disk_is_free() {
    let machine = machine();
    machine.file("sys/devices/sdb/removable", "1\n");
    machine.file("sys/devices/sdb/device/model", "Ultra Fit\n");
    machine.file("sys/devices/sdb/device/serial", "4C53\n");
    machine.file("dev/sdb", "");
    let survey = Survey::new(&machine.root, Vec::new());
    let names: Vec<_> = survey.targets().into_iter().map(|t| t.name).collect();
    assert_eq!(names, ["sda", "sdb"]);
    let sdb = survey.target("sdb").unwrap();
    let expected = Target {
        name: "sdb".to_owned(),
        size: 2 << 20,
        model: "Ultra Fit".to_owned(),
        serial: "4C53".to_owned(),
        removable: true,
        read_only: false,
        content: Some("blank at its start".to_owned()),
        uses: Vec::new(),
    };
    assert_eq!(sdb, expected);
    assert_eq!(sdb.fit(2 << 20), Ok(()));
    assert!(matches!(sdb.fit((2 << 20) + 1), Err(Unfit::TooSmall { has: 2_097_152, .. })));
    assert_eq!(Target { read_only: true, ..sdb }.fit(1), Err(Unfit::ReadOnly("sdb".to_owned())));
    for odd in ["", "sdz", "../sda", "sda1", "sda/sda1"] {
        assert_eq!(survey.target(odd), None, "{odd:?}");
    }
    assert_eq!(survey.disk_of_partition("sda2").as_deref(), Some("sda"));
    assert_eq!(survey.disk_of_partition("sda"), None);
}

#[test]
fn every_use_is_found() {
    let mount = |number: &str, point: &str, source: &str| format!("31 22 {number} / {point} rw shared:5 - ext4 {source} rw\n");
    type Case = (&'static str, fn(&Machine, &str), String, &'static str);
    let write: fn(&Machine, &str) = |m, text| m.file("proc/self/mountinfo", text);
    let cases: Vec<Case> = vec![
        ("disk mounted", write, mount("8:0", "/mnt", "/dev/sda"), "sda is mounted at /mnt"),
        ("partition mounted", write, mount("8:2", "/home", "/dev/root"), "sda2 is mounted at /home"),
        ("btrfs has numbers of its own", write, mount("0:40", "/srv", "/dev/sda1"), "sda1 is mounted at /srv"),
        ("swap", |m, t| m.file("proc/swaps", t), "Filename\n/dev/sda2 partition 1 0 -2\n".to_owned(), "sda2 is swap space"),
        (
            "lvm",
            |m, t| {
                m.file("sys/devices/sda/sda1/holders/dm-0", "");
                m.file("sys/block/dm-0/dm/name", t);
            },
            "vg-root\n".to_owned(),
            "sda1 is part of vg-root (dm-0)",
        ),
        ("raid of whole disks", |m, _| m.file("sys/devices/sda/holders/md0", ""), String::new(), "sda is part of md0"),
        (
            "a loop on a partition",
            |m, t| m.file("sys/block/loop3/loop/backing_file", t),
            "/dev/sda2\n".to_owned(),
            "loop3 uses it",
        ),
    ];
    for (what, make, text, expected) in cases {
        let machine = machine();
        make(&machine, &text);
        assert_eq!(machine.uses("sda", Vec::new()), [expected], "{what}");
        assert_eq!(machine.uses("sdb", Vec::new()), [""; 0], "{what}");
        let target = Survey::new(&machine.root, Vec::new()).target("sda").unwrap();
        assert!(matches!(target.fit(1), Err(Unfit::InUse { .. })), "{what}");
    }
}

#[test]
fn the_disk_below_is_found_through_every_layer() {
    let machine = machine();
    // A file system on LVM, on LUKS, on a partition; and one on a loop on a partition.
    machine.disk("dm-1", "253:1", &[]);
    machine.disk("dm-0", "253:0", &[]);
    machine.link("sys/devices/dm-0", "sys/devices/dm-1/slaves/dm-0");
    machine.link("sys/devices/sda/sda2", "sys/devices/dm-0/slaves/sda2");
    machine.disk("loop0", "7:0", &[]);
    machine.file("sys/devices/loop0/loop/backing_file", "/dev/sda1\n");
    for number in ["8:0", "8:1", "253:0", "253:1", "7:0"] {
        let precious = || vec![Precious { number: number.to_owned(), why: "the running system is on it" }];
        let used = machine.uses("sda", precious());
        assert!(used.contains(&"the running system is on it".to_owned()), "{number}: {used:?}");
        assert_eq!(machine.uses("sdb", precious()), [""; 0], "{number}");
    }
    // Numbers that are nobody's (tmpfs, overlay), and a ring that must end.
    machine.link("sys/devices/dm-1", "sys/devices/dm-0/slaves/dm-1");
    for number in ["0:21", "9:9", "", "253:1"] {
        let precious = vec![Precious { number: number.to_owned(), why: "w" }];
        assert_eq!(machine.uses("sdb", precious), [""; 0], "{number}");
    }
}
