//! A step that failed can wait for a person: the way to it takes an hour.
//!
//! With a file `hold` in the cache directory the fleet stays up after a failure. A file `again` in the part's directory
//! repeats the step, `next` goes on with the one after it; the part has failed either way. Each line of `hold` names a step
//! that is left out, which fails the part at its end too.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

use super::lab::Lab;
use crate::say;
use crate::stop;

pub struct Hold {
    /// Whoever wants to look makes this file before the step fails.
    pub asked: PathBuf,
    /// Where `again` and `next` are looked for.
    pub work: PathBuf,
    failed: Vec<String>,
}

impl Hold {
    pub fn new(asked: PathBuf, work: PathBuf) -> Self {
        Self { asked, work, failed: Vec::new() }
    }

    /// Runs a step, and again as often as the person asks.
    pub fn step(&mut self, lab: &mut Lab<'_>, name: &str, step: impl Fn(&mut Lab<'_>) -> Result<()>) -> Result<()> {
        if fs::read_to_string(&self.asked).is_ok_and(|names| names.lines().any(|l| l.trim() == name)) {
            say::line(&format!("the step {name} is left out, as {} says", self.asked.display()));
            self.failed.push(format!("{name}: left out"));
            return Ok(());
        }
        say::line(&format!("step: {name}"));
        loop {
            let Err(error) = step(lab) else { return Ok(()) };
            if !self.asked.exists() {
                return Err(error.context(format!("in the step {name}")));
            }
            say::line(&format!("HELD in the step {name}: {error:#}"));
            self.failed.push(format!("{name}: {error:#}"));
            if !self.again(lab)? {
                return Ok(());
            }
        }
    }

    fn again(&self, lab: &mut Lab<'_>) -> Result<bool> {
        loop {
            stop::check()?;
            // What fails now is what the person looks at.
            let _ = lab.fleet.tick(false);
            for (file, again) in [("again", true), ("next", false)] {
                if fs::remove_file(self.work.join(file)).is_ok() {
                    return Ok(again);
                }
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// An error if a step failed, even if it passed when it was repeated.
    pub fn end(self) -> Result<()> {
        if self.failed.is_empty() {
            return Ok(());
        }
        bail!("{} steps failed and were held, or were left out: {}", self.failed.len(), self.failed.join("; "))
    }
}
