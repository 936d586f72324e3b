//! Join tokens: the seed plays the operator for a machine that has one. The pairing and the state machine are the same; only
//! the secret comes from the vault instead of a console.

use std::collections::BTreeSet;
use std::net::IpAddr;

use cluster_seed::enrollment::{EnrollmentEvent, EnrollmentState};
use cluster_seed::events::EventKind;
use cluster_seed::identity::InstallOrder;
use cluster_seed::ids::Hostname;
use cluster_seed::join::token::TokenId;
use cluster_seed::machine::{Disk, HardwareFacts};
use cluster_seed::manifest::ArtifactManifest;
use host::clock::{now, now_ms, steady};
use site::store::enrollments::{Decided, EnrollmentRecord};
use site::store::{StoreError, Tx};
use site::tokens::{self, DiskRule, Grant, Refusal, Token};
use web::api::ApiError;

use super::approve::{Choice, choose_disk};
use super::records::event_of;
use super::{App, unexpected};

/// Most enrollments with tokens that wait for their machine's confirmation at a time, from one address and in all: whoever names
/// a token gets an offer without proving anything, and each holds a public number until it ends.
const CONFIRMING_PER_ADDRESS: usize = 8;
const CONFIRMING: usize = 64;

/// Why a machine with a token is not given an offer.
enum Not {
    /// Nothing is wrong with it; its next poll tries again.
    Yet,
    /// The attempt is over, and the machine is told why.
    Ever(String),
}

impl From<ApiError> for Not {
    fn from(e: ApiError) -> Self {
        match e {
            ApiError::BadRequest { why, .. } | ApiError::Conflict { why, .. } => Not::Ever(why),
            error => {
                tracing::warn!(%error, "a machine with a join token has to wait");
                Not::Yet
            }
        }
    }
}

/// Said to the machine, and in the log.
pub(super) fn refused(id: TokenId, why: Refusal) -> String {
    format!("join token {id} {why}")
}

fn actor(id: TokenId) -> String {
    format!("join token {id}")
}

impl App {
    /// Refuses a hello whose token cannot be used, by name. An ended token is counted and recorded, each within a budget: it may be a
    /// copy of an image. An unknown one is only counted, in memory: anybody can make one up.
    pub(super) fn check_token(&self, from: IpAddr, id: TokenId) -> Result<(), ApiError> {
        let (served, token) =
            self.store.read(|tx| Ok::<_, StoreError>((tokens::may_serve(tx, id, now())?, tokens::get(tx, id)?)))?;
        let Err(why) = served else { return Ok(()) };
        if let Some(token) = token {
            if !self.is_short_of_space() && self.strangers.take(steady()) {
                self.store.write(|tx| tokens::count_refusal(tx, id))?;
            }
            let Grant { name, role, .. } = &token.grant;
            let text = format!("{}: a machine that wants to be {name}, role {role}, was refused", refused(id, why));
            self.note(from, EventKind::TokenRefused, &text, None);
        } else {
            self.flight.count_refused();
        }
        Err(ApiError::forbidden(refused(id, why)))
    }

    /// Decides about a Pending machine with a token; returns its record as it is then. A sealed seed leaves it waiting.
    pub(super) fn serve_token(&self, record: EnrollmentRecord) -> Result<EnrollmentRecord, ApiError> {
        let Some(token) = record.token.filter(|_| record.state == EnrollmentState::Pending) else { return Ok(record) };
        match self.offer_to(&record, token) {
            Ok(text) => self.note(record.ip, EventKind::EnrollmentConfirming, &text, Some(&record)),
            Err(Not::Yet) => {}
            Err(Not::Ever(why)) => match self.refuse_token(&record, token, &why) {
                // Another poll of the same machine was first.
                Ok(()) | Err(ApiError::Conflict { .. }) => {}
                Err(e) => return Err(e),
            },
        }
        Ok(self.store.read(|tx| tx.enrollment(record.id))?)
    }

    /// Ends an attempt with a token. Not in the log: the machine has proved nothing yet.
    pub(super) fn refuse_token(&self, record: &EnrollmentRecord, token: TokenId, why: &str) -> Result<(), ApiError> {
        self.write(|tx| {
            tx.advance(record, EnrollmentEvent::Denied, Some(why), now())?;
            Ok(tokens::count_refusal(tx, token)?)
        })?;
        self.note(record.ip, EventKind::EnrollmentDenied, why, Some(record));
        Ok(())
    }

    fn offer_to(&self, record: &EnrollmentRecord, id: TokenId) -> Result<String, Not> {
        if self.is_sealed() || super::mode::may_issue(self.mode()?).is_err() {
            return Err(Not::Yet);
        }
        let (token, waiting) = self.store.read(|tx| Ok::<_, ApiError>((self.usable(tx, id)?, tx.confirming_by_token()?)))?;
        let token = token?;
        if !has_room(&waiting, record.ip) {
            return Err(Not::Yet);
        }
        let role = &token.grant.role;
        let Some(revealed) = &record.revealed else { return Err(Not::Yet) };
        let arch = revealed.facts.arch;
        let Some(artifact) = self.artifact_of(role, arch).map_err(unexpected)? else {
            tracing::warn!(token = %id, role, %arch, "a machine with a join token waits: its role has no artifact yet");
            return Err(Not::Yet);
        };
        let disk = fitting(&revealed.facts, token.grant.disk, &artifact)?;
        let (disk, mark) = choose_disk(&revealed.facts, &disk, &artifact)?;
        let order = InstallOrder { artifact: artifact.id, disk: disk.name.clone(), disk_serial: mark, disk_size: disk.size };
        let hostname = self.next_name(&token, &waiting)?;
        let secret = self.with_keys(|keys| token.open(&keys.vault).map_err(unexpected))?.pairing_secret();
        let text = format!("join token {id}: {hostname}, role {role}, disk {} ({} bytes)", disk.name, disk.size);
        let decided = self.pair(&actor(id), record, &secret, Choice { hostname, order, role, replace: false })?;
        self.decide(record, id, &decided)?;
        Ok(text)
    }

