//! The loop of `kubedos-node converge`: asks the seed, runs what the orders allow on a thread of its own, checks, reports.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Scope;
use std::time::Duration;

use anyhow::Context as _;
use cluster_seed::agent::GateCheck;
use cluster_seed::converge::orders::{
    HeldBundle, Orders, POLL_IDLE, POLL_RUNNING, POLL_WAITING, Run, RunMode, RunReport, RunResult,
};
use cluster_seed::identity::NodeIdentity;
use cluster_seed::peers::PeersFile;
use cluster_seed::seal::{SigningKey, key_from_text};
use host::clock::Stopwatch;
use host::files::{PRIVATE, Start, create_dirs, open};
use nix::fcntl::{Flock, FlockArg};

use super::checks::plays::check_plays;
use super::exchange::{Exchange, ExchangeError, Words};
use super::fetch::{self, Wanted};
use super::held::{Applied, Store};
use super::live::Live;
use super::next::{Next, next};
use super::pki;
use super::places::Places;
use super::rounds::Rounds;
use super::runner::Runner;
use super::vars::{self, Facts};
use crate::console::Console;
use crate::http::{Http, Wait, chain};
use crate::state::NodeDir;

/// The loop looks this often whether a run has ended.
const TICK: Duration = Duration::from_secs(1);
/// A message waits at most this long for the round of checks started just before it.
const SHORT_ROUND: Duration = Duration::from_secs(5);
/// The same for the first round after a run: a run is not reported as done with what was found before it. Less than the time after
/// which the seed takes the node for silent.
const FIRST_ROUND: Duration = Duration::from_secs(90);
const BRIEF: Duration = Duration::from_millis(50);

/// The seed's URL on the control plane, by the node's list.
pub type SeedUrl<'a> = &'a (dyn Fn(&PeersFile) -> Option<String> + Sync);
/// The checks of the node itself; they get the run whose plays are in force.
pub type Machine<'a> = &'a (dyn Fn(&PeersFile, Option<&Run>) -> Vec<GateCheck> + Sync);

pub struct Agent<'a> {
    pub places: Places<'a>,
    pub dir: &'a NodeDir,
    pub identity: &'a NodeIdentity,
    pub key: &'a SigningKey,
    pub console: &'a Console,
    pub seed: SeedUrl<'a>,
    pub machine: Machine<'a>,
    pub wait: Wait<'a>,
    /// True once the loop is to end; a run is finished first.
    pub stop: &'a (dyn Fn() -> bool + Sync),
}

/// What the loop knows.
struct Held {
    orders: Option<Orders>,
    applied: Applied,
    bundle: Option<HeldBundle>,
    checks: Vec<GateCheck>,
    /// Messages without an answer, in a row.
    unanswered: u32,
}

/// A run under way.
struct Job {
    run: Run,
    bundle: Option<HeldBundle>,
    /// Only for renewed certificates: the seed keeps the earlier result until this one ends.
    again: bool,
    live: Live,
    clock: Stopwatch,
}

/// The job, and its report unless the seed wanted another run.
type Done = (Arc<Job>, Option<RunReport>);

