//! Enrollment of a blank machine: commit, reveal, show the code, wait for approval, claim.

use std::time::Duration;

use camino::Utf8Path;
use cluster_seed::agent::{Claim, ClaimReply, Hello, HelloReply, POLL_SECONDS, PROTOCOL, Reveal, RevealReply, StatusReply};
use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::identity::SealedIdentity;
use cluster_seed::machine::{HardwareFacts, tame};
use cluster_seed::pairing::{Code, Nonce, code, commitment};
use cluster_seed::seal::{SealError, Sealed, VerifyingKey, key_from_text, key_text};

use crate::console::Console;
use crate::epoch::{self, EpochError};
use crate::http::{Http, HttpError, MAX_JSON, Wait, chain, retry};
use crate::ram::session::{MachineSecrets, Session, SessionError};

/// The code is shown again after this many polls (one minute), for a person who arrives late.
const REDRAW_POLLS: u32 = 30;
/// Attempts of hello and reveal before the enrollment starts over with fresh keys.
const ATTEMPTS: u32 = 30;

#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    #[error("talking to the seed")]
    Http(#[from] HttpError),
    #[error("the seed sent something that its site key did not sign")]
    Seal(#[from] SealError),
    #[error("the enrollment is {}: {reason}", state.as_str())]
    Refused { state: EnrollmentState, reason: String },
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("another machine claimed the identity of this enrollment")]
    Taken,
    #[error("the seed is of epoch {epoch}, this site has reached epoch {seen}: another seed took over")]
    OldEpoch { epoch: u64, seen: u64 },
    #[error("storing the epoch")]
    Epoch(#[from] EpochError),
}

/// What an enrollment needs.
pub struct Enroller<'a> {
    pub http: &'a Http,
    pub console: &'a Console,
    pub wait: Wait<'a>,
    /// Directory of the highest epoch seen.
    pub dir: &'a Utf8Path,
}

/// An enrollment known to the seed, with the key that verifies everything later.
struct Open<'a> {
    secrets: &'a MachineSecrets,
    reply: HelloReply,
    site_key: VerifyingKey,
}

