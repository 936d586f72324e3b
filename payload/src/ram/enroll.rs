//! Enrollment of a blank machine: hello, reveal, show the code, confirm the pairing with the seed, claim.

use std::time::Duration;

use camino::Utf8Path;
use cluster_seed::agent::{
    Claim, ClaimReply, Confirm, ConfirmReply, Hello, HelloReply, Mismatch, Offer, POLL_SECONDS, PROTOCOL, Reveal, RevealReply,
    StatusReply, TellCode,
};
use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::identity::SealedIdentity;
use cluster_seed::join::token::JoinToken;
use cluster_seed::machine::{HardwareFacts, tame};
use cluster_seed::pairing::Nonce;
use cluster_seed::pake::PakeError;
use cluster_seed::seal::{SealError, Sealed, VerifyingKey, key_from_text, key_text};

use crate::console::Console;
use crate::epoch::{self, EpochError};
use crate::http::{Http, HttpError, MAX_JSON, Wait, chain, retry};
use crate::ram::attempts::Failure;
use crate::ram::session::{ConfirmedSeed, MachineSecrets, Pairing, Session, SessionError, WrongCode};
use crate::ram::site::Source;

/// The code is shown again after this many polls (one minute), for a person who arrives late.
const REDRAW_POLLS: u32 = 30;
/// [`Enroller::tries`] of a machine in RAM.
pub const ATTEMPTS: u32 = 30;
/// Attempts to report a wrong code to the seed.
const MISMATCH_TRIES: u32 = 3;

#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    #[error("talking to the seed")]
    Http(#[from] HttpError),
    #[error("the seed sent a message that is not signed by its site key")]
    Seal(#[from] SealError),
    #[error("this seed has site key {found}, but {source_of_key} requires {expected}: it belongs to another site")]
    OtherSite { found: String, expected: String, source_of_key: Source },
    #[error("starting the pairing")]
    Pairing(#[from] PakeError),
    #[error("the seed did not prove that this machine's code was entered")]
    WrongCode(#[from] WrongCode),
    #[error("the seed says {}, but never proved that this machine's code was entered", state.as_str())]
    Unconfirmed { state: EnrollmentState },
    #[error("the enrollment is {}: {reason}", state.as_str())]
    Refused { state: EnrollmentState, reason: String },
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("another machine claimed the identity of this enrollment")]
    Taken,
    #[error("the seed is of epoch {epoch}, but this site has reached epoch {seen}: another seed was promoted")]
    OldEpoch { epoch: u64, seen: u64 },
    #[error("storing the epoch")]
    Epoch(#[from] EpochError),
}

impl EnrollError {
    /// How this counts if a code was shown already.
    fn after_the_code(&self) -> Failure {
        match self {
            EnrollError::Refused { state: EnrollmentState::Expired, .. }
            | EnrollError::Http(_)
            | EnrollError::OldEpoch { .. } => Failure::Unused,
            _ => Failure::Code,
        }
    }
}

/// An attempt without approval.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Failed {
    #[source]
    pub error: EnrollError,
    pub failure: Failure,
}

/// Inputs of an enrollment.
pub struct Enroller<'a> {
    pub http: &'a Http,
    pub console: &'a Console,
    pub wait: Wait<'a>,
    /// Directory of the highest epoch seen.
    pub dir: &'a Utf8Path,
    /// Site keys given to this machine: nothing is sent to a seed with another one.
    pub sites: &'a [(Source, VerifyingKey)],
    /// Enrolls without an operator.
    pub token: Option<&'a JoinToken>,
    /// Attempts of hello and reveal before the enrollment starts over. With 1 nothing is printed about a seed that does not
    /// respond: the caller repeats and tells.
    pub tries: u32,
    /// Whether the boot script allowed to tell the code to the seed. A token is never told.
    pub may_tell: bool,
}

/// An enrollment known to the seed, with the key that verifies everything later.
struct Open<'a> {
    secrets: &'a MachineSecrets,
    reply: HelloReply,
    site_key: VerifyingKey,
}

/// Progress of the pairing.
#[derive(Default)]
struct Progress {
    pairing: Option<Pairing>,
    confirmed: Option<(ConfirmedSeed, Sealed<Confirm>)>,
    claimed: Option<Sealed<Claim>>,
}

