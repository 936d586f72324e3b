//! Attributes of /sys, which are small and may fail when read.

use std::fs;
use std::io::Read as _;

use camino::{Utf8Path, Utf8PathBuf};

/// Most bytes read of one attribute.
pub(super) const MAX_ATTRIBUTE: u64 = 4096;

pub(super) fn names(dir: &Utf8Path) -> Vec<String> {
    let mut names: Vec<String> = dir
        .read_dir_utf8()
        .map(|entries| entries.filter_map(|e| Some(e.ok()?.file_name().to_owned())).collect())
        .unwrap_or_default();
    names.sort();
    names
}

pub(super) fn attribute(path: &Utf8PathBuf) -> String {
    read(path, MAX_ATTRIBUTE).trim().to_owned()
}

pub(super) fn read(path: &Utf8Path, limit: u64) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = fs::File::open(path) {
        // Some attributes fail when read (a card without link has no speed); that is the same as empty.
        let _ = file.take(limit).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
