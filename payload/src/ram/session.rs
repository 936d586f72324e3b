//! The keys that a machine generates in RAM and what the seed issued for them, in a tmpfs between `enroll` and `install`.

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::identity::{IdentityError, InstallOrder, NodeIdentity, SealedIdentity};
use cluster_seed::ids::EnrollmentId;
use cluster_seed::pairing::{MachineKeys, Nonce};
use cluster_seed::seal::{SealError, SigningKey, VerifyingKey, key_from_text, key_text};
use cluster_seed::secret::{AgeKey, Secret, SecretError};
use host::files::{FileError, PRIVATE, read_limited, write_atomic};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

const SESSION: &str = "session.json";
/// Largest session file, in bytes: the sealed identity is the bulk of it.
const MAX_SESSION: u64 = 32 << 20;

/// Random bytes that [`MachineSecrets::new`] needs.
pub const RANDOM: usize = 96;

/// Generated for every enrollment; the private keys never leave the machine.
pub struct MachineSecrets {
    pub age: AgeKey,
    pub recipient: String,
    pub node_key: SigningKey,
    pub node_public: VerifyingKey,
    pub nonce: Nonce,
    pub claim_nonce: Nonce,
}

impl MachineSecrets {
    pub fn new(age: AgeKey, random: &[u8; RANDOM]) -> Self {
        let part = |n: usize| {
            let mut bytes = [0u8; 32];
            bytes.copy_from_slice(&random[n * 32..(n + 1) * 32]);
            bytes
        };
        let node_key = SigningKey::from_bytes(&part(0));
        MachineSecrets {
            recipient: age.recipient(),
            age,
            node_public: node_key.verifying_key(),
            node_key,
            nonce: Nonce::from_random(part(1)),
            claim_nonce: Nonce::from_random(part(2)),
        }
    }

    pub fn keys(&self) -> MachineKeys<'_> {
        MachineKeys { recipient: &self.recipient, node_key: &self.node_public, nonce: self.nonce }
    }
}

/// An enrollment that was approved and claimed.
pub struct Session {
    pub seed: String,
    pub site_key: VerifyingKey,
    pub enrollment: EnrollmentId,
    pub node_key: SigningKey,
    pub age: AgeKey,
    pub issued: SealedIdentity,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    seed: String,
    site_key: String,
    enrollment: EnrollmentId,
    node_key: String,
    age: String,
    issued: SealedIdentity,
}

#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error("storing the session")]
    File(#[from] FileError),
    #[error("the seed sent something that its site key did not sign")]
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
    /// Verifies and opens what the seed issued: signature by the key the pairing code covered, meant for this
    /// enrollment, sealed to this machine.
    pub fn open(&self) -> Result<(InstallOrder, NodeIdentity), SessionError> {
        let issued = self.issued.open(&self.site_key)?;
        if issued.enrollment != self.enrollment {
            return Err(SessionError::Mismatch("the identity belongs to another enrollment"));
        }
        let identity = issued.open(&self.age)?;
        let info = &identity.info;
        if info.enrollment != self.enrollment || info.epoch != issued.epoch {
            return Err(SessionError::Mismatch("the identity inside belongs to another enrollment"));
        }
        if info.site_key != key_text(&self.site_key) {
            return Err(SessionError::Mismatch("the identity has another site key"));
        }
        if info.planes.keys().ne(identity.keys.keys()) {
            return Err(SessionError::Mismatch("the identity's planes and keys differ"));
        }
        info.peers.open(&self.site_key)?;
        Ok((issued.order, identity))
    }

    pub fn path(dir: &Utf8Path) -> Utf8PathBuf {
        dir.join(SESSION)
    }

    /// Stores it, mode 0600; `dir` must be in RAM.
    pub fn save(&self, dir: &Utf8Path) -> Result<(), SessionError> {
        let age = self.age.to_secret();
        let mut wire = Wire {
            seed: self.seed.clone(),
            site_key: key_text(&self.site_key),
            enrollment: self.enrollment,
            node_key: hex::encode(self.node_key.to_bytes()),
            age: String::from_utf8_lossy(age.expose()).into_owned(),
            issued: self.issued.clone(),
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
        Ok(Session {
            seed: wire.seed,
            site_key: key_from_text(&wire.site_key).map_err(|_| SessionError::Key)?,
            enrollment: wire.enrollment,
            node_key: SigningKey::from_bytes(&key),
            age: AgeKey::from_secret(&Secret::new(wire.age.into_bytes()))?,
            issued: wire.issued,
        })
    }
}
