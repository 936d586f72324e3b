//! A bundle for Firecracker: ELF kernel, initrd, the root and state file systems as disks, the configuration of a VM and a
//! script that starts one. Checked against Firecracker's API of commit 004d935 (src/firecracker/swagger/firecracker.yaml).

use camino::Utf8Path;
use cluster_seed::manifest::ROOT_LABEL;
use host::files::{failed, read_limited, write_synced};
use serde_json::{Value, json};

use super::job::Job;
use super::vmlinux;
use crate::disk::Disk;
use crate::error::Error;

/// Largest kernel image and initrd, in bytes.
const MAX_BOOT: u64 = 512 << 20;
const START: &str = include_str!("../../assets/firecracker-start.sh");
const README: &str = include_str!("../../assets/firecracker-readme.txt");
/// Values of a new VM; the script's options change them.
const CPUS: u64 = 2;
const MEMORY_MIB: u64 = 2048;
/// The name that the configuration is deployed by.
pub const CONFIG: &str = "vm.json";

/// Makes the bundle in `out`.
pub fn make(job: &Job) -> Result<String, Error> {
    let (image, layout) = job.disk()?;
    let mut disk = Disk::open(&image)?;
    let parts = job.out.join("disks");
    host::files::create_dirs(&parts)?;
    disk.extract(layout.root, &parts.join("root.ext4"))?;
    disk.extract(layout.state, &parts.join("state.ext4"))?;
    std::fs::remove_file(&image).map_err(failed("removing", &image))?;
    let (kernel, initrd) = boot_files(job, &parts.join("root.ext4"))?;
    let elf = vmlinux::extract(&kernel).map_err(|e| Error::Content(format!("the artifact's kernel: {e}")))?;
    write_synced(&job.out.join("vmlinux"), &elf)?;
    write_synced(&job.out.join("initrd.img"), &initrd)?;
    write_synced(&job.out.join(CONFIG), &serde_json::to_vec_pretty(&config())?)?;
    write_synced(&job.out.join("README.txt"), README.as_bytes())?;
    job.script("start.sh", START)?;
    Ok(CONFIG.to_owned())
}

/// The kernel image and the initrd in the /boot of a root file system.
fn boot_files(job: &Job, root: &Utf8Path) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let below = job.work.join("boot-files");
    host::files::create_dirs(&below)?;
    // In the working directory, where the tools find it.
    let linked = job.work.join("root.ext4");
    std::fs::hard_link(root, &linked).map_err(failed("linking", &linked))?;
    job.run("reading the root file system", &["debugfs", "-R", "rdump /boot /work/boot-files", "/work/root.ext4"])?;
    let boot = below.join("boot");
    let reading = failed("reading directory", &boot);
    let mut found: [Option<Vec<u8>>; 2] = [None, None];
    for entry in boot.read_dir_utf8().map_err(&reading)? {
        let path = entry.map_err(&reading)?.into_path();
        let name = path.file_name().unwrap_or_default();
        let slot = ["vmlinuz-", "initrd.img-"].iter().position(|prefix| name.starts_with(prefix));
        if let Some(slot) = slot.and_then(|at| found.get_mut(at)) {
            *slot = Some(read_limited(&path, MAX_BOOT)?);
        }
    }
    std::fs::remove_file(&linked).map_err(failed("removing", &linked))?;
    match found {
        [Some(kernel), Some(initrd)] => Ok((kernel, initrd)),
        _ => Err(Error::Content("the artifact's /boot has no kernel with its initramfs".to_owned())),
    }
}

/// The whole configuration for `--config-file`, with paths relative to the bundle. Debian's initrd finds the root by its label.
pub fn config() -> Value {
    let disk =
        |id: &str, path: &str| json!({"drive_id": id, "path_on_host": path, "is_root_device": false, "is_read_only": false});
    json!({
        "boot-source": {
            "kernel_image_path": "vmlinux",
            "initrd_path": "initrd.img",
            "boot_args": format!("console=ttyS0 root=LABEL={ROOT_LABEL} ro reboot=k panic=30 systemd.gpt_auto=no"),
        },
        "drives": [disk("root", "disks/root.ext4"), disk("state", "disks/state.ext4")],
        "machine-config": {"vcpu_count": CPUS, "mem_size_mib": MEMORY_MIB, "smt": false},
        "network-interfaces": [{"iface_id": "eth0", "host_dev_name": "tap0"}],
        "entropy": {},
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The fields of `FullVmConfiguration` at Firecracker's commit 004d935 that are used here: section, field, whether it is required.
    const SCHEMA: &[(&str, &str, bool)] = &[
        ("boot-source", "kernel_image_path", true),
        ("boot-source", "initrd_path", false),
        ("boot-source", "boot_args", false),
        ("drives", "drive_id", true),
        ("drives", "path_on_host", false),
        ("drives", "is_root_device", true),
        ("drives", "is_read_only", false),
        ("machine-config", "vcpu_count", true),
        ("machine-config", "mem_size_mib", true),
        ("machine-config", "smt", false),
        ("network-interfaces", "iface_id", true),
        ("network-interfaces", "host_dev_name", true),
        ("entropy", "rate_limiter", false),
    ];

    #[test]
    fn every_field_of_the_configuration_is_one_of_firecrackers_and_no_required_one_is_missing() {
        let config = config();
        for (section, value) in config.as_object().unwrap() {
            let known: BTreeMap<&str, bool> =
                SCHEMA.iter().filter(|(s, ..)| s == section).map(|(_, field, required)| (*field, *required)).collect();
            assert!(!known.is_empty(), "{section}");
            let items = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
            for item in items {
                let fields = item.as_object().unwrap();
                assert!(fields.keys().all(|f| known.contains_key(f.as_str())), "{section}: {item}");
                assert!(known.iter().all(|(f, required)| !required || fields.contains_key(*f)), "{section}: {item}");
            }
        }
    }

    #[test]
    fn the_script_names_only_files_of_the_bundle() {
        for name in ["vmlinux", "initrd.img", "disks/root.ext4", "disks/state.ext4", CONFIG] {
            assert!(START.contains(name) || config().to_string().contains(name), "{name}");
        }
        assert!(START.starts_with("#!/bin/sh\n"));
    }
}
