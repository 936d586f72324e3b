//! Raw images, and the programs that check what was made of them.

use std::os::unix::fs::FileExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::progress::Progress;
use formats::{Conversion, Error, Written};
use proptest::prelude::*;

pub const MIB: u64 = 1 << 20;

/// What an extent of an image contains.
#[derive(Debug, Clone, Copy)]
pub enum Content {
    Noise,
    Text,
    Zeros,
    Hole,
}

/// An image: its size in sectors and extents (first sector, sectors, content), of which later ones overwrite earlier ones.
#[derive(Debug, Clone)]
pub struct Image {
    pub sectors: u64,
    pub extents: Vec<(u64, u64, Content)>,
}

pub fn images() -> impl Strategy<Value = Image> {
    let content = prop_oneof![Just(Content::Noise), Just(Content::Text), Just(Content::Zeros), Just(Content::Hole)];
    let extent = (0..20_000_u64, 1..5000_u64, content);
    (1..20_000_u64, prop::collection::vec(extent, 0..12)).prop_map(|(sectors, extents)| Image { sectors, extents })
}

/// Several pieces, extents across their borders, data in the last sector, and a last cluster that is not full.
pub fn sample() -> Image {
    let extents = vec![
        (0, 40, Content::Text),
        (100, 300, Content::Noise),
        (1000, 2200, Content::Text),
        (2000, 130, Content::Zeros),
        (4096, 700, Content::Noise),
        (7000, 500, Content::Hole),
        (9000, 128, Content::Text),
        (9700, 77, Content::Noise),
    ];
    Image { sectors: 9777, extents }
}

/// The same bytes for the same seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(length).collect()
}

fn text(seed: u64, length: usize) -> Vec<u8> {
    (seed..).flat_map(|n| format!("line {n} of a file with some text in it\n").into_bytes()).take(length).collect()
}

pub struct Folder {
    dir: tempfile::TempDir,
}

impl Folder {
    pub fn new() -> Self {
        Folder { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.dir.path()).unwrap().join(name)
    }

    /// Names of all files, in order.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub fn raw(&self, name: &str, image: &Image) -> Utf8PathBuf {
        let path = self.path(name);
        let file = std::fs::File::create(&path).unwrap();
        let size = image.sectors * 512;
        file.set_len(size).unwrap();
        for (first, sectors, content) in &image.extents {
            let at = first * 512;
            let length = (sectors * 512).min(size.saturating_sub(at));
            match content {
                Content::Noise => file.write_all_at(&noise(*first, length as usize), at).unwrap(),
                Content::Text => file.write_all_at(&text(*first, length as usize), at).unwrap(),
                Content::Zeros => file.write_all_at(&vec![0; length as usize], at).unwrap(),
                Content::Hole if length > 0 => {
                    let punch =
                        nix::fcntl::FallocateFlags::FALLOC_FL_PUNCH_HOLE | nix::fcntl::FallocateFlags::FALLOC_FL_KEEP_SIZE;
                    nix::fcntl::fallocate(&file, punch, at as i64, length as i64).unwrap();
                }
                Content::Hole => {}
            }
        }
        path
    }
}

/// Counts, and stops the work after `stop_at` answers.
#[derive(Default)]
pub struct Watch {
    pub stop_at: Option<usize>,
    pub asked: AtomicUsize,
    pub total: AtomicUsize,
    pub advanced: AtomicUsize,
}

impl Progress for Watch {
    fn begin(&self, _step: &str, total: Option<u64>) {
        self.total.fetch_add(total.unwrap_or(0) as usize, Ordering::Relaxed);
    }
    fn advance(&self, n: u64) {
        self.advanced.fetch_add(n as usize, Ordering::Relaxed);
    }
    fn end(&self) {}
    fn say(&self, _line: &str) {}
    fn cancelled(&self) -> bool {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        self.stop_at.is_some_and(|n| asked >= n)
    }
}

type Write<'a> = &'a dyn Fn(&Conversion<'_>) -> Result<Written, Error>;

/// Writes the image twice, the second time from a copy without holes, and checks that the bytes are the same and all of the
/// progress was reported; the path of the first.
pub fn write_twice(folder: &Folder, raw: &Utf8Path, name: &str, write: Write<'_>) -> (Utf8PathBuf, Written) {
    let (out, again, full) = (folder.path(name), folder.path(&format!("again-{name}")), folder.path("full.raw"));
    let watch = Watch::default();
    let written = write(&Conversion { raw, out: &out, progress: &watch }).unwrap();
    assert_eq!(watch.total.into_inner(), watch.advanced.into_inner(), "progress");
    assert_eq!(std::fs::metadata(&out).unwrap().len(), written.size);
    std::fs::write(&full, std::fs::read(raw).unwrap()).unwrap();
    write(&Conversion { raw: &full, out: &again, progress: &cluster_seed::progress::Quiet }).unwrap();
    assert!(std::fs::read(&out).unwrap() == std::fs::read(&again).unwrap(), "two runs differ");
    (out, written)
}

/// Runs a program; `None` if it is not installed. Its output and whether it succeeded.
pub fn run(program: &str, args: &[&str]) -> Option<(bool, String)> {
    match Command::new(program).args(args).env("LC_ALL", "C").output() {
        Ok(output) => {
            let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
            Some((output.status.success(), text))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => panic!("{program}: {e}"),
    }
}

/// Runs qemu-img, which must succeed; what it printed. `None`, with a note, if it is not installed.
pub fn qemu_img(args: &[&str]) -> Option<String> {
    let ran = run("qemu-img", args);
    if ran.is_none() {
        kubedos_skip::skip("qemu-img", "is not installed");
    }
    let (good, text) = ran?;
    assert!(good, "qemu-img {args:?}: {text}");
    Some(text)
}

/// That the virtual disk has the content of the raw image; if it is larger, zeros after it.
pub fn compare(raw: &Utf8Path, format: &str, path: &Utf8Path) {
    qemu_img(&["compare", "-f", "raw", "-F", format, raw.as_str(), path.as_str()]);
}

/// That QEMU finds no error, no leak and the size.
pub fn check(format: &str, path: &Utf8Path, capacity: u64) {
    let Some(info) = qemu_img(&["info", "-f", format, "--output=json", path.as_str()]) else { return };
    assert!(info.contains(&format!("\"virtual-size\": {capacity},")), "{capacity}: {info}");
    if format != "vpc" {
        qemu_img(&["check", "-f", format, path.as_str()]);
    }
}
