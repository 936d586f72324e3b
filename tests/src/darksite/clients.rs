//! Programs that have to accept a snapshot.

use anyhow::{Context, Error, Result, ensure};
use camino::Utf8Path;
use kubedos_skip as skip;

use super::{Bench, SUITE};
use crate::{say, tool};

/// Seconds a bootstrap may take.
const PATIENCE: u32 = 240;

/// A snapshot of a base system, given to everybody.
pub fn accept(bench: &Bench) -> Result<()> {
    let plan = bench.plan(&bench.request("clients", &["main"], &["openssh-server"]))?;
    let dir = bench.build("clients", &plan)?;
    let keyring = dir.join("keyring.gpg");
    let dists = dir.join("dists").join(SUITE);
    let path = |name: &str| dists.join(name).to_string();
    for (program, files) in [
        ("gpgv", vec![path("InRelease")]),
        ("gpgv", vec![path("Release.gpg"), path("Release")]),
        ("sqv", vec![path("Release.gpg"), path("Release")]),
    ] {
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        must(program, &[&["--keyring", keyring.as_str()], files.as_slice()].concat())?;
    }
    let url = format!("file://{dir}");
    let tree = bench.work.join("debootstrap");
    let keyring_option = format!("--keyring={keyring}");
    must("debootstrap", &["--variant=minbase", &keyring_option, SUITE, tree.as_str(), &url])?;
    is_system(&tree)?;
    let tree = bench.work.join("mmdebstrap");
    let line = format!("deb [signed-by={keyring}] {url} {SUITE} main");
    let hook = format!("--setup-hook=mkdir -p \"$1{dir}\" && mount --bind {dir} \"$1{dir}\"");
    let unhook = format!("--customize-hook=umount \"$1{dir}\"");
    must(
        "mmdebstrap",
        &["--mode=root", "--variant=apt", "--include=openssh-server", &hook, &unhook, SUITE, tree.as_str(), &line],
    )?;
    is_system(&tree)?;
    ensure!(tree.join("usr/sbin/sshd").exists(), "mmdebstrap did not install openssh-server");
    Ok(())
}

fn is_system(tree: &Utf8Path) -> Result<()> {
    let status = std::fs::read_to_string(tree.join("var/lib/dpkg/status")).with_context(|| format!("no system in {tree}"))?;
    let broken =
        status.split("\n\n").filter(|p| p.contains("\nStatus: ") && !p.contains("\nStatus: install ok installed")).count();
    let installed = status.matches("\nStatus: install ok installed").count();
    ensure!(installed > 50 && broken == 0, "{tree}: {installed} packages installed, {broken} not");
    say::line(&format!("{tree}: {installed} packages installed"));
    Ok(())
}

fn must(program: &str, args: &[&str]) -> Result<()> {
    if tool::find(program).is_none() {
        return skip::note(program, "is not installed").map_err(Error::msg);
    }
    let argv = tool::limited(&tool::words(&[&["env", "LC_ALL=C", program], args].concat()), PATIENCE);
    let out = tool::outcome(&argv)?;
    let end: Vec<&str> = out.stdout.lines().chain(out.stderr.lines()).collect();
    let end = end[end.len().saturating_sub(12)..].join("\n");
    ensure!(out.code == 0, "{}: code {}: {end}", tool::shown(&argv), out.code);
    say::line(&format!("{program} accepts it"));
    Ok(())
}
