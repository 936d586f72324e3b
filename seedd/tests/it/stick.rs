//! `seedd image write` as a person runs it: on plain files, and on a loop device where this machine has one to give.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;

const MIB: usize = 1 << 20;

/// As much of an ISO 9660 image as is looked at, with noise in it.
fn medium(dir: &Path, volume: &[u8]) -> (PathBuf, Vec<u8>) {
    let mut bytes: Vec<u8> = (0..9 * MIB as u64 + 2048).map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    bytes[0x8000..0x8006].copy_from_slice(b"\x01CD001");
    bytes[0x8028..0x8048].fill(b' ');
    bytes[0x8028..0x8028 + volume.len()].copy_from_slice(volume);
    let path = dir.join("seed.iso");
    fs::write(&path, &bytes).expect("writing the image");
    (path, bytes)
}

fn seedd(args: &[&str]) -> Output {
    let mut command = Command::cargo_bin("seedd").expect("seedd was built");
    command.args(["image", "write"]).args(args).output().expect("running seedd")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_plain_file_is_written_and_proven() {
    let dir = tempfile::tempdir().expect("a directory");
    let (image, bytes) = medium(dir.path(), b"KUBEDOS");
    let stick = dir.path().join("stick.img");
    fs::write(&stick, vec![7u8; 16 * MIB]).expect("a stick");
    let (image, to) = (image.to_str().expect("UTF-8"), stick.to_str().expect("UTF-8"));

    let refused = seedd(&[image, "--to", to, "--yes"]);
    assert!(!refused.status.success() && said(&refused).contains("is not a disk"), "{}", said(&refused));
    let unasked = seedd(&[image, "--to", to, "--file-ok"]);
    assert!(!unasked.status.success() && said(&unasked).contains("cannot ask for confirmation"), "{}", said(&unasked));
    assert!(fs::read(&stick).expect("the stick").iter().all(|b| *b == 7), "nothing was written so far");

    let done = seedd(&[image, "--to", to, "--file-ok", "--yes", "--json"]);
    assert!(done.status.success(), "{}", said(&done));
    let answer: serde_json::Value = serde_json::from_slice(&done.stdout).expect("JSON");
    assert_eq!(answer["bytes"], bytes.len());
    assert!(fs::read(&stick).expect("the stick").starts_with(&bytes));
}

#[test]
fn what_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let (image, _) = medium(dir.path(), b"HOLIDAY");
    let image = image.to_str().expect("UTF-8");
    let small = dir.path().join("small");
    fs::write(&small, vec![7u8; 8 * MIB]).expect("a stick");
    let small = small.to_str().expect("UTF-8");
    let folder = dir.path().to_str().expect("UTF-8");
    let root = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let root = root.lines().find_map(|l| l.split(' ').nth(4).filter(|p| *p == "/").and(l.split(" - ").nth(1)?.split(' ').nth(1)));
    for (args, words) in [
        (vec![image, "--to", small, "--file-ok", "--yes"], "is not a Kubedos medium (ISO 9660 \"HOLIDAY\")"),
        (vec![image, "--to", small, "--file-ok", "--yes", "--any-image"], "the image needs 9439232"),
        (vec![image, "--to", image, "--file-ok", "--yes", "--any-image"], "is the image itself"),
        (vec![image, "--to", "/dev/full", "--file-ok", "--yes", "--any-image"], "is not a disk"),
        (vec![image, "--to", folder, "--file-ok", "--yes", "--any-image"], "is not a disk"),
        (vec![image, "--to", "/dev/nothing", "--yes", "--any-image"], "No such file"),
        (vec!["/dev/null", "--to", small, "--file-ok", "--yes"], "is not an image"),
        (vec!["--to", small, "--file-ok", "--yes", "--data", folder], "no seed medium found"),
    ] {
        let output = seedd(&args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(said(&output).contains(words), "{args:?}: {}", said(&output));
    }
    assert!(fs::read(small).expect("the stick").iter().all(|b| *b == 7), "nothing was written");
    match root.filter(|d| Path::new(d).exists() && d.starts_with("/dev/")) {
        Some(disk) => {
            let output = seedd(&[image, "--to", disk, "--yes", "--any-image"]);
            let words = said(&output);
            assert!(words.contains("is in use") || words.contains("is a partition of"), "{words}");
        }
        None => kubedos_skip::skip("root-disk", "the root file system's disk is not visible"),
    }
}

#[test]
fn the_list_is_one_of_disks() {
    let output = seedd(&["--json"]);
    assert!(output.status.success());
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for disk in list.as_array().expect("an array") {
        assert!(disk["size"].as_u64().is_some_and(|s| s > 0) && disk["uses"].is_array(), "{disk}");
    }
}

/// A loop device with a file behind it, which is a real block device to everybody.
struct Loop(PathBuf);

impl Loop {
    fn new(file: &Path) -> Result<Self, String> {
        let output = Command::new("losetup").args(["--find", "--show"]).arg(file).output().map_err(|e| e.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        Ok(Loop(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        Command::new("losetup").arg("--detach").arg(&self.0).output().ok();
    }
}

#[test]
fn a_block_device_is_written_and_a_mounted_one_is_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let (image, bytes) = medium(dir.path(), b"KUBEDOS");
    let image = image.to_str().expect("UTF-8");
    let backing = dir.path().join("backing");
    fs::write(&backing, vec![7u8; 24 * MIB]).expect("a file behind it");
    let device = match Loop::new(&backing) {
        Ok(device) => device,
        Err(why) => return kubedos_skip::skip("loop-devices", why),
    };
    let path = device.0.to_str().expect("UTF-8");
    let done = seedd(&[image, "--to", path, "--yes"]);
    assert!(done.status.success(), "{}", said(&done));
    let written = fs::read(&device.0).expect("the device");
    assert!(written.starts_with(&bytes) && written[23 * MIB..].iter().all(|b| *b == 0));

    let small = dir.path().join("small");
    fs::write(&small, vec![7u8; 8 * MIB]).expect("a file behind it");
    let small = Loop::new(&small).expect("a second loop device");
    let output = seedd(&[image, "--to", small.0.to_str().expect("UTF-8"), "--yes"]);
    assert!(said(&output).contains("the image needs"), "{}", said(&output));

    let made = Command::new("mke2fs").args(["-q", "-F"]).arg(path).output();
    let point = dir.path().join("mnt");
    fs::create_dir(&point).expect("a mount point");
    let mounted = made.and_then(|_| Command::new("mount").arg(path).arg(&point).output());
    if !mounted.as_ref().is_ok_and(|o| o.status.success()) {
        return kubedos_skip::skip("loop-devices", format!("mounting one: {mounted:?}"));
    }
    let output = seedd(&[image, "--to", path, "--yes"]);
    Command::new("umount").arg(&point).output().expect("unmounting");
    assert!(said(&output).contains("is mounted at") && !output.status.success(), "{}", said(&output));
}
