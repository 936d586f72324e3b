//! What clippy and rustc are told to refuse: the roots of the product's crates say it, so that no flag is needed.

use std::collections::BTreeSet;

use crate::crates::{Crate, crates, floor};
use crate::source::{Source, report, root};

/// Tests may; clippy.toml says so.
const NO_PANIC: &str = "#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]";
/// Programs, clocks, environment and unsynced writes, by the list of clippy.toml.
const NO_EDGE: &str = "#![cfg_attr(not(test), deny(clippy::disallowed_methods))]";

/// Crates whose clocks and files are still kept by the search for words in this crate's rules, not by clippy. The list may
/// only get shorter.
const WAITING: [&str; 7] = ["appliance", "darksite", "flight", "payload", "pxe", "seedd", "web"];

fn roots(krate: &Crate) -> Vec<Source> {
    let read = |file: &str| {
        let path = format!("{}/src/{file}", krate.dir);
        std::fs::read_to_string(root().join(&path)).ok().map(|text| Source { path, text })
    };
    ["lib.rs", "main.rs"].into_iter().filter_map(read).collect()
}

fn says(krate: &Crate, law: &str) -> bool {
    roots(krate).iter().all(|r| r.text.contains(law))
}

/// The crate's own root makes clippy refuse what a search for words would only guess at.
pub fn clippy_knows(source: &Source) -> bool {
    says(crate::crates::crate_of(&source.path), NO_EDGE)
}

fn product() -> impl Iterator<Item = &'static Crate> {
    crates().iter().filter(|c| floor(c) < 5)
}

#[test]
fn product_code_does_not_panic() {
    let missing = product().filter(|c| !says(c, NO_PANIC)).map(|c| format!("{}: its lib.rs and main.rs need {NO_PANIC}", c.dir));
    report("crates that may panic", &missing.collect::<Vec<_>>());
}

#[test]
fn clocks_programs_and_files_are_kept_by_clippy() {
    let missing: BTreeSet<&str> = product().filter(|c| !says(c, NO_EDGE)).map(|c| c.name.as_str()).collect();
    let waiting = BTreeSet::from(WAITING);
    let new: Vec<&&str> = missing.difference(&waiting).collect();
    assert!(new.is_empty(), "the roots of {new:?} need {NO_EDGE}");
    let done: Vec<&&str> = waiting.difference(&missing).collect();
    assert!(done.is_empty(), "{done:?} need no place in WAITING any more");
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    let lints = |c: &&Crate| {
        let text = std::fs::read_to_string(root().join(&c.dir).join("Cargo.toml")).unwrap_or_default();
        !text.contains("[lints]\nworkspace = true\n")
    };
    report("no `[lints] workspace = true`", &crates().iter().filter(lints).map(|c| c.dir.clone()).collect::<Vec<_>>());
    let workspace = std::fs::read_to_string(root().join("Cargo.toml")).unwrap_or_default();
    assert!(workspace.contains("unsafe_code = \"forbid\""));
}

#[test]
fn the_toolchain_is_the_version_that_the_crates_ask_for() {
    let read = |file: &str, key: &str| {
        let text = std::fs::read_to_string(root().join(file)).unwrap_or_default();
        let line = text.lines().find_map(|l| l.strip_prefix(key)?.trim().strip_prefix('=').map(str::to_owned));
        line.unwrap_or_default().trim().trim_matches('"').to_owned()
    };
    let (channel, least) = (read("rust-toolchain.toml", "channel"), read("Cargo.toml", "rust-version"));
    assert!(!least.is_empty() && channel.starts_with(&format!("{least}.")), "channel {channel}, rust-version {least}");
}
