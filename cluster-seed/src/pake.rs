//! The proof that the operator entered the machine's secret: SPAKE2 between machine and seed, and both confirmations.
//!
//! SPAKE2 (Abdalla and Pointcheval, CT-RSA 2005; group and encoding as in python-spake2 and magic-wormhole) turns the six
//! digits into a strong key. An attacker without them, in the middle or at either end, gets one guess per exchange and nothing
//! for an offline attack. Keys for the confirmations are derived over a transcript of everything that both sides must agree
//! on. Byte layouts and test vectors: docs/protocol.md.

use std::fmt;
use std::str::FromStr;

use hkdf::Hkdf;
use hkdf::hmac::{Hmac, Mac as _};
use rand_core::{CryptoRng, RngCore};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use spake2::{Ed25519Group, Group, Identity, Password, Spake2};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::identity::InstallOrder;
use crate::ids::{Digest, EnrollmentId, Hostname};
use crate::pairing::{Number, PairingSecret};
use crate::seal::VerifyingKey;

/// Version of the pairing and of the messages around it; a seed refuses any other.
pub const PROTOCOL: u32 = 2;
/// Random bytes that one side of an exchange needs.
pub const PAKE_RANDOM: usize = 64;
/// Bytes of a SPAKE2 message: its side, and a point.
const MESSAGE: usize = 33;
const DOMAIN: &[u8] = b"kubedos:pairing:v2";
const OF_SEED: &[u8] = b"kubedos:pairing:v2:confirmation of the seed";
const OF_MACHINE: &[u8] = b"kubedos:pairing:v2:confirmation of the machine";
/// SHA-256 in the crate generation that spake2 uses.
type Sha256 = <Ed25519Group as Group>::TranscriptHash;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PakeError {
    #[error("not a pairing message (want {} hex digits)", MESSAGE * 2)]
    Message,
    #[error("not a pairing confirmation (want 64 hex digits)")]
    Confirmation,
    #[error("the pairing message is not a point of the group, or has the wrong side")]
    Point,
    #[error("deriving the keys of the pairing")]
    Derive,
}

macro_rules! hex_text {
    ($name:ident, $bytes:expr, $error:expr) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }
        impl FromStr for $name {
            type Err = PakeError;
            fn from_str(text: &str) -> Result<Self, PakeError> {
                let mut bytes = [0u8; $bytes];
                // Only the canonical spelling.
                let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'));
                if !plain || hex::decode_to_slice(text, &mut bytes).is_err() {
                    return Err($error);
                }
                Ok($name(bytes))
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// Message of one side: 33 bytes, in hex on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PakeMessage([u8; MESSAGE]);
hex_text!(PakeMessage, MESSAGE, PakeError::Message);

impl PakeMessage {
    fn from_vec(bytes: &[u8]) -> Result<Self, PakeError> {
        bytes.try_into().map(PakeMessage).map_err(|_| PakeError::Message)
    }

    /// Points with a part of small order are not of the group (RFC 9382 section 4).
    fn is_of_the_group(&self) -> bool {
        let Some((_, bytes)) = self.0.split_first_chunk::<1>() else { return false };
        let Ok(point) = <&[u8; 32]>::try_from(bytes) else { return false };
        VerifyingKey::from_bytes(point).is_ok_and(|p| !p.is_weak() && p.to_edwards().is_torsion_free())
    }
}

/// Proof that its sender derived the same keys. Compared in constant time only, so there is no `PartialEq`.
#[derive(Clone, Copy)]
pub struct Confirmation([u8; 32]);
hex_text!(Confirmation, 32, PakeError::Confirmation);

impl Confirmation {
    pub fn matches(&self, other: &Confirmation) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Confirmation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Confirmation(..)")
    }
}

/// The parties, known to both sides after the machine's reveal.
#[derive(Debug, Clone, Copy)]
pub struct Parties<'a> {
    pub enrollment: EnrollmentId,
    pub number: Number,
    pub site_key: &'a VerifyingKey,
    pub node_key: &'a VerifyingKey,
    /// The machine's age recipient, `age1…`.
    pub recipient: &'a str,
    /// [`crate::seal::Sealed::digest`] of the facts as the machine signed them.
    pub facts: Digest,
}

/// The operator's decision.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'a> {
    pub order: &'a InstallOrder,
    pub hostname: &'a Hostname,
    pub role: &'a str,
}

/// The confirmations that seed and machine send each other; both sides derive both.
#[derive(Debug, Clone, Copy)]
pub struct Confirmations {
    pub of_seed: Confirmation,
    pub of_machine: Confirmation,
}

/// The machine's side, between its reveal and the seed's answer. Consumed by the first answer.
pub struct MachineSide {
    state: Spake2<Ed25519Group>,
    message: PakeMessage,
}

impl MachineSide {
    pub fn start(
        secret: &PairingSecret,
        site_key: &VerifyingKey,
        node_key: &VerifyingKey,
        random: &[u8; PAKE_RANDOM],
    ) -> Result<Self, PakeError> {
        let (machine, seed) = names(site_key, node_key);
        let (state, message) = Spake2::start_a_with_rng(&password(secret), &machine, &seed, Given::new(random));
        Ok(MachineSide { state, message: PakeMessage::from_vec(&message)? })
    }

