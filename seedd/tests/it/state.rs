//! The place of the state on images of media, with the programs that an appliance uses.

use std::fs;
use std::os::unix::fs::FileExt as _;

use appliance::decide::{Action, Content, decide};
use appliance::disks::Device;
use appliance::settings::StatePlace;
use appliance::state::{add, fill, open};
use appliance::table::{MIN_STATE, NAME};
use appliance::tool;
use camino::{Utf8Path, Utf8PathBuf};
use host::tool::Tool;

const SIZE: u64 = MIN_STATE + (64 << 20);

fn can(programs: &[&str]) -> bool {
    let root = nix::unistd::geteuid().is_root();
    let missing = programs.iter().find(|p| Tool::new(p).arg("--version").run_any().is_err());
    if !root || missing.is_some() || !Utf8Path::new("/dev/loop-control").exists() {
        kubedos_skip::skip("loop-devices", format!("needs root, loop devices and {programs:?}"));
        return false;
    }
    true
}

fn place() -> (tempfile::TempDir, Utf8PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    (dir, path)
}

/// A hybrid image as a medium is one, written to a larger stick.
fn stick(dir: &Utf8Path, extra: &[&str]) -> Device {
    let content = dir.join("content");
    fs::create_dir_all(&content).unwrap();
    fs::write(content.join("file"), vec![7u8; 3 << 20]).unwrap();
    fs::write(dir.join("esp"), vec![1u8; 1 << 20]).unwrap();
    let image = dir.join("stick");
    let esp = dir.join("esp");
    let mut args = vec!["-as", "mkisofs", "-quiet", "-V", "KUBEDOS", "-o", image.as_str()];
    args.extend(extra);
    args.extend(["-append_partition", "2", "0xef", esp.as_str(), content.as_str()]);
    Tool::new("xorriso").args(args).run().unwrap();
    let file = fs::OpenOptions::new().write(true).open(&image).unwrap();
    // A stick has had an earlier life.
    let iso = file.metadata().unwrap().len();
    file.set_len(SIZE).unwrap();
    for at in (iso.div_ceil(1 << 20) << 20..SIZE - (1 << 20)).step_by(8 << 20) {
        file.write_all_at(&[0xa5; 8192], at).unwrap();
    }
    Device::image(&image).unwrap()
}

fn decision(device: &Device) -> Action {
    decide(None, Some(&device.look(false).unwrap()), &[]).action
}

#[test]
fn a_stick_gets_a_partition_and_keeps_every_byte_of_the_medium() {
    if !can(&["xorriso", "mke2fs", "losetup", "blkid"]) {
        return;
    }
    for extra in
        [&[][..], &["-appended_part_as_gpt"], &["-partition_offset", "16"], &["-partition_offset", "16", "-appended_part_as_gpt"]]
    {
        let (_guard, dir) = place();
        let device = stick(&dir, extra);
        let before = fs::read(&device.path).unwrap();
        assert!(
            matches!(decision(&device), Action::Add { .. }),
            "{extra:?}: {:?}",
            decide(None, Some(&device.look(false).unwrap()), &[])
        );
        let place = add(&device).unwrap();
        let after = fs::read(&device.path).unwrap();
        let changed = (32_768..place.start as usize).find(|n| before[*n] != after[*n]);
        assert_eq!(changed, None, "{extra:?}: only the table of partitions and the free space change");
        // Cut off after the table was written, and after the file system was made but not named.
        assert_eq!(decision(&device), Action::Make { disk: device.path.to_string(), place }, "{extra:?}");
        let part = open(&device, place, true).unwrap();
        Tool::new("tune2fs").args(["-L", "KUBEDOS-NEW", &part]).run().unwrap();
        tool::detach(&part).unwrap();
        assert_eq!(decision(&device), Action::Make { disk: device.path.to_string(), place });
        let part = open(&device, place, true).unwrap();
        tool::detach(&part).unwrap();
        assert_eq!(decision(&device), Action::Use { disk: device.path.to_string(), place }, "{extra:?}");
        let part = open(&device, place, false).unwrap();
        assert!(
            tool::probe(Utf8Path::new(&part), appliance::table::Place { number: 1, start: 0, len: place.len })
                .unwrap()
                .unwrap()
                .contains(NAME)
        );
        tool::detach(&part).unwrap();
        // Somebody made another file system in it: it is theirs now.
        let part = tool::attach(&device.path, place).unwrap();
        Tool::new("mke2fs").args(["-q", "-F", "-L", "holiday", &part]).run().unwrap();
        tool::detach(&part).unwrap();
        assert_eq!(decision(&device), Action::Ram);
        let still = fs::read(&device.path).unwrap();
        assert!(before[32_768..place.start as usize] == still[32_768..place.start as usize]);
    }
}

#[test]
fn a_chosen_disk_is_filled_only_when_it_is_blank() {
    if !can(&["mke2fs", "losetup", "blkid"]) {
        return;
    }
    let (_guard, dir) = place();
    let path = dir.join("disk");
    fs::File::create(&path).unwrap().set_len(SIZE).unwrap();
    let device = Device::image(&path).unwrap();
    let wanted = StatePlace::Disk(path.to_string());
    let choose = || decide(Some(&wanted), None, &[device.look(true).unwrap()]);
    let put = |at: u64, bytes: &[u8]| fs::OpenOptions::new().write(true).open(&path).unwrap().write_all_at(bytes, at).unwrap();
    for at in [0, 4096, (1 << 20) - 1, SIZE / 256 * 128 / 65536 * 65536 + 5, SIZE - 1] {
        put(at, b"x");
        let found = choose();
        assert_eq!(found.action, Action::Ram, "{at}");
        assert!(found.warnings[0].contains("not blank") && fill(&device).is_err(), "{at}: {:?}", found.warnings);
        put(at, b"\0");
    }
    assert_eq!(choose().action, Action::Fill { disk: path.to_string() });
    let place = fill(&device).unwrap();
    // Cut off within the writing of the table.
    put(512, &[0; 512]);
    assert_eq!(choose().action, Action::Fill { disk: path.to_string() });
    assert_eq!(fill(&device).unwrap(), place);
    assert_eq!(choose().action, Action::Make { disk: path.to_string(), place });
    tool::detach(&open(&device, place, true).unwrap()).unwrap();
    assert_eq!(choose().action, Action::Use { disk: path.to_string(), place });
    assert_eq!(device.look(false).unwrap().ours.unwrap().1, Content::State);
}
