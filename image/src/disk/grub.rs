//! Installing GRUB for BIOS as `grub-bios-setup` would, and the configuration of GRUB on the ESP.
//!
//! Offsets are those of GRUB 2's include/grub/i386/pc/boot.h and include/grub/offsets.h.

use super::{Extent, SECTOR};

/// boot.img: first sector of the core image, 64 bits.
const KERNEL_SECTOR: usize = 0x5c;
/// boot.img: the jump that trusts the drive number from the BIOS; with two NOPs in its place the number is checked.
const DRIVE_CHECK: usize = 0x66;
const NOP: u8 = 0x90;
/// boot.img: end of the code; the MBR has its disk signature and partition table from here.
const MBR_CODE: usize = 440;
/// First sector of core.img (diskboot.img): its last blocklist entry, 64-bit start, 16-bit length, 16-bit segment.
const BLOCKLIST: usize = 0x1f4;
/// Segment that the rest of the core image is loaded to: GRUB_BOOT_MACHINE_KERNEL_SEG + one sector.
const SEGMENT: u16 = 0x820;

/// Linked into the core image, which must be able to read the root partition before it can load any other module.
pub const CORE_MODULES: &[&str] = &[
    "biosdisk",
    "part_gpt",
    "ext2",
    "normal",
    "configfile",
    "linux",
    "search",
    "search_fs_uuid",
    "search_label",
    "serial",
    "terminal",
    "echo",
    "test",
    "boot",
    "minicmd",
    "regexp",
    "password_pbkdf2",
    "gcry_sha512",
];

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum GrubError {
    #[error("boot.img is not a boot sector of 512 bytes")]
    BootImage,
    #[error("core.img has {size} bytes, but its partition only {room}")]
    CoreTooLarge { size: usize, room: u64 },
    #[error("core.img does not start with the blocklist of grub-mkimage")]
    CoreImage,
}

/// Writes the boot code into the MBR, whose partition table and disk signature stay.
pub fn patch_boot(mbr: &mut [u8; 512], boot: &[u8], core: Extent) -> Result<(), GrubError> {
    if boot.len() != 512 || boot[510..] != [0x55, 0xaa] {
        return Err(GrubError::BootImage);
    }
    mbr[..MBR_CODE].copy_from_slice(&boot[..MBR_CODE]);
    mbr[KERNEL_SECTOR..KERNEL_SECTOR + 8].copy_from_slice(&core.first_sector().to_le_bytes());
    mbr[DRIVE_CHECK..DRIVE_CHECK + 2].fill(NOP);
    mbr[510..].copy_from_slice(&[0x55, 0xaa]);
    Ok(())
}

/// The core image for the BIOS boot partition: its first sector says where the others are.
pub fn patch_core(core: &[u8], partition: Extent) -> Result<Vec<u8>, GrubError> {
    if core.len() < 2 * SECTOR as usize {
        return Err(GrubError::CoreImage);
    }
    if core.len() as u64 > partition.size {
        return Err(GrubError::CoreTooLarge { size: core.len(), room: partition.size });
    }
    let mut out = core.to_vec();
    out.resize(core.len().next_multiple_of(SECTOR as usize), 0);
    if out[BLOCKLIST + 10..BLOCKLIST + 12] != SEGMENT.to_le_bytes() {
        return Err(GrubError::CoreImage);
    }
    let rest = u16::try_from(out.len() as u64 / SECTOR - 1)
        .map_err(|_| GrubError::CoreTooLarge { size: core.len(), room: partition.size })?;
    out[BLOCKLIST..BLOCKLIST + 8].copy_from_slice(&(partition.first_sector() + 1).to_le_bytes());
    out[BLOCKLIST + 8..BLOCKLIST + 10].copy_from_slice(&rest.to_le_bytes());
    Ok(out)
}

/// `EFI/debian/grub.cfg` of the ESP: finds the root file system, on its own disk first.
pub fn esp_config(root_uuid: &str, root_number: u32) -> String {
    format!(
        "# Written at image build.
regexp --set=1:disk '^([^,]+),' \"$root\"
search --no-floppy --fs-uuid --set=root --hint=$disk,gpt{root_number} {root_uuid}
set prefix=($root)/boot/grub
configfile ($root)/boot/grub/grub.cfg
"
    )
}

#[cfg(test)]
mod tests {
    use cluster_seed::ids::Digest;

    use super::*;

    const PARTITION: Extent = Extent { offset: 2048 * SECTOR, size: 1 << 20 };

    fn core(len: usize) -> Vec<u8> {
        let mut core = vec![0xcc; len];
        if len >= BLOCKLIST + 12 {
            core[BLOCKLIST + 10..BLOCKLIST + 12].copy_from_slice(&SEGMENT.to_le_bytes());
        }
        core
    }

    #[test]
    fn the_configuration_on_the_esp_is_part_of_the_recipe() {
        // Other bytes here need another `RECIPE`: the artifact's id would not change.
        let digest = Digest::of(esp_config("UUID", 4).as_bytes()).to_string();
        assert_eq!(digest, "dff56c89f162f0edea82259a7cdb0824469915c2eea3abef20952dcc3814ade9");
    }

    #[test]
    fn boot_code_leaves_the_partition_table() {
        let mut boot = vec![0xaa; 512];
        boot[510..].copy_from_slice(&[0x55, 0xaa]);
        let mut mbr = [0x11; 512];
        patch_boot(&mut mbr, &boot, PARTITION).unwrap();
        assert_eq!(mbr[0x5c..0x64], [0, 8, 0, 0, 0, 0, 0, 0]);
        assert_eq!(mbr[0x66..0x68], [0x90, 0x90]);
        assert_eq!((mbr[439], mbr[440], mbr[509]), (0xaa, 0x11, 0x11));
        assert_eq!(mbr[510..], [0x55, 0xaa]);
        assert_eq!(patch_boot(&mut mbr, &boot[..511], PARTITION), Err(GrubError::BootImage));
        boot[510] = 0;
        assert_eq!(patch_boot(&mut mbr, &boot, PARTITION), Err(GrubError::BootImage));
    }

    #[test]
    fn the_core_knows_its_place() {
        let out = patch_core(&core(1025), PARTITION).unwrap();
        assert_eq!(out.len(), 1536);
        assert_eq!(out[0x1f4..0x200], [1, 8, 0, 0, 0, 0, 0, 0, 2, 0, 0x20, 8]);
    }

    #[test]
    fn sizes_at_their_limits() {
        assert_eq!(patch_core(&core(1023), PARTITION), Err(GrubError::CoreImage));
        assert!(patch_core(&core(1024), PARTITION).is_ok());
        assert!(patch_core(&core(1 << 20), PARTITION).is_ok());
        assert!(matches!(patch_core(&core((1 << 20) + 1), PARTITION), Err(GrubError::CoreTooLarge { .. })));
        assert_eq!(patch_core(&vec![0; 2048], PARTITION), Err(GrubError::CoreImage));
    }
}