    pub fn message(&self) -> PakeMessage {
        self.message
    }

    /// The confirmations; they match the seed's only if it used the same secret and the same values.
    ///
    /// # Errors
    /// If the seed's message is invalid.
    pub fn finish(self, parties: &Parties<'_>, decision: &Decision<'_>, seed: &PakeMessage) -> Result<Confirmations, PakeError> {
        let key = finish(self.state, seed)?;
        confirmations(&key, &transcript(parties, decision, &self.message, seed))
    }
}

/// The seed's side in one step: the machine's message is known when the operator enters the code.
///
/// # Errors
/// If the machine's message is invalid.
pub fn answer(
    secret: &PairingSecret,
    parties: &Parties<'_>,
    decision: &Decision<'_>,
    machine: &PakeMessage,
    random: &[u8; PAKE_RANDOM],
) -> Result<(PakeMessage, Confirmations), PakeError> {
    let (id_machine, id_seed) = names(parties.site_key, parties.node_key);
    let (state, message) = Spake2::start_b_with_rng(&password(secret), &id_machine, &id_seed, Given::new(random));
    let message = PakeMessage::from_vec(&message)?;
    let key = finish(state, machine)?;
    Ok((message, confirmations(&key, &transcript(parties, decision, machine, &message))?))
}

fn password(secret: &PairingSecret) -> Password {
    Password::new(secret.password().as_bytes())
}

/// The identities of SPAKE2: machine (A), then seed (B).
fn names(site_key: &VerifyingKey, node_key: &VerifyingKey) -> (Identity, Identity) {
    let name = |role: &[u8], key: &VerifyingKey| Identity::new(&[DOMAIN, role, key.as_bytes()].concat());
    (name(b":machine:", node_key), name(b":seed:", site_key))
}

fn finish(state: Spake2<Ed25519Group>, other: &PakeMessage) -> Result<Zeroizing<Vec<u8>>, PakeError> {
    if !other.is_of_the_group() {
        return Err(PakeError::Point);
    }
    state.finish(&other.0).map(Zeroizing::new).map_err(|_| PakeError::Point)
}

/// Everything both sides must agree on; each value is preceded by its length in bytes, 64 bits, big endian.
fn transcript(parties: &Parties<'_>, decision: &Decision<'_>, machine: &PakeMessage, seed: &PakeMessage) -> Vec<u8> {
    let Decision { order, hostname, role } = decision;
    let values: [&[u8]; 16] = [
        DOMAIN,
        &PROTOCOL.to_be_bytes(),
        &parties.enrollment.0,
        &parties.number.get().to_be_bytes(),
        parties.site_key.as_bytes(),
        parties.node_key.as_bytes(),
        parties.recipient.as_bytes(),
        &parties.facts.0,
        &machine.0,
        &seed.0,
        &order.artifact.0,
        order.disk.as_bytes(),
        order.disk_serial.as_bytes(),
        &order.disk_size.to_be_bytes(),
        hostname.as_str().as_bytes(),
        role.as_bytes(),
    ];
    let mut bytes = Vec::new();
    for value in values {
        bytes.extend_from_slice(&(value.len() as u64).to_be_bytes());
        bytes.extend_from_slice(value);
    }
    bytes
}

/// HKDF-SHA256 (RFC 5869) with the transcript's digest as salt gives one key for each direction; a confirmation is the
/// HMAC-SHA256 of the transcript under it.
fn confirmations(key: &[u8], transcript: &[u8]) -> Result<Confirmations, PakeError> {
    let salt = Digest::of(transcript);
    let hkdf = Hkdf::<Sha256>::new(Some(&salt.0), key);
    let confirmation = |info: &[u8]| {
        let mut key = Zeroizing::new([0u8; 32]);
        hkdf.expand(info, &mut *key).map_err(|_| PakeError::Derive)?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&*key).map_err(|_| PakeError::Derive)?;
        mac.update(transcript);
        Ok(Confirmation(mac.finalize().into_bytes().into()))
    };
    Ok(Confirmations { of_seed: confirmation(OF_SEED)?, of_machine: confirmation(OF_MACHINE)? })
}

/// Adapts the caller's random bytes to the interface that spake2 requires. It reads exactly [`PAKE_RANDOM`].
struct Given {
    bytes: Zeroizing<[u8; PAKE_RANDOM]>,
    used: usize,
}

impl Given {
    fn new(bytes: &[u8; PAKE_RANDOM]) -> Self {
        Given { bytes: Zeroizing::new(*bytes), used: 0 }
    }
}

impl RngCore for Given {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        for byte in out {
            // A request for more would mean a changed library; the test vectors detect that.
            *byte = self.bytes.get(self.used).copied().unwrap_or_default();
            self.used += 1;
        }
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

impl CryptoRng for Given {}

#[cfg(test)]
#[path = "pake_tests.rs"]
mod tests;
