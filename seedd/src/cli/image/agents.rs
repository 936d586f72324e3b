//! Where this program finds the static programs that run on nodes.

use anyhow::{Context as _, Result, anyhow};
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::arch::Arch;
use site::hint::Hint as _;

/// Places of the agent relative to this program's folder: as a build by `cargo` has it, as the package has it, and beside this
/// program as a release has it. The last is also the place of `cargo`'s dynamic programs, which are passed over.
const AGENT_PLACES: &[&str] =
    &["kubedos-node.static", "../x86_64-unknown-linux-gnu/agent/kubedos-node", "../lib/kubedos/kubedos-node", "kubedos-node"];

const ARM64_AGENT_PLACES: &[&str] = &[
    "kubedos-node-arm64.static",
    "../aarch64-unknown-linux-gnu/agent/kubedos-node",
    "../lib/kubedos/kubedos-node-arm64",
    "kubedos-node-arm64",
];

const FLOW_PLACES: &[&str] =
    &["kubedos-flow.static", "../x86_64-unknown-linux-gnu/agent/kubedos-flow", "../lib/kubedos/kubedos-flow", "kubedos-flow"];

pub fn find_agent(given: Option<&Utf8PathBuf>) -> Result<Utf8PathBuf> {
    find_program(given, AGENT_PLACES)?
        .ok_or_else(|| anyhow!("the static agent kubedos-node was not found next to this program"))
        .hint("build it with `just agent`, or use --agent")
}

/// The agent for arm64, which only a site with such nodes needs.
pub fn find_arm64_agent(given: Option<&Utf8PathBuf>, arches: &[Arch]) -> Result<Option<Utf8PathBuf>> {
    if !arches.contains(&Arch::Arm64) {
        return Ok(None);
    }
    find_program(given, ARM64_AGENT_PLACES)?
        .ok_or_else(|| anyhow!("the static agent kubedos-node for arm64 was not found next to this program"))
        .hint("build it with `just agent-arm64`, use --arm64-agent, or remove arm64 from spec.architectures in cluster.yaml")
        .map(Some)
}

/// The flow agent, which only a payload with the play `flow` needs.
pub fn find_flow(given: Option<&Utf8PathBuf>) -> Result<Utf8PathBuf> {
    find_program(given, FLOW_PLACES)?
        .ok_or_else(|| anyhow!("the static program kubedos-flow of the play flow was not found next to this program"))
        .hint("build it with `just agent`, use --flow, or remove the play from cluster.yaml")
}

/// The program that was given, or the first static one in these places below this program's folder.
fn find_program(given: Option<&Utf8PathBuf>, places: &[&str]) -> Result<Option<Utf8PathBuf>> {
    if let Some(path) = given {
        anyhow::ensure!(path.is_file(), "no agent at {path}");
        return Ok(Some(path.clone()));
    }
    let own = std::env::current_exe().context("finding the path of this program")?;
    let own = Utf8PathBuf::from_path_buf(own).map_err(|p| anyhow!("this program's path is not UTF-8: {}", p.display()))?;
    Ok(first_static(own.parent().unwrap_or(Utf8Path::new(".")), places))
}

fn first_static(folder: &Utf8Path, places: &[&str]) -> Option<Utf8PathBuf> {
    places.iter().map(|place| folder.join(place)).find(|path| image::is_static(path))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The beginning of an ELF file with one program header: `PT_LOAD`, or `PT_INTERP` for a dynamic linker.
    fn program(path: &Utf8Path, dynamic: bool) {
        let mut elf = vec![0u8; 120];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[18] = 62;
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 1;
        elf[64] = if dynamic { 3 } else { 1 };
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, elf).unwrap();
    }

    #[test]
    fn programs_for_nodes_are_found_as_the_package_a_release_and_a_build_have_them() {
        for places in [AGENT_PLACES, ARM64_AGENT_PLACES, FLOW_PLACES] {
            let name = places[3];
            for (folder, place) in [("usr/bin", "usr/lib/kubedos"), ("release-dist", "release-dist")] {
                let dir = tempfile::tempdir().unwrap();
                let top = Utf8Path::from_path(dir.path()).unwrap();
                fs::create_dir_all(top.join(folder)).unwrap();
                assert_eq!(first_static(&top.join(folder), places), None, "{name}");
                program(&top.join(place).join(name), false);
                let found = first_static(&top.join(folder), places).unwrap().canonicalize_utf8().unwrap();
                assert_eq!(found, top.join(place).join(name).canonicalize_utf8().unwrap());
            }
        }
    }

    #[test]
    fn the_dynamic_program_of_a_build_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let target = Utf8Path::from_path(dir.path()).unwrap();
        let debug = target.join("debug");
        program(&debug.join("kubedos-node"), true);
        assert_eq!(first_static(&debug, AGENT_PLACES), None);
        program(&target.join("x86_64-unknown-linux-gnu/agent/kubedos-node"), false);
        let found = first_static(&debug, AGENT_PLACES).unwrap();
        assert!(found.as_str().ends_with("x86_64-unknown-linux-gnu/agent/kubedos-node"), "{found}");
    }
}
