//! Directories of the lab, all outside the source tree.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use crate::netns;

/// Log directories of earlier runs that are kept.
const KEEP_LOGS: usize = 5;

/// `$KUBEDOS_CACHE`, or `~/.cache/kubedos`.
pub fn cache() -> PathBuf {
    match std::env::var_os("KUBEDOS_CACHE") {
        Some(dir) if !dir.is_empty() => PathBuf::from(dir),
        _ => PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".cache/kubedos"),
    }
}

/// Directories of one run. `work` is removed at its end; `logs` is kept for troubleshooting.
#[derive(Debug)]
pub struct RunDirs {
    pub cache: PathBuf,
    pub work: PathBuf,
    pub logs: PathBuf,
}

impl RunDirs {
    pub fn new() -> Result<Self> {
        let cache = cache();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let pid = std::process::id();
        let work = cache.join("run").join(pid.to_string());
        let logs = cache.join("logs").join(format!("{now}-{pid}"));
        for dir in [&work, &logs] {
            std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        }
        forget_old(&cache.join("logs"))?;
        Ok(RunDirs { cache, work, logs })
    }

    /// A directory inside `work` and one inside `logs` for a part of the run.
    pub fn part(&self, name: &str) -> Result<(PathBuf, PathBuf)> {
        let (work, logs) = (self.work.join(name), self.logs.join(name));
        for dir in [&work, &logs] {
            std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        }
        Ok((work, logs))
    }
}

impl Drop for RunDirs {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.work);
    }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let Ok(list) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut all: Vec<PathBuf> = list.filter_map(|e| e.ok().map(|e| e.path())).collect();
    all.sort();
    all
}

fn forget_old(logs: &Path) -> Result<()> {
    let all = entries(logs);
    for old in all.iter().take(all.len().saturating_sub(KEEP_LOGS)) {
        std::fs::remove_dir_all(old).with_context(|| format!("removing old logs {}", old.display()))?;
    }
    Ok(())
}

/// Removes directories of runs that have ended. Returns how many.
pub fn clean_stale() -> usize {
    let owner = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let stale = |path: &PathBuf| owner(path).is_some_and(|pid| pid != std::process::id() && !netns::lab_lives(pid));
    entries(&cache().join("run")).into_iter().filter(stale).filter(|path| std::fs::remove_dir_all(path).is_ok()).count()
}