impl Enroller<'_> {
    /// Runs one enrollment to its end. Waits for the approval as long as the seed allows.
    pub fn run(&self, secrets: MachineSecrets, facts: &HardwareFacts) -> Result<Session, EnrollError> {
        self.console.step("hello");
        let open = self.hello(&secrets, facts)?;
        let offered = epoch::of_seed(self.http, &open.site_key);
        if let Some((now, _)) = &offered {
            self.not_older(*now, &open.site_key)?;
        }
        self.reveal(&open, facts)?;
        let shown = code(&secrets.keys(), &open.site_key, &open.reply.seed_nonce);
        let issued = self.await_identity(&open, shown, &describe(facts))?;
        let (site_key, enrollment) = (open.site_key, open.reply.enrollment);
        let seed = self.http.base().to_owned();
        let session = Session { seed, site_key, enrollment, node_key: secrets.node_key, age: secrets.age, issued };
        let (_, identity) = session.open()?;
        self.not_older(identity.info.epoch, &session.site_key)?;
        // Only now is the key known to be the site's: the operator has entered the code that covers it.
        if let Some((_, proof)) = offered {
            epoch::keep(self.dir, &session.site_key, &proof)?;
        }
        Ok(session)
    }

    /// Refuses a seed of an older epoch than this machine has seen of the same site, and sends it the proof.
    fn not_older(&self, now: u64, site: &VerifyingKey) -> Result<(), EnrollError> {
        match epoch::seen(self.dir, site) {
            Some((seen, proof)) if now < seen => {
                epoch::tell(self.http, &proof);
                Err(EnrollError::OldEpoch { epoch: now, seen })
            }
            _ => Ok(()),
        }
    }

    fn hello<'s>(&self, secrets: &'s MachineSecrets, facts: &HardwareFacts) -> Result<Open<'s>, EnrollError> {
        let hello = Hello { protocol: PROTOCOL, commitment: commitment(&secrets.keys()), boot_mac: facts.boot_mac };
        let reply: HelloReply = self.patiently(|| self.http.post_json("/api/v1/agent/hello", &hello))?;
        let site_key = key_from_text(&reply.site_key)?;
        self.console.step(&format!("site key {}", &key_text(&site_key)[..16]));
        Ok(Open { secrets, reply, site_key })
    }

    fn reveal(&self, open: &Open<'_>, facts: &HardwareFacts) -> Result<(), EnrollError> {
        let reveal = Reveal {
            recipient: open.secrets.recipient.clone(),
            node_key: key_text(&open.secrets.node_public),
            nonce: open.secrets.nonce,
            facts: Sealed::sign(facts, &open.secrets.node_key)?,
        };
        let path = format!("/api/v1/agent/{}/reveal", open.reply.enrollment);
        match self.patiently(|| self.http.post_json::<RevealReply>(&path, &reveal)) {
            Ok(_) => Ok(()),
            // The response to an earlier attempt was lost: the status tells how far it got.
            Err(EnrollError::Http(e)) if e.status() == Some(409) => Ok(()),
            Err(e) => Err(e),
        }
    }

    fn patiently<T>(&self, mut f: impl FnMut() -> Result<T, HttpError>) -> Result<T, EnrollError> {
        Ok(retry(ATTEMPTS, self.wait, || {
            f().inspect_err(|e| {
                if e.is_temporary() {
                    self.console.step(&format!("waiting for the seed: {}", chain(e)))
                }
            })
        })?)
    }

    /// Polls until the identity arrives. Waits for a seed that restarts or cannot be reached.
    fn await_identity(&self, open: &Open<'_>, shown: Code, facts: &[String]) -> Result<SealedIdentity, EnrollError> {
        let path = format!("/api/v1/agent/{}/status", open.reply.enrollment);
        let (mut polls, mut lost) = (0u32, false);
        let mut claimed: Option<Sealed<Claim>> = None;
        loop {
            match self.http.get_json::<StatusReply>(&path, MAX_JSON) {
                Ok(status) => {
                    if std::mem::take(&mut lost) {
                        self.console.step("the seed responds again");
                    }
                    if status.state == EnrollmentState::Pending && polls.is_multiple_of(REDRAW_POLLS) {
                        self.console.pairing_code(shown, facts);
                    }
                    polls = polls.wrapping_add(1);
                    if let Some(identity) = self.act(open, status, &mut claimed)? {
                        return Ok(identity);
                    }
                }
                Err(e) if e.is_temporary() => {
                    if !std::mem::replace(&mut lost, true) {
                        self.console.step(&format!("waiting for the seed: {}", chain(&e)));
                    }
                }
                Err(e) => return Err(e.into()),
            }
            (self.wait)(Duration::from_secs(POLL_SECONDS));
        }
    }

    fn act(
        &self,
        open: &Open<'_>,
        status: StatusReply,
        claimed: &mut Option<Sealed<Claim>>,
    ) -> Result<Option<SealedIdentity>, EnrollError> {
        use EnrollmentState as S;
        match status.state {
            S::Discovered | S::Pending => Ok(None),
            S::Approved => {
                let Some(challenge) = status.challenge else { return Ok(None) };
                if claimed.is_none() {
                    self.console.step("approved");
                }
                let claim = claimed.insert(self.sign_claim(open, challenge)?);
                self.claim(open, claim)
            }
            // Our claim arrived, its response did not: the same claim gets the same response.
            S::Issued => claimed.as_ref().map_or(Err(EnrollError::Taken), |claim| self.claim(open, claim)),
            state => Err(EnrollError::Refused { state, reason: tame(status.reason.as_deref().unwrap_or("no reason was given")) }),
        }
    }

    fn sign_claim(&self, open: &Open<'_>, challenge: Nonce) -> Result<Sealed<Claim>, EnrollError> {
        let claim = Claim { enrollment: open.reply.enrollment, challenge, nonce: open.secrets.claim_nonce };
        Ok(Sealed::sign(&claim, &open.secrets.node_key)?)
    }

    fn claim(&self, open: &Open<'_>, claim: &Sealed<Claim>) -> Result<Option<SealedIdentity>, EnrollError> {
        let path = format!("/api/v1/agent/{}/claim", open.reply.enrollment);
        match self.http.post_json::<ClaimReply>(&path, claim) {
            Ok(reply) => Ok(Some(reply.identity)),
            Err(e) if e.is_temporary() => Ok(None),
            Err(e) if e.status() == Some(409) => Err(EnrollError::Taken),
            Err(e) => Err(e.into()),
        }
    }
}

/// Lines beside the code that identify this machine.
fn describe(facts: &HardwareFacts) -> Vec<String> {
    let mac = facts.boot_mac.or_else(|| facts.nics.first().map(|n| n.mac));
    vec![
        format!("{} {}  serial {}", facts.vendor, facts.product, facts.serial),
        format!(
            "MAC {}  {} MiB memory  {} disks",
            mac.map_or("unknown".to_owned(), |m| m.to_string()),
            facts.memory_mib,
            facts.disks.len()
        ),
    ]
}
