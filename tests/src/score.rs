//! What the parts of a run share: their results, and the site that they work on.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::demo::accelerator;
use crate::dirs::RunDirs;
use crate::say;
use crate::site::Template;
use crate::vm::Accel;

/// Results; a failure does not stop the following parts.
#[derive(Debug, Default)]
pub struct Score {
    passed: usize,
    failed: Vec<String>,
}

impl Score {
    /// Counts and prints the result of a case; an error only if the run was stopped.
    pub fn note(&mut self, name: &str, result: Result<()>) -> Result<()> {
        crate::stop::check()?;
        match result {
            Ok(()) => {
                self.passed += 1;
                say::line(&format!("ok      {name}"));
            }
            Err(error) => {
                say::line(&format!("FAILED  {name}: {error:#}"));
                self.failed.push(name.to_owned());
            }
        }
        Ok(())
    }

    /// An error that names what failed.
    pub fn result(&self, dirs: &RunDirs) -> Result<()> {
        say::plain(&format!("{} passed, {} failed", self.passed, self.failed.len()));
        if self.failed.is_empty() {
            return Ok(());
        }
        bail!("{}; logs: {}", self.failed.join("; "), dirs.logs.display())
    }
}

/// Shared state of the parts.
pub struct Bench<'a> {
    pub dirs: &'a RunDirs,
    pub template: Template,
    pub pictures: PathBuf,
}

impl Bench<'_> {
    pub fn accel(&self) -> Result<Accel> {
        accelerator(&self.template.seedd, &self.dirs.part("probe")?.0)
    }
}
