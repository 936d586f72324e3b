//! The checks of the node itself, under the names of `seedd accept`.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use camino::Utf8Path;
use cluster_seed::agent::GateCheck;
use cluster_seed::converge::orders::Run;
use cluster_seed::identity::IdentityInfo;
use cluster_seed::peers::PeersFile;
use host::clock::Stopwatch;

use super::{egress, planes, security, time};

/// Time after which `security` is checked again; it starts five programs.
const SECURITY_EVERY: Duration = Duration::from_secs(300);
/// Longest detail of a check, in characters.
const MAX_DETAIL: usize = 300;

pub struct NodeChecks<'a> {
    root: &'a Utf8Path,
    info: &'a IdentityInfo,
    now: &'a (dyn Fn() -> u64 + Sync),
    security: Mutex<Option<(Stopwatch, GateCheck)>>,
}

impl<'a> NodeChecks<'a> {
    /// `now`: Unix seconds by the node's clock.
    pub fn new(root: &'a Utf8Path, info: &'a IdentityInfo, now: &'a (dyn Fn() -> u64 + Sync)) -> Self {
        NodeChecks { root, info, now, security: Mutex::new(None) }
    }

    /// Runs every check that is due; `run` is the one whose plays are in force.
    pub fn look(&self, peers: &PeersFile, run: Option<&Run>) -> Vec<GateCheck> {
        vec![
            named("planes", planes::check(self.info, peers, &self.now)),
            named("time", time::check()),
            self.security(peers, run),
            named("egress", egress::check(self.info.darksite.mode)),
        ]
    }

    /// A failure is checked again each time, so that it ends soon after its cause.
    fn security(&self, peers: &PeersFile, run: Option<&Run>) -> GateCheck {
        let mut held = self.security.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((clock, check)) = held.as_ref().filter(|(_, check)| check.ok)
            && clock.elapsed() < SECURITY_EVERY
        {
            return check.clone();
        }
        let check = named("security", security::check(self.root, self.info, peers, run));
        *held = Some((Stopwatch::start(), check.clone()));
        check
    }
}

fn named(name: &str, result: Result<String, String>) -> GateCheck {
    let ok = result.is_ok();
    GateCheck { name: name.to_owned(), ok, detail: result.unwrap_or_else(|e| e).chars().take(MAX_DETAIL).collect() }
}
