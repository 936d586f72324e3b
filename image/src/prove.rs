//! Proves that the roles of a snapshot install from its published tree alone: mmdebstrap for the base system, then apt-get in
//! the new root, in an empty network namespace. Programs come from the snapshot's own tool root.

use std::collections::BTreeMap;

use camino::Utf8Path;
use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;
use cluster_seed::proof::{MAX_WHY, RoleProof};
use host::files::{failed, read_limited, write_synced};
use host::tool::ToolError;

use crate::error::Error;
use crate::packages::index::Index;
use crate::roots::tools::ToolRoot;
use crate::spec::ARCH;
use crate::{Dirs, store};

/// The architecture that can be proven: that of the tool root.
pub const PROVEN_ARCH: &str = ARCH;
/// Largest keyring, in bytes.
const MAX_KEYRING: u64 = 1 << 20;

/// $1 the new root; the rest are the packages. Prints the list of installed packages.
///
/// Services are not started (policy-rc.d, as in any chroot). The snapshot is mounted, so its packages are not copied.
/// `dpkg --audit` prints packages that are only half installed, and nothing otherwise.
const INSTALL: &str = r#"
root=$1
shift
for shared in snapshot shelves; do
    mkdir -p "$root/$shared"
    mount --bind "/$shared" "$root/$shared"
    mount -o remount,bind,ro "$root/$shared"
done
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=0755 tmpfs "$root/run"
printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
in_root() { chroot "$root" "$@"; }
in_root apt-get -q update >&2
in_root apt-get -q --yes --no-install-recommends install "$@" >&2
in_root apt-get -q check >&2
half=$(in_root dpkg --audit)
if test -n "$half"; then
    echo "E: only half installed: $half" >&2
    exit 1
fi
in_root dpkg-query -W -f '${Package} ${Version} ${Architecture}\n' | LC_ALL=C sort
"#;

/// apt's settings in the new root. The clock may be at 1970, and the snapshot may be years old. dpkg need not flush files
/// that are removed right afterwards.
const APT_CONF: &str = r#"APT::Install-Recommends "false";
APT::Update::Error-Mode "any";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Check-Date "false";
Acquire::Check-Valid-Until "false";
Dpkg::Use-Pty "false";
Dpkg::Options { "--force-unsafe-io"; };
"#;

/// The snapshot to prove.
pub struct Subject<'a> {
    /// Directory with `dists/` and `pool/`.
    pub snapshot_dir: &'a Utf8Path,
    pub snapshot_id: Digest,
    pub suite: &'a str,
    /// Binary OpenPGP certificate that InRelease must be signed by.
    pub keyring: &'a Utf8Path,
    pub dirs: &'a Dirs,
}

/// Installs the packages of each role on a base system of its own. Returns the result of each.
///
/// # Errors
/// When the base system cannot be installed, or the work was cancelled. A role that cannot be installed is a result.
pub fn prove(
    what: &Subject,
    roots: &BTreeMap<String, Vec<String>>,
    progress: &dyn Progress,
) -> Result<BTreeMap<String, RoleProof>, Error> {
    let index = Index::open(what.snapshot_dir, what.suite)?;
    let tools = ToolRoot::of(what.snapshot_id, what.snapshot_dir, what.dirs, &index, progress)?;
    let (_guard, work) = store::workdir(&what.dirs.tmp, "prove-")?;
    progress.begin("installing the base system", None);
    base(what, &index, &tools, &work, progress)?;
    progress.end();
    let mut proofs = BTreeMap::new();
    for (role, packages) in roots {
        progress.begin(&format!("installing {role}"), None);
        let proof = install(&tools, &work, packages, progress)?;
        progress.end();
        match &proof {
            RoleProof::Installed { packages, .. } => progress.say(&format!("{role}: {packages} packages installed offline")),
            RoleProof::Failed { why } => progress.say(&format!("{role}: {why}")),
        }
        proofs.insert(role.clone(), proof);
    }
    Ok(proofs)
}

