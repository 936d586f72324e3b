//! The site's SSH host authority: it certifies the host keys of the nodes, so that operators accept every node of the site by one
//! line in known_hosts, also after a node was installed again.
//!
//! Both are ed25519. A certificate names the node and its addresses, is valid from 1970, because the clock of a node may be
//! behind, until a year after it was issued, and is renewed before half of that ([`crate::pki::RENEW`]).

use std::net::Ipv6Addr;

use anyhow::{Context as _, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as B64;
use cluster_seed::converge::orders::{HeldBundle, SshCertificate, SshHost};
use cluster_seed::ids::Digest;
use cluster_seed::secret::{AgeKey, seal_to};
use host::random;
use serde::{Deserialize, Serialize};
use site::setting::PKI;
use site::store::{StoreError, Tx};
use ssh_key::certificate::{Builder, CertType};
use ssh_key::private::Ed25519Keypair;
use ssh_key::{Algorithm, PrivateKey, PublicKey};
use zeroize::Zeroizing;

use crate::pki::{LIFE, Names, is_old};

/// The word after [`PKI`].
const AUTHORITY: &str = "ssh-hosts";

/// The setting. `password` is the name of everything that is sealed to the vault, so that a change of its key finds it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Stored {
    /// As in authorized_keys.
    public: String,
    /// The 32 bytes of the key as age ciphertext to the vault, base64.
    password: String,
}

fn name() -> String {
    format!("{PKI}{AUTHORITY}")
}

fn stored(tx: &Tx<'_>) -> Result<Option<Stored>, StoreError> {
    let text = tx.setting(&name())?;
    text.map(|t| serde_json::from_str(&t)).transpose().map_err(|_| StoreError::Corrupt { what: "setting.pki" })
}

/// Creates the authority, unless the site has one. `vault` is the recipient of the vault.
pub fn ensure(tx: &Tx<'_>, site: &str, vault: &str) -> Result<()> {
    if stored(tx)?.is_some() {
        return Ok(());
    }
    let seed = Zeroizing::new(random::bytes::<32>()?);
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
    let mut public = key.public_key().clone();
    public.set_comment(format!("SSH hosts of {site}"));
    let public = public.to_openssh().context("writing the public key of the SSH host authority")?;
    let password = B64.encode(seal_to(vault, seed.as_slice()).context("sealing the key of the SSH host authority")?);
    tx.set(&name(), &serde_json::to_string(&Stored { public, password })?)?;
    Ok(())
}

/// The authority's public key as in authorized_keys; `None` before [`ensure`].
pub fn authority(tx: &Tx<'_>) -> Result<Option<String>, StoreError> {
    Ok(stored(tx)?.map(|s| s.public))
}

/// The names that a node's certificate is for: its host name, the label of it, and its addresses of both families.
fn principals(names: &Names, second: &[Ipv6Addr]) -> Vec<String> {
    let label = names.name.split('.').next().unwrap_or_default().to_owned();
    let mut all = vec![names.name.clone()];
    all.extend([label].into_iter().filter(|l| *l != names.name));
    // Not the loopback address of the certificates for services.
    all.extend(names.addresses.iter().filter(|ip| !ip.is_loopback()).map(ToString::to_string));
    all.extend(second.iter().map(ToString::to_string));
    all
}

/// A new certificate for the host key that a node told, unless the one that it holds is as good. `None` too while the site has
/// no authority, or if the key is not an ed25519 key. `second` are the node's IPv6 addresses; `now` is in Unix seconds.
///
/// # Errors
/// If the authority's key cannot be read, opened with `vault`, or used.
pub fn renew(
    tx: &Tx<'_>,
    vault: &AgeKey,
    names: &Names,
    second: &[Ipv6Addr],
    told: &SshHost,
    now: u64,
) -> Result<Option<SshCertificate>> {
    let Some(stored) = stored(tx)? else { return Ok(None) };
    let Some(host) = host_key(&told.key) else { return Ok(None) };
    let principals = principals(names, second);
    let said = serde_json::to_string(&(&stored.public, &told.key, &principals))?;
    let id = Digest::of(said.as_bytes());
    if told.held.is_some_and(|held| held.id == id && !is_old(held.issued, now)) {
        return Ok(None);
    }
    let sealed = B64.decode(&stored.password).context("reading the key of the SSH host authority")?;
    let opened = vault.open(&sealed).context("opening the key of the SSH host authority")?;
    let seed = Zeroizing::new(<[u8; 32]>::try_from(opened.expose()).map_err(|_| anyhow!("the SSH host authority has no key"))?);
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
    let certificate = certify(&key, &host, &names.name, &principals, now).context("certifying an SSH host key")?;
    Ok(Some(SshCertificate { held: HeldBundle { id, issued: now }, certificate }))
}

fn host_key(text: &str) -> Option<PublicKey> {
    PublicKey::from_openssh(text).ok().filter(|key| key.algorithm() == Algorithm::Ed25519)
}

fn certify(ca: &PrivateKey, host: &PublicKey, id: &str, principals: &[String], now: u64) -> Result<String> {
    let nonce = random::bytes::<32>()?;
    let mut builder = Builder::new(nonce.to_vec(), host.key_data().clone(), 0, now.saturating_add(LIFE))?;
    builder.cert_type(CertType::Host)?.key_id(id)?.serial(now)?;
    for principal in principals {
        builder.valid_principal(principal)?;
    }
    Ok(builder.sign(ca)?.to_openssh()?)
}

#[cfg(test)]
#[path = "ssh_tests.rs"]
mod tests;
