use camino::Utf8Path;
use formats::qcow2::{Compression, Options, write};
use formats::{Error, Written};
use proptest::prelude::*;

use crate::bench::{Content, Folder, Image, MIB, check, compare, images, qemu_img, sample, write_twice};

const BOTH: [Compression; 2] = [Compression::Zlib, Compression::Zstd];

fn checked(folder: &Folder, raw: &Utf8Path, compression: Compression, virtual_size: Option<u64>) -> Written {
    let options = Options { compression, virtual_size };
    let (out, written) = write_twice(folder, raw, "disk.qcow2", &|c| write(c, &options));
    check("qcow2", &out, written.capacity);
    compare(raw, "qcow2", &out);
    written
}

#[test]
fn qemu_reads_the_image_and_finds_no_error() {
    let folder = Folder::new();
    let raw = folder.raw("disk.raw", &sample());
    for compression in BOTH {
        let written = checked(&folder, &raw, compression, None);
        assert_eq!(written.capacity, 9777 * 512);
        assert!(written.size < 3 * MIB, "{compression:?}: {}", written.size);
        let info = qemu_img(&["info", folder.path("disk.qcow2").as_str()]).unwrap_or_default();
        let expected = format!("compression type: {}", format!("{compression:?}").to_lowercase());
        assert!(info.is_empty() || info.contains(&expected) && info.contains("corrupt: false"), "{info}");
    }
}

#[test]
fn the_virtual_size_may_be_larger_but_not_smaller() {
    let folder = Folder::new();
    let raw = folder.raw("disk.raw", &sample());
    // The last one has many L1 tables' entries without an L2 table.
    for size in [9777 * 512, 9778 * 512, 512 * MIB, 512 * MIB + 512, 3 << 40] {
        assert_eq!(checked(&folder, &raw, Compression::Zlib, Some(size)).capacity, size);
    }
    let refused = |size: u64| {
        let options = Options { compression: Compression::Zlib, virtual_size: Some(size) };
        let progress = &cluster_seed::progress::Quiet;
        write(&formats::Conversion { raw: &raw, out: &folder.path("no"), progress }, &options).unwrap_err()
    };
    assert!(matches!(refused(9776 * 512), Error::Shrink { .. }));
    assert!(matches!(refused(9777 * 512 + 1), Error::Unaligned { .. }));
    assert!(matches!(refused((2 << 50) + 512), Error::TooLarge { .. }));
    assert!(!folder.path("no").exists());
}

#[test]
fn data_beyond_one_l2_table_and_one_refcount_block() {
    let folder = Folder::new();
    // An L2 table covers 512 MiB: data before, across and far after a border.
    let border = 512 * MIB / 512;
    let extents = vec![
        (0, 3, Content::Text),
        (border - 200, 400, Content::Noise),
        (3 * border, 1, Content::Text),
        (5 * border - 1, 1, Content::Noise),
    ];
    let raw = folder.raw("disk.raw", &Image { sectors: 5 * border, extents });
    let options = Options { compression: Compression::Zlib, virtual_size: None };
    let out = folder.path("disk.qcow2");
    write(&formats::Conversion { raw: &raw, out: &out, progress: &cluster_seed::progress::Quiet }, &options).unwrap();
    check("qcow2", &out, 2560 * MIB);
    compare(&raw, "qcow2", &out);
}

#[test]
fn an_image_of_holes_has_only_tables() {
    let folder = Folder::new();
    let raw = folder.raw("disk.raw", &Image { sectors: 300_000, extents: vec![] });
    // Header, L1 table, refcount block, refcount table.
    assert_eq!(checked(&folder, &raw, Compression::Zstd, None).size, 4 << 16);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(12) })]

    #[test]
    fn any_image_is_read_back(image in images(), zstd in any::<bool>()) {
        let folder = Folder::new();
        let raw = folder.raw("disk.raw", &image);
        checked(&folder, &raw, BOTH[usize::from(zstd)], None);
    }
}
