use std::os::unix::fs::MetadataExt as _;

use camino::Utf8Path;
use formats::vhd::{Options, write};
use formats::{Uuid, Written};
use proptest::prelude::*;

use crate::bench::{Content, Folder, Image, MIB, check, compare, images, sample, write_twice};

fn checked(folder: &Folder, raw: &Utf8Path) -> Written {
    let options = Options { id: Uuid::from_u128(0x1234), created: 1_700_000_000 };
    let (out, written) = write_twice(folder, raw, "disk.vhd", &|c| write(c, &options));
    assert_eq!((written.capacity % MIB, written.size), (0, written.capacity + 512));
    check("vpc", &out, written.capacity);
    compare(raw, "vpc", &out);
    written
}

#[test]
fn qemu_reads_the_image_with_its_exact_size() {
    let folder = Folder::new();
    let raw = folder.raw("disk.raw", &sample());
    assert_eq!(checked(&folder, &raw).capacity, 5 * MIB);
    let file = std::fs::read(folder.path("disk.vhd")).unwrap();
    assert_eq!(&file[file.len() - 512..][..8], b"conectix");
}

#[test]
fn holes_stay_holes() {
    let folder = Folder::new();
    let extents = vec![(0, 8, Content::Text), (1000, 100_000, Content::Zeros), (150_000, 1, Content::Text)];
    let raw = folder.raw("disk.raw", &Image { sectors: 200_000, extents });
    let written = checked(&folder, &raw);
    let stored = std::fs::metadata(folder.path("disk.vhd")).unwrap().blocks() * 512;
    assert!(stored < MIB, "{stored} of {} bytes are stored", written.size);
}

#[test]
fn the_size_is_filled_up_to_whole_mib() {
    let folder = Folder::new();
    for (sectors, mib) in [(1, 1), (2047, 1), (2048, 1), (2049, 2)] {
        let raw = folder.raw("disk.raw", &Image { sectors, extents: vec![(0, sectors, Content::Noise)] });
        assert_eq!(checked(&folder, &raw).capacity, mib * MIB);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(8) })]

    #[test]
    fn any_image_is_read_back(image in images()) {
        let folder = Folder::new();
        let raw = folder.raw("disk.raw", &image);
        checked(&folder, &raw);
    }
}
