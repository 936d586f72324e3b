//! The loaders that firmware fetches: iPXE, and the signed shim and GRUB for Secure Boot.

use camino::Utf8Path;
use cluster_seed::arch::Arch;
use host::files::write_synced;

use crate::error::{Error, in_tree};
use crate::packages::index::Index;
use crate::roots::tools::unpack;
use crate::tree::Tree;

const MAX_LOADER: u64 = 256 << 20;
/// Debian's packages with the [`LOADERS`].
const PACKAGES: [&str; 3] = ["ipxe", "shim-signed", "grub-efi-amd64-signed"];
/// The same for machines with arm64; iPXE's package has the loaders of all architectures.
const PACKAGES_ARM64: [&str; 2] = ["shim-signed", "grub-efi-arm64-signed"];
const LOADERS_ARM64: &[(&str, &str)] = &[
    ("shimaa64.efi", "usr/lib/shim/shimaa64.efi.signed"),
    ("grubaa64.efi", "usr/lib/grub/arm64-efi-signed/grubnetaa64.efi.signed"),
];
/// Loaders: name they are served under, name in their packages.
const LOADERS: &[(&str, &str)] = &[
    ("undionly.kpxe", "usr/lib/ipxe/undionly.kpxe"),
    ("snponly.efi", "usr/lib/ipxe/snponly.efi"),
    ("ipxe.efi", "usr/lib/ipxe/ipxe.efi"),
    ("ipxe-arm64.efi", "usr/lib/ipxe/ipxe-arm64.efi"),
    ("shimx64.efi", "usr/lib/shim/shimx64.efi.signed"),
    // shim requests its second stage by this name.
    ("grubx64.efi", "usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed"),
];
/// The oldest generations accepted: shim 15.8 (CVE-2023-40547) and the GRUB with the fixes of early 2025
/// (<https://github.com/rhboot/shim/blob/main/SBAT.md>).
const SBAT: [(&str, &str, u32); 4] =
    [("shimx64.efi", "shim", 4), ("grubx64.efi", "grub", 5), ("shimaa64.efi", "shim", 4), ("grubaa64.efi", "grub", 5)];

/// Writes the loaders of the index's architecture to `out`, through `work`.
pub fn add(index: &Index, work: &Utf8Path, out: &Utf8Path) -> Result<(), Error> {
    let tree = Tree::new(&work.join("loaders"));
    let wanted = |name: &str| ["usr/lib/ipxe", "usr/lib/shim", "usr/lib/grub"].iter().any(|d| name.starts_with(d));
    let (packages, loaders) = match index.arch {
        Arch::Amd64 => (&PACKAGES[..], LOADERS),
        Arch::Arm64 => (&PACKAGES_ARM64[..], LOADERS_ARM64),
    };
    for package in packages {
        unpack(index, index.get(package, "netboot")?, &tree, &wanted)?;
    }
    for (name, from) in loaders {
        let bytes = tree.read(from, MAX_LOADER).map_err(in_tree(tree.root()))?;
        check_sbat(name, &bytes)?;
        write_synced(&out.join(name), &bytes)?;
    }
    Ok(())
}

/// Refuses a loader that firmware has revoked or is about to revoke, by its SBAT section (`NAME,GENERATION,...`).
fn check_sbat(file: &str, bytes: &[u8]) -> Result<(), Error> {
    let Some((_, component, oldest)) = SBAT.iter().find(|(name, ..)| *name == file) else { return Ok(()) };
    let start = format!("\n{component},");
    // shim also contains the list of what it revokes itself, whose lines end after the number.
    let number = |at: usize| {
        let rest = &bytes[at + start.len()..];
        let digits: String = rest.iter().take(6).take_while(|b| b.is_ascii_digit()).map(|b| char::from(*b)).collect();
        (rest.get(digits.len()) == Some(&b',')).then_some(digits)
    };
    let digits = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(start.as_bytes())).find_map(number);
    match digits.and_then(|d| d.parse::<u32>().ok()) {
        Some(generation) if generation >= *oldest => Ok(()),
        Some(old) => Err(Error::Content(format!(
            "{file} has SBAT generation {old}, at least {oldest} is required: update the snapshot's packages"
        ))),
        None => Err(Error::Content(format!("{file} has no SBAT generation for {component}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hole_8_loaders_of_revoked_generations_are_refused() {
        let sbat = |line: &str| format!("MZ..\0sbat,1,SBAT Version,sbat,1,x\n{line}\n\0\0").into_bytes();
        let judge = |file, line: &str| check_sbat(file, &sbat(line)).map_err(|e| e.to_string());
        for (generation, good) in [(3, false), (4, true), (5, true)] {
            assert_eq!(judge("shimx64.efi", &format!("shim,{generation},UEFI shim,shim,1,x")).is_ok(), good, "{generation}");
        }
        assert!(judge("grubx64.efi", "grub,4,x").unwrap_err().contains("at least 5"));
        assert!(judge("grubx64.efi", "grub,5,x").is_ok() && judge("grubx64.efi", "grub,x").is_err());
        assert!(judge("shimx64.efi", "grub,5,x").unwrap_err().contains("no SBAT"));
        assert!(judge("snponly.efi", "").is_ok(), "iPXE is not signed");
    }
}
