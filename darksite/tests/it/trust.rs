//! Whose signatures count: expiry, revocation, subkeys and key flags, which rpgp leaves to its caller.

use darksite::format::date::parse_date;
use darksite::trust::{Clock, TrustError, verify_inrelease};
use darksite::upstream::keyring::{Keyring, Rejected};
use jiff::Timestamp;
use pgp::composed::{ArmorOptions, CleartextSignedMessage, SignedKeyDetails, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::ed25519::{self, Mode};
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::packet::{
    KeyFlags, PubKeyInner, PublicKey, PublicSubkey, SecretKey, SecretSubkey, Signature, SignatureConfig, SignatureType,
    Subpacket, SubpacketData, UserId,
};
use pgp::ser::Serialize as _;
use pgp::types::{Duration, KeyVersion, Password, PlainSecretParams, PublicParams, SecretParams, SignedUser, SigningKey, Tag};

const T0: u32 = 1_700_000_000;
const TEXT: &str = "Suite: s\nCodename: s\nDate: Tue, 14 Nov 2023 22:13:20 UTC\nSHA256:\n 0000000000000000000000000000000000000000000000000000000000000000 1 f";

fn at(second: u32) -> Timestamp {
    Timestamp::from_second(i64::from(second)).unwrap()
}

fn time(second: u32) -> SubpacketData {
    SubpacketData::SignatureCreationTime(pgp::types::Timestamp::from_secs(second))
}

fn inner(seed: u8) -> (PubKeyInner, SecretParams) {
    let secret = ed25519::SecretKey::try_from_bytes([seed; 32], Mode::Ed25519).unwrap();
    let public = PublicParams::Ed25519((&secret).into());
    let created = pgp::types::Timestamp::from_secs(T0);
    let inner = PubKeyInner::new(KeyVersion::V4, PublicKeyAlgorithm::Ed25519, created, None, public).unwrap();
    (inner, SecretParams::Plain(PlainSecretParams::Ed25519(secret)))
}

fn primary() -> SecretKey {
    let (inner, secret) = inner(1);
    SecretKey::new(PublicKey::from_inner(inner).unwrap(), secret).unwrap()
}

fn subkey() -> SecretSubkey {
    let (inner, secret) = inner(2);
    SecretSubkey::new(PublicSubkey::from_inner(inner).unwrap(), secret).unwrap()
}

fn config(key: &impl SigningKey, typ: SignatureType, made: u32, more: Vec<SubpacketData>) -> SignatureConfig {
    config_with(key, typ, made, more, HashAlgorithm::Sha256)
}

fn config_with(
    key: &impl SigningKey,
    typ: SignatureType,
    made: u32,
    more: Vec<SubpacketData>,
    hash: HashAlgorithm,
) -> SignatureConfig {
    let mut config = SignatureConfig::v4(typ, key.algorithm(), hash);
    let all = [time(made), SubpacketData::IssuerFingerprint(key.fingerprint())].into_iter().chain(more);
    config.hashed_subpackets = all.map(|d| Subpacket::regular(d).unwrap()).collect();
    config
}

fn flags(sign: bool) -> SubpacketData {
    let mut flags = KeyFlags::default();
    flags.set_certify(true);
    flags.set_sign(sign);
    SubpacketData::KeyFlags(flags)
}

fn certify(key: &SecretKey, made: u32, more: Vec<SubpacketData>) -> SignedUser {
    let id = UserId::from_str(Default::default(), "T").unwrap();
    let config = config(key, SignatureType::CertPositive, made, more);
    let signature = config.sign_certification(key, key.public_key(), &Password::empty(), Tag::UserId, &id).unwrap();
    SignedUser::new(id, vec![signature])
}

fn keyring(users: Vec<SignedUser>, revocations: Vec<Signature>, subkeys: Vec<SignedPublicSubKey>) -> Keyring {
    let details = SignedKeyDetails::new(revocations, Vec::new(), users, Vec::new());
    let certificate = SignedPublicKey::new(primary().public_key().clone(), details, subkeys);
    Keyring::from_bytes(&certificate.to_bytes().unwrap()).unwrap()
}

fn sign(key: &impl SigningKey, config: SignatureConfig) -> Vec<u8> {
    let message = CleartextSignedMessage::new(TEXT, config, key, &Password::empty()).unwrap();
    message.to_armored_bytes(ArmorOptions::default()).unwrap()
}

fn signed(made: u32) -> Vec<u8> {
    sign(&primary(), config(&primary(), SignatureType::Text, made, vec![]))
}

/// The reason for which the only signature is refused, or Ok.
fn judge(bytes: &[u8], keyring: &Keyring, now: u32) -> Result<(), String> {
    match verify_inrelease(bytes, keyring, Clock::At(at(now))) {
        Ok(_) => Ok(()),
        Err(TrustError::Signature(why)) => Err(why.join("; ")),
        Err(other) => panic!("{other}"),
    }
}

fn refused(bytes: &[u8], keyring: &Keyring, now: u32, why: &Rejected) {
    let found = judge(bytes, keyring, now).expect_err("accepted");
    let reason = why.to_string();
    assert!(found.contains(&reason), "{found:?}, expected {reason:?}");
}

#[test]
fn a_sound_key_is_believed() {
    let ring = keyring(vec![certify(&primary(), T0, vec![flags(true)])], vec![], vec![]);
    assert_eq!(judge(&signed(T0), &ring, T0), Ok(()));
    let release = verify_inrelease(&signed(T0), &ring, Clock::OfFile).unwrap();
    assert_eq!(release.signed_by, ring.fingerprints());
    // An hour of difference between two clocks is allowed, and no more.
    assert_eq!(judge(&signed(T0 + 3600), &ring, T0), Ok(()));
    refused(&signed(T0 + 3601), &ring, T0, &Rejected::FromFuture(at(T0 + 3601)));
}

#[test]
fn expiry_of_key_and_signature() {
    let life = SubpacketData::KeyExpirationTime(Duration::from_secs(1000));
    let ring = keyring(vec![certify(&primary(), T0, vec![flags(true), life])], vec![], vec![]);
    assert_eq!(judge(&signed(T0), &ring, T0 + 1000), Ok(()));
    refused(&signed(T0), &ring, T0 + 1001, &Rejected::KeyExpired(at(T0 + 1000)));
    assert!(verify_inrelease(&signed(T0), &ring, Clock::OfFile).is_ok());

    let ring = keyring(vec![certify(&primary(), T0, vec![flags(true)])], vec![], vec![]);
    let short = vec![SubpacketData::SignatureExpirationTime(Duration::from_secs(50))];
    let bytes = sign(&primary(), config(&primary(), SignatureType::Text, T0, short));
    assert_eq!(judge(&bytes, &ring, T0 + 50), Ok(()));
    refused(&bytes, &ring, T0 + 51, &Rejected::SignatureExpired(at(T0 + 50)));
}

#[test]
fn a_key_without_its_own_word_or_revoked_is_not_believed() {
    refused(&signed(T0), &keyring(vec![certify(&primary(), T0, vec![flags(false)])], vec![], vec![]), T0, &Rejected::Binding);
    refused(&signed(T0), &keyring(vec![], vec![], vec![]), T0, &Rejected::Binding);
    let revocation = config(&primary(), SignatureType::KeyRevocation, T0 + 5, vec![]);
    let revocation = revocation.sign_key(&primary(), &Password::empty(), primary().public_key()).unwrap();
    let ring = keyring(vec![certify(&primary(), T0, vec![flags(true)])], vec![revocation], vec![]);
    refused(&signed(T0), &ring, T0 + 10, &Rejected::Revoked);
}

fn bind(more: Vec<SubpacketData>) -> SignedPublicSubKey {
    let key = subkey();
    let binding = config(&primary(), SignatureType::SubkeyBinding, T0, more);
    let binding = binding.sign_subkey_binding(&primary(), primary().public_key(), &Password::empty(), key.public_key()).unwrap();
    SignedPublicSubKey::new(key.public_key().clone(), vec![binding])
}

fn back_signature() -> SubpacketData {
    let config = config(&subkey(), SignatureType::KeyBinding, T0, vec![]);
    let back =
        config.sign_primary_key_binding(&subkey(), subkey().public_key(), &Password::empty(), primary().public_key()).unwrap();
    SubpacketData::EmbeddedSignature(Box::new(back))
}

#[test]
fn a_subkey_has_to_be_bound_both_ways() {
    let user = || vec![certify(&primary(), T0, vec![flags(false)])];
    let bytes = sign(&subkey(), config(&subkey(), SignatureType::Text, T0, vec![]));
    assert_eq!(judge(&bytes, &keyring(user(), vec![], vec![bind(vec![flags(true), back_signature()])]), T0), Ok(()));
    for more in [vec![flags(true)], vec![flags(false), back_signature()], vec![]] {
        refused(&bytes, &keyring(user(), vec![], vec![bind(more)]), T0, &Rejected::Binding);
    }
    let life = SubpacketData::KeyExpirationTime(Duration::from_secs(10));
    let ring = keyring(user(), vec![], vec![bind(vec![flags(true), back_signature(), life])]);
    assert_eq!(judge(&bytes, &ring, T0 + 10), Ok(()));
    refused(&bytes, &ring, T0 + 11, &Rejected::KeyExpired(at(T0 + 10)));
    refused(&bytes, &keyring(user(), vec![], vec![]), T0, &Rejected::UnknownKey);
}

#[test]
fn weak_and_unknown_kinds_are_refused() {
    let ring = keyring(vec![certify(&primary(), T0, vec![flags(true)])], vec![], vec![]);
    let mut critical = config(&primary(), SignatureType::Text, T0, vec![]);
    critical.hashed_subpackets.push(Subpacket::critical(SubpacketData::Experimental(101, vec![1].into())).unwrap());
    refused(&sign(&primary(), critical), &ring, T0, &Rejected::Kind);
    // A hash that the clients of an archive do not take either.
    let sha3 = config_with(&primary(), SignatureType::Text, T0, vec![], HashAlgorithm::Sha3_256);
    refused(&sign(&primary(), sha3), &ring, T0, &Rejected::Kind);
}

#[test]
fn what_is_not_a_release_file_is_refused() {
    let ring = keyring(vec![certify(&primary(), T0, vec![flags(true)])], vec![], vec![]);
    for bad in [&b""[..], b"<html>hello</html>", b"-----BEGIN PGP SIGNED MESSAGE-----\n", &[0xff; 100]] {
        assert!(matches!(verify_inrelease(bad, &ring, Clock::OfFile), Err(TrustError::NotSigned { .. })));
    }
    // Text before or after the signed part is refused: nobody vouches for it.
    let good = signed(T0);
    assert!(verify_inrelease(&[&b"Suite: evil\n"[..], &good].concat(), &ring, Clock::OfFile).is_err());
    assert!(verify_inrelease(&[&good[..], b"Suite: evil\n"].concat(), &ring, Clock::OfFile).is_err());
    assert!(Keyring::from_bytes(b"").is_err());
    assert!(Keyring::from_bytes(b"not a keyring").is_err());
}

#[test]
fn reads_dates_as_debian_writes_them() {
    for (text, second) in [
        ("Tue, 14 Nov 2023 22:13:20 UTC", Some(T0)),
        ("Tue, 14 Nov 2023 22:13:20 +0000", Some(T0)),
        ("Thu, 01 Jan 1970 00:00:00 UTC", Some(0)),
        ("Tue, 14 Nov 2023 22:13:20", None),
        ("Tue, 14 Nov 2023 22:13:20 CET", None),
        ("2023-11-14T22:13:20Z", None),
        ("Tue, 32 Nov 2023 22:13:20 UTC", None),
        ("", None),
    ] {
        assert_eq!(parse_date(text), second.map(at), "{text:?}");
    }
    assert_eq!(darksite::format::date::format_date(at(T0)), "Tue, 14 Nov 2023 22:13:20 UTC");
}