impl Agent<'_> {
    /// Runs until [`Agent::stop`].
    ///
    /// # Errors
    /// If the identity has no valid site key.
    pub fn run(&self) -> anyhow::Result<()> {
        let site = key_from_text(&self.identity.info.site_key).context("reading the site's key")?;
        let store = Store { dir: self.dir.path() };
        let mut held = Held {
            orders: store.orders(&site, self.identity.info.enrollment),
            applied: store.applied(),
            bundle: store.bundle(),
            checks: Vec::new(),
            unanswered: 0,
        };
        let exchange = Exchange {
            places: self.places,
            store,
            identity: self.identity,
            key: self.key,
            site: &site,
            knows_ssh: AtomicBool::new(false),
        };
        let mut numbers = self.dir.converge_numbers();
        let (send, receive): (Sender<Done>, Receiver<Done>) = channel();
        std::thread::scope(|scope| {
            let mut job: Option<Arc<Job>> = None;
            let mut ended: Option<Done> = None;
            let mut rounds = Rounds::default();
            while !(self.stop)() {
                if let Some((done, report)) = ended.take().or_else(|| receive.try_recv().ok()) {
                    job = None;
                    self.finish(store, &mut held, &done, report);
                    rounds.reset();
                }
                held.checks = rounds.take().unwrap_or(held.checks);
                // Both write the variables: a run and a round never overlap.
                if job.is_none() && !rounds.is_open() {
                    job = self.start(scope, &held, &send);
                }
                if job.is_none() && rounds.is_due() {
                    let (good, bundle) = (held.applied.good.clone(), held.applied.bundle);
                    let limit = if rounds.is_first() { FIRST_ROUND } else { SHORT_ROUND };
                    rounds.begin(scope.spawn(move || self.check(good.as_ref(), bundle)));
                    self.settle(&rounds, limit);
                    held.checks = rounds.take().unwrap_or(held.checks);
                }
                let pause = self.exchange(&exchange, &mut numbers, &mut held, job.as_deref());
                ended = self.pause(pause, &receive, &rounds);
            }
        });
        Ok(())
    }

    fn peers(&self) -> Option<PeersFile> {
        let peers = self.dir.peers(self.identity);
        peers.inspect_err(|e| tracing::warn!(error = %chain(e), "the peer list cannot be read")).ok()
    }

    fn seed(&self) -> Option<String> {
        (self.seed)(&self.peers()?)
    }

    fn next<'h>(&self, held: &'h Held) -> Next<'h> {
        let pki = self.places.pki();
        next(held.orders.as_ref(), &held.applied, held.bundle, &|plays| pki::missing(&pki, plays))
    }

    fn start<'s, 'e>(&'e self, scope: &'s Scope<'s, 'e>, held: &Held, send: &Sender<Done>) -> Option<Arc<Job>> {
        let (run, again) = match self.next(held) {
            Next::Run(run) => (run.clone(), false),
            Next::Again(run) => (run.clone(), true),
            Next::Wait(..) | Next::Nothing => return None,
        };
        let peers = self.peers()?;
        let mode = if run.mode == RunMode::Check { " (check only)" } else { "" };
        let why = if again { " again, for renewed certificates" } else { "" };
        self.console.step(&format!("converge: running {}{why}{mode}", run.plays.join(", ")));
        let job = Arc::new(Job { run, bundle: held.bundle, again, live: Live::default(), clock: Stopwatch::start() });
        let (own, send) = (Arc::clone(&job), send.clone());
        scope.spawn(move || {
            let seed = || self.seed();
            let (places, info, wait, bundle) = (self.places, &self.identity.info, self.wait, own.bundle);
            let runner = Runner { places, info, peers: &peers, bundle, seed: &seed, wait };
            let report = runner.run(&own.run, &own.live);
            // The loop has ended if nobody receives it.
            let _ = send.send((own, report));
        });
        Some(job)
    }

    /// Stores the result before anything is done with it: a run without a stored result is repeated after a restart.
    fn finish(&self, store: Store<'_>, held: &mut Held, job: &Job, report: Option<RunReport>) {
        let Some(report) = report else { return };
        match report.result {
            RunResult::Failed => {
                self.console.error(&format!("converge: {}: {}: {}", report.play, report.task, report.why));
            }
            _ => self.console.step(&format!("converge: done ({} ok, {} changed)", report.ok, report.changed)),
        }
        held.applied.finish(&job.run, report, job.bundle);
        keep(store, &held.applied);
        let good = held.applied.good.as_ref().map(|run| run.payload);
        let wanted = held.orders.as_ref().and_then(|o| o.run.as_ref()).map(|run| run.payload);
        let mut used: Vec<_> = good.into_iter().chain(wanted).collect();
        used.dedup();
        fetch::prune(self.places, &used);
    }

    /// The checks of the node itself, and of the plays that succeeded last.
    fn check(&self, good: Option<&Run>, bundle: Option<HeldBundle>) -> Vec<GateCheck> {
        let Some(peers) = self.peers() else { return Vec::new() };
        let mut checks = (self.machine)(&peers, good);
        checks.extend(good.map_or_else(Vec::new, |run| self.check_plays(bundle, run, &peers)));
        checks
    }

    fn check_plays(&self, bundle: Option<HeldBundle>, run: &Run, peers: &PeersFile) -> Vec<GateCheck> {
        let failed = |detail: String| {
            let detail = detail.chars().take(300).collect();
            vec![GateCheck { name: "payload".to_owned(), ok: false, detail }]
        };
        let certificates = bundle.map_or(0, |b| b.issued);
        // In RAM, so they are gone after a restart; and the list of peers may be newer.
        if let Err(e) = vars::write(self.places, &Facts { info: &self.identity.info, peers, run, certificates }) {
            return failed(chain(&e));
        }
        let http = (self.seed)(peers).map(|url| Http::new(&url));
        let wanted = Wanted { digest: run.payload, size: run.payload_size };
        match fetch::ensure(self.places, wanted, http.as_ref(), &|_| ()) {
            Ok(payload) => check_plays(self.places, &payload, &run.plays),
            Err(e) => failed(chain(&e)),
        }
    }

    fn report(&self, held: &Held, job: Option<&Job>) -> Option<RunReport> {
        match job {
            Some(job) if !job.again => Some(job.live.report(&job.run, RunResult::Running, "", job.clock.elapsed().as_secs())),
            Some(_) => held.applied.report().cloned(),
            None => match self.next(held) {
                Next::Wait(run, name) => {
                    let live = Live::default();
                    live.task(&format!("waiting for the certificate {name}"));
                    Some(live.report(run, RunResult::Running, "", 0))
                }
                _ => held.applied.report().cloned(),
            },
        }
    }

    /// One message; returns the pause until the next.
    fn exchange(
        &self,
        exchange: &Exchange<'_>,
        numbers: &mut crate::state::Sequence,
        held: &mut Held,
        job: Option<&Job>,
    ) -> Duration {
        let Some(url) = self.seed() else { return Duration::from_secs(POLL_WAITING) };
        let run = self.report(held, job);
        let checked = run.as_ref().is_some_and(|r| r.mode == RunMode::Check && r.result != RunResult::Running);
        let words = Words { orders: held.orders.as_ref(), run, checks: &held.checks, bundle: held.bundle };
        let heard = match exchange.ask(&Http::new(&url), numbers, words) {
            Ok(heard) => heard,
            Err(e) => {
                tracing::warn!(error = %chain(&e), "no orders from the seed");
                held.unanswered = held.unanswered.saturating_add(1);
                return unanswered(&e, held.unanswered);
            }
        };
        held.unanswered = 0;
        if checked && !held.applied.check_sent {
            held.applied.check_sent = true;
            keep(exchange.store, &held.applied);
        }
        let news = heard.orders.is_some() || heard.bundle.is_some();
        held.bundle = heard.bundle.or(held.bundle);
        held.orders = heard.orders.or_else(|| held.orders.take());
        if let (Some(job), Some(wanted)) = (job, held.orders.as_ref().and_then(|o| o.run.as_ref()))
            && (job.run.revision, job.run.attempt, job.run.mode) != (wanted.revision, wanted.attempt, wanted.mode)
        {
            job.live.supersede();
        }
        // The next round acts on the news, and the seed hears of it soon; not at once, in case it always has some.
        match job {
            _ if news => TICK,
            Some(_) => Duration::from_secs(heard.poll.min(POLL_RUNNING)),
            None => Duration::from_secs(heard.poll),
        }
    }

    /// Waits a moment for a round of checks: on most machines it is that short, and the next message has its result.
    fn settle(&self, rounds: &Rounds<'_>, limit: Duration) {
        for _ in 0..limit.as_millis() / BRIEF.as_millis() {
            if rounds.is_done() || (self.stop)() {
                return;
            }
            (self.wait)(BRIEF);
        }
    }

    /// Pauses; the end of a run or of a round of checks ends the pause.
    fn pause(&self, time: Duration, receive: &Receiver<Done>, rounds: &Rounds<'_>) -> Option<Done> {
        for _ in 0..time.as_secs().div_ceil(TICK.as_secs()) {
            if let Ok(done) = receive.try_recv() {
                return Some(done);
            }
            if (self.stop)() || rounds.is_done() {
                return None;
            }
            (self.wait)(TICK);
        }
        None
    }
}

/// Makes sure that only one process converges this node; the lock ends with the returned value.
///
/// # Errors
/// If another one does, or the file cannot be written.
pub fn lock(places: Places<'_>) -> anyhow::Result<Flock<File>> {
    let path = places.run().join("lock");
    create_dirs(&places.run())?;
    let file = open(&path, Start::Keep, PRIVATE).with_context(|| format!("opening {path}"))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|(_, errno)| anyhow::Error::from(errno).context("another kubedos-node converge is running"))
}

fn keep(store: Store<'_>, applied: &Applied) {
    if let Err(e) = store.keep_applied(applied) {
        tracing::error!(error = %chain(&e), "the result of the run is not stored");
    }
}

/// A seed that is away is asked less often, one that refuses this node seldom.
fn unanswered(error: &ExchangeError, times: u32) -> Duration {
    let seconds = match error {
        ExchangeError::Http(e) if e.is_temporary() => POLL_WAITING.checked_shl(times.saturating_sub(1)).unwrap_or(POLL_IDLE),
        _ => POLL_IDLE,
    };
    Duration::from_secs(seconds.clamp(POLL_WAITING, POLL_IDLE))
}
