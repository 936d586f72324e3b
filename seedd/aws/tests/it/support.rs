//! Images, options, clients and reports for tests.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use aws::{AmiOptions, Client, Credentials, Limits, Target};
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::progress::Progress;
use tempfile::TempDir;

pub const BLOCK: usize = 512 << 10;
pub const REGION: &str = "eu-central-1";

pub struct Bench {
    dir: TempDir,
    pub image: Utf8PathBuf,
    pub bytes: Vec<u8>,
}

impl Bench {
    /// An image of `blocks` blocks; those for which `data` is true have some.
    pub fn new(blocks: usize, data: impl Fn(usize) -> bool) -> Bench {
        let mut bytes = vec![0u8; blocks * BLOCK];
        for n in (0..blocks).filter(|n| data(*n)) {
            let text = format!("block {n} ");
            bytes[n * BLOCK..(n + 1) * BLOCK].iter_mut().zip(text.bytes().cycle()).for_each(|(b, t)| *b = t);
        }
        let dir = tempfile::tempdir().unwrap();
        let image = Utf8Path::from_path(dir.path()).unwrap().join("disk.raw");
        std::fs::write(&image, &bytes).unwrap();
        Bench { dir, image, bytes }
    }

    pub fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.dir.path()).unwrap().join(name)
    }

    pub fn options(&self) -> AmiOptions {
        AmiOptions { parallel: 2, ..AmiOptions::new(&self.image, "kubedos-test", self.path("state")) }
    }

    /// Files that keep the state of an upload.
    pub fn states(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path("state")).into_iter().flatten().flatten();
        entries.map(|e| std::fs::read_to_string(e.path()).unwrap()).collect()
    }
}

/// Short pauses: servers of tests recover at once.
pub fn limits() -> Limits {
    Limits {
        tries: 4,
        pause: Duration::from_millis(2),
        longest_pause: Duration::from_millis(10),
        poll: Duration::from_millis(2),
        ready: Duration::from_secs(60),
        ..Limits::default()
    }
}

pub fn target(url: &str) -> Target {
    Target { endpoint: Some(url.to_owned()), ..Target::of_region(REGION) }
}

pub fn client(url: &str) -> Client {
    client_with(url, "AKIATEST", "secret", limits())
}

pub fn client_with(url: &str, id: &str, secret: &str, limits: Limits) -> Client {
    Client::new(&target(url), Credentials::explicit(id, secret, None), limits, host::clock::now).unwrap()
}

/// Remembers what was said, and asks to stop after some bytes.
#[derive(Default)]
pub struct Report {
    pub lines: Mutex<Vec<String>>,
    pub begun: Mutex<Vec<(String, Option<u64>)>>,
    advanced: AtomicUsize,
    /// Blocks after which a stop is requested; 0: never.
    stop_after: usize,
    uploading: AtomicBool,
}

impl Report {
    pub fn stopping_after(blocks: usize) -> Self {
        Report { stop_after: blocks, ..Report::default() }
    }

    pub fn said(&self, part: &str) -> bool {
        self.lines.lock().unwrap().iter().any(|l| l.contains(part))
    }
}

impl Progress for Report {
    fn begin(&self, step: &str, total: Option<u64>) {
        self.begun.lock().unwrap().push((step.to_owned(), total));
        self.uploading.store(step.contains("upload"), Ordering::SeqCst);
    }
    fn advance(&self, _n: u64) {
        if self.uploading.load(Ordering::SeqCst) {
            self.advanced.fetch_add(1, Ordering::SeqCst);
        }
    }
    fn end(&self) {}
    fn say(&self, line: &str) {
        self.lines.lock().unwrap().push(line.to_owned());
    }
    fn cancelled(&self) -> bool {
        self.stop_after > 0 && self.advanced.load(Ordering::SeqCst) >= self.stop_after
    }
}

pub fn cache() -> PathBuf {
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from);
    std::env::var_os("KUBEDOS_CACHE").map_or_else(|| home.join(".cache/kubedos"), PathBuf::from)
}
