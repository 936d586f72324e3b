//! The messages between the agent and the seed, JSON over HTTP.
//!
//! Self-protected: everything that matters is signed by the node key (agent) or the site key (seed), and the identity
//! is age ciphertext, so plain HTTP on the netboot segment is enough.
//!
//! # Versions
//!
//! [`PROTOCOL`] is that of the pairing: a seed refuses a hello with another number, and the agent is loaded again. Within one number, seed
//! and agent may be of different versions in both directions: a node keeps its agent, and a capsule may be promoted on an older seed.
//!
//! - Answers of the seed ignore unknown fields, so that a newer seed may say more. What a node obeys does not: offers, identities, orders
//!   and peer lists are refused as a whole if the node does not understand all of them.
//! - What a node tells (hello, [`Report`], [`crate::converge::orders::Ask`], and what they consist of) ignores unknown fields: the seed
//!   stores and shows it, and nothing is allowed by what it does not understand. What authenticates or asks for a secret
//!   ([`Reveal`], [`Confirm`], [`Claim`], [`TellCode`]) does not.
//! - Seeds of 0.1 refuse unknown fields in reports and asks as well. An agent therefore sends the fields that came later only to a seed that
//!   names them in [`HelloReply::knows`] or `Answer::knows`, by the words of [`knows`].

use serde::{Deserialize, Serialize};

use crate::enrollment::EnrollmentState;
use crate::identity::{InstallOrder, SealedIdentity};
use crate::ids::{Digest, EnrollmentId, Hostname, Mac};
use crate::join::token::TokenId;
use crate::machine::HardwareFacts;
use crate::pairing::{Nonce, Number};
use crate::pake::{Confirmation, PakeMessage};
use crate::seal::{Sealable, Sealed};
use crate::trouble::Trouble;

pub use crate::pake::PROTOCOL;

/// Largest request body the seed reads from an agent, in bytes.
pub const MAX_BODY: usize = 256 << 10;
/// Seconds between an agent's status polls.
pub const POLL_SECONDS: u64 = 2;

/// POST /api/v1/agent/hello
///
/// Unknown fields are ignored, unlike everywhere else, so that an agent of another protocol gets the right error.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hello {
    pub protocol: u32,
    pub boot_mac: Option<Mac>,
    /// The join token that the machine has, if any: the seed then decides without an operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenId>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HelloReply {
    pub enrollment: EnrollmentId,
    /// The site's public key in hex; trusted only once the seed has confirmed the pairing.
    pub site_key: String,
    /// First part of the pairing code, unique among the open enrollments.
    pub number: Number,
    /// What this seed understands beyond 0.1; see [`knows`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub knows: Vec<String>,
}

/// Words for fields of messages that seeds of 0.1 refuse.
pub mod knows {
    /// `cause` of a report that something failed.
    pub const FAILED_CAUSE: &str = "failed.cause";
    /// `ssh` of an ask.
    pub const ASK_SSH: &str = "ask.ssh";

    /// What a seed of this version says.
    pub fn all() -> Vec<String> {
        [FAILED_CAUSE, ASK_SSH].map(str::to_owned).to_vec()
    }
}

/// `POST /api/v1/agent/<enrollment>/reveal`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reveal {
    pub recipient: String,
    /// The machine's ed25519 public key in hex.
    pub node_key: String,
    /// Signed by the node key.
    pub facts: Sealed<HardwareFacts>,
    pub pake: PakeMessage,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RevealReply {
    pub state: EnrollmentState,
}

/// The operator's decision, with the seed's proof that the code was entered.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    pub pake: PakeMessage,
    pub confirmation: Confirmation,
    pub order: InstallOrder,
    pub hostname: Hostname,
    pub role: String,
}

/// `GET /api/v1/agent/<enrollment>/status`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatusReply {
    pub state: EnrollmentState,
    /// To be verified by the machine; present while the state is Confirming.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<Offer>,
    /// To be signed in a [`Claim`]; present once the state is Approved.
    pub challenge: Option<Nonce>,
    /// The reason, if the state is Denied, Expired or Revoked.
    pub reason: Option<String>,
    /// The plan names this machine, and the site approves such machines with a click: the seed asks for the code
    /// ([`TellCode`]). A machine answers only if its boot script allowed it ([`TELL_CODE`]).
    #[serde(default, skip_serializing_if = "is_false")]
    pub tell_code: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(b: &bool) -> bool {
    !*b
}

/// Kernel command line word with which a boot script allows the agent to tell its code to the seed. Never on a medium.
pub const TELL_CODE: &str = "kubedos.tell-code";

