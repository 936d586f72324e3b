//! The keys that a machine generates in RAM, the verified seed, and the identity it issued; stored in a tmpfs between
//! `enroll` and `install`.

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::agent::Offer;
use cluster_seed::identity::{IdentityError, InstallOrder, NodeIdentity, SealedIdentity};
use cluster_seed::ids::{Digest, EnrollmentId, Hostname};
use cluster_seed::join::token::JoinToken;
use cluster_seed::pairing::{Nonce, Number, PairingSecret, SECRET_RANDOM};
use cluster_seed::pake::{Confirmation, Decision, MachineSide, PAKE_RANDOM, PakeError, PakeMessage, Parties};
use cluster_seed::seal::{SealError, SigningKey, VerifyingKey, key_from_text, key_text};
use cluster_seed::secret::{AgeKey, Secret, SecretError};
use host::files::{FileError, PRIVATE, read_limited, write_atomic};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

const SESSION: &str = "session.json";
/// Largest session file, in bytes: most of it is the sealed identity.
const MAX_SESSION: u64 = 32 << 20;

/// Random bytes that [`MachineSecrets::new`] needs.
pub const RANDOM: usize = 64 + SECRET_RANDOM + PAKE_RANDOM;

/// Generated for every enrollment. Only the six digits leave the machine, read by a person.
pub struct MachineSecrets {
    pub age: AgeKey,
    pub recipient: String,
    pub node_key: SigningKey,
    pub node_public: VerifyingKey,
    pub claim_nonce: Nonce,
    code: PairingSecret,
    pake: Zeroizing<[u8; PAKE_RANDOM]>,
}

impl MachineSecrets {
    /// With a join token, its secret takes the place of a code. `None` if the bytes are unusable, which never happens with random
    /// ones ([`PairingSecret::from_random`]).
    pub fn new(age: AgeKey, random: &[u8; RANDOM], token: Option<&JoinToken>) -> Option<Self> {
        let (node, rest) = random.split_first_chunk::<32>()?;
        let (nonce, rest) = rest.split_first_chunk::<32>()?;
        let (code, pake) = rest.split_first_chunk::<SECRET_RANDOM>()?;
        let node_key = SigningKey::from_bytes(node);
        Some(MachineSecrets {
            recipient: age.recipient(),
            age,
            node_public: node_key.verifying_key(),
            node_key,
            claim_nonce: Nonce::from_random(*nonce),
            code: token.map_or_else(|| PairingSecret::from_random(code), |token| Some(token.pairing_secret()))?,
            pake: Zeroizing::new(pake.try_into().ok()?),
        })
    }

    /// The code shown on the console.
    pub fn shown(&self, number: Number) -> String {
        self.code.shown(number)
    }
}

/// The pairing from the machine's reveal to the first answer of a seed.
pub struct Pairing {
    side: MachineSide,
    enrollment: EnrollmentId,
    number: Number,
    site_key: VerifyingKey,
    node_key: VerifyingKey,
    recipient: String,
    facts: Digest,
}

/// The seed did not prove that this machine's code was entered.
#[derive(Debug, thiserror::Error)]
pub enum WrongCode {
    #[error("the code entered is not the one on this console, or another host is impersonating the seed")]
    Confirmation,
    #[error("the seed's pairing message is invalid")]
    Message(#[from] PakeError),
}

impl Pairing {
    /// `facts` is the digest of the signed facts.
    pub fn start(
        secrets: &MachineSecrets,
        enrollment: EnrollmentId,
        number: Number,
        site_key: VerifyingKey,
        facts: Digest,
    ) -> Result<Self, PakeError> {
        Ok(Pairing {
            side: MachineSide::start(&secrets.code, &site_key, &secrets.node_public, &secrets.pake)?,
            enrollment,
            number,
            site_key,
            node_key: secrets.node_public,
            recipient: secrets.recipient.clone(),
            facts,
        })
    }

    pub fn message(&self) -> PakeMessage {
        self.side.message()
    }

    /// Verifies the seed's confirmation and returns the machine's own. A wrong one ends the pairing, so only one guess is
    /// possible.
    pub fn check(self, offer: Offer) -> Result<(ConfirmedSeed, Confirmation), WrongCode> {
        let parties = Parties {
            enrollment: self.enrollment,
            number: self.number,
            site_key: &self.site_key,
            node_key: &self.node_key,
            recipient: &self.recipient,
            facts: self.facts,
        };
        let decision = Decision { order: &offer.order, hostname: &offer.hostname, role: &offer.role };
        let expected = self.side.finish(&parties, &decision, &offer.pake)?;
        if !expected.of_seed.matches(&offer.confirmation) {
            return Err(WrongCode::Confirmation);
        }
        let Offer { order, hostname, role, .. } = offer;
        let (site_key, enrollment) = (self.site_key, self.enrollment);
        Ok((ConfirmedSeed { site_key, enrollment, order, hostname, role }, expected.of_machine))
    }
}

/// A seed that proved that the operator entered this machine's code, and the decision. Only [`Pairing::check`] creates one;
/// without it there is no [`Session`], and without a session nothing is written to a disk.
pub struct ConfirmedSeed {
    site_key: VerifyingKey,
    enrollment: EnrollmentId,
    order: InstallOrder,
    hostname: Hostname,
    role: String,
}

/// An enrollment that was approved and claimed.
pub struct Session {
    seed: String,
    confirmed: ConfirmedSeed,
    node_key: SigningKey,
    age: AgeKey,
    issued: SealedIdentity,
    knows: Vec<String>,
}

/// The issued identity, verified: signed by the verified seed's key, for this machine, and matching the confirmed decision.
pub struct Approved {
    order: InstallOrder,
    identity: NodeIdentity,
}

impl Approved {
    pub fn order(&self) -> &InstallOrder {
        &self.order
    }

