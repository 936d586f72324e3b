//! One run: payload, variables, then the plays in their order, with retries. Ends with a report.

use std::time::Duration;

use camino::Utf8Path;
use cluster_seed::converge::orders::{HeldBundle, MAX_TEXT, Run, RunMode, RunReport, RunResult};
use cluster_seed::identity::IdentityInfo;
use cluster_seed::peers::PeersFile;
use host::clock::Stopwatch;

use super::ansible::{self, Failure};
use super::fetch::{self, FetchError, Wanted};
use super::live::Live;
use super::places::Places;
use super::plays::{self, Step, inventory};
use super::salt;
use super::vars::{self, Facts};
use crate::http::{Http, Wait, backoff, chain};

/// Pauses before the second and the third attempt of a run: faults that pass are common while a cluster forms.
const PAUSES: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(30)];

pub struct Runner<'a> {
    pub places: Places<'a>,
    pub info: &'a IdentityInfo,
    pub peers: &'a PeersFile,
    pub bundle: Option<HeldBundle>,
    /// The seed's URL on the control plane, as it is now.
    pub seed: &'a (dyn Fn() -> Option<String> + Sync),
    pub wait: Wait<'a>,
}

impl Runner<'_> {
    /// Runs everything; `None` if the seed wanted another run before this one had its payload.
    pub fn run(&self, run: &Run, live: &Live) -> Option<RunReport> {
        let clock = Stopwatch::start();
        let report = |result, why: &str| {
            let why: String = why.chars().take(MAX_TEXT).collect();
            live.report(run, result, &why, clock.elapsed().as_secs())
        };
        let payload = match self.payload(run, live) {
            Ok(payload) => payload?,
            Err(e) => return Some(report(RunResult::Failed, &chain(&e))),
        };
        let mut pauses = PAUSES.iter();
        loop {
            live.begin();
            let Err(failure) = self.attempt(run, &payload, live) else { return Some(report(RunResult::Ok, "")) };
            tracing::warn!(why = failure.why, again = failure.again, "the run failed");
            match pauses.next().filter(|_| failure.again && run.mode == RunMode::Apply) {
                Some(pause) => (self.wait)(*pause),
                None => return Some(report(RunResult::Failed, &failure.why)),
            }
        }
    }

    /// Waits for a seed that is away. A damaged download is deleted, and tried again like a failed play.
    fn payload(&self, run: &Run, live: &Live) -> Result<Option<camino::Utf8PathBuf>, FetchError> {
        let wanted = Wanted { digest: run.payload, size: run.payload_size };
        let (mut attempt, mut pauses) = (0, PAUSES.iter());
        loop {
            live.at("", "fetching the payload");
            let seed = (self.seed)().map(|url| Http::new(&url));
            match fetch::ensure(self.places, wanted, seed.as_ref(), &|bytes| live.fetched(bytes)) {
                Ok(dir) => return Ok(Some(dir)),
                Err(_) if live.is_superseded() => return Ok(None),
                Err(e) => {
                    tracing::warn!(error = %chain(&e), "payload not fetched");
                    live.at("", &format!("fetching the payload: {}", chain(&e)));
                    match pauses.clone().next() {
                        _ if e.is_temporary() => (self.wait)(backoff(attempt)),
                        Some(pause) if e.is_damage() => {
                            pauses.next();
                            (self.wait)(*pause);
                        }
                        _ => return Err(e),
                    }
                }
            }
            attempt = attempt.saturating_add(1);
        }
    }

    fn attempt(&self, run: &Run, payload: &Utf8Path, live: &Live) -> Result<(), Failure> {
        let certificates = self.bundle.map_or(0, |b| b.issued);
        let facts = Facts { info: self.info, peers: self.peers, run, certificates };
        let text = inventory(&self.info.hostname, &run.role, &run.plays);
        let written = vars::write(self.places, &facts).and_then(|()| ansible::write_inventory(self.places, &text));
        written.map_err(|e| Failure { why: chain(&e), again: true })?;
        let steps = plays::steps(payload, &run.plays).map_err(|name| {
            live.at(name, "");
            let why = format!("the payload has no play {name:?}; publish one that has it, or remove it from the role");
            Failure { why, again: false }
        })?;
        let check = run.mode == RunMode::Check;
        steps.iter().try_for_each(|step| match step {
            Step::Ansible(plays) => ansible::run(self.places, payload, plays, check, live),
            Step::Salt(state) => salt::run(self.places, payload, state, check, live),
        })
    }
}
