//! The site's keys. Private halves are on disk only as age ciphertext.
//!
//! The operator's passphrase opens `operator.age` (scrypt); the key inside opens the others, which are encrypted to
//! its public half. One slow step therefore opens all keys, and changing the passphrase rewrites one small file.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as B64;
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::seal::{Sealable, Sealed, SigningKey, VerifyingKey, key_from_text, key_text};
use cluster_seed::secret::{AgeKey, SCRYPT_LOG_N, Secret, SecretError, lock, seal_to, unlock};
use cluster_seed::wireguard::{WgPrivateKey, WgPublicKey};
use darksite::{Keyring, ReleaseKey};
use host::files::{read_limited, write_atomic};
use host::random;
use serde::{Deserialize, Serialize};

use crate::hint::Hint as _;
use crate::tls::ca::{Ca, Permitted};
use crate::tls::sealed::SealedIdentity;

/// Largest key file read, in bytes.
const MAX_KEY_FILE: u64 = 64 << 10;
/// Largest certificate of an adopted snapshot read, in bytes.
pub(crate) const MAX_KEYRING: u64 = 1 << 20;
/// Minimum length of the passphrase, in characters.
pub const MIN_PASSPHRASE: usize = 8;

/// The public keys; `keys/public.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PublicKeys {
    /// ed25519 in hex.
    pub site: String,
    /// age recipients.
    pub operator: String,
    pub vault: String,
    /// The seed's WireGuard keys per plane.
    pub planes: BTreeMap<String, WgPublicKey>,
    /// Since the release key was changed for the first time; before, `keys/release.pgp` is the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseKeys>,
}

/// The site's word on which key signs its packages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReleaseKeys {
    /// OpenPGP fingerprint of the key in use, in upper-case hex.
    pub fingerprint: String,
    /// Certificates of earlier keys, binary, in base64: those that snapshots of this site are still signed with.
    pub earlier: Vec<String>,
}

impl PublicKeys {
    pub fn site_key(&self) -> Result<VerifyingKey> {
        key_from_text(&self.site).context("reading the site's public key")
    }
}

impl Sealable for PublicKeys {
    const PURPOSE: &'static str = "public-keys";
}

/// `keys/public.json`: the keys, and the same once more signed by the site key. Versions before did not sign them.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PublicFile {
    site: String,
    operator: String,
    vault: String,
    planes: BTreeMap<String, WgPublicKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    release: Option<ReleaseKeys>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signed: Option<Sealed<PublicKeys>>,
}

impl PublicFile {
    fn keys(&self) -> PublicKeys {
        let PublicFile { site, operator, vault, planes, release, signed: _ } = self;
        PublicKeys {
            site: site.clone(),
            operator: operator.clone(),
            vault: vault.clone(),
            planes: planes.clone(),
            release: release.clone(),
        }
    }
}

/// The text of a `public.json`; unsigned without the site key.
pub(crate) fn public_text(public: &PublicKeys, site: Option<&SigningKey>) -> Result<Vec<u8>> {
    let signed = site.map(|key| Sealed::sign(public, key)).transpose().context("signing the public keys")?;
    let PublicKeys { site, operator, vault, planes, release } = public.clone();
    let file = PublicFile { site, operator, vault, planes, release, signed };
    serde_json::to_vec_pretty(&file).context("writing the public keys")
}

/// Reads the text of a `public.json`. A signature in it must be by its own site key and over its own keys: who changes one
/// of them has to change all, and unsealing finds that.
pub fn parse_public(text: &[u8]) -> Result<PublicKeys> {
    let file: PublicFile = serde_json::from_slice(text).context("reading keys/public.json")?;
    let keys = file.keys();
    if let Some(signed) = &file.signed {
        let over = signed.open(&keys.site_key()?).context("checking the signature of keys/public.json")?;
        if over != keys {
            return Err(anyhow!("keys/public.json was changed after it was signed")).hint(CHANGED);
        }
    }
    Ok(keys)
}

