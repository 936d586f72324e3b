//! The APT release key: an OpenPGP version 4 key with Ed25519, one user id and no subkeys.
//!
//! The key has the older type `EdDSALegacy`, the only Ed25519 that the gpgv of Debian 12 supports. Signatures have neither salt
//! nor notations, so the same text, key and time give the same bytes.

use host::random::RandomError;
use jiff::Timestamp;
use pgp::composed::{
    ArmorOptions, CleartextSignedMessage, Deserializable, DetachedSignature, SignedKeyDetails, SignedPublicKey, SignedSecretKey,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::crypto::{ed25519, eddsa_legacy};
use pgp::packet::{
    Features, KeyFlags, PubKeyInner, PublicKey, SecretKey, SignatureConfig, SignatureType, Subpacket, SubpacketData, UserId,
};
use pgp::ser::Serialize as _;
use pgp::types::{
    KeyDetails as _, KeyVersion, Password, PlainSecretParams, PublicParams, SecretParams, SignedUser, Tag, Timestamp as PgpTime,
};
use zeroize::Zeroizing;

use crate::upstream::keyring::{self, Keyring, KeyringError};

#[derive(Debug, thiserror::Error)]
pub enum ReleaseKeyError {
    #[error("generating a release key")]
    Random(#[source] RandomError),
    #[error("OpenPGP cannot represent the time {0}")]
    Time(Timestamp),
    #[error("{action} with the release key")]
    OpenPgp {
        action: &'static str,
        #[source]
        source: Box<pgp::errors::Error>,
    },
    #[error("reading the public half of the release key")]
    Keyring(#[from] KeyringError),
}

fn during(action: &'static str) -> impl Fn(pgp::errors::Error) -> ReleaseKeyError {
    move |e| ReleaseKeyError::OpenPgp { action, source: Box::new(e) }
}

/// The private key that signs snapshots. Its `Debug` prints no secret, and it is wiped when dropped.
pub struct ReleaseKey {
    key: SignedSecretKey,
}

impl std::fmt::Debug for ReleaseKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReleaseKey(..)")
    }
}

impl ReleaseKey {
    /// Generates a key. It never expires: air-gapped machines may have no reliable clock.
    pub fn generate(user_id: &str, now: Timestamp) -> Result<Self, ReleaseKeyError> {
        let mut seed = Zeroizing::new([0u8; ed25519::KEY_LEN]);
        host::random::fill(&mut *seed).map_err(ReleaseKeyError::Random)?;
        Self::from_seed(&seed, user_id, now)
    }

    /// The key of a 32-byte Ed25519 seed; the same arguments give the same key.
    pub fn from_seed(seed: &[u8; 32], user_id: &str, created: Timestamp) -> Result<Self, ReleaseKeyError> {
        let created = pgp_time(created)?;
        build(seed, user_id, created).map(|key| ReleaseKey { key }).map_err(during("creating a key"))
    }

    /// The private key as an unencrypted OpenPGP transferable secret key: store it only encrypted.
    pub fn to_secret_bytes(&self) -> Result<Zeroizing<Vec<u8>>, ReleaseKeyError> {
        self.key.to_bytes().map(Zeroizing::new).map_err(during("writing the private half"))
    }

    /// Reads what [`ReleaseKey::to_secret_bytes`] wrote.
    pub fn from_secret_bytes(bytes: &[u8]) -> Result<Self, ReleaseKeyError> {
        let key = SignedSecretKey::from_bytes(bytes).map_err(during("reading the private half"))?;
        key.verify_bindings().map_err(during("checking the private half"))?;
        Ok(ReleaseKey { key })
    }

    /// The public half as a binary keyring, for `Signed-By` and `gpgv --keyring`.
    pub fn public_keyring(&self) -> Result<Vec<u8>, ReleaseKeyError> {
        SignedPublicKey::from(self.key.clone()).to_bytes().map_err(during("writing the public half"))
    }

    /// The public half as a [`Keyring`].
    pub fn keyring(&self) -> Result<Keyring, ReleaseKeyError> {
        Ok(Keyring::from_bytes(&self.public_keyring()?)?)
    }

    /// Upper-case hex of the version 4 fingerprint, 40 digits.
    pub fn fingerprint(&self) -> String {
        keyring::fingerprint(&self.key.primary_key)
    }

    pub fn created(&self) -> Timestamp {
        Timestamp::from_second(i64::from(self.key.primary_key.created_at().as_secs())).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// An `InRelease` file over `text`, dated `at` or at the key's creation, whichever is later: gpgv refuses older ones.
    pub fn sign_cleartext(&self, text: &str, at: Timestamp) -> Result<String, ReleaseKeyError> {
        let config = self.config(SignatureType::Text, at)?;
        // The line end before the signature's armor does not belong to the signed text (RFC 9580 section 7.1).
        let text = text.strip_suffix('\n').unwrap_or(text);
        CleartextSignedMessage::new(text, config, &self.key.primary_key, &Password::empty())
            .and_then(|m| m.to_armored_string(ArmorOptions::default()))
            .map_err(during("signing a text"))
    }

    /// A detached armored signature (`Release.gpg`) over `data`; dated as in [`ReleaseKey::sign_cleartext`].
    pub fn sign_detached(&self, data: &[u8], at: Timestamp) -> Result<String, ReleaseKeyError> {
        self.config(SignatureType::Binary, at)?
            .sign(&self.key.primary_key, &Password::empty(), data)
            .and_then(|s| DetachedSignature::new(s).to_armored_string(ArmorOptions::default()))
            .map_err(during("signing data"))
    }

    fn config(&self, typ: SignatureType, at: Timestamp) -> Result<SignatureConfig, ReleaseKeyError> {
        let at = pgp_time(at.max(self.created()))?;
        let key = &self.key.primary_key;
        config_for(key, typ, at, Vec::new()).map_err(during("preparing a signature"))
    }
}

fn pgp_time(at: Timestamp) -> Result<PgpTime, ReleaseKeyError> {
    u32::try_from(at.as_second()).map(PgpTime::from_secs).map_err(|_| ReleaseKeyError::Time(at))
}

fn config_for(
    key: &SecretKey,
    typ: SignatureType,
    at: PgpTime,
    more: Vec<SubpacketData>,
) -> pgp::errors::Result<SignatureConfig> {
    let mut config = SignatureConfig::v4(typ, key.algorithm(), HashAlgorithm::Sha512);
    config.hashed_subpackets = vec![
        Subpacket::regular(SubpacketData::SignatureCreationTime(at))?,
        Subpacket::regular(SubpacketData::IssuerFingerprint(key.fingerprint()))?,
    ];
    for data in more {
        config.hashed_subpackets.push(Subpacket::regular(data)?);
    }
    config.unhashed_subpackets = vec![Subpacket::regular(SubpacketData::IssuerKeyId(key.legacy_key_id()))?];
    Ok(config)
}

fn build(seed: &[u8; 32], user_id: &str, created: PgpTime) -> pgp::errors::Result<SignedSecretKey> {
    let secret = ed25519::SecretKey::try_from_bytes(*seed, ed25519::Mode::EdDSALegacy)?;
    let public = PublicParams::EdDSALegacy((&secret).into());
    let plain = PlainSecretParams::EdDSALegacy(eddsa_legacy::SecretKey::Ed25519(secret));
    let inner = PubKeyInner::new(KeyVersion::V4, PublicKeyAlgorithm::EdDSALegacy, created, None, public)?;
    let public = PublicKey::from_inner(inner)?;
    let key = SecretKey::new(public.clone(), SecretParams::Plain(plain))?;
    let mut flags = KeyFlags::default();
    flags.set_certify(true);
    flags.set_sign(true);
    let more = vec![
        SubpacketData::KeyFlags(flags),
        SubpacketData::Features(Features::default()),
        SubpacketData::PreferredHashAlgorithms([HashAlgorithm::Sha512, HashAlgorithm::Sha256].into_iter().collect()),
        SubpacketData::IsPrimary(true),
    ];
    let id = UserId::from_str(Default::default(), user_id)?;
    let config = config_for(&key, SignatureType::CertPositive, created, more)?;
    let certification = config.sign_certification(&key, &public, &Password::empty(), Tag::UserId, &id)?;
    let details = SignedKeyDetails::new(Vec::new(), Vec::new(), vec![SignedUser::new(id, vec![certification])], Vec::new());
    Ok(SignedSecretKey::new(key, details, Vec::new(), Vec::new()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::trust::{Clock, verify_inrelease};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    const TEXT: &str =
        "Date: Tue, 14 Nov 2023 22:13:20 UTC\nSHA256:\n 0000000000000000000000000000000000000000000000000000000000000000 1 f\n";

    #[test]
    fn the_same_key_text_and_time_give_the_same_bytes() {
        let a = ReleaseKey::from_seed(&[1; 32], "a", at(1000)).unwrap();
        let b = ReleaseKey::from_secret_bytes(&a.to_secret_bytes().unwrap()).unwrap();
        assert_eq!(a.public_keyring().unwrap(), b.public_keyring().unwrap());
        assert_eq!(a.sign_cleartext(TEXT, at(2000)).unwrap(), b.sign_cleartext(TEXT, at(2000)).unwrap());
        assert_eq!(a.sign_detached(b"x", at(2000)).unwrap(), b.sign_detached(b"x", at(2000)).unwrap());
        assert_ne!(a.sign_detached(b"x", at(2000)).unwrap(), b.sign_detached(b"x", at(2001)).unwrap());
        // Never older than the key.
        assert_eq!(a.sign_cleartext(TEXT, at(0)).unwrap(), a.sign_cleartext(TEXT, at(1000)).unwrap());
        assert_eq!(a.created(), at(1000));
        assert_eq!(a.fingerprint().len(), 40);
    }

    #[test]
    fn new_keys_differ_and_sign() {
        let a = ReleaseKey::generate("Kubedos", at(1000)).unwrap();
        let b = ReleaseKey::generate("Kubedos", at(1000)).unwrap();
        assert_ne!(a.fingerprint(), b.fingerprint());
        let signed = a.sign_cleartext(TEXT, at(2000)).unwrap();
        let release = verify_inrelease(signed.as_bytes(), &a.keyring().unwrap(), Clock::OfFile).unwrap();
        assert_eq!(release.signed_by, [a.fingerprint()]);
        assert!(verify_inrelease(signed.as_bytes(), &b.keyring().unwrap(), Clock::OfFile).is_err());
        assert_eq!(format!("{a:?}"), "ReleaseKey(..)");
    }

    #[test]
    fn refuses_what_is_not_a_key_and_times_out_of_range() {
        assert!(ReleaseKey::from_secret_bytes(b"").is_err());
        assert!(ReleaseKey::from_secret_bytes(&[0x55; 100]).is_err());
        assert!(ReleaseKey::from_seed(&[1; 32], "a", at(-1)).is_err());
        assert!(ReleaseKey::from_seed(&[1; 32], "a", at(1 << 32)).is_err());
        assert!(ReleaseKey::from_seed(&[1; 32], "a", at((1 << 32) - 1)).is_ok());
    }
}