    pub fn identity(&self) -> &NodeIdentity {
        &self.identity
    }
}

#[derive(Serialize, Deserialize)]
struct Wire {
    seed: String,
    site_key: String,
    enrollment: EnrollmentId,
    order: InstallOrder,
    hostname: Hostname,
    role: String,
    node_key: String,
    age: String,
    issued: SealedIdentity,
    #[serde(default)]
    knows: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error("storing the session")]
    File(#[from] FileError),
    #[error("the seed sent a message that is not signed by its site key")]
    Seal(#[from] SealError),
    #[error("opening the identity")]
    Identity(#[from] IdentityError),
    #[error("refused: {0}")]
    Mismatch(&'static str),
    #[error("the session file is damaged")]
    Json(#[from] serde_json::Error),
    #[error("the session file has an invalid key")]
    Key,
    #[error("the session file has an invalid age key")]
    Age(#[from] SecretError),
}

impl Session {
    /// `seed` is the base URL of the seed.
    pub fn new(
        seed: &str,
        confirmed: ConfirmedSeed,
        secrets: MachineSecrets,
        issued: SealedIdentity,
        knows: Vec<String>,
    ) -> Self {
        Session { seed: seed.to_owned(), confirmed, node_key: secrets.node_key, age: secrets.age, issued, knows }
    }

    pub fn seed(&self) -> &str {
        &self.seed
    }

    /// What the seed understands beyond 0.1; see [`cluster_seed::agent::knows`].
    pub fn knows(&self) -> &[String] {
        &self.knows
    }

    pub fn site_key(&self) -> &VerifyingKey {
        &self.confirmed.site_key
    }

    pub fn enrollment(&self) -> EnrollmentId {
        self.confirmed.enrollment
    }

    pub fn node_key(&self) -> &SigningKey {
        &self.node_key
    }

    /// Verifies and opens the issued identity: signed by the key that the pairing confirmed, for this enrollment, sealed to this
    /// machine, and with the confirmed order, name and role.
    pub fn open(&self) -> Result<Approved, SessionError> {
        let ConfirmedSeed { site_key, enrollment, order, hostname, role } = &self.confirmed;
        let issued = self.issued.open(site_key)?;
        if issued.enrollment != *enrollment {
            return Err(SessionError::Mismatch("the identity belongs to another enrollment"));
        }
        if issued.order != *order {
            return Err(SessionError::Mismatch("the order of installation differs from the confirmed one"));
        }
        let identity = issued.open(&self.age)?;
        let info = &identity.info;
        if info.enrollment != *enrollment || info.epoch != issued.epoch {
            return Err(SessionError::Mismatch("the identity inside belongs to another enrollment"));
        }
        if info.site_key != key_text(site_key) {
            return Err(SessionError::Mismatch("the identity has another site key"));
        }
        if info.hostname != *hostname || info.role != *role {
            return Err(SessionError::Mismatch("the identity's name or role differs from the confirmed one"));
        }
        if info.planes.keys().ne(identity.keys.keys()) {
            return Err(SessionError::Mismatch("the identity's planes and keys differ"));
        }
        info.peers.open(site_key)?;
        Ok(Approved { order: issued.order, identity })
    }

    pub fn path(dir: &Utf8Path) -> Utf8PathBuf {
        dir.join(SESSION)
    }

    /// Stores it, mode 0600; `dir` must be in RAM.
    pub fn save(&self, dir: &Utf8Path) -> Result<(), SessionError> {
        let age = self.age.to_secret();
        let mut wire = Wire {
            seed: self.seed.clone(),
            site_key: key_text(&self.confirmed.site_key),
            enrollment: self.confirmed.enrollment,
            order: self.confirmed.order.clone(),
            hostname: self.confirmed.hostname.clone(),
            role: self.confirmed.role.clone(),
            node_key: hex::encode(self.node_key.to_bytes()),
            age: String::from_utf8_lossy(age.expose()).into_owned(),
            issued: self.issued.clone(),
            knows: self.knows.clone(),
        };
        let bytes = serde_json::to_vec(&wire).map(Zeroizing::new);
        wire.node_key.zeroize();
        wire.age.zeroize();
        Ok(write_atomic(&Self::path(dir), &bytes?, PRIVATE)?)
    }

    pub fn load(dir: &Utf8Path) -> Result<Self, SessionError> {
        let bytes = Zeroizing::new(read_limited(&Self::path(dir), MAX_SESSION)?);
        let wire: Wire = serde_json::from_slice(&bytes)?;
        let mut key = Zeroizing::new([0u8; 32]);
        hex::decode_to_slice(&wire.node_key, &mut *key).map_err(|_| SessionError::Key)?;
        // Only `save` writes this file, for a session with a verified seed; the directory is in RAM and belongs to root.
        let confirmed = ConfirmedSeed {
            site_key: key_from_text(&wire.site_key).map_err(|_| SessionError::Key)?,
            enrollment: wire.enrollment,
            order: wire.order,
            hostname: wire.hostname,
            role: wire.role,
        };
        Ok(Session {
            seed: wire.seed,
            confirmed,
            node_key: SigningKey::from_bytes(&key),
            age: AgeKey::from_secret(&Secret::new(wire.age.into_bytes()))?,
            issued: wire.issued,
            knows: wire.knows,
        })
    }
}