impl Enroller<'_> {
    /// Runs one enrollment. Waits for approval as long as the seed allows.
    pub fn run(&self, secrets: MachineSecrets, facts: &HardwareFacts) -> Result<Session, Failed> {
        let early = |error| Failed { failure: self.before_the_code(&error), error };
        if self.tries > 1 {
            self.console.step("hello");
        }
        let mut open = self.hello(&secrets, facts).map_err(early)?;
        let offered = epoch::of_seed(self.http, &open.site_key);
        if let Some((now, _)) = &offered {
            self.not_older(*now, &open.site_key).map_err(early)?;
        }
        let (confirmed, issued) = self.pair(&open, facts)?;
        let knows = std::mem::take(&mut open.reply.knows);
        let session = Session::new(self.http.base(), confirmed, secrets, issued, knows);
        self.check(&session, offered).map_err(|error| Failed { failure: error.after_the_code(), error })?;
        Ok(session)
    }

    /// What the seed refused (an ended token, a machine that was denied) is tried again and again, ever more slowly: an operator
    /// may change it.
    fn before_the_code(&self, error: &EnrollError) -> Failure {
        match error {
            EnrollError::Http(e) if e.status() == Some(403) => Failure::Unused,
            _ => Failure::BeforeTheCode,
        }
    }

    fn check(&self, session: &Session, offered: Option<epoch::Offered>) -> Result<(), EnrollError> {
        let approved = session.open()?;
        self.not_older(approved.identity().info.epoch, session.site_key())?;
        // Only now is the site key trusted: the seed proved that the operator entered this machine's code.
        if let Some((_, proof)) = offered {
            epoch::keep(self.dir, session.site_key(), &proof)?;
        }
        Ok(())
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
        let hello = Hello { protocol: PROTOCOL, boot_mac: facts.boot_mac, token: self.token.map(|t| t.id) };
        let reply: HelloReply = self.patiently(|| self.http.post_json("/api/v1/agent/hello", &hello))?;
        let site_key = key_from_text(&reply.site_key)?;
        if self.tries > 1 {
            self.console.step(&format!("site key {}", &key_text(&site_key)[..16]));
        }
        if let Some((source, expected)) = self.sites.iter().find(|(_, key)| *key != site_key) {
            let (found, expected) = (key_text(&site_key), key_text(expected));
            return Err(EnrollError::OtherSite { found, expected, source_of_key: *source });
        }
        Ok(Open { secrets, reply, site_key })
    }

    /// Reveals the machine, shows its code, and waits until the seed is verified and the identity has arrived.
    fn pair(&self, open: &Open<'_>, facts: &HardwareFacts) -> Result<(ConfirmedSeed, SealedIdentity), Failed> {
        let early = |error| Failed { failure: self.before_the_code(&error), error };
        let pairing = self.reveal(open, facts).map_err(early)?;
        let shown = open.secrets.shown(open.reply.number);
        self.await_identity(open, pairing, &shown, &describe(facts))
            .map_err(|error| Failed { failure: error.after_the_code(), error })
    }

    fn reveal(&self, open: &Open<'_>, facts: &HardwareFacts) -> Result<Pairing, EnrollError> {
        let facts = Sealed::sign(facts, &open.secrets.node_key)?;
        let HelloReply { enrollment, number, .. } = open.reply;
        let pairing = Pairing::start(open.secrets, enrollment, number, open.site_key, facts.digest())?;
        let reveal = Reveal {
            recipient: open.secrets.recipient.clone(),
            node_key: key_text(&open.secrets.node_public),
            facts,
            pake: pairing.message(),
        };
        let path = format!("/api/v1/agent/{enrollment}/reveal");
        match self.patiently(|| self.http.post_json::<RevealReply>(&path, &reveal)) {
            Ok(_) => Ok(pairing),
            // The response to an earlier attempt was lost: get the current state.
            Err(EnrollError::Http(e)) if e.status() == Some(409) => Ok(pairing),
            Err(e) => Err(e),
        }
    }

    fn patiently<T>(&self, mut f: impl FnMut() -> Result<T, HttpError>) -> Result<T, EnrollError> {
        Ok(retry(self.tries, self.wait, || {
            f().inspect_err(|e| {
                if e.is_temporary() && self.tries > 1 {
                    self.console.step(&format!("waiting for the seed: {}", chain(e)))
                }
            })
        })?)
    }

    /// Polls until the identity arrives. Waits while the seed restarts or cannot be reached.
    fn await_identity(
        &self,
        open: &Open<'_>,
        pairing: Pairing,
        shown: &str,
        facts: &[String],
    ) -> Result<(ConfirmedSeed, SealedIdentity), EnrollError> {
        let path = format!("/api/v1/agent/{}/status", open.reply.enrollment);
        let (mut polls, mut lost) = (0u32, false);
        let mut progress = Progress { pairing: Some(pairing), ..Progress::default() };
        loop {
            match self.http.get_json::<StatusReply>(&path, MAX_JSON) {
                Ok(status) => {
                    if std::mem::take(&mut lost) {
                        self.console.step("the seed responds again");
                    }
                    if status.state == EnrollmentState::Pending && polls.is_multiple_of(REDRAW_POLLS) {
                        match self.token {
                            None => self.console.pairing_code(shown, facts),
                            Some(token) => self.console.step(&format!("waiting for the seed to accept join token {}", token.id)),
                        }
                    }
                    polls = polls.wrapping_add(1);
                    if let Some(identity) = self.act(open, status, &mut progress)?
                        && let Some((confirmed, _)) = progress.confirmed.take()
                    {
                        return Ok((confirmed, identity));
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

    fn act(&self, open: &Open<'_>, status: StatusReply, progress: &mut Progress) -> Result<Option<SealedIdentity>, EnrollError> {
        use EnrollmentState as S;
        let state = status.state;
        match state {
            S::Pending if status.tell_code => {
                self.tell_code(open);
                Ok(None)
            }
            S::Discovered | S::Pending => Ok(None),
            S::Confirming => self.confirm(open, status.offer, progress).map(|()| None),
            // Whatever the seed says: without its proof nothing is claimed.
            S::Approved | S::Issued if progress.confirmed.is_none() => Err(EnrollError::Unconfirmed { state }),
            S::Approved => {
                let Some(challenge) = status.challenge else { return Ok(None) };
                if progress.claimed.is_none() {
                    self.console.step("approved");
                }
                let claim = progress.claimed.insert(self.sign_claim(open, challenge)?);
                self.claim(open, claim)
            }
            // The claim arrived but its response was lost: the same claim gets the same response.
            S::Issued => progress.claimed.as_ref().map_or(Err(EnrollError::Taken), |claim| self.claim(open, claim)),
            state => Err(EnrollError::Refused { state, reason: tame(status.reason.as_deref().unwrap_or("no reason was given")) }),
        }
    }

    /// Verifies the seed's confirmation, once, and sends the machine's own until the seed has it.
    fn confirm(&self, open: &Open<'_>, offer: Option<Offer>, progress: &mut Progress) -> Result<(), EnrollError> {
        let Some(offer) = offer else { return Ok(()) };
        if let Some(pairing) = progress.pairing.take() {
            let (confirmed, confirmation) = pairing.check(offer).inspect_err(|_| self.tell_mismatch(open))?;
            self.console.step(match self.token {
                None => "the seed has proved that this machine's code was entered",
                Some(_) => "the seed has proved that it has this machine's join token",
            });
            let confirm = Confirm { enrollment: open.reply.enrollment, confirmation };
            progress.confirmed = Some((confirmed, Sealed::sign(&confirm, &open.secrets.node_key)?));
        }
        let Some((_, confirm)) = &progress.confirmed else { return Ok(()) };
        let path = format!("/api/v1/agent/{}/confirm", open.reply.enrollment);
        match self.http.post_json::<ConfirmReply>(&path, confirm) {
            Ok(_) => Ok(()),
            // The seed is sealed or has it already: the status shows which.
            Err(e) if e.is_temporary() || e.status() == Some(409) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Tells the code to the seed, if the boot script allowed it; the seed asks until it has it.
    fn tell_code(&self, open: &Open<'_>) {
        if !self.may_tell || self.token.is_some() {
            return;
        }
        let HelloReply { enrollment, number, .. } = open.reply;
        let told = Sealed::sign(&TellCode { enrollment, code: open.secrets.shown(number) }, &open.secrets.node_key);
        let Ok(told) = told else { return };
        match self.http.post_json::<ConfirmReply>(&format!("/api/v1/agent/{enrollment}/code"), &told) {
            Ok(_) => self.console.step("this machine is planned: an operator may approve it without its code"),
            Err(e) => tracing::debug!(error = %chain(&e), "the code was not sent to the seed"),
        }
    }

    /// Lets the web interface show at once that the code was wrong; the attempt ends either way.
    fn tell_mismatch(&self, open: &Open<'_>) {
        let path = format!("/api/v1/agent/{}/mismatch", open.reply.enrollment);
        let told = Sealed::sign(&Mismatch { enrollment: open.reply.enrollment }, &open.secrets.node_key);
        let Ok(told) = told else { return };
        if let Err(e) = retry(MISMATCH_TRIES, self.wait, || self.http.post_json::<ConfirmReply>(&path, &told)) {
            tracing::debug!(error = %chain(&e), "the wrong code could not be reported to the seed");
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

/// Lines shown with the code to identify this machine.
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
