//! What the web interface shows while the site is sealed: a key of its own in a file of its own, so that the certificate is
//! the same after every start, and whoever types the passphrase can compare its fingerprint with a noted one.
//!
//! The key is on disk in the clear, because nobody has opened anything yet. The site's CA therefore signs only the name
//! `sealed.<domain>` for it: a thief of the disk cannot show himself as the unsealed seed.

use anyhow::{Context as _, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as B64;
use camino::Utf8Path;
use host::files::{PRIVATE, read_limited, write_atomic};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, Zeroizing};

use super::ca::{self, Ca, dns_name};

/// Its file in `keys/`.
pub const FILE: &str = "sealed-tls.json";
/// Largest file read, in bytes.
const MAX_FILE: u64 = 16 << 10;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Plain {
    /// PKCS#8 in Base64.
    key: String,
    /// DER in Base64.
    certificate: String,
    /// sha256 of the CA's certificate, in hex: after an import the site has another CA.
    ca: String,
}

impl Drop for Plain {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// The identity while sealed.
pub struct SealedIdentity {
    pub(super) key: KeyPair,
    pub(super) certificate: CertificateDer<'static>,
    ca: String,
}

fn digest(ca: &Ca) -> String {
    hex::encode(Sha256::digest(ca.der()))
}

impl SealedIdentity {
    /// The one in `dir`, if there is one.
    pub fn read(dir: &Utf8Path) -> Result<Option<Self>> {
        let path = dir.join(FILE);
        let bytes = match read_limited(&path, MAX_FILE) {
            Err(e) if e.is_not_found() => return Ok(None),
            other => Zeroizing::new(other?),
        };
        let file: Plain = serde_json::from_slice(&bytes).map_err(|_| anyhow!("{path} is not an identity"))?;
        let der = Zeroizing::new(B64.decode(file.key.as_bytes()).map_err(|_| anyhow!("{path} does not contain a key"))?);
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&der.as_slice().into(), &PKCS_ECDSA_P256_SHA256)
            .with_context(|| format!("reading the key in {path}"))?;
        let certificate = B64.decode(&file.certificate).with_context(|| format!("reading the certificate in {path}"))?.into();
        Ok(Some(SealedIdentity { key, certificate, ca: file.ca.clone() }))
    }

    /// The one in `dir` if `ca` signed it, else a new one, which is stored there.
    pub fn ensure(dir: &Utf8Path, ca: &Ca, domain: &str) -> Result<Self> {
        // What cannot be read is replaced, like one of another CA.
        if let Some(held) = Self::read(dir).ok().flatten().filter(|held| held.ca == digest(ca)) {
            return Ok(held);
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("creating the key for the time while sealed")?;
        let name = dns_name(&format!("sealed.{domain}")).ok_or_else(|| anyhow!("{domain} is not a domain name"))?;
        let certificate = ca::certificate(Some(ca), &key, &[name])?;
        let file = Plain { key: B64.encode(key.serialized_der()), certificate: B64.encode(&certificate), ca: digest(ca) };
        let text = Zeroizing::new(serde_json::to_vec(&file).context("writing the identity for the time while sealed")?);
        write_atomic(&dir.join(FILE), &text, PRIVATE)?;
        Ok(SealedIdentity { key, certificate, ca: digest(ca) })
    }
}
