//! The read-only root of a seed medium as one squashfs: the snapshot's packages, the kernel's modules, `seedd`.

use std::fs;

use camino::Utf8PathBuf;
use cluster_seed::arch::Arch;
use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;
use host::files::failed;
use serde::Serialize;

use super::assets::{self, SEEDD, USER_ID};
use crate::error::{Error, in_tree};
use crate::packages::index::Index;
use crate::roots::system::{self, Bootstrap};
use crate::roots::tools::{ToolRoot, unpack};
use crate::spec::{ARCH, RECIPE, SEED_PACKAGES};
use crate::tree::{Meta, Tree, TreeError};
use crate::{Inputs, store};

/// Largest text file that is changed, in bytes.
const MAX_TEXT: u64 = 1 << 20;
/// Large modules that a seed does not need, below usr/lib/modules/RELEASE.
const UNWANTED_MODULES: &[&str] = &[
    "kernel/sound/",
    "kernel/drivers/bluetooth/",
    "kernel/drivers/gpu/drm/amd/",
    "kernel/drivers/gpu/drm/i915/",
    "kernel/drivers/gpu/drm/nouveau/",
    "kernel/drivers/gpu/drm/radeon/",
    "kernel/drivers/gpu/drm/xe/",
    "kernel/drivers/iio/",
    "kernel/drivers/infiniband/",
    "kernel/drivers/isdn/",
    "kernel/drivers/media/",
    "kernel/drivers/net/wireless/",
    "kernel/drivers/staging/",
    "kernel/net/bluetooth/",
    "kernel/net/mac80211/",
];
/// No documentation but the licences.
const PATHS: &[&str] = &[
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
];

/// What the root is built from; its id is the sha256 of this as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct RootSpec {
    recipe: u32,
    arch: &'static str,
    snapshot: Digest,
    packages: &'static [&'static str],
    seedd: Digest,
    version: String,
    assets: Digest,
}

impl RootSpec {
    pub fn new(snapshot: Digest, seedd: &[u8], version: &str) -> Self {
        RootSpec {
            recipe: RECIPE,
            arch: ARCH,
            snapshot,
            packages: SEED_PACKAGES,
            seedd: Digest::of(seedd),
            version: version.to_owned(),
            assets: assets::digest(),
        }
    }

    pub fn id(&self) -> Digest {
        // A struct of strings and integers always serialises.
        Digest::of(&serde_json::to_vec(self).unwrap_or_default())
    }
}

/// The image of this root in the cache, built first where needed.
pub(crate) fn build(
    inputs: &Inputs,
    index: &Index,
    tools: &ToolRoot,
    (seedd, version): (&[u8], &str),
    progress: &dyn Progress,
) -> Result<Utf8PathBuf, Error> {
    let spec = RootSpec::new(inputs.snapshot_id, seedd, version);
    let place = inputs.dirs.cache.join(format!("seedroot-{}", spec.id()));
    let image = place.join("root.img");
    if image.is_file() {
        return Ok(image);
    }
    let (_guard, work) = store::workdir(&inputs.dirs.tmp, "seedroot-")?;
    let packages: Vec<String> = SEED_PACKAGES.iter().map(|p| (*p).to_owned()).collect();
    let base = Bootstrap {
        arch: Arch::Amd64,
        tools,
        work: &work,
        suite: inputs.suite,
        components: &index.components,
        keyring: inputs.keyring,
        packages: &packages,
        fstab: "",
        paths: PATHS,
    };
    progress.begin("building the seed's root file system", None);
    system::bootstrap(&base, progress)?;
    let tree = Tree::new(&work.join("root"));
    let wrong = in_tree(tree.root());
    add_modules(index, &base, &tree, progress)?;
    add_files(&tree, index.epoch, seedd, version).map_err(&wrong)?;
    systemctl(&base, "disable", assets::DISABLED, progress)?;
    systemctl(&base, "mask", assets::MASKED, progress)?;
    system::enable(&base, assets::ENABLED, progress)?;
    system::clean(&tree, index.epoch).map_err(&wrong)?;
    tree.clamp_times(index.epoch).map_err(wrong)?;
    progress.end();
    progress.begin("compressing the seed's root file system", None);
    let out = work.join("out");
    fs::create_dir(&out).map_err(failed("creating directory", &out))?;
    // Timestamps come from SOURCE_DATE_EPOCH, which the tool root sets.
    let argv = ["mksquashfs", "/work/root", "/work/out/root.img", "-noappend", "-no-progress", "-quiet", "-comp", "zstd"];
    tools.run("compressing the root", &work, &[&argv[..], &["-Xcompression-level", "17", "-b", "256K"]].concat(), progress)?;
    progress.end();
    store::publish(&out, &place)?;
    Ok(image)
}