/// `POST /api/v1/agent/<enrollment>/code`, sealed by the node key: the pairing code, so that a click of the operator takes the
/// place of typing it. Whoever reads the boot network reads it too.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TellCode {
    pub enrollment: EnrollmentId,
    /// As on the console: `12-597-850`.
    pub code: String,
}

impl Sealable for TellCode {
    const PURPOSE: &'static str = "pairing-code";
}

/// `POST /api/v1/agent/<enrollment>/confirm`, sealed by the node key: the machine has verified the seed's confirmation.
///
/// The seed then issues the identity: Confirming becomes Approved, or Denied if the confirmation is wrong. 423 while the seed
/// is sealed; the same confirmation may be sent again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirm {
    pub enrollment: EnrollmentId,
    pub confirmation: Confirmation,
}

impl Sealable for Confirm {
    const PURPOSE: &'static str = "pairing-confirm";
}

/// `POST /api/v1/agent/<enrollment>/mismatch`, sealed by the node key: the seed's confirmation was wrong, so the code entered
/// is not the one on the console, or there is a man in the middle. Confirming becomes Denied.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mismatch {
    pub enrollment: EnrollmentId,
}

impl Sealable for Mismatch {
    const PURPOSE: &'static str = "pairing-mismatch";
}

/// Answer to [`Confirm`], [`Mismatch`] and [`TellCode`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConfirmReply {
    pub state: EnrollmentState,
}

/// `POST /api/v1/agent/<enrollment>/claim`, sealed by the node key.
///
/// The first claim moves Approved to Issued. A claim with the same `nonce` may be repeated until the agent's first
/// report, and gets the same ciphertext, so that a lost answer does not lose the identity. Any other nonce gets 409.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    pub enrollment: EnrollmentId,
    pub challenge: Nonce,
    pub nonce: Nonce,
}

impl Sealable for Claim {
    const PURPOSE: &'static str = "claim";
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClaimReply {
    pub identity: SealedIdentity,
}

/// One result of the fabric gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateCheck {
    /// For example `wg1 link`, `wg2 handshake with seed`, `ssh on wg1`.
    pub name: String,
    pub ok: bool,
    pub detail: String,
}

/// Result of a step of a node's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepResult {
    /// Nothing had to be changed.
    Ok,
    Changed,
    Skipped,
    Failed,
    /// Ansible's word for a host it has no connection to.
    Unreachable,
}

impl StepResult {
    pub fn as_str(self) -> &'static str {
        match self {
            StepResult::Ok => "ok",
            StepResult::Changed => "changed",
            StepResult::Skipped => "skipped",
            StepResult::Failed => "failed",
            StepResult::Unreachable => "unreachable",
        }
    }

    pub fn is_failure(self) -> bool {
        matches!(self, StepResult::Failed | StepResult::Unreachable)
    }
}

/// One step of a node's configuration: of the base role, which the agent applies itself, or a task of a role's play.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplyStep {
    pub name: String,
    pub result: StepResult,
    pub detail: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum ReportBody {
    /// The identity was opened; writing begins. Moves Issued to Installing.
    InstallBegan {
        artifact: Digest,
        disk: String,
        total: u64,
    },
    /// Bytes of disk written and verified so far, and recent bytes per second; zeros are not counted, nor in `total`.
    InstallProgress {
        written: u64,
        total: u64,
        rate: u64,
    },
    /// Every chunk verified, first MiB written, identity placed. Moves Installing to Installed.
    InstallDone {
        seconds: u64,
    },
    /// The installed system runs.
    Booted {
        kernel: String,
        boot_id: String,
    },
    /// Moves Installed to FabricReady if every check passed and the seed reaches the node's SSH over wg1 itself.
    Gate {
        checks: Vec<GateCheck>,
    },
    ApplyProgress {
        step: ApplyStep,
    },
    /// Moves FabricReady to Converged.
    ApplyDone {
        changed: u32,
        ok: u32,
    },
    /// Moves to Failed.
    Failed {
        step: String,
        why: String,
        /// For code; agents of earlier versions do not tell it, and only seeds that know it are told ([`knows::FAILED_CAUSE`]).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<Trouble>,
    },
}

/// `POST /api/v1/agent/<enrollment>/report`, sealed by the node key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub enrollment: EnrollmentId,
    /// Increases with every report of this enrollment, also across the reboot; the seed answers a known number with 200 and
    /// does nothing.
    pub seq: u64,
    pub body: ReportBody,
}

impl Sealable for Report {
    const PURPOSE: &'static str = "report";
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReportReply {
    pub state: EnrollmentState,
    /// True if the seed processed it, false if the number was known.
    pub fresh: bool,
}

/// The body of every error answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorReply {
    pub error: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The same request may succeed later by itself.
    #[serde(default)]
    pub retryable: bool,
}
