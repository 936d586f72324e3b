//! Programs of another architecture: packages' scripts run them while a root file system is made.

use std::fs;

use camino::Utf8Path;
use cluster_seed::arch::Arch;
use host::files::read_limited;

use crate::error::Error;

/// Where the kernel lists the interpreters of foreign executables (Documentation/admin-guide/binfmt-misc.rst).
const BINFMT: &str = "/proc/sys/fs/binfmt_misc";
/// Largest of these files, in bytes.
const MAX_ENTRY: u64 = 4096;

/// An error unless this kernel starts executables of `arch`, also below another root.
pub(crate) fn check(arch: Arch) -> Result<(), Error> {
    check_in(Utf8Path::new(BINFMT), arch)
}

fn check_in(dir: &Utf8Path, arch: Arch) -> Result<(), Error> {
    if arch.is_amd64() {
        return Ok(());
    }
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let paths = entries.filter_map(|e| camino::Utf8PathBuf::from_path_buf(e.path()).ok());
    let mut texts = paths.filter_map(|path| read_limited(&path, MAX_ENTRY).ok());
    if texts.any(|text| is_fit(&String::from_utf8_lossy(&text), arch)) { Ok(()) } else { Err(Error::NoEmulator { arch }) }
}

/// Whether the entry is enabled, for executables of this architecture, and with its interpreter opened in advance (flag F), since
/// a root file system has none.
fn is_fit(entry: &str, arch: Arch) -> bool {
    let field = |name: &str| entry.lines().find_map(|l| l.strip_prefix(name)).map(str::trim).unwrap_or_default();
    let machine = hex::encode(arch.elf_machine().to_le_bytes());
    let magic = field("magic ");
    // ELF64, little-endian; e_machine is at byte 18.
    let for_arch = magic.starts_with("7f454c460201") && magic.get(36..40) == Some(&machine);
    entry.starts_with("enabled\n") && for_arch && field("flags:").contains('F')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = "enabled
interpreter /usr/bin/qemu-aarch64
flags: OCF
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
";

    #[test]
    fn an_interpreter_counts_if_it_is_enabled_for_the_architecture_and_opened_in_advance() {
        assert!(is_fit(ENTRY, Arch::Arm64));
        for (from, to) in [("enabled", "disabled"), ("OCF", "OC"), ("b700", "f300"), ("460201", "460101"), ("magic", "extension")]
        {
            assert!(!is_fit(&ENTRY.replace(from, to), Arch::Arm64), "{to}");
        }
        assert!(!is_fit("", Arch::Arm64) && !is_fit("enabled\n", Arch::Arm64));
    }

    #[test]
    fn without_one_the_error_says_what_to_install() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        assert!(check_in(dir, Arch::Amd64).is_ok());
        let error = check_in(dir, Arch::Arm64).unwrap_err();
        assert!(error.to_string().contains("arm64") && error.hint().unwrap().contains("qemu-user"), "{error}");
        fs::write(dir.join("status"), "enabled\n").unwrap();
        assert!(check_in(dir, Arch::Arm64).is_err());
        fs::write(dir.join("qemu-aarch64"), ENTRY).unwrap();
        assert!(check_in(dir, Arch::Arm64).is_ok());
        assert!(check_in(&dir.join("nowhere"), Arch::Arm64).is_err());
    }
}
