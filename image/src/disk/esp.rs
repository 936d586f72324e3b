//! The EFI system partition: Debian's signed shim and GRUB, and a stub that finds GRUB's actual configuration.

use camino::Utf8Path;
use cluster_seed::arch::Arch;
use cluster_seed::progress::Progress;

use crate::error::{Error, in_tree};
use crate::packages::index::Index;
use crate::roots::tools::{ToolRoot, unpack};
use crate::spec::Names;
use crate::tree::Tree;

const MAX_LOADER: u64 = 16 << 20;
/// shim and GRUB: name on the partition (UEFI 2.10, section 3.5.1.1), name in their packages.
fn loaders(arch: Arch) -> [(&'static str, &'static str); 2] {
    match arch {
        Arch::Amd64 => [
            ("EFI/BOOT/BOOTX64.EFI", "usr/lib/shim/shimx64.efi.signed"),
            ("EFI/BOOT/grubx64.efi", "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"),
        ],
        Arch::Arm64 => [
            ("EFI/BOOT/BOOTAA64.EFI", "usr/lib/shim/shimaa64.efi.signed"),
            ("EFI/BOOT/grubaa64.efi", "usr/lib/grub/arm64-efi-signed/grubaa64.efi.signed"),
        ],
    }
}

/// Where the signed GRUB, depending on its build, looks for its configuration.
pub(crate) const CONFIGS: &[&str] = &["EFI/BOOT/grub.cfg", "EFI/debian/grub.cfg"];

/// The FAT file system of the partition.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub fat: &'static str,
    /// Sectors per cluster.
    pub cluster: &'static str,
    /// Size of the image in bytes.
    pub size: u64,
}

/// Creates `work/esp.img`, with the loaders of the index's architecture.
pub(crate) fn create(
    index: &Index,
    tools: &ToolRoot,
    work: &Utf8Path,
    names: &Names,
    kind: Kind,
    config: &str,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let stage = Tree::new(&work.join("esp"));
    let wrong = in_tree(stage.root());
    let epoch = index.epoch;
    let files = Tree::new(&work.join("signed"));
    let grub = format!("grub-efi-{}-signed", index.arch);
    for package in [grub.as_str(), "shim-signed"] {
        unpack(index, index.get(package, "the ESP")?, &files, &|n| n.ends_with(".efi.signed") || n.ends_with("-signed"))?;
    }
    let loaders = loaders(index.arch);
    for (to, from) in loaders {
        let bytes = files.read(from, MAX_LOADER).map_err(in_tree(files.root()))?;
        stage.write(to, 0o644, epoch, &bytes).map_err(&wrong)?;
    }
    for to in CONFIGS {
        stage.write(to, 0o644, epoch, config.as_bytes()).map_err(&wrong)?;
    }
    stage.clamp_times(epoch).map_err(wrong)?;
    let run = |step, argv: &[&str]| tools.run(step, work, argv, progress).map(|_| ());
    let (kib, id, image) = ((kind.size / 1024).to_string(), names.fat_id(), "/work/esp.img");
    let format = ["-F", kind.fat, "-s", kind.cluster, "-i", &id, "-n", "KUBEDOS-ESP", "-C", image, &kib];
    run("creating the ESP", &[&["mkfs.vfat", "--invariant"], &format[..]].concat())?;
    run("creating the ESP", &["mmd", "-i", image, "::/EFI", "::/EFI/BOOT", "::/EFI/debian"])?;
    // The order decides where each file is stored, so it must not change.
    for name in [loaders[0].0, CONFIGS[0], loaders[1].0, CONFIGS[1]] {
        run("filling the ESP", &["mcopy", "-m", "-i", image, &format!("/work/esp/{name}"), &format!("::/{name}")])?;
    }
    Ok(())
}