    /// Writes the decision, if the token, the name and the budget still allow it.
    fn decide(&self, record: &EnrollmentRecord, id: TokenId, decided: &Decided) -> Result<(), Not> {
        self.write(|tx| {
            self.may_issue(tx)?;
            // Another poll of the same machine may have been first.
            if tx.enrollment(record.id)?.state != EnrollmentState::Pending {
                return Ok(Err(Not::Yet));
            }
            let waiting = tx.confirming_by_token()?;
            if let Err(not) = self.usable(tx, id)? {
                return Ok(Err(not));
            }
            if !has_room(&waiting, record.ip)
                || names(&waiting).contains(&decided.hostname)
                || tx.live_node(&decided.hostname)?.is_some()
            {
                return Ok(Err(Not::Yet));
            }
            tx.advance(record, EnrollmentEvent::CodeTyped, None, now())?;
            tx.set_decision(record.id, decided)?;
            Ok(Ok(()))
        })?
    }

    /// Why the token of a machine that has proved to have it cannot be used any more: several machines may have been offered its
    /// last use.
    pub(super) fn token_ended(&self, tx: &Tx<'_>, record: &EnrollmentRecord) -> Result<Option<String>, ApiError> {
        let Some(id) = record.token else { return Ok(None) };
        Ok(match tokens::may_serve(tx, id, now())? {
            Err(why) => Some(refused(id, why)),
            Ok(token) if self.waits_for_second(tx, &token)? => Some(format!("join token {id} waits for a second user")),
            Ok(_) => None,
        })
    }

    /// Counts the use of the token that the machine was approved with, in the transaction that hands out its identity; returns
    /// what to add to the log. A token that ended since then: the approval is withdrawn, and the reason is returned.
    pub(super) fn spend_token(&self, tx: &Tx<'_>, record: &EnrollmentRecord) -> Result<Result<String, String>, ApiError> {
        let Some(id) = record.token else { return Ok(Ok(String::new())) };
        match tokens::spend(tx, id, record.id, now())? {
            Ok(token) => Ok(Ok(format!(", join token {id}, use {} of {}", token.used, token.grant.uses))),
            Err(why) => {
                let why = refused(id, why);
                tx.advance(record, EnrollmentEvent::Revoked, Some(&why), now())?;
                self.retire(tx, record)?;
                tx.event(now_ms(), &event_of(record, EventKind::NodeRevoked, &why, Some(&actor(id))))?;
                Ok(Err(why))
            }
        }
    }

    /// The token, if a machine may be approved with it now. One that waits for a second user is not refused: the machine waits too.
    fn usable(&self, tx: &Tx<'_>, id: TokenId) -> Result<Result<Token, Not>, ApiError> {
        Ok(match tokens::may_serve(tx, id, now())? {
            Err(why) => Err(Not::Ever(refused(id, why))),
            Ok(token) if self.waits_for_second(tx, &token)? => Err(Not::Yet),
            Ok(token) => Ok(token),
        })
    }

    /// The first name of the pattern that no node has and no machine was offered.
    fn next_name(&self, token: &Token, waiting: &[EnrollmentRecord]) -> Result<Hostname, Not> {
        let mut taken = names(waiting);
        taken.extend(self.store.read(|tx| tx.live_nodes()).map_err(ApiError::from)?.into_iter().map(|node| node.hostname));
        let mut free = token.grant.name.labels().filter_map(|label| self.full_name(&label).ok()).filter(|n| !taken.contains(n));
        free.next().ok_or_else(|| Not::Ever(format!("no name of {} is free", token.grant.name)))
    }
}

fn has_room(waiting: &[EnrollmentRecord], from: IpAddr) -> bool {
    waiting.len() < CONFIRMING && waiting.iter().filter(|r| r.ip == from).count() < CONFIRMING_PER_ADDRESS
}

fn names(waiting: &[EnrollmentRecord]) -> BTreeSet<Hostname> {
    waiting.iter().filter_map(|r| Some(r.decision.as_ref()?.hostname.clone())).collect()
}

/// The disk by the token's rule: the one that the machine runs from, or one that is large enough and not removable.
fn fitting(facts: &HardwareFacts, rule: DiskRule, artifact: &ArtifactManifest) -> Result<String, Not> {
    if let Some(root) = &facts.root_disk {
        return Ok(root.clone());
    }
    let fits = |d: &&Disk| !d.removable && d.size >= artifact.min_disk && d.unfit().is_none() && d.part_of.is_empty();
    let disks: Vec<&Disk> = facts.disks.iter().filter(fits).collect();
    let chosen = match (rule, &disks[..]) {
        (DiskRule::Only, [only]) => Some(only),
        (DiskRule::Only, _) => None,
        (DiskRule::Smallest, disks) => disks.iter().min_by_key(|d| d.size),
        (DiskRule::Largest, disks) => disks.iter().rev().max_by_key(|d| d.size),
    };
    let count = disks.len();
    chosen.map(|d| d.name.clone()).ok_or_else(|| {
        Not::Ever(format!("the machine has {count} disks that fit, but join tokens of this kind need exactly one"))
    })
}

#[cfg(test)]
#[path = "tokens_tests.rs"]
mod tests;
