use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::atomic::{AtomicU64, Ordering};

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::progress::Quiet;

use super::*;

fn image(len: usize) -> Vec<u8> {
    (0..len as u64).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8 | 1).collect()
}

struct Target {
    _dir: tempfile::TempDir,
    path: Utf8PathBuf,
}

impl Target {
    /// A file full of ones, as a stick with something on it.
    fn new(size: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("stick");
        std::fs::write(&path, vec![1u8; size]).unwrap();
        Target { _dir: dir, path }
    }

    fn copy_with(&self, bytes: &[u8], len: u64, progress: &dyn Progress) -> Result<Digest, CopyError> {
        let write = File::options().write(true).open(&self.path).unwrap();
        let direct = File::options().read(true).custom_flags(nix::libc::O_DIRECT).open(&self.path);
        let read = direct.or_else(|_| File::open(&self.path)).unwrap();
        let size = write.metadata().unwrap().len().max(len);
        copy(&mut &bytes[..], len, &Device { write: &write, read: &read, size }, progress)
    }

    fn copy(&self, bytes: &[u8]) -> Result<Digest, CopyError> {
        self.copy_with(bytes, bytes.len() as u64, &Quiet)
    }

    fn first(&self) -> Vec<u8> {
        let bytes = std::fs::read(&self.path).unwrap();
        bytes[..bytes.len().min(FIRST)].to_vec()
    }
}

/// Does something once so many bytes of a step are done.
struct At<'a> {
    step: &'static str,
    bytes: u64,
    act: &'a (dyn Fn() -> bool + Send + Sync),
    now: std::sync::Mutex<String>,
    done: AtomicU64,
    stop: std::sync::atomic::AtomicBool,
}

impl<'a> At<'a> {
    fn new(step: &'static str, bytes: u64, act: &'a (dyn Fn() -> bool + Send + Sync)) -> Self {
        At { step, bytes, act, now: Default::default(), done: AtomicU64::new(0), stop: Default::default() }
    }
}

impl Progress for At<'_> {
    fn begin(&self, step: &str, _total: Option<u64>) {
        *self.now.lock().unwrap() = step.to_owned();
    }
    fn advance(&self, n: u64) {
        if *self.now.lock().unwrap() == self.step {
            let before = self.done.fetch_add(n, Ordering::SeqCst);
            if before < self.bytes && before + n >= self.bytes {
                self.stop.store((self.act)(), Ordering::SeqCst);
            }
        }
    }
    fn end(&self) {}
    fn say(&self, _line: &str) {}
    fn cancelled(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

#[test]
fn every_length_arrives_whole() {
    for len in [1, 511, 4096, FIRST - 1, FIRST, FIRST + 1, FIRST + PIECE, FIRST + PIECE + 513, 10 << 20] {
        let (image, target) = (image(len), Target::new(16 << 20));
        assert_eq!(target.copy(&image).unwrap(), Digest::of(&image), "{len}");
        let bytes = std::fs::read(&target.path).unwrap();
        assert_eq!(bytes.len(), 16 << 20);
        assert!(bytes[..len] == image[..], "{len}");
        // The rest is as it was, but for the end, where an old partition table has its second copy.
        assert!(bytes[len.max(FIRST)..15 << 20].iter().all(|b| *b == 1), "{len}");
        assert!(bytes[15 << 20..].iter().all(|b| *b == 0), "{len}");
    }
}

#[test]
fn an_image_that_fills_the_device_or_grows_a_file() {
    let image = image((5 << 20) + 100);
    for size in [image.len(), 0] {
        let target = Target::new(size);
        target.copy(&image).unwrap();
        assert!(std::fs::read(&target.path).unwrap() == image);
    }
}

#[test]
fn stopped_at_any_moment_it_does_not_boot() {
    let image = image(12 << 20);
    for (step, bytes) in [("write", 1), ("write", 6 << 20), ("verify", 1), ("verify", 9 << 20)] {
        let target = Target::new(16 << 20);
        let progress = At::new(step, bytes, &|| true);
        let result = target.copy_with(&image, image.len() as u64, &progress);
        assert!(matches!(result, Err(CopyError::Stopped)), "{step} {bytes}: {result:?}");
        assert!(target.first().iter().all(|b| *b == 0), "{step} {bytes}");
    }
}

#[test]
fn a_device_that_lies_is_found_out() {
    let image = image(12 << 20);
    type Lie = (&'static str, fn(&File));
    let lies: [Lie; 3] = [
        ("it forgets its end", |f| f.set_len(6 << 20).unwrap()),
        ("it writes one byte wrong", |f| f.write_all_at(&[0], (7 << 20) + 5).unwrap()),
        ("it has less room than it says, and begins anew", |f| f.write_all_at(&[9; 4096], 2 << 20).unwrap()),
    ];
    for (what, lie) in lies {
        let target = Target::new(16 << 20);
        let act = || {
            let file = File::options().write(true).open(&target.path).unwrap();
            lie(&file);
            file.sync_all().unwrap();
            false
        };
        let progress = At::new("write", 11 << 20, &act);
        let result = target.copy_with(&image, image.len() as u64, &progress);
        assert!(matches!(result, Err(CopyError::Differs { .. })), "{what}: {result:?}");
        assert!(target.first().iter().all(|b| *b == 0), "{what}: it must not boot");
    }
}

#[test]
fn a_full_device_and_a_short_image() {
    let image = image(3 << 20);
    let full = File::options().read(true).write(true).open("/dev/full").unwrap();
    let result = copy(&mut &image[..], image.len() as u64, &Device { write: &full, read: &full, size: 3 << 20 }, &Quiet);
    match result {
        Err(CopyError::Write { at: 0, source }) => assert_eq!(source.kind(), io::ErrorKind::StorageFull),
        other => panic!("{other:?}"),
    }
    let target = Target::new(8 << 20);
    let result = target.copy_with(&image, (4 << 20) + 1, &Quiet);
    assert!(matches!(result, Err(CopyError::Image { .. })), "{result:?}");
    assert!(target.first().iter().all(|b| *b == 0));
    // Nothing of the image can be read: nothing of the device is touched.
    let target = Target::new(2 << 20);
    assert!(matches!(target.copy_with(&[], 1 << 20, &Quiet), Err(CopyError::Image { at: 0, .. })));
    assert!(target.first().iter().all(|b| *b == 1));
}
