//! How a medium boots: what is common to GRUB's configurations, and the arguments that make one image bootable from CD and
//! USB stick.
//!
//! The partition table is an MBR, not a GPT: partition 1 is the ISO itself (from sector 64, so that nothing starts at
//! sector 0), partition 2 the ESP after it, and the rest of the stick is free for a third. A GPT has its backup at the end
//! of the *image*: the first program to add a partition on a larger stick would have to move it, and a power cut in between
//! would leave two tables that disagree. In an MBR the same change is one sector. Every UEFI accepts an MBR (UEFI 2.10,
//! 5.2.1: type 0xEF), BIOS needs one, and its limit of 2 TiB is far from a stick's size. What adds the partition:
//! docs/adr/0006-seed-medium.md.

use cluster_seed::ids::Digest;
use jiff::Timestamp;

use crate::disk::esp;

const MIB: u64 = 1 << 20;
/// ESP of the medium. FAT16 needs more than 4085 clusters, here of 1 KiB.
pub(crate) const ESP: esp::Kind = esp::Kind { fat: "16", cluster: "2", size: 8 * MIB };
/// Loader for BIOS on the medium.
pub(crate) const ELTORITO: &str = "boot/grub/eltorito.img";
/// Linked into the loader: a BIOS may present the medium as a CD or as a disk.
pub(crate) const CORE_MODULES: &[&str] = &[
    "biosdisk",
    "boot",
    "cat",
    "configfile",
    "echo",
    "halt",
    "help",
    "iso9660",
    "linux",
    "ls",
    "minicmd",
    "normal",
    "part_gpt",
    "part_msdos",
    "reboot",
    "regexp",
    "search",
    "search_fs_file",
    "search_label",
    "serial",
    "sleep",
    "terminal",
    "test",
    "true",
];
/// Byte offset of the disk signature in an MBR (UEFI 2.10, table 5.1).
pub(crate) const MBR_SIGNATURE: u64 = 440;

/// Empty file whose name distinguishes this medium from others in the same machine.
pub(crate) fn mark(id: Digest) -> String {
    format!("boot/grub/{}.id", id.short())
}

/// Start of a medium's `boot/grub/grub.cfg`.
pub(crate) const MENU_HEAD: &str = "# Written at image build.
set timeout=5
set default=0
# UEFI presents all its consoles, including serial ones, as one.
if [ \"$grub_platform\" = pc ]; then
    if serial --unit=0 --speed=115200; then
        terminal_input console serial
        terminal_output console serial
    fi
fi
";
/// Its last entries.
pub(crate) const MENU_END: &str = "menuentry 'Restart' {
    reboot
}
menuentry 'Power off' {
    halt
}
";

/// `EFI/debian/grub.cfg`, where the signed GRUB looks, both on the ESP and in the ISO, which it sees when started from a CD.
/// Finds the medium that GRUB was started from, on its own disk first.
pub(crate) fn stub(id: Digest) -> String {
    let mark = mark(id);
    format!(
        "# Written at image build.
set disk=\"$root\"
regexp --set=1:disk '^([^,]+),' \"$root\"
search --no-floppy --file --set=root --hint=\"$disk\" /{mark}
if [ ! -f ($root)/{mark} ]; then
    echo 'Kubedos: cannot read the medium this machine was booted from.'
    sleep 60
    exit
fi
set prefix=($root)/boot/grub
configfile ($root)/boot/grub/grub.cfg
"
    )
}

/// Arguments of xorriso's mkisofs for `work/iso` and `work/esp.img`. `volume` is the volume id, `date` is
/// `YYYYMMDDhhmmsscc`: it becomes every timestamp in the image, and so the UUID that GRUB derives. Files with the same inode are
/// stored once in any case; `--hardlinks` would also record the time of the build.
pub(crate) fn xorriso(volume: &str, date: &str) -> Vec<String> {
    let words = format!(
        "xorriso -as mkisofs -quiet -V {volume} -o /work/out.iso -iso-level 3 -r -D \
         --modification-date={date} --set_all_file_dates {date} -partition_offset 16 \
         -c boot/boot.cat -b {ELTORITO} -no-emul-boot -boot-load-size 4 -boot-info-table --grub2-boot-info \
         --grub2-mbr /usr/lib/grub/i386-pc/boot_hybrid.img -iso_mbr_part_type 0x83 --mbr-force-bootable \
         -append_partition 2 0xef /work/esp.img \
         -eltorito-alt-boot -e --interval:appended_partition_2:all:: -no-emul-boot /work/iso"
    );
    words.split_ascii_whitespace().map(str::to_owned).collect()
}

/// Seconds since 1970 as `YYYYMMDDhhmmsscc`, UTC. `None` after the year 9999.
pub(crate) fn iso_date(seconds: u64) -> Option<String> {
    let time = Timestamp::from_second(i64::try_from(seconds).ok()?).ok()?;
    Some(time.strftime("%Y%m%d%H%M%S00").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_as_xorriso_reads_them() {
        for (seconds, text) in [
            (0, "1970010100000000"),
            (951_782_399, "2000022823595900"),
            (951_782_400, "2000022900000000"),
            (1_709_251_199, "2024022923595900"),
            (1_763_200_800, "2025111510000000"),
        ] {
            assert_eq!(iso_date(seconds).as_deref(), Some(text));
        }
        assert_eq!(iso_date(253_402_300_800), None, "the year 10000");
    }

    #[test]
    fn the_stub_finds_the_medium_by_its_mark() {
        let id = Digest::of(b"x");
        assert!(stub(id).contains(&format!("--hint=\"$disk\" /boot/grub/{}.id\n", id.short())));
        assert_ne!(stub(id), stub(Digest::of(b"y")));
    }

    #[test]
    fn the_arguments_depend_only_on_volume_and_date() {
        let words = xorriso("KUBEDOS", "2025111510000000");
        let after = |option: &str| words.iter().skip_while(|w| *w != option).nth(1).cloned().unwrap_or_default();
        assert_eq!((after("-V").as_str(), after("-b").as_str()), ("KUBEDOS", ELTORITO));
        assert_eq!(after("--set_all_file_dates"), "2025111510000000");
        assert_eq!(after("-append_partition"), "2");
        assert!(words.iter().any(|w| w == "--modification-date=2025111510000000"));
    }
}
