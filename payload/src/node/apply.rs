//! The start of an installed node: clock, base role, planes, gate. Each step is reported.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, bail};
use camino::Utf8Path;
use cluster_seed::agent::ReportBody;
use cluster_seed::cluster::CONTROL_PLANE;
use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::identity::NodeIdentity;
use cluster_seed::peers::PeersFile;
use cluster_seed::seal::SigningKey;
use cluster_seed::trouble::Trouble;
use cluster_seed::wireguard::WgPublicKey;

use crate::base::{Base, Change, Command, Outcome, Step};
use crate::console::Console;
use crate::http::{Http, Wait, chain};
use crate::node::applied::{self, ListId};
use crate::node::clock;
use crate::node::gate;
use crate::node::lists::{self, ListError, Lists, Refreshed};
use crate::node::planes;
use crate::pinned;
use crate::report::{LAST_WORDS, ReportError, Reporter};
use crate::state::{NodeDir, StateError};

/// Attempts to fetch the peer list before the stored one is used.
const PEER_TRIES: u32 = 10;
/// Number of gate reports, three seconds apart, until the seed can reach this node too.
const GATE_REPORTS: u32 = 60;
/// Attempts for a step of the base role before it counts as failed, and the pause between them.
const BASE_TRIES: u32 = 5;
const BASE_PAUSE: Duration = Duration::from_secs(5);
/// While keys are replaced: seconds between two requests for the list, how many there are, and how many in a row may bring nothing new.
/// The unit has ten minutes.
const WATCH_SECONDS: u32 = 5;
const WATCHES: u32 = 90;
const IDLE_WATCHES: u32 = 24;
/// Looks whether this node was countersigned before the unit starts again, and the pause between them: 50 minutes.
const COUNTERSIGN_TRIES: u32 = 100;
const COUNTERSIGN_PAUSE: Duration = Duration::from_secs(30);

/// Number of steps that succeeded, and how many of those changed something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Stats {
    ok: u32,
    changed: u32,
}

/// An installed node.
pub struct Node<'a> {
    /// `/`
    pub root: &'a Utf8Path,
    pub dir: &'a NodeDir,
    pub identity: &'a NodeIdentity,
    pub key: &'a SigningKey,
    /// The seed on the boot network.
    pub http: &'a Http,
    pub console: &'a Console,
    pub reporter: &'a Reporter<'a>,
    pub wait: Wait<'a>,
    /// Unix seconds by the node's clock.
    pub now: &'a dyn Fn() -> u64,
}

