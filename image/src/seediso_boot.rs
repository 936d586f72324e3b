//! How a seed medium boots: GRUB's texts, and the arguments that make one image a CD and a stick.
//!
//! The partition table is an MBR, not a GPT: partition 1 is the ISO itself (from sector 64, so that nothing begins at
//! sector 0), partition 2 the ESP behind it, and the rest of the stick stays free for a third. A GPT would have its
//! second table at the end of the *image*, so the first program that adds a partition on the larger stick would have to
//! move it, and a power cut in between leaves two tables that disagree. In an MBR the same change is one sector. Every
//! UEFI accepts it (UEFI 2.10, 5.2.1: type 0xEF), BIOS wants it, and its limit of 2 TiB is far from a stick's size.
//! Whoever adds the partition: docs/adr/0006-seed-medium.md.

use cluster_seed::ids::Digest;
use cluster_seed::medium::{PARAMETER, VOLUME};

use crate::esp;

const MIB: u64 = 1 << 20;
/// ESP of the medium: FAT16 with clusters of 1 KiB needs more than 4085 of them.
pub(crate) const ESP: esp::Kind = esp::Kind { fat: "16", cluster: "2", size: 8 * MIB };
/// BIOS loader on the medium.
pub(crate) const ELTORITO: &str = "boot/grub/eltorito.img";
/// Linked into it: it may be read from a CD or a disk, by a BIOS that shows either.
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

/// Empty file whose name tells this medium from another one in the same machine.
pub(crate) fn mark(id: Digest) -> String {
    format!("boot/grub/{}.id", id.short())
}

/// `boot/grub/grub.cfg` of the medium. `key` is the maker's, in hex. Consoles are named so that both have what the kernel
/// says; the last one is also /dev/console.
pub(crate) fn menu(key: &str, version: &str, id: Digest) -> String {
    let entry = |title: &str, parameters: &str| {
        format!(
            "menuentry '{title}' {{
    linux /boot/vmlinuz {PARAMETER}={key} panic=30 systemd.gpt_auto=no {parameters}
    initrd /boot/initrd.img
}}
"
        )
    };
    let both = "console=tty0 console=ttyS0,115200n8";
    let mut text = "# Written at image build.
set timeout=5
set default=0
# UEFI shows its consoles, serial ones included, as one.
if [ \"$grub_platform\" = pc ]; then
    if serial --unit=0 --speed=115200; then
        terminal_input console serial
        terminal_output console serial
    fi
fi
"
    .to_owned();
    text.push_str(&format!("echo 'Kubedos seed {version}, medium {}'\n", id.short()));
    text.push_str(&entry("Kubedos seed", both));
    text.push_str(&entry("Kubedos seed, serial port only", "console=ttyS0,115200n8"));
    text.push_str(&entry("Kubedos seed, screen only", "console=tty0"));
    text.push_str(&entry("Kubedos seed, state in memory (lost at power-off)", &format!("{both} kubedos.state=ram")));
    text.push_str("menuentry 'Restart' {\n    reboot\n}\nmenuentry 'Power off' {\n    halt\n}\n");
    text
}

/// `EFI/debian/grub.cfg`, where the signed GRUB looks, on the ESP and again in the ISO: started from a CD it sees the
/// latter. Finds the medium it came from, first on its own disk.
pub(crate) fn stub(id: Digest) -> String {
    let mark = mark(id);
    format!(
        "# Written at image build.
set disk=\"$root\"
regexp --set=1:disk '^([^,]+),' \"$root\"
search --no-floppy --file --set=root --hint=\"$disk\" /{mark}
if [ ! -f ($root)/{mark} ]; then
    echo 'Kubedos: the medium this was started from is not readable.'
    sleep 60
    exit
fi
set prefix=($root)/boot/grub
configfile ($root)/boot/grub/grub.cfg
"
    )
}

/// Arguments of xorriso's mkisofs for `work/iso` and `work/esp.img`. `date` is `YYYYMMDDhhmmsscc`: every time in the
/// image, and by that GRUB's idea of its UUID. Files with the same inode are stored once anyway; `--hardlinks` would also
/// record when the image was made.
pub(crate) fn xorriso(date: &str) -> Vec<String> {
    let words = format!(
        "xorriso -as mkisofs -quiet -V {VOLUME} -o /work/out.iso -iso-level 3 -r -D \
         --modification-date={date} --set_all_file_dates {date} -partition_offset 16 \
         -c boot/boot.cat -b {ELTORITO} -no-emul-boot -boot-load-size 4 -boot-info-table --grub2-boot-info \
         --grub2-mbr /usr/lib/grub/i386-pc/boot_hybrid.img -iso_mbr_part_type 0x83 --mbr-force-bootable \
         -append_partition 2 0xef /work/esp.img \
         -eltorito-alt-boot -e --interval:appended_partition_2:all:: -no-emul-boot /work/iso"
    );
    words.split_ascii_whitespace().map(str::to_owned).collect()
}

/// Seconds since 1970 as `YYYYMMDDhhmmsscc`, UTC.
pub(crate) fn iso_date(seconds: u64) -> String {
    // Civil from days (Howard Hinnant, chrono-compatible low-level date algorithms).
    let z = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (seconds % 86_400 / 3600, seconds % 3600 / 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}00")
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
            assert_eq!(iso_date(seconds), text);
        }
    }

    #[test]
    fn every_entry_trusts_the_maker_and_the_first_uses_both_consoles() {
        let key = "ab".repeat(32);
        let text = menu(&key, "1.2.3", Digest::of(b"x"));
        let lines: Vec<&str> = text.lines().filter(|l| l.trim_start().starts_with("linux ")).collect();
        assert_eq!(lines.len(), 4);
        assert!(lines.iter().all(|l| l.contains(&format!(" kubedos.medium={key} "))));
        assert!(lines[0].ends_with("console=tty0 console=ttyS0,115200n8"));
        assert!(!lines[1].contains("tty0") && !lines[2].contains("ttyS0"));
        assert!(lines[3].ends_with(" kubedos.state=ram"));
        assert!(text.contains("set timeout=5\nset default=0\n"));
        // A quote would end a title.
        assert!(text.lines().all(|l| l.matches('\'').count().is_multiple_of(2)));
    }

    #[test]
    fn the_stub_finds_the_medium_by_its_mark() {
        let id = Digest::of(b"x");
        assert!(stub(id).contains(&format!("--hint=\"$disk\" /boot/grub/{}.id\n", id.short())));
        assert_ne!(stub(id), stub(Digest::of(b"y")));
    }

    #[test]
    fn the_medium_is_made_the_same_way_every_time() {
        let words = xorriso("2025111510000000");
        let after = |option: &str| words.iter().skip_while(|w| *w != option).nth(1).cloned().unwrap_or_default();
        assert_eq!((after("-V").as_str(), after("-b").as_str()), ("KUBEDOS", ELTORITO));
        assert_eq!(after("--set_all_file_dates"), "2025111510000000");
        assert_eq!(after("-append_partition"), "2");
        assert!(words.iter().any(|w| w == "--modification-date=2025111510000000"));
    }
}