/// Installs the base system in `work/base`: the essential packages and apt, with the snapshot as the only source.
fn base(what: &Subject, index: &Index, tools: &ToolRoot, work: &Utf8Path, progress: &dyn Progress) -> Result<(), Error> {
    let keyring = read_limited(what.keyring, MAX_KEYRING)?;
    write_synced(&work.join("keyring.gpg"), &keyring)?;
    let components = index.components.join(" ");
    let source = format!("deb [signed-by=/work/keyring.gpg] copy:/snapshot {} {components}", what.suite);
    let arch = format!("--architectures={ARCH}");
    let argv = [
        "mmdebstrap",
        "--mode=root",
        "--format=directory",
        "--variant=apt",
        "--skip=check/qemu",
        &arch,
        "--aptopt=APT::Install-Recommends \"false\"",
        "--aptopt=Acquire::Languages \"none\"",
        "--aptopt=APT::Sandbox::User \"root\"",
        "--aptopt=Acquire::Check-Date \"false\"",
        "--aptopt=Acquire::Check-Valid-Until \"false\"",
        what.suite,
        "/work/base",
        &source,
    ];
    tools.run("installing the base system", work, &argv, progress)?;
    let source = format!("deb [signed-by=/etc/apt/kubedos.gpg] file:/snapshot {} {components}\n", what.suite);
    let base = work.join("base");
    for (name, bytes) in [
        ("etc/apt/kubedos.gpg", keyring.as_slice()),
        ("etc/apt/sources.list", source.as_bytes()),
        ("etc/apt/apt.conf.d/90prove", APT_CONF.as_bytes()),
    ] {
        write_synced(&base.join(name), bytes)?;
    }
    Ok(())
}

fn install(tools: &ToolRoot, work: &Utf8Path, packages: &[String], progress: &dyn Progress) -> Result<RoleProof, Error> {
    tools.run("copying the base system", work, &["cp", "-a", "/work/base", "/work/role"], progress)?;
    let mut argv = vec!["/bin/sh", "-eu", "-c", INSTALL, "install", "/work/role"];
    argv.extend(packages.iter().filter_map(|p| for_arch(p)));
    let proof = match tools.run("installing the role", work, &argv, progress) {
        Ok(output) => {
            let packages = u32::try_from(output.stdout.iter().filter(|b| **b == b'\n').count()).unwrap_or(u32::MAX);
            RoleProof::Installed { packages, list: Digest::of(&output.stdout) }
        }
        Err(Error::Tool { source: ToolError::Failed { stderr, .. }, .. }) => RoleProof::Failed { why: reason(&stderr) },
        Err(other) => return Err(other),
    };
    // Nothing is mounted in it any more: the mounts ended with the program's mount namespace.
    let role = work.join("role");
    std::fs::remove_dir_all(&role).map_err(failed("removing", &role))?;
    Ok(proof)
}

/// The name in `name` or `name:architecture`, unless it is for another architecture.
fn for_arch(root: &str) -> Option<&str> {
    match root.split_once(':') {
        None => Some(root),
        Some((name, ARCH)) => Some(name),
        Some(_) => None,
    }
}

/// What an operator needs to see of a program's output: its error lines, or else its last lines.
fn reason(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let errors: Vec<&str> = lines
        .iter()
        .copied()
        .filter(|l| l.starts_with("E: ") || l.contains("Depends:") || l.starts_with("dpkg: error"))
        .collect();
    let why = if errors.is_empty() { lines[lines.len().saturating_sub(5)..].join("; ") } else { errors.join("; ") };
    why.chars().take(MAX_WHY).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_other_architectures_are_not_requested() {
        assert_eq!(["bash", "libc6:amd64", "libc6:arm64"].map(for_arch), [Some("bash"), Some("libc6"), None]);
    }

    #[test]
    fn the_reason_is_from_apt_or_the_last_lines() {
        let apt =
            "Reading package lists...\n\n foo : Depends: bar (>= 2) but it is not installable\nE: Unable to correct problems\n";
        assert_eq!(reason(apt), "foo : Depends: bar (>= 2) but it is not installable; E: Unable to correct problems");
        assert_eq!(reason("a\nb\nc\nd\ne\nf\n"), "b; c; d; e; f");
        assert_eq!(reason(""), "");
        assert_eq!(reason(&format!("E: {}", "x".repeat(2 * MAX_WHY))).len(), MAX_WHY);
    }
}