/// What somebody can do who finds other public keys than the private ones.
const CHANGED: &str =
    "an attacker may have replaced keys, to decrypt what is encrypted to them; restore keys/ from a backup or a capsule";

/// The private keys, in memory only.
pub struct Unsealed {
    pub site: SigningKey,
    pub release: ReleaseKey,
    pub planes: BTreeMap<String, WgPrivateKey>,
    /// Signs the certificates of the web interface; a site created by an older version has none yet ([`KeyDir::make_ca`]).
    pub ca: Option<Ca>,
    /// Decrypts what was encrypted to [`PublicKeys::vault`].
    pub vault: AgeKey,
}

pub struct KeyDir {
    dir: Utf8PathBuf,
    /// Files here count instead of those of the same name in `dir`.
    over: Option<Utf8PathBuf>,
}

impl KeyDir {
    pub fn new(dir: &Utf8Path) -> Self {
        KeyDir { dir: dir.to_owned(), over: None }
    }

    /// As it will be once the files of `over` have replaced those of `dir`; only read it.
    pub(crate) fn replaced(dir: &Utf8Path, over: &Utf8Path) -> Self {
        KeyDir { dir: dir.to_owned(), over: Some(over.to_owned()) }
    }

    pub(crate) fn file(&self, name: &str) -> Utf8PathBuf {
        let new = self.over.as_ref().map(|over| over.join(name)).filter(|path| path.exists());
        new.unwrap_or_else(|| self.dir.join(name))
    }

    /// Creates all keys of a site. `now` is in Unix seconds and dates the OpenPGP key.
    pub fn create(&self, passphrase: &str, site_name: &str, planes: &[String], now: i64) -> Result<PublicKeys> {
        self.create_with(SCRYPT_LOG_N, passphrase, site_name, planes, now)
    }

    /// The same with a work factor (log2 N) other than [`SCRYPT_LOG_N`]: tests open hundreds of sites.
    pub fn create_with(&self, work: u8, passphrase: &str, site_name: &str, planes: &[String], now: i64) -> Result<PublicKeys> {
        if passphrase.chars().count() < MIN_PASSPHRASE {
            return Err(anyhow!("the passphrase has fewer than {MIN_PASSPHRASE} characters"))
                .hint("use, for example, four random words");
        }
        let (operator, vault) = (AgeKey::generate(), AgeKey::generate());
        let mut seed = [0u8; 32];
        random::fill(&mut seed)?;
        let site = SigningKey::from_bytes(&seed);
        let created = jiff::Timestamp::from_second(now).context("reading the clock")?;
        let release = ReleaseKey::generate(&release_name(site_name), created)?;
        let mut private = BTreeMap::new();
        for plane in planes {
            private.insert(plane.clone(), WgPrivateKey::from_random(random::bytes::<32>()?));
        }
        let public = private.iter().map(|(plane, key)| (plane.clone(), key.public())).collect();
        let recipient = operator.recipient();
        let sealed =
            |name: &str, plain: &[u8]| -> Result<()> { Ok(write_atomic(&self.file(name), &seal_to(&recipient, plain)?, 0o600)?) };
        let private = plane_text(&private)?;
        sealed("site.age", site.as_bytes())?;
        sealed("release.age", &release.to_secret_bytes()?)?;
        sealed("vault.age", vault.to_secret().expose())?;
        sealed("planes.age", private.expose())?;
        write_atomic(&self.file("release.pgp"), &release.public_keyring()?, 0o644)?;
        let public = PublicKeys {
            site: key_text(&site.verifying_key()),
            operator: recipient,
            vault: vault.recipient(),
            planes: public,
            release: None,
        };
        self.write_public(&public, Some(&site))?;
        write_atomic(&self.file("operator.age"), &lock(passphrase, operator.to_secret().expose(), work)?, 0o600)?;
        Ok(public)
    }

    pub fn public(&self) -> Result<PublicKeys> {
        parse_public(&read_limited(&self.file("public.json"), MAX_KEY_FILE)?)
    }

