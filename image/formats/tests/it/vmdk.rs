use camino::Utf8Path;
use formats::vmdk::{Options, write};
use formats::{Conversion, Error, Written};
use proptest::prelude::*;

use crate::bench::{Content, Folder, Image, MIB, check, compare, images, qemu_img, run, sample, write_twice};

const GRAIN: u64 = 64 << 10;

fn options(virtual_size: Option<u64>) -> Options<'static> {
    Options { name: "disk.vmdk", content_id: 0x0011_2233_4455_6677_8899_aabb_1234_5678, hardware: 13, virtual_size }
}

fn checked(folder: &Folder, raw: &Utf8Path, virtual_size: Option<u64>) -> Written {
    let (out, written) = write_twice(folder, raw, "disk.vmdk", &|c| write(c, &options(virtual_size)));
    check("vmdk", &out, written.capacity);
    compare(raw, "vmdk", &out);
    written
}

#[test]
fn qemu_reads_the_image() {
    let folder = Folder::new();
    let raw = folder.raw("disk.raw", &sample());
    let written = checked(&folder, &raw, None);
    assert_eq!(written.capacity, (9777_u64 * 512).next_multiple_of(GRAIN));
    let Some(info) = qemu_img(&["info", folder.path("disk.vmdk").as_str()]) else { return };
    for expected in ["cid: 305419896", "create type: streamOptimized", "compressed: true"] {
        assert!(info.contains(expected), "{expected}: {info}");
    }
}

#[test]
fn libvmdk_reads_the_descriptor() {
    let folder = Folder::new();
    let raw = folder.raw("disk.raw", &sample());
    let written = checked(&folder, &raw, None);
    let Some((good, info)) = run("vmdkinfo", &[folder.path("disk.vmdk").as_str()]) else {
        return kubedos_skip::skip("vmdkinfo", "is not installed (libvmdk-utils)");
    };
    assert!(good, "{info}");
    let size = format!("({} bytes)", written.capacity);
    for expected in ["Stream optimized", "0x12345678", &size, "disk.vmdk"] {
        assert!(info.contains(expected), "{expected}: {info}");
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// Reads the stream from marker to marker, as ESXi does while it is uploaded: the grains' sectors in the file by their sector of
/// the disk, and the kinds of markers in between.
fn walk(file: &[u8]) -> (Vec<(u64, u32)>, Vec<u32>) {
    let (mut grains, mut kinds, mut at) = (Vec::new(), Vec::new(), 128 * 512);
    while at < file.len() {
        let (value, size) = (u64_at(file, at), u32_at(file, at + 8));
        if size > 0 {
            grains.push((value, (at / 512) as u32));
            at = (at + 12 + size as usize).next_multiple_of(512);
        } else {
            kinds.push(u32_at(file, at + 12));
            at += 512 + value as usize * 512;
        }
    }
    assert_eq!(at, file.len(), "the stream ends at a marker");
    (grains, kinds)
}

#[test]
fn the_stream_has_its_markers_and_the_footer_its_directory() {
    let folder = Folder::new();
    // Grain tables cover 32 MiB: data in the first, none in the second, data in the third.
    let extents = vec![(0, 300, Content::Text), (64 * MIB / 512 + 128, 1, Content::Noise)];
    let raw = folder.raw("disk.raw", &Image { sectors: 100 * MIB / 512, extents });
    let written = checked(&folder, &raw, Some(200 * MIB));
    assert_eq!(written.capacity, 200 * MIB);
    let file = std::fs::read(folder.path("disk.vmdk")).unwrap();
    let (grains, kinds) = walk(&file);
    assert_eq!(grains.iter().map(|g| g.0).collect::<Vec<_>>(), [0, 128, 256, 64 * MIB / 512 + 128]);
    // Two grain tables, the directory, the footer, the end of the stream.
    assert_eq!(kinds, [1, 1, 2, 3, 0]);
    // Magic, version 3, flags; the directory is at the end.
    assert_eq!((&file[..4], u32_at(&file, 4), u32_at(&file, 8), u64_at(&file, 56)), (&b"KDMV"[..], 3, 0x30001, u64::MAX));
    let footer = &file[file.len() - 1024..file.len() - 512];
    assert_eq!((&footer[..56], &footer[64..]), (&file[..56], &file[64..512]));
    let directory = u64_at(footer, 56) as usize * 512;
    let tables: Vec<u32> = (0..7).map(|n| u32_at(&file, directory + n * 4)).collect();
    assert_eq!((tables[1], &tables[3..]), (0, &[0; 4][..]));
    let entry = |table: u32, n: usize| u32_at(&file, table as usize * 512 + n * 4);
    assert_eq!([entry(tables[0], 0), entry(tables[0], 2), entry(tables[2], 1)], [grains[0].1, grains[2].1, grains[3].1]);
    assert_eq!((entry(tables[0], 3), entry(tables[2], 0)), (0, 0));
}

#[test]
fn the_descriptor_has_what_esxi_asks_for() {
    let folder = Folder::new();
    checked(&folder, &folder.raw("disk.raw", &sample()), None);
    let file = std::fs::read(folder.path("disk.vmdk")).unwrap();
    let descriptor = String::from_utf8(file[512..21 * 512].to_vec()).unwrap();
    for line in [
        "CID=12345678",
        "parentCID=ffffffff",
        "createType=\"streamOptimized\"",
        "RW 9856 SPARSE \"disk.vmdk\"",
        "ddb.adapterType = \"lsilogic\"",
        "ddb.longContentID = \"00112233445566778899aabb12345678\"",
        "ddb.toolsVersion = \"2147483647\"",
        "ddb.virtualHWVersion = \"13\"",
    ] {
        assert!(descriptor.lines().any(|l| l == line), "{line}\n{descriptor}");
    }
}

#[test]
fn names_and_content_ids_that_break_the_descriptor_are_refused() {
    let folder = Folder::new();
    let raw = folder.raw("disk.raw", &sample());
    let refused = |options: Options<'_>| {
        let progress = &cluster_seed::progress::Quiet;
        write(&Conversion { raw: &raw, out: &folder.path("no"), progress }, &options).unwrap_err()
    };
    for name in ["", "a\"b", "a\nb", ".hidden", "a/b", "käse", &"x".repeat(81)] {
        assert!(matches!(refused(Options { name, ..options(None) }), Error::Value { .. }), "{name:?}");
    }
    for content_id in [0xffff_ffff, 0xffff_fffe] {
        assert!(matches!(refused(Options { content_id, ..options(None) }), Error::Value { .. }));
    }
    assert!(matches!(refused(options(Some((62 << 40) + 512))), Error::TooLarge { .. }));
    assert_eq!(folder.names(), ["disk.raw"]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(12) })]

    #[test]
    fn any_image_is_read_back(image in images()) {
        let folder = Folder::new();
        let raw = folder.raw("disk.raw", &image);
        checked(&folder, &raw, None);
    }
}
