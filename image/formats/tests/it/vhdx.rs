use std::io::{Read as _, Seek as _, SeekFrom};

use camino::Utf8Path;
use formats::vhdx::{Ids, Options, write};
use formats::{Conversion, Error, Uuid, Written};
use proptest::prelude::*;

use crate::bench::{Content, Folder, Image, MIB, check, compare, images, qemu_img, sample, write_twice};

fn options(virtual_size: Option<u64>) -> Options {
    let ids = Ids { disk: Uuid::from_u128(1), file_write: Uuid::from_u128(2), data_write: Uuid::from_u128(3) };
    Options { ids, virtual_size }
}

fn checked(folder: &Folder, raw: &Utf8Path, virtual_size: Option<u64>) -> Written {
    let (out, written) = write_twice(folder, raw, "disk.vhdx", &|c| write(c, &options(virtual_size)));
    check("vhdx", &out, written.capacity);
    compare(raw, "vhdx", &out);
    written
}

#[test]
fn qemu_reads_the_image_and_finds_no_error() {
    let folder = Folder::new();
    let raw = folder.raw("disk.raw", &sample());
    // Five blocks of 1 MiB, of which the fourth contains only a hole; 4 MiB before them.
    assert_eq!(checked(&folder, &raw, None), Written { size: 8 * MIB, capacity: 9777 * 512 });
}

#[test]
fn the_virtual_size_may_be_larger() {
    let folder = Folder::new();
    let raw = folder.raw("disk.raw", &sample());
    for size in [9778 * 512, 200 * MIB + 512] {
        assert_eq!(checked(&folder, &raw, Some(size)).capacity, size);
    }
    // QEMU compares a VHDX by reading all of it: here, only what its tables say.
    let out = folder.path("disk.vhdx");
    let conversion = Conversion { raw: &raw, out: &out, progress: &cluster_seed::progress::Quiet };
    for size in [4 << 30, (4 << 30) + 512, (300 << 30) + 512, 3 << 40, 64 << 40] {
        assert_eq!(write(&conversion, &options(Some(size))).unwrap().capacity, size);
        check("vhdx", &out, size);
    }
    assert!(matches!(write(&conversion, &options(Some((64 << 40) + 512))), Err(Error::TooLarge { .. })));
}

#[test]
fn blocks_after_the_first_bitmap_are_found() {
    let folder = Folder::new();
    let border = (4 << 30) / 512;
    let extents = vec![(0, 1, Content::Text), (border - 3, 6, Content::Noise), (border + 7000, 1, Content::Text)];
    let raw = folder.raw("disk.raw", &Image { sectors: border + 8000, extents });
    let out = folder.path("disk.vhdx");
    let progress = &cluster_seed::progress::Quiet;
    let written = write(&Conversion { raw: &raw, out: &out, progress }, &options(None)).unwrap();
    check("vhdx", &out, written.capacity);
    // From the last block before the border: QEMU would compare by reading all of it.
    let part = folder.path("part.raw");
    let (from, to) = (format!("if={out}"), format!("of={part}"));
    if qemu_img(&["dd", "-f", "vhdx", "-O", "raw", "bs=1M", "skip=4095", &from, &to]).is_some() {
        let mut expected = Vec::new();
        let mut file = std::fs::File::open(&raw).unwrap();
        file.seek(SeekFrom::Start(4095 * MIB)).unwrap();
        file.read_to_end(&mut expected).unwrap();
        assert!(expected.len() as u64 == MIB + 8000 * 512 && std::fs::read(&part).unwrap() == expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(8) })]

    #[test]
    fn any_image_is_read_back(image in images()) {
        let folder = Folder::new();
        let raw = folder.raw("disk.raw", &image);
        checked(&folder, &raw, None);
    }
}
