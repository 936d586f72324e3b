//! Each output is built twice at different places, compared with the raw disk, and verified; damage is refused.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::start::disk_of;
use crate::dirs::RunDirs;
use crate::netns::{Netns, PREFIX};
use crate::say;
use crate::seedd::Seedd;
use crate::site::Template;
use crate::tool;

/// Disk images: target, and QEMU's name of the format.
const DISKS: [(&str, &str); 4] = [("qcow2", "qcow2"), ("vmdk", "vmdk"), ("vhd", "vpc"), ("vhdx", "vhdx")];
const OTHERS: [&str; 4] = ["oci", "firecracker-bundle", "packer-scaffold", "pxe-bundle"];

pub fn run(dirs: &RunDirs, template: &Template) -> Result<()> {
    let (work, logs) = dirs.part("outputs")?;
    let ns = Netns::lab(&format!("{PREFIX}{}-outputs", std::process::id()), &work)?;
    let first = template.copy(&work.join("data"))?;
    let second = template.copy(&work.join("another/place/for/data"))?;
    fs::remove_dir_all(second.data.join("cache")).context("removing the copy's tools")?;
    let raw = built(&first, &second, &ns, "raw")?;
    for (target, format) in DISKS {
        let image = built(&first, &second, &ns, target)?;
        let (raw, image) = (raw.to_string_lossy(), image.to_string_lossy());
        tool::run(&["qemu-img", "compare", "-f", "raw", "-F", format, &raw, &image])
            .with_context(|| format!("comparing {target}"))?;
        if ["qcow2", "vhdx"].contains(&format) {
            tool::run(&["qemu-img", "check", "-f", format, &image]).with_context(|| format!("checking {target}"))?;
        }
        say::line(&format!("{target}: the same disk as raw, as qemu-img reads it"));
    }
    for target in OTHERS {
        built(&first, &second, &ns, target)?;
    }
    damage(&first, &raw, &work)?;
    drop(logs);
    ns.must_be_quiet()?;
    // The namespace's directory is in it.
    drop(ns);
    fs::remove_dir_all(&work).with_context(|| format!("removing {}", work.display()))
}

/// Builds an output at both places; the file that is deployed. The second build at one place does nothing.
fn built(first: &Seedd, second: &Seedd, ns: &Netns, target: &str) -> Result<PathBuf> {
    let (one, two) = (first.output_build(ns, target, &[])?, second.output_build(ns, target, &[])?);
    let dir = |value: &Value| value["directory"].as_str().map(PathBuf::from).context("no directory");
    ensure!(one["cached"] == false && two["cached"] == false, "{target} was there before");
    let same = tool::outcome(&tool::words(&["diff", "-r", &dir(&one)?.to_string_lossy(), &dir(&two)?.to_string_lossy()]))?;
    ensure!(same.code == 0, "two builds of {target} differ: {}{}", same.stdout.trim(), same.stderr.trim());
    let again = first.output_build(ns, target, &[])?;
    ensure!(again["cached"] == true && again["id"] == one["id"], "an unchanged {target} was built again: {again}");
    verify(first, &dir(&one)?)?;
    fs::remove_dir_all(dir(&two)?).context("removing the second build")?;
    say::line(&format!("{target}: two builds have the same bytes; {} bytes in all", one["size"]));
    disk_of(&one)
}

fn verify(seedd: &Seedd, path: &Path) -> Result<String> {
    seedd.say_plain(&["image", "verify", &path.to_string_lossy()])
}

/// A flipped byte and a truncated file are refused, and another site's key.
fn damage(seedd: &Seedd, raw: &Path, work: &Path) -> Result<()> {
    let file = fs::File::options().read(true).write(true).open(raw).context("opening the image")?;
    let size = file.metadata().context("measuring the image")?.len();
    let mut byte = [0u8];
    file.read_exact_at(&mut byte, size / 2).context("reading a byte")?;
    file.write_all_at(&[byte[0] ^ 1], size / 2).context("flipping a byte")?;
    let refused = format!("{:#}", verify(seedd, raw).err().context("a flipped byte was not noticed")?);
    ensure!(refused.contains("was changed"), "{refused}");
    file.write_all_at(&byte, size / 2).context("putting the byte back")?;
    file.set_len(size - 1).context("truncating the image")?;
    let refused = format!("{:#}", verify(seedd, raw).err().context("a truncated file was not noticed")?);
    ensure!(refused.contains(&format!("has {} bytes instead of {size}", size - 1)), "{refused}");
    file.set_len(size).context("restoring the image")?;
    verify(seedd, raw)?;
    // On a machine without a site.
    let stranger = seedd.on(&work.join("nowhere"));
    let asked = format!("{:#}", verify(&stranger, raw).err().context("verified without a key")?);
    let key = seedd.public("site")?;
    ensure!(asked.contains(&key), "the hint does not name the key: {asked}");
    let path = raw.to_string_lossy().into_owned();
    stranger.say_plain(&["image", "verify", &path, "--site-key", &key])?;
    let other = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let refused = stranger.say_plain(&["image", "verify", &path, "--site-key", other]);
    ensure!(refused.is_err_and(|e| format!("{e:#}").contains("another site")), "verified with another site's key");
    say::line("verify refuses a flipped byte, a truncated file and another site's key");
    Ok(())
}
