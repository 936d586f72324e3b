//! Every writer, when it cannot finish.

use std::sync::atomic::AtomicUsize;

use camino::Utf8Path;
use formats::{Conversion, Error, Uuid, Written, qcow2, vhd, vhdx, vmdk};
use host::files::FileError;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::bench::{Content, Folder, Image, MIB, Watch, sample};

type Writer = fn(&Conversion<'_>) -> Result<Written, Error>;

const WRITERS: [(&str, Writer); 5] = [
    ("zlib", |c| qcow2::write(c, &qcow2::Options { compression: qcow2::Compression::Zlib, virtual_size: None })),
    ("zstd", |c| qcow2::write(c, &qcow2::Options { compression: qcow2::Compression::Zstd, virtual_size: None })),
    ("vmdk", |c| vmdk::write(c, &vmdk::Options { name: "disk.vmdk", content_id: 1, hardware: 13, virtual_size: None })),
    ("vhd", |c| vhd::write(c, &vhd::Options { id: Uuid::nil(), created: 0 })),
    ("vhdx", |c| {
        let ids = vhdx::Ids { disk: Uuid::nil(), file_write: Uuid::nil(), data_write: Uuid::nil() };
        vhdx::write(c, &vhdx::Options { ids, virtual_size: None })
    }),
];

/// More pieces than are worked on between two writes.
fn large() -> Image {
    Image { sectors: 40 * MIB / 512, extents: vec![(0, 40 * MIB / 512, Content::Noise)] }
}

#[test]
fn after_a_cancellation_nothing_is_left_and_an_old_file_is_kept() {
    let folder = Folder::new();
    let raw = folder.raw("disk.raw", &large());
    let out = folder.path("out");
    std::fs::write(&out, "old").unwrap();
    for (name, write) in WRITERS {
        // At the first question, after the first batches, at the last piece.
        for stop_at in [0, 20, 39] {
            let watch = Watch { stop_at: Some(stop_at), asked: AtomicUsize::new(0), ..Watch::default() };
            let result = write(&Conversion { raw: &raw, out: &out, progress: &watch });
            assert!(matches!(result, Err(Error::Cancelled)), "{name} {stop_at}: {result:?}");
            assert_eq!(folder.names(), ["disk.raw", "out"], "{name} {stop_at}");
            assert_eq!(std::fs::read(&out).unwrap(), b"old", "{name} {stop_at}");
        }
    }
}

#[test]
fn a_disk_of_holes_can_be_cancelled() {
    let folder = Folder::new();
    let raw = folder.raw("disk.raw", &Image { sectors: 100_000, extents: vec![] });
    let watch = Watch { stop_at: Some(0), ..Watch::default() };
    let result = WRITERS[0].1(&Conversion { raw: &raw, out: &folder.path("out"), progress: &watch });
    assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
    assert_eq!(folder.names(), ["disk.raw"]);
}

/// Calls `test` on a thread with a file system of `size` bytes on `path`, which nobody else sees.
fn on_a_small_disk(path: &Utf8Path, size: u64, test: impl FnOnce() + Send) {
    let mounted = || -> nix::Result<()> {
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS)?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
        mount(Some("tmpfs"), path.as_std_path(), Some("tmpfs"), MsFlags::empty(), Some(format!("size={size}").as_str()))
    };
    std::thread::scope(|scope| {
        scope.spawn(|| match mounted() {
            Ok(()) => test(),
            Err(errno) => kubedos_skip::skip("root", format!("is needed to mount a small file system: {errno}")),
        });
    });
}

#[test]
fn a_full_disk_is_named_and_nothing_is_left() {
    let folder = Folder::new();
    let raw = folder.raw("disk.raw", &large());
    let small = folder.path("small");
    std::fs::create_dir(&small).unwrap();
    on_a_small_disk(&small, 8 * MIB, || {
        for (name, write) in WRITERS {
            let out = small.join("out");
            let error = write(&Conversion { raw: &raw, out: &out, progress: &Watch::default() }).unwrap_err();
            assert!(matches!(&error, Error::File(FileError::Full { path, .. }) if *path == out), "{name}: {error:?}");
            assert!(error.hint().is_some_and(|hint| hint.contains("free some disk space")), "{name}");
            assert_eq!(std::fs::read_dir(&small).unwrap().count(), 0, "{name}");
        }
    });
}

#[test]
fn files_that_are_no_disk_image_are_refused() {
    let folder = Folder::new();
    let out = folder.path("out");
    for (name, write) in WRITERS {
        for (size, good) in [(0, false), (511, false), (512, true), (513, false)] {
            let raw = folder.path("disk.raw");
            std::fs::write(&raw, vec![1; size]).unwrap();
            let result = write(&Conversion { raw: &raw, out: &out, progress: &Watch::default() });
            match result {
                Ok(_) => assert!(good, "{name} {size}"),
                Err(Error::Source { size: found, .. }) => assert!(!good && found == size as u64, "{name} {size}"),
                Err(e) => panic!("{name} {size}: {e:?}"),
            }
        }
        let missing = folder.path("missing");
        let result = write(&Conversion { raw: &missing, out: &out, progress: &Watch::default() });
        assert!(matches!(result, Err(Error::File(FileError::Io { .. }))), "{name}: {result:?}");
    }
}

#[test]
fn the_file_can_be_read_by_everyone_and_replaces_an_older_one() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    let raw = folder.raw("disk.raw", &sample());
    let out = folder.path("out");
    for (name, write) in WRITERS {
        write(&Conversion { raw: &raw, out: &out, progress: &Watch::default() }).unwrap();
        assert_eq!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o444, 0o444, "{name}");
    }
    assert_eq!(folder.names(), ["disk.raw", "out"]);
}