fn systemctl(base: &Bootstrap, verb: &str, units: &[&str], progress: &dyn Progress) -> Result<(), Error> {
    let argv = [&["chroot", "/work/root", "/usr/bin/systemctl", "--root=/", verb], units].concat();
    base.tools.run("disabling units", base.work, &argv, progress).map(|_| ())
}

fn wanted_module(name: &str) -> bool {
    let Some((_, below)) = name.split_once("lib/modules/") else { return false };
    let below = below.split_once('/').map_or("", |(_, rest)| rest);
    !UNWANTED_MODULES.iter().any(|p| below.starts_with(p))
}

fn add_modules(index: &Index, base: &Bootstrap, tree: &Tree, progress: &dyn Progress) -> Result<(), Error> {
    unpack(index, index.kernel()?, tree, &wanted_module)?;
    let argv = ["depmod", "-b", "/work/root", &system::only_kernel(tree)?];
    base.tools.run("indexing the kernel's modules", base.work, &argv, progress).map(|_| ())
}

/// Adds `seedd`, our files, our user, and the names of the system.
fn add_files(tree: &Tree, epoch: u64, seedd: &[u8], version: &str) -> Result<(), TreeError> {
    for file in assets::files() {
        tree.write(file.path.trim_start_matches('/'), file.mode, epoch, file.bytes)?;
    }
    tree.write(SEEDD, 0o755, epoch, seedd)?;
    let folder = |mode| Meta { mode, owner: Some((USER_ID, USER_ID)), mtime: epoch };
    tree.dir("var/lib/kubedos", folder(0o700))?;
    tree.write("etc/hostname", 0o644, epoch, b"kubedos-seed\n")?;
    // systemd-update-done.service(8): nothing is newer than these, so caches are not rebuilt at every boot.
    for name in ["etc/.updated", "var/.updated"] {
        tree.write(name, 0o644, epoch, format!("TIMESTAMP_NSEC={epoch}000000000\n").as_bytes())?;
    }
    let append = |name: &str, mode: u32, line: String| {
        let mut text = tree.read(name, MAX_TEXT)?;
        text.extend_from_slice(line.as_bytes());
        tree.write(name, mode, epoch, &text)
    };
    append("etc/passwd", 0o644, format!("kubedos:x:{USER_ID}:{USER_ID}:Kubedos:/var/lib/kubedos:/usr/sbin/nologin\n"))?;
    append("etc/group", 0o644, format!("kubedos:x:{USER_ID}:\n"))?;
    let marks = format!("VARIANT=\"Kubedos seed\"\nVARIANT_ID=kubedos-seed\nIMAGE_ID=kubedos-seed\nIMAGE_VERSION={version}\n");
    append("usr/lib/os-release", 0o644, marks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spec_changes_with_every_input() {
        let base = RootSpec::new(Digest::of(b"a"), b"program", "1").id();
        assert_eq!(base, RootSpec::new(Digest::of(b"a"), b"program", "1").id());
        for other in [
            RootSpec::new(Digest::of(b"b"), b"program", "1"),
            RootSpec::new(Digest::of(b"a"), b"Program", "1"),
            RootSpec::new(Digest::of(b"a"), b"program", "2"),
        ] {
            assert_ne!(base, other.id());
        }
    }

    #[test]
    fn only_modules_are_unpacked() {
        for (name, wanted) in [
            ("usr/lib/modules/6.12/kernel/fs/ext4/ext4.ko.xz", true),
            ("lib/modules/6.12/modules.builtin", true),
            ("usr/lib/modules/6.12/kernel/sound/core/snd.ko.xz", false),
            ("usr/lib/modules/6.12/kernel/drivers/net/wireless/x.ko.xz", false),
            ("usr/lib/modules/6.12", true),
            ("boot/vmlinuz-6.12", false),
        ] {
            assert_eq!(wanted_module(name), wanted, "{name}");
        }
    }
}
