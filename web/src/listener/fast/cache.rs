//! Recently requested files of snapshots and chunks: small ones in memory, large ones open. Both never change under their
//! names; a check of the disk every second notices if somebody replaced one anyway.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use axum::body::Bytes;
use camino::Utf8PathBuf;

use crate::files::handover::{Opened, Sendable};
use crate::files::identity;

/// Files up to this size are kept in memory, in bytes.
pub(crate) const SMALL: u64 = 16 << 10;
/// Limits of one generation; there are two, so the cache holds at most twice as much. Files that are read in a cycle have
/// to fit into one generation: ten thousand files of a few KiB do.
const MAX_BYTES: usize = 64 << 20;
const MAX_ENTRIES: usize = 12_000;
const MAX_OPEN: usize = 64;
/// How long an entry is used without checking the disk, in milliseconds.
const TRUST: u64 = 1_000;

pub(crate) enum Held {
    Small(Bytes),
    Large(Arc<File>),
}

pub(crate) struct Entry {
    pub(crate) of: Arc<Opened>,
    /// The head of a complete answer, without what differs from request to request.
    pub(crate) head: Box<[u8]>,
    pub(crate) held: Held,
    /// The snapshot it was found in, if the request was for the current one.
    pub(crate) root: Option<Utf8PathBuf>,
    checked: AtomicU64,
}

impl Entry {
    /// `None` if a small file could not be read completely.
    pub(crate) fn new(found: &Sendable, head: Vec<u8>, root: Option<Utf8PathBuf>, now: u64) -> Option<Self> {
        let held = match found.len {
            0..=SMALL => {
                let mut bytes = vec![0; usize::try_from(found.len).ok()?];
                found.file.read_exact_at(&mut bytes, 0).ok()?;
                Held::Small(bytes.into())
            }
            _ => Held::Large(found.file.clone()),
        };
        let checked = AtomicU64::new(now);
        Some(Entry { of: found.of.clone(), head: head.into(), held, root, checked })
    }

    /// Whether it may be sent without checking the disk.
    pub(crate) fn is_fresh(&self, now: u64) -> bool {
        now.saturating_sub(self.checked.load(Ordering::Relaxed)) < TRUST
    }

    /// Checks the disk: is it still the file that was opened?
    pub(crate) fn still_there(&self, now: u64) -> bool {
        let same = std::fs::metadata(&self.of.path).is_ok_and(|m| identity(&m) == self.of.identity);
        if same {
            self.checked.store(now, Ordering::Relaxed);
        }
        same
    }

    fn size(&self) -> usize {
        let body = if let Held::Small(bytes) = &self.held { bytes.len() } else { 0 };
        body + self.head.len() + 512
    }
}

#[derive(Default)]
struct Generation {
    entries: HashMap<Box<str>, Arc<Entry>>,
    bytes: usize,
    open: usize,
}

impl Generation {
    fn is_full(&self) -> bool {
        self.entries.len() >= MAX_ENTRIES || self.bytes >= MAX_BYTES || self.open >= MAX_OPEN
    }

    fn insert(&mut self, path: Box<str>, entry: Arc<Entry>) {
        self.bytes += entry.size();
        self.open += usize::from(matches!(entry.held, Held::Large(_)));
        if let Some(old) = self.entries.insert(path, entry) {
            self.bytes -= old.size();
            self.open -= usize::from(matches!(old.held, Held::Large(_)));
        }
    }
}

/// Two generations: a requested entry moves to the young one, and the old one is dropped when the young one is full.
#[derive(Default)]
pub(crate) struct FileCache {
    young: RwLock<Generation>,
    old: RwLock<HashMap<Box<str>, Arc<Entry>>>,
}

impl FileCache {
    pub(crate) fn get(&self, path: &str) -> Option<Arc<Entry>> {
        let young = self.young.read().unwrap_or_else(PoisonError::into_inner).entries.get(path).cloned();
        young.or_else(|| {
            let entry = self.old.write().unwrap_or_else(PoisonError::into_inner).remove(path)?;
            self.put(path, entry.clone());
            Some(entry)
        })
    }

    pub(crate) fn put(&self, path: &str, entry: Arc<Entry>) {
        let mut young = self.young.write().unwrap_or_else(PoisonError::into_inner);
        if young.is_full() {
            let full = std::mem::take(&mut *young);
            *self.old.write().unwrap_or_else(PoisonError::into_inner) = full.entries;
        }
        young.insert(path.into(), entry);
    }

    pub(crate) fn forget(&self, path: &str) {
        let mut young = self.young.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = young.entries.remove(path) {
            young.bytes -= old.size();
            young.open -= usize::from(matches!(old.held, Held::Large(_)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::etag::Validators;

    fn entry(len: u64) -> Arc<Entry> {
        let file = Arc::new(tempfile::tempfile().unwrap());
        file.set_len(len).unwrap();
        let validators = Validators { etag: "\"a\"".into(), modified: None, len };
        let of = Opened { path: "/nonexistent".into(), validators, kind: "x", cache: "y", identity: (0, 0, 0, 0) };
        let found = Sendable { file, start: 0, len, of: Arc::new(of) };
        Arc::new(Entry::new(&found, b"head".to_vec(), None, 0).unwrap())
    }

    #[test]
    fn small_files_are_held_and_large_ones_kept_open() {
        for (len, small) in [(0, true), (SMALL, true), (SMALL + 1, false)] {
            assert_eq!(matches!(entry(len).held, Held::Small(_)), small, "{len}");
        }
        let e = entry(1);
        assert!(e.is_fresh(TRUST - 1) && !e.is_fresh(TRUST) && !e.still_there(TRUST));
    }

    #[test]
    fn it_stays_within_its_bounds_and_keeps_what_is_asked_for() {
        let cache = FileCache::default();
        cache.put("kept", entry(SMALL));
        for n in 0..14_000 {
            cache.put(&format!("f{n}"), entry(SMALL));
            assert!(n % 500 != 0 || cache.get("kept").is_some(), "{n}");
        }
        let young = cache.young.read().unwrap();
        assert!(young.bytes <= MAX_BYTES + SMALL as usize + 1_024);
        assert_eq!(young.bytes, young.entries.values().map(|e| e.size()).sum::<usize>());
        drop(young);
        assert!(cache.get("f0").is_none() && cache.get("f13999").is_some());
        (0..MAX_OPEN + 2).for_each(|n| cache.put(&format!("l{n}"), entry(SMALL + 1)));
        assert!(cache.young.read().unwrap().open <= MAX_OPEN);
        cache.forget("f13999");
        cache.forget("nothing");
    }
}
