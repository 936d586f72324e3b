//! The pieces of work that are measured on our side, each run as a process of its own.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::progress::{Progress, Quiet};
use darksite::{Clock, DirFetch, Paths, Plan, PlanRequest, Source};

use crate::darksite::keys;

/// Begins a line with the seconds of a step and its name.
pub const STEP: &str = "step ";

/// Notes how long each step took.
#[derive(Default)]
struct StopWatch {
    running: Mutex<Option<(String, Instant)>>,
    steps: Mutex<Vec<(String, f64)>>,
}

impl Progress for StopWatch {
    fn begin(&self, step: &str, _: Option<u64>) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some((step.to_owned(), Instant::now()));
    }
    fn advance(&self, _: u64) {}
    fn end(&self) {
        if let Some((step, began)) = self.running.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let took = began.elapsed().as_secs_f64();
            self.steps.lock().unwrap_or_else(PoisonError::into_inner).push((step, took));
        }
    }
    fn say(&self, _: &str) {}
}

/// Folders of a bench: packages and cache apart, so that each can be there or not.
pub fn paths(dir: &Utf8Path) -> Paths {
    let join = |name: &str| dir.join(name);
    Paths { blobs: join("blobs"), snapshots: join("snapshots"), tmp: join("tmp"), cache: join("cache") }
}

/// What is asked of a local mirror, which the lab's key signs.
pub fn request(mirror: &Utf8Path, dir: &Utf8Path, roots: &[&str], full: bool) -> PlanRequest {
    let profile = if full { cluster_seed::repo::RepoProfile::Full } else { cluster_seed::repo::RepoProfile::Base };
    PlanRequest {
        sources: vec![Source { mirror: format!("file://{mirror}"), suite: "bench".to_owned() }],
        components: vec!["main".to_owned()],
        architectures: vec!["amd64".to_owned()],
        profile,
        roots: BTreeMap::from([("bench".to_owned(), roots.iter().map(|r| (*r).to_owned()).collect())]),
        suite_name: "bench".to_owned(),
        clock: Clock::OfFile,
        recommends: false,
        installer: false,
        required_udebs: Vec::new(),
        contents: false,
        allow_downgrade: true,
        paths: Some(paths(dir)),
    }
}

pub fn plan(mirror: &Utf8Path, dir: &Utf8Path, roots: &[&str], full: bool) -> Result<Plan> {
    Ok(darksite::plan(&request(mirror, dir, roots, full), &DirFetch, &keys()?.0.keyring()?, &Quiet)?)
}

/// `step NAME MIRROR DIR ROOT…`: does it, and prints the seconds of its parts.
pub fn step(args: &[String]) -> Result<()> {
    let [name, mirror, dir, roots @ ..] = args else { bail!("want a step, a mirror and a directory") };
    let (mirror, dir) = (Utf8PathBuf::from(mirror), Utf8PathBuf::from(dir));
    let roots: Vec<&str> = roots.iter().map(String::as_str).collect();
    let start = Instant::now();
    let seconds = |from: Instant| from.elapsed().as_secs_f64();
    match name.as_str() {
        "plan" => {
            let plan = plan(&mirror, &dir, &roots, false)?;
            println!("plan {:.3} packages {}", seconds(start), plan.lock.packages.len());
        }
        "plan-full" => {
            let plan = plan(&mirror, &dir, &roots, true)?;
            println!("plan {:.3} packages {}", seconds(start), plan.lock.packages.len());
        }
        "publish" | "publish-full" => {
            let plan = plan(&mirror, &dir, &roots, name == "publish-full")?;
            let planned = seconds(start);
            let (release, site) = keys()?;
            let begin = Instant::now();
            let watch = StopWatch::default();
            let built = darksite::build(&plan, &paths(&dir), &DirFetch, &release, &site, &watch)?;
            anyhow::ensure!(built.built, "the snapshot was there already");
            println!("plan {planned:.3} publish {:.3} packages {}", seconds(begin), plan.lock.packages.len());
            for (name, seconds) in watch.steps.into_inner().unwrap_or_else(PoisonError::into_inner) {
                println!("{STEP}{seconds:.3} {name}");
            }
        }
        "verify" => {
            let (release, site) = keys()?;
            let snapshot = dir.join("snapshots").read_dir_utf8()?.next().context("there is no snapshot")??.into_path();
            let report = darksite::verify(&snapshot, &release.keyring()?, &site.verifying_key(), &Quiet)?;
            println!("verify {:.3} files {} bytes {}", seconds(start), report.files, report.bytes);
        }
        other => bail!("no step {other}"),
    }
    Ok(())
}
