//! Lints of clippy and rustc: denied in the roots of the product's crates, so that no flag is needed.

use std::collections::BTreeMap;

use crate::crates::{Crate, crate_of, crates, floor, sources};
use crate::source::{Source, report, root};

/// Tests may; clippy.toml says so.
const NO_PANIC: &str = "#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]";
/// Programs, clocks, environment and unsynced writes, by the list of clippy.toml.
const NO_EDGE: &str = "#![cfg_attr(not(test), deny(clippy::disallowed_methods))]";

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
    let missing = product().filter(|c| !says(c, NO_EDGE)).map(|c| format!("{}: its lib.rs and main.rs need {NO_EDGE}", c.dir));
    report("crates that may read clocks and start programs anywhere", &missing.collect::<Vec<_>>());
}

/// Where clippy's list does not hold, and how often: each says why. The list may grow only with a better reason than
/// "the time is needed here".
const ESCAPES: [(&str, usize); 12] = [
    ("darksite/src/publish/build.rs", 1),
    ("host/src/files.rs", 3),
    ("host/src/lib.rs", 2),
    ("host/src/programs.rs", 1),
    ("payload/src/main.rs", 1),
    ("pxe/src/lib.rs", 1),
    ("seedd/appliance/src/console/screen.rs", 1),
    ("seedd/src/cli/appliance.rs", 1),
    ("seedd/src/cli/console.rs", 1),
    ("seedd/src/cli/image/cloud.rs", 1),
    ("seedd/src/terminal.rs", 1),
    ("web/src/lib.rs", 1),
];

#[test]
fn escapes_from_that_law_are_few_and_say_why() {
    let mut found = BTreeMap::new();
    for source in sources().iter().filter(|s| floor(crate_of(&s.path)) < 5 && !s.is_test()) {
        for line in source.product().lines().filter(|l| l.contains("(clippy::disallowed_methods")) {
            let law = line.trim() == NO_EDGE;
            assert!(law || line.contains("reason = \""), "{}: {line}", source.path);
            *found.entry(source.path.as_str()).or_default() += usize::from(!law);
        }
    }
    found.retain(|_, n| *n > 0);
    assert_eq!(found, BTreeMap::from(ESCAPES));
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