    /// Writes `public.json`. Without the site key it is unsigned until the keys are opened.
    pub fn write_public(&self, public: &PublicKeys, site: Option<&SigningKey>) -> Result<()> {
        Ok(write_atomic(&self.file("public.json"), &public_text(public, site)?, 0o644)?)
    }

    /// Compares every public key on disk with the opened private ones. Signs `public.json` if nobody did.
    fn compare(&self, operator: &AgeKey, open: &Unsealed) -> Result<()> {
        let text = read_limited(&self.file("public.json"), MAX_KEY_FILE)?;
        let held = parse_public(&text)?;
        let planes: BTreeMap<String, WgPublicKey> = open.planes.iter().map(|(name, key)| (name.clone(), key.public())).collect();
        let release = Keyring::from_bytes(&self.release_keyring()?).map(|k| k.fingerprints()).unwrap_or_default();
        let pairs = [
            ("site.age", held.site == key_text(&open.site.verifying_key())),
            ("operator.age", held.operator == operator.recipient()),
            ("vault.age", held.vault == open.vault.recipient()),
            ("planes.age", held.planes == planes),
        ];
        if let Some((name, _)) = pairs.iter().find(|(_, same)| !same) {
            return Err(anyhow!("keys/{name} does not match keys/public.json")).hint(CHANGED);
        }
        let stated = held.release.as_ref().is_none_or(|r| r.fingerprint == open.release.fingerprint());
        if release != [open.release.fingerprint()] || !stated {
            return Err(anyhow!("keys/release.age does not match keys/release.pgp")).hint(CHANGED);
        }
        let file: PublicFile = serde_json::from_slice(&text).context("reading keys/public.json")?;
        if file.signed.is_none() {
            self.write_public(&held, Some(&open.site))?;
        }
        Ok(())
    }

    /// The release key's OpenPGP certificate, binary.
    pub fn release_keyring(&self) -> Result<Vec<u8>> {
        Ok(read_limited(&self.file("release.pgp"), MAX_KEY_FILE)?)
    }

    pub fn release_keyring_path(&self) -> Utf8PathBuf {
        self.file("release.pgp")
    }