impl Node<'_> {
    /// Runs everything; after an error the unit retries.
    pub fn apply(&self) -> anyhow::Result<()> {
        let host = &self.identity.info.hostname;
        nix::unistd::sethostname(host.label()).context("setting the host name")?;
        self.console.step(&format!("node {host}"));
        // Before WireGuard, which accepts no handshake older than the last one, and before apt.
        if let Some(seed) = clock::seed_of(&self.identity.info.seed_url) {
            let words = clock::follow(self.root, seed, self.wait).context("asking the seed for the time")?;
            self.console.step(&format!("time {words}"));
        }
        let peers = self.first_peers()?;
        self.console.step("base role");
        let mut base = self.base(&peers);
        let outcomes = self.run_base(&mut base, Step::ALL);
        self.console.step("planes");
        if self.set().context("bringing up the planes")? {
            self.tell();
        }
        self.booted();
        self.report(&outcomes);
        // The timer may have brought a newer list during the base role, which takes minutes.
        let (newest, _) = self.stored()?;
        self.gate(&self.countersigned(&newest)?)?;
        let stats = self.finish_base(&mut base, outcomes)?;
        self.applied(stats)?;
        self.time_over_plane(&peers)
    }

    /// Waits until the site's offline key has signed this node: before that, no other one is its peer, the seed included.
    fn countersigned(&self, peers: &PeersFile) -> anyhow::Result<PeersFile> {
        let Some(fingerprint) = pinned::waiting(self.identity, peers) else { return Ok(peers.clone()) };
        self.console.step(&format!("waiting for the countersignature of this node, fingerprint {fingerprint}"));
        for _ in 0..COUNTERSIGN_TRIES {
            (self.wait)(COUNTERSIGN_PAUSE);
            match self.refresh() {
                Ok(Refreshed { peers, .. }) if pinned::waiting(self.identity, &peers).is_none() => {
                    self.console.step("countersigned");
                    self.restore(&peers);
                    if self.set().context("changing the planes")? {
                        self.tell();
                    }
                    return Ok(peers);
                }
                Ok(_) => {}
                Err(e) => tracing::warn!(error = %chain(&e), "peer list not refreshed"),
            }
        }
        bail!("this node is not countersigned yet")
    }

    /// Runs last, because chrony needs some seconds and nothing depends on it.
    fn time_over_plane(&self, peers: &PeersFile) -> anyhow::Result<()> {
        let info = &self.identity.info;
        let plane = peers.nodes.get(&info.seed_hostname).and_then(|s| s.addresses.get(CONTROL_PLANE));
        if let (Some(seed), Some(plane)) = (clock::seed_of(&info.seed_url), plane) {
            let words = clock::move_to_plane(self.root, seed, *plane, self.wait).context("asking the seed for the time")?;
            self.console.step(&format!("time {words}"));
        }
        Ok(())
    }

    fn base<'b>(&'b self, peers: &'b PeersFile) -> Base<'b> {
        Base::new(self.root, &self.identity.info, peers, &Command::run)
    }

    fn run_base(&self, base: &mut Base<'_>, steps: &[Step]) -> Vec<Outcome> {
        base.apply(steps, &mut |outcome| match &outcome.result {
            Err(e) => self.console.error(&format!("base: {}: {}", outcome.step.name(), chain(e))),
            Ok(_) => self.console.step(&format!("base: {}: {}", outcome.step.name(), outcome.report().result.as_str())),
        })
    }

    fn report(&self, outcomes: &[Outcome]) {
        outcomes.iter().for_each(|o| self.reporter.tell(ReportBody::ApplyProgress { step: o.report() }));
    }

    /// Repeats the steps that failed before the gate: a failed step must not keep operators from reaching the node.
    fn finish_base(&self, base: &mut Base<'_>, mut outcomes: Vec<Outcome>) -> anyhow::Result<Stats> {
        let (mut stats, mut attempt) = (Stats::default(), 1);
        loop {
            let good = |change| outcomes.iter().filter(|o| matches!(o.result, Ok(c) if c == change)).count() as u32;
            stats.ok += good(Change::None) + good(Change::Made);
            stats.changed += good(Change::Made);
            let failed: Vec<&Outcome> = outcomes.iter().filter(|o| o.result.is_err()).collect();
            if failed.is_empty() {
                return Ok(stats);
            }
            if attempt == BASE_TRIES {
                let why =
                    failed.iter().map(|o| format!("{}: {}", o.step.name(), o.report().detail)).collect::<Vec<_>>().join("; ");
                self.reporter.failed("base", &why, Trouble::Other);
                bail!("the base role failed: {why}");
            }
            let again: Vec<Step> = failed.iter().map(|o| o.step).collect();
            (self.wait)(BASE_PAUSE);
            outcomes = self.run_base(base, &again);
            self.report(&outcomes);
            attempt += 1;
        }
    }

    fn lists(&self) -> Lists<'_> {
        let applied = applied::read(self.root, &self.identity.info.planes);
        Lists { dir: self.dir, identity: self.identity, key: self.key, applied }
    }

    /// The seed on the control plane; `None` while that does not exist.
    fn on_plane(&self) -> Result<Option<Http>, StateError> {
        let held = self.dir.peers(self.identity)?;
        Ok(lists::plane_url(self.root, self.identity, &held).map(|url| Http::new(&url)))
    }

    /// Reports to the seed which list the kernel has, over the control plane if possible, and gets the newest one.
    fn refresh(&self) -> Result<Refreshed, ListError> {
        self.lists().refresh(self.on_plane()?.as_ref(), self.http)
    }

    /// Sets the planes by the newest stored list and notes that the kernel has it; false if its firewall does not have it. Never by a
    /// list that was read before: another process may have stored, set and reported a newer one since.
    fn set(&self) -> anyhow::Result<bool> {
        let _alone = applied::alone(self.root)?;
        let (peers, id) = self.stored()?;
        // With the keys that this list names.
        let identity = self.dir.identity().context("reading this node's identity")?;
        planes::up(self.root, &identity, &peers)?;
        Ok(self.has(id, &peers))
    }

    /// The second half of [`Node::set`].
    fn has(&self, id: ListId, peers: &PeersFile) -> bool {
        if !self.base(peers).has_firewall() {
            tracing::info!(version = id.version, "the firewall does not have this peer list yet");
            applied::forget(self.root);
            return false;
        }
        applied::keep(self.root, &self.identity.info.planes, id).unwrap_or_else(|e| {
            tracing::error!(error = %chain(&e), "the list in the kernel is not noted, and not reported to the seed");
            false
        })
    }

    /// Tells the seed what [`Node::set`] noted. Without an answer, the next refresh does.
    fn tell(&self) {
        let told = self.on_plane().map_err(ListError::from).and_then(|plane| self.lists().report(plane.as_ref(), self.http));
        if let Err(e) = told {
            tracing::debug!(error = %chain(&e), "the new peer list was not reported");
        }
    }

    fn stored(&self) -> anyhow::Result<(PeersFile, ListId)> {
        let (list, sealed) = self.dir.newest(self.identity).context("reading the peer list")?;
        let id = ListId::of(&list, &sealed);
        Ok((list, id))
    }

    fn first_peers(&self) -> anyhow::Result<PeersFile> {
        // With the stored list, so that the new one can come over the control plane. Except at the first start, the firewall has been
        // loaded from its file by now.
        if let Err(e) = self.set() {
            tracing::warn!(error = %format!("{e:#}"), "the planes did not come up from the stored peer list");
        }
        for attempt in 0..PEER_TRIES {
            match self.refresh() {
                Ok(refreshed) => return Ok(refreshed.peers),
                Err(e) => {
                    tracing::warn!(error = %chain(&e), attempt, "peer list not refreshed");
                    (self.wait)(Duration::from_secs(3));
                }
            }
        }
        Ok(self.stored()?.0)
    }

    /// Run by the timer: fetches the peer list, updates the planes if needed, and reverts manual changes. While keys are replaced, it
    /// stays and follows every node to its new key within a second; a rotation that waits for a silent node keeps nobody.
    pub fn refresh_peers(&self) -> anyhow::Result<()> {
        let (mut peers, changed) = self.refresh_once(true)?;
        let (mut left, mut idle) = (WATCHES, if changed { 0 } else { IDLE_WATCHES });
        let mut used = None;
        while left > 0 && idle < IDLE_WATCHES && !peers.rotating.is_empty() {
            self.watch(&peers, &mut used)?;
            let (next, changed) = self.refresh_once(false)?;
            peers = next;
            left -= 1;
            idle = if changed { 0 } else { idle + 1 };
        }
        Ok(())
    }

    /// `used` are the keys that had addresses when the planes were set last. It stays from one list to the next: a node that changes
    /// over while a list is fetched is followed too.
    fn watch(&self, peers: &PeersFile, used: &mut Option<BTreeSet<WgPublicKey>>) -> anyhow::Result<()> {
        for _ in 0..WATCH_SECONDS {
            let now = planes::used(&self.identity.info, peers);
            if used.as_ref() != Some(&now) {
                self.set().context("following a node to its new key")?;
                *used = Some(now);
            }
            (self.wait)(Duration::from_secs(1));
        }
        Ok(())
    }

    fn refresh_once(&self, restore: bool) -> anyhow::Result<(PeersFile, bool)> {
        let fetched = self.refresh();
        let (peers, id) = match &fetched {
            Ok(refreshed) => (refreshed.peers.clone(), refreshed.id),
            Err(_) => self.stored()?,
        };
        // Also true of a list that an earlier round stored and did not get into the kernel.
        let lacking = applied::read(self.root, &self.identity.info.planes) != id;
        // A new list may change the firewall.
        if restore || lacking {
            self.restore(&peers);
        }
        if lacking && self.set().context("changing the planes")? && fetched.is_ok() {
            self.tell();
        }
        let changed = fetched?.changed;
        let stale = planes::forget(self.identity, &peers, (self.now)());
        if stale || (!lacking && !peers.rotating.is_empty()) {
            self.set().context("changing the planes")?;
        }
        if changed {
            tracing::info!(version = peers.version, nodes = peers.nodes.len(), "new peer list");
        }
        Ok((peers, changed))
    }

    /// The base role's local steps. Only logged: reports of two processes would conflict in their numbers.
    fn restore(&self, peers: &PeersFile) {
        self.base(peers).apply(Step::LOCAL, &mut |outcome| match &outcome.result {
            Ok(Change::None) => {}
            Ok(Change::Made) => tracing::info!(step = outcome.step.name(), "base role: changed"),
            Err(e) => tracing::warn!(step = outcome.step.name(), error = %chain(e), "base role: failed"),
        });
    }

    fn booted(&self) {
        let read = |path: &str| fs::read_to_string(self.root.join(path)).unwrap_or_default().trim().to_owned();
        let body =
            ReportBody::Booted { kernel: read("proc/sys/kernel/osrelease"), boot_id: read("proc/sys/kernel/random/boot_id") };
        if let Err(e) = self.reporter.deliver(body, LAST_WORDS) {
            tracing::warn!(error = %chain(&e), "boot not reported");
        }
    }

    fn gate(&self, peers: &PeersFile) -> anyhow::Result<()> {
        self.console.step("fabric gate");
        let checks = gate::pass(gate::ROUNDS, self.wait, || gate::look(self.root, self.identity, peers));
        for check in checks.iter().filter(|c| !c.ok) {
            self.console.error(&format!("{}: {}", check.name, check.detail));
        }
        let here = gate::passed(&checks);
        for _ in 0..GATE_REPORTS {
            match self.reporter.deliver(ReportBody::Gate { checks: checks.clone() }, LAST_WORDS) {
                // All local checks passed, but the seed has not reached this node yet: it retries with each report.
                Ok(reply) if here && reply.state == EnrollmentState::Installed => (self.wait)(Duration::from_secs(3)),
                Ok(reply) => {
                    tracing::info!(state = reply.state.as_str(), "gate reported");
                    break;
                }
                // A node that converged earlier does not need to pass the gate again.
                Err(ReportError::Http(e)) if e.status() == Some(409) => break,
                Err(e) => return Err(e).context("reporting the gate"),
            }
        }
        if !here {
            bail!("the fabric gate did not pass");
        }
        self.console.step("fabric ready");
        Ok(())
    }

    /// A role without plays has converged with this; the plays of others follow (`kubedos-node converge`).
    fn applied(&self, stats: Stats) -> anyhow::Result<()> {
        let done = ReportBody::ApplyDone { changed: stats.changed, ok: stats.ok };
        match self.reporter.deliver(done, LAST_WORDS) {
            Ok(_) => {}
            Err(ReportError::Http(e)) if e.status() == Some(409) => {
                tracing::info!("the seed already knows that the base role is applied");
            }
            Err(e) => return Err(e).context("reporting that the base role is applied"),
        }
        self.console.step(&format!("base role applied ({} ok, {} changed)", stats.ok, stats.changed));
        Ok(())
    }
}
