//! Skips a test that cannot run: the reason is recorded, and the test fails if everything is required.
//!
//! Cargo hides the output of passed tests, so the reason is also appended to the file in `KUBEDOS_SKIPS`, one line each;
//! `./dev test` prints them at the end. With `KUBEDOS_REQUIRE=all`, which CI sets, a test may be skipped only if
//! `allowed.txt` lists what is missing.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write as _;

/// What CI machines cannot have: `NAME reason`, one per line.
const ALLOWED: &str = include_str!("../allowed.txt");

/// The file that every skip is appended to.
pub const SKIPS: &str = "KUBEDOS_SKIPS";
/// `all`: only skips of the list are accepted.
pub const REQUIRE: &str = "KUBEDOS_REQUIRE";

/// Skips a test: `return skip("promtool", "is not installed")`. `what` is missing.
///
/// # Panics
/// Where `KUBEDOS_REQUIRE=all` is set and `what` is not on the list: the test fails.
#[track_caller]
pub fn skip(what: &str, why: impl Display) {
    if let Err(error) = note(what, why) {
        panic!("{error}");
    }
}

/// The same for code that returns errors, like the parts of the lab.
///
/// # Errors
/// Where everything is required and `what` is not on the list.
#[track_caller]
pub fn note(what: &str, why: impl Display) -> Result<(), String> {
    let line = format!("skipped: {what}: {}", why.to_string().replace('\n', " "));
    println!("{line}");
    if let Some(path) = std::env::var_os(SKIPS) {
        let place = std::panic::Location::caller();
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let written = file.and_then(|mut f| f.write_all(format!("{line} ({}:{})\n", place.file(), place.line()).as_bytes()));
        written.map_err(|e| format!("cannot count a skipped test in {}: {e}", path.display()))?;
    }
    match std::env::var(REQUIRE) {
        Ok(required) => judge(what, &required),
        Err(_) => Ok(()),
    }
}

fn judge(what: &str, required: &str) -> Result<(), String> {
    if required != "all" {
        return Err(format!("{REQUIRE}={required} is unknown; the only value is all"));
    }
    if allowed().any(|(name, _)| name == what) {
        return Ok(());
    }
    Err(format!("{what} is required here ({REQUIRE}=all): install it, or add it to tests/skip/allowed.txt with a reason"))
}

/// Name and reason of what may be missing.
fn allowed() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = ALLOWED.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines.map(|l| l.split_once(' ').map_or((l, ""), |(name, why)| (name, why.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_list_may_be_missing() {
        assert!(judge("promtool", "all").is_err() && judge("promtool", "most").is_err());
        for (name, why) in allowed() {
            assert!(why.len() > 10, "{name} needs a reason");
            assert!(judge(name, "all").is_ok());
        }
    }
}