    /// True if this file is the certificate of an earlier release key of this site.
    pub fn is_earlier_release(&self, certificate: &Utf8Path) -> Result<bool> {
        let Some(release) = self.public()?.release else { return Ok(false) };
        match read_limited(certificate, MAX_KEY_FILE) {
            Ok(bytes) => Ok(release.earlier.contains(&B64.encode(bytes))),
            Err(e) if e.is_not_found() => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Path of the certificate of an adopted snapshot's maker.
    pub fn snapshot_keyring_path(&self, snapshot: Digest) -> Utf8PathBuf {
        self.file(&format!("snapshot-{snapshot}.pgp"))
    }

    /// The certificate that an adopted snapshot is signed with, binary.
    pub fn snapshot_keyring(&self, snapshot: Digest) -> Result<Vec<u8>> {
        Ok(read_limited(&self.snapshot_keyring_path(snapshot), MAX_KEYRING)?)
    }

    /// Creates the site's CA. The certificate is written after the key, and can be written again from `ca.age`.
    pub fn make_ca(&self, site_name: &str, permitted: Permitted) -> Result<Ca> {
        let ca = Ca::generate(site_name, permitted)?;
        let sealed = seal_to(&self.public()?.operator, ca.to_secret()?.expose())?;
        write_atomic(&self.file("ca.age"), &sealed, 0o600)?;
        self.publish_ca(&ca)?;
        Ok(ca)
    }

    /// What the web interface shows while the site is sealed, if the site was ever unsealed.
    pub fn sealed_identity(&self) -> Result<Option<SealedIdentity>> {
        SealedIdentity::read(&self.dir)
    }

    /// As [`Self::sealed_identity`]; created where there is none by `ca` yet.
    pub fn ensure_sealed_identity(&self, ca: &Ca, domain: &str) -> Result<SealedIdentity> {
        SealedIdentity::ensure(&self.dir, ca, domain)
    }

    fn publish_ca(&self, ca: &Ca) -> Result<()> {
        Ok(write_atomic(&self.file("ca.pem"), ca.pem().as_bytes(), 0o644)?)
    }

    /// The CA's certificate in PEM, if the site has one.
    pub fn ca_certificate(&self) -> Result<Option<String>> {
        let path = self.file("ca.pem");
        if !path.exists() {
            return Ok(None);
        }
        String::from_utf8(read_limited(&path, MAX_KEY_FILE)?).context("reading keys/ca.pem").map(Some)
    }

    /// The key that opens the others. This takes about a second by design.
    pub fn operator(&self, passphrase: &str) -> Result<AgeKey> {
        let locked = read_limited(&self.file("operator.age"), MAX_KEY_FILE)?;
        match unlock(passphrase, &locked) {
            Err(e @ SecretError::WrongPassphrase) => {
                Err(e).hint("use the passphrase that was set with `seedd init`; it cannot be reset")
            }
            other => Ok(AgeKey::from_secret(&other.context("opening keys/operator.age")?)?),
        }
    }

    /// Opens all keys with the operator's passphrase.
    pub fn unseal(&self, passphrase: &str) -> Result<Unsealed> {
        self.unseal_with(&self.operator(passphrase)?)
    }

    /// Every existing private key, encrypted again to another site's operator key: name and ciphertext.
    pub fn resealed(&self, operator: &AgeKey, recipient: &str) -> Result<Vec<(&'static str, Vec<u8>)>> {
        let there = cluster_seed::capsule::KEYS.iter().filter(|name| self.file(name).is_file());
        there
            .map(|name| {
                let plain = operator.open(&read_limited(&self.file(name), MAX_KEY_FILE)?);
                let plain = plain.with_context(|| format!("opening keys/{name}"))?;
                Ok((*name, seal_to(recipient, plain.expose())?))
            })
            .collect()
    }

    /// Opens all keys with the operator's key.
    pub fn unseal_with(&self, operator: &AgeKey) -> Result<Unsealed> {
        let open = |name: &str| -> Result<Secret> {
            let bytes = read_limited(&self.file(name), MAX_KEY_FILE)?;
            operator.open(&bytes).with_context(|| format!("opening keys/{name}"))
        };
        let site: [u8; 32] = open("site.age")?.expose().try_into().context("reading keys/site.age")?;
        let release = ReleaseKey::from_secret_bytes(open("release.age")?.expose())?;
        let texts: BTreeMap<String, zeroize::Zeroizing<String>> =
            serde_json::from_slice::<BTreeMap<String, String>>(open("planes.age")?.expose())
                .context("reading keys/planes.age")?
                .into_iter()
                .map(|(k, v)| (k, zeroize::Zeroizing::new(v)))
                .collect();
        let planes = texts.iter().map(|(k, v)| Ok((k.clone(), WgPrivateKey::from_text(v)?))).collect::<Result<_>>()?;
        let ca = self.file("ca.age").exists().then(|| Ca::from_secret(&open("ca.age")?)).transpose()?;
        if let Some(ca) = ca.as_ref().filter(|ca| self.ca_certificate().ok().flatten() != Some(ca.pem())) {
            self.publish_ca(ca)?;
        }
        let vault = AgeKey::from_secret(&open("vault.age")?).context("reading keys/vault.age")?;
        let unsealed = Unsealed { site: SigningKey::from_bytes(&site), release, planes, ca, vault };
        self.compare(operator, &unsealed)?;
        Ok(unsealed)
    }
}

/// The plaintext of `planes.age`.
pub(crate) fn plane_text(keys: &BTreeMap<String, WgPrivateKey>) -> Result<Secret> {
    let texts: BTreeMap<&str, zeroize::Zeroizing<String>> = keys.iter().map(|(k, v)| (k.as_str(), v.expose())).collect();
    let plain: BTreeMap<&str, &str> = texts.iter().map(|(k, v)| (*k, v.as_str())).collect();
    Ok(Secret::new(serde_json::to_vec(&plain).context("writing the plane keys")?))
}

/// The user id of a site's release key.
pub(crate) fn release_name(site_name: &str) -> String {
    format!("Kubedos darksite of {site_name}")
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
