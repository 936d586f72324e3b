//! An OCI image layout, as one tar archive, with two images of the artifact's root file system: `ROLE`, and `ROLE-carrier`,
//! which has kernel and initramfs where bootc looks for them (bootc, docs/src/bootc-images.md, August 2026). They share the
//! layer with everything but /boot. Nothing of a site's or a machine's secrets is in either: the settings that a machine finds
//! its seed by are on the state partition, which is left out.

mod about;

mod ext4;

mod root;

mod layer;

mod layout;

use std::collections::BTreeMap;

use camino::Utf8Path;
use cluster_seed::progress::Progress;
use host::files::failed;

use super::job::Job;
use super::time::{time, version};
use crate::artifact::chunk::{self, ChunkError};
use crate::disk::{Disk, Layout};
use crate::error::Error;
pub use about::About;
use layer::Layer;
use layout::Image;
use root::{Entries, Entry, Kind, Root};

/// End of the tag of the image with kernel and initramfs.
pub const CARRIER: &str = "-carrier";
/// What a runtime mounts something over, or only a disk has: the directories stay, their content is left out. The state
/// partition is mounted at the last one.
const EMPTY: [&str; 3] = ["dev", "lost+found", STATE];
const STATE: &str = "var/lib/kubedos";
const BOOT: &str = "boot/";
const MODULES: &str = "usr/lib/modules/";
/// Tools that handle only bootable images look for this label.
const BOOTC: &str = "containers.bootc";

/// Makes the archive in `out`.
pub(super) fn make(job: &Job) -> Result<String, Error> {
    let artifact = job.artifact()?;
    let layout = Layout::of(artifact).map_err(|e| Error::Content(e.to_string()))?;
    let image = job.work.join("disk.img");
    chunk::assemble(artifact, &job.inputs.dirs.blobs, &image, job.progress).map_err(|e| match e {
        ChunkError::Cancelled => Error::Cancelled,
        other => other.into(),
    })?;
    let root = job.work.join("root.ext4");
    Disk::open(&image)?.extract(layout.root, &root)?;
    std::fs::remove_file(&image).map_err(failed("removing", &image))?;
    let version = version(job.index.epoch)?;
    let (spec, epoch) = (&artifact.spec, job.index.epoch);
    let about = About { site: job.order.site, role: &spec.role, version: &version, arch: &spec.arch, epoch };
    let name = format!("{}.oci.tar", job.name);
    pack(&root, job.work, &job.out.join(&name), &about, job.progress)?;
    Ok(name)
}

/// Packs the root file system in the ext4 image `root` into the archive `to`. Layers are written to `work` first.
pub fn pack(root: &Utf8Path, work: &Utf8Path, to: &Utf8Path, about: &About, progress: &dyn Progress) -> Result<(), Error> {
    let root = Root::open(root)?;
    let parts = Parts::of(&root.entries)?;
    let layer = |name: &str, entries: &Entries| -> Result<Layer, Error> {
        let bytes = entries.values().map(|e| e.size).sum();
        progress.begin(&format!("packing the {name} layer"), Some(bytes));
        let layer = layer::write(&root, entries, about.epoch, &work.join(format!("{name}.tar.gz")), progress)?;
        progress.end();
        Ok(layer)
    };
    let (system, boot, carrier) =
        (layer("system", &parts.system)?, layer("boot", &parts.boot)?, layer("carrier", &parts.carrier)?);
    let created = time(about.epoch)?.to_string();
    let labels = |title: String| {
        BTreeMap::from([
            ("org.opencontainers.image.created", created.clone()),
            ("org.opencontainers.image.title", title),
            ("org.opencontainers.image.version", about.version.to_owned()),
            ("org.kubedos.role", about.role.to_owned()),
            ("org.kubedos.site", about.site.to_owned()),
        ])
    };
    let whole = Image {
        tag: about.role.to_owned(),
        layers: vec![(&system, "root file system"), (&boot, "/boot")],
        labels: labels(format!("root file system of role {}", about.role)),
    };
    let mut bootable = Image {
        tag: format!("{}{CARRIER}", about.role),
        layers: vec![(&system, "root file system"), (&carrier, "kernel and initramfs in bootc's places")],
        labels: labels(format!("root file system of role {}, with its kernel", about.role)),
    };
    bootable.labels.insert(BOOTC, "1".to_owned());
    let bytes = [&system, &boot, &carrier].iter().map(|l| l.size).sum();
    progress.begin("writing the image archive", Some(bytes));
    layout::write(&[whole, bootable], about, &created, to, progress)?;
    progress.end();
    for layer in [&system, &boot, &carrier] {
        std::fs::remove_file(&layer.path).map_err(failed("removing", &layer.path))?;
    }
    Ok(())
}

/// The entries of each layer.
struct Parts {
    /// Everything but what is in /boot.
    system: Entries,
    boot: Entries,
    carrier: Entries,
}

impl Parts {
    fn of(all: &Entries) -> Result<Self, Error> {
        let left_out = |name: &str| {
            let below = |dir: &&str| name.strip_prefix(*dir).is_some_and(|rest| rest.starts_with('/'));
            EMPTY.iter().any(below) || name == "lost+found"
        };
        let kept = all.iter().filter(|(name, _)| !left_out(name)).map(|(name, entry)| (name.clone(), entry.clone()));
        let (boot, system): (Entries, Entries) = kept.partition(|(name, _)| name.starts_with(BOOT));
        let carrier = carrier(&system, &boot)?;
        Ok(Parts { system, boot, carrier })
    }
}

