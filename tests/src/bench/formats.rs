//! The QCOW2 image of a role, built from its artifact by the product, beside `qemu-img convert` of the same disk.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Cost, best, http, measure};
use crate::dirs::RunDirs;
use crate::netns::{Netns, PREFIX};
use crate::say;
use crate::seedd::Seedd;
use crate::tool;

/// The best of so many runs counts, for either side.
const ROUNDS: usize = 3;
/// Our time by qemu-img's, at most.
const LIMIT: f64 = 1.2;

/// `program` is the seedd to measure; a release build.
pub fn run(dirs: &RunDirs, program: &Path) -> Result<()> {
    tool::find("qemu-img").context("qemu-img is not installed (apt install qemu-utils)")?;
    let (work, logs) = dirs.part("bench-formats")?;
    let site = Seedd { program: program.to_owned(), ..http::prepared(dirs)?.copy(&work.join("site"))? };
    let ns = Netns::lab(&format!("{PREFIX}{}-formats", std::process::id()), &work)?;
    say::line("building the raw disk, and what else is built once");
    let raw = PathBuf::from(site.output_build(&ns, "raw", &[])?["file"].as_str().context("no raw disk was built")?);
    // Named by what it is made from, so every build has the same place.
    let built = site.output_build(&ns, "qcow2", &[])?;
    let place = PathBuf::from(built["directory"].as_str().context("no qcow2 image was built")?);
    let build = site.with_passphrase(&["image", "build", "--target", "qcow2", "--role", "base"]);
    let ours = best(ROUNDS, || {
        fs::remove_dir_all(&place).with_context(|| format!("removing {}", place.display()))?;
        measure(&ns.argv(&build), &logs.join("seedd.log"))
    })?;
    let out = work.join("qemu.qcow2");
    let options = ["convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "compression_type=zstd"];
    let mut convert = vec!["qemu-img".to_owned()];
    convert.extend(tool::words(&options));
    convert.extend([&raw, &out].map(|path| path.to_string_lossy().into_owned()));
    let theirs = best(ROUNDS, || measure(&convert, &logs.join("qemu-img.log")))?;
    let size = |path: &Path| fs::metadata(path).map(|m| say::megabytes(m.len())).unwrap_or_default();
    let image = PathBuf::from(built["file"].as_str().unwrap_or_default());
    line("seedd image build --target qcow2, from the artifact", ours, &size(&image));
    line("qemu-img convert -c, from the raw disk", theirs, &size(&out));
    say::line(&format!("ratio {:.2}, at most {LIMIT}", ours.wall / theirs.wall));
    Ok(())
}

fn line(what: &str, cost: Cost, size: &str) {
    say::line(&format!("{what}: {:.1} s, {:.1} s of CPU time, {:.0} MB of memory, {size}", cost.wall, cost.cpu, cost.memory));
}
