//! The Debian package of the seed, with the programs of this build, in chroots of the supported releases.

use std::path::Path;

use anyhow::{Context, Result};

use crate::seedd::Seedd;
use crate::tool;

/// Seconds for two chroots from the mirror.
const LIMIT: u32 = 1800;
/// Where `just agent` leaves the static programs for nodes, from the folder of `seedd`.
const AGENTS: &str = "../x86_64-unknown-linux-gnu/agent";

/// Builds the package and runs `seedd/debian/test` on it. A program that was built on Debian 13 needs its libc, so there
/// the older release is left to `just test-deb`, which tests the static program of a release.
pub fn run(seedd: &Seedd, work: &Path) -> Result<()> {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("seedd").join("debian");
    let script = |name: &str| scripts.join(name).to_string_lossy().into_owned();
    let (program, out) = (seedd.program.to_string_lossy().into_owned(), work.to_string_lossy().into_owned());
    // Beside the seed, `cargo` has dynamic ones of the same names.
    let agents = seedd.program.with_file_name(AGENTS).to_string_lossy().into_owned();
    let package = tool::run(&[&script("build"), &program, "0.0.0", &out, &agents])?;
    let release = std::fs::read_to_string("/etc/os-release").context("reading /etc/os-release")?;
    let test = script("test");
    let mut argv = vec![test.as_str(), package.trim(), "trixie"];
    if release.contains("bookworm") {
        argv.push("bookworm");
    }
    tool::run_owned(&tool::limited(&tool::words(&argv), LIMIT))?;
    Ok(())
}