/// Kernel and initramfs in the directory of the modules, /sysroot for the physical root, and the link that
/// `bootc container lint` requires.
fn carrier(system: &Entries, boot: &Entries) -> Result<Entries, Error> {
    let mut kernels = system
        .iter()
        .filter(|(name, e)| e.kind == Kind::Dir && name.strip_prefix(MODULES).is_some_and(|rest| !rest.contains('/')));
    let (Some((dir, _)), None) = (kernels.next(), kernels.next()) else {
        return Err(Error::Content("the root file system must have the modules of exactly one kernel".to_owned()));
    };
    let kernel = dir.trim_start_matches(MODULES);
    let mut entries = Entries::new();
    // Its parents too: an extractor that creates them itself gives them another mode and time.
    for (at, _) in dir.match_indices('/').chain([(dir.len(), "")]) {
        let parent = &dir[..at];
        entries.extend(system.get(parent).map(|entry| (parent.to_owned(), entry.clone())));
    }
    for (name, from) in [("vmlinuz", format!("boot/vmlinuz-{kernel}")), ("initramfs.img", format!("boot/initrd.img-{kernel}"))] {
        let file = boot.get(&from).filter(|e| e.kind == Kind::File);
        let file = file.ok_or_else(|| Error::Content(format!("the root file system has no file {from}")))?;
        entries.insert(format!("{dir}/{name}"), file.clone());
    }
    let added = |kind, mode| Entry {
        kind,
        inode: 0,
        mode,
        user: 0,
        group: 0,
        // Clamped to the date of the snapshot.
        modified: u64::MAX,
        size: 0,
        attributes: BTreeMap::new(),
    };
    entries.insert("sysroot".to_owned(), added(Kind::Dir, 0o755));
    entries.insert("ostree".to_owned(), added(Kind::Symlink("sysroot/ostree".to_owned()), 0o777));
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(names: &[&str]) -> Entries {
        let one = |(at, name): (usize, &&str)| {
            let (kind, name) = match name.strip_suffix('/') {
                Some(dir) => (Kind::Dir, dir),
                None => (Kind::File, *name),
            };
            let inode = u32::try_from(at).unwrap() + 12;
            let entry = Entry { kind, inode, mode: 0o755, user: 0, group: 0, modified: 1, size: 1, attributes: BTreeMap::new() };
            (name.to_owned(), entry)
        };
        names.iter().enumerate().map(one).collect()
    }

    const ROOT: &[&str] = &[
        "boot/",
        "boot/vmlinuz-6.1",
        "boot/initrd.img-6.1",
        "boot/grub/",
        "boot/grub/grub.cfg",
        "dev/",
        "dev/null",
        "lost+found/",
        "device",
        "usr/",
        "usr/lib/",
        "usr/lib/modules/",
        "usr/lib/modules/6.1/",
        "usr/lib/modules/6.1/modules.dep",
        "var/",
        "var/lib/",
        "var/lib/kubedos/",
        "var/lib/kubedos/join.json",
    ];

    fn names(entries: &Entries) -> Vec<&str> {
        entries.keys().map(String::as_str).collect()
    }

    #[test]
    fn the_state_of_a_node_devices_and_what_only_a_disk_has_are_left_out() {
        let parts = Parts::of(&entries(ROOT)).unwrap();
        let all = [names(&parts.system), names(&parts.boot), names(&parts.carrier)].concat();
        for gone in ["dev/null", "lost+found", "var/lib/kubedos/join.json"] {
            assert!(!all.contains(&gone), "{gone}");
        }
        for kept in ["dev", "device", "var/lib/kubedos", "boot"] {
            assert!(names(&parts.system).contains(&kept), "{kept}");
        }
    }

    #[test]
    fn the_carrier_has_nothing_in_boot_and_the_kernel_beside_its_modules() {
        let parts = Parts::of(&entries(ROOT)).unwrap();
        assert!(!names(&parts.system).iter().any(|n| n.starts_with("boot/")));
        assert_eq!(names(&parts.boot), ["boot/grub", "boot/grub/grub.cfg", "boot/initrd.img-6.1", "boot/vmlinuz-6.1"]);
        let dir = "usr/lib/modules/6.1";
        let (kernel, initramfs) = (format!("{dir}/vmlinuz"), format!("{dir}/initramfs.img"));
        assert_eq!(names(&parts.carrier), ["ostree", "sysroot", "usr", "usr/lib", "usr/lib/modules", dir, &initramfs, &kernel]);
        assert_eq!(parts.carrier.get(&kernel).map(|e| e.inode), parts.boot.get("boot/vmlinuz-6.1").map(|e| e.inode));
    }

    #[test]
    fn a_root_without_exactly_one_kernel_and_its_files_is_refused() {
        for without in ["usr/lib/modules/6.1/", "boot/vmlinuz-6.1", "boot/initrd.img-6.1"] {
            let some: Vec<&str> = ROOT.iter().copied().filter(|n| *n != without).collect();
            assert!(Parts::of(&entries(&some)).is_err(), "{without}");
        }
        assert!(Parts::of(&entries(&[ROOT, &["usr/lib/modules/6.2/"]].concat())).is_err());
    }
}
