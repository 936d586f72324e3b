//! The certificate authorities of the site, and certificates for nodes.
//!
//! Keys are ECDSA P-256. An authority is valid from 1970 to 9999; a certificate of a node from 1970 until a year after it was
//! issued, because the clock of a node may be behind. The seed renews it before half of that.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as B64;
use cluster_seed::converge::orders::{Bundle, Leaf};
use cluster_seed::converge::platform::{Authority, Certificate, Subject, Usage};
use cluster_seed::ids::Digest;
use cluster_seed::secret::{AgeKey, seal_to};
use host::random;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber, date_time_ymd,
};
use serde::{Deserialize, Serialize};
use site::setting::PKI;
use site::store::{StoreError, Tx};
use site::tls::ca::pem;
use zeroize::Zeroizing;

/// Validity of a node's certificate from its issue, in seconds.
pub const LIFE: u64 = 365 * 86_400;
/// Age from which a certificate is replaced, in seconds: before half its life.
pub const RENEW: u64 = LIFE / 2 - 30 * 86_400;
/// A bundle that was issued so many seconds after now is replaced: the seed's clock was wrong then.
const AHEAD: u64 = 86_400;

/// A setting `pki:<authority>`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Stored {
    /// PEM.
    certificate: String,
    subject: String,
    /// The key's PKCS#8 as age ciphertext to the vault, base64. The name of the field is that of every setting sealed to the vault.
    password: String,
}

/// An authority with its key.
struct Ca {
    certificate: String,
    subject: String,
    key: KeyPair,
}

/// All authorities of the site, opened, and the key that signs the tokens of service accounts.
pub struct Authorities {
    all: BTreeMap<Authority, Ca>,
    service_accounts: KeyPair,
}

/// Beside the words of the authorities: the key of service accounts. Its certificate is issued with the others.
const SERVICE_ACCOUNTS: &str = "service-accounts";

fn name_of(authority: Authority) -> String {
    format!("{PKI}{}", authority.as_str())
}

fn subject_params(subject: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(1970, 1, 1);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject);
    params
}

fn ca_params(subject: &str) -> CertificateParams {
    let mut params = subject_params(subject);
    params.not_after = date_time_ymd(9999, 12, 31);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params
}

fn serial() -> Result<SerialNumber> {
    let mut bytes = random::bytes::<16>()?;
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// A fresh key, as ciphertext to the vault in base64 beside it.
fn sealed_key(vault: &str) -> Result<(KeyPair, String)> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("creating the key of an authority")?;
    let secret = Zeroizing::new(key.serialize_der());
    let password = B64.encode(seal_to(vault, &secret).context("sealing the key of an authority")?);
    Ok((key, password))
}

/// Creates the authorities that the site does not have yet, and the key of service accounts. `vault` is the recipient of the vault.
///
/// # Errors
/// If the database cannot be written.
pub fn ensure(tx: &Tx<'_>, site: &str, vault: &str) -> Result<()> {
    for authority in Authority::ALL {
        if tx.setting(&name_of(authority))?.is_some() {
            continue;
        }
        let subject = format!("Kubedos {} of {site} {}", authority.as_str(), Digest::of(&random::bytes::<16>()?).short());
        let (key, password) = sealed_key(vault)?;
        let mut params = ca_params(&subject);
        params.serial_number = Some(serial()?);
        let made = params.self_signed(&key).context("creating the certificate of an authority")?;
        let certificate = pem("CERTIFICATE", made.der());
        tx.set(&name_of(authority), &serde_json::to_string(&Stored { certificate, subject, password })?)?;
    }
    let name = format!("{PKI}{SERVICE_ACCOUNTS}");
    if tx.setting(&name)?.is_none() {
        let (_, password) = sealed_key(vault)?;
        let stored = Stored { certificate: String::new(), subject: SERVICE_ACCOUNTS.to_owned(), password };
        tx.set(&name, &serde_json::to_string(&stored)?)?;
    }
    Ok(())
}

/// The certificates of the authorities, in PEM; empty before [`ensure`].
pub fn certificates(tx: &Tx<'_>) -> Result<BTreeMap<Authority, String>, StoreError> {
    let mut found = BTreeMap::new();
    for authority in Authority::ALL {
        if let Some(text) = tx.setting(&name_of(authority))? {
            let stored: Stored = serde_json::from_str(&text).map_err(|_| StoreError::Corrupt { what: "setting.pki" })?;
            found.insert(authority, stored.certificate);
        }
    }
    Ok(found)
}

/// The names and addresses in a node's certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Names {
    /// Common name: the node's host name.
    pub name: String,
    pub dns: Vec<String>,
    pub addresses: Vec<Ipv4Addr>,
    /// Names and address of the service `kubernetes`, for [`Subject::Api`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<(Vec<String>, Ipv4Addr)>,
}

/// Names what a bundle says, without its keys and dates.
pub fn bundle_id(authorities: &BTreeMap<Authority, String>, wanted: &[Certificate], names: &Names) -> Digest {
    // Subjects apart: what has only certificates of nodes keeps the id that it had before there were others.
    let subjects: Vec<_> = wanted.iter().filter(|c| c.subject != Subject::Node).map(|c| (c.name, c.subject)).collect();
    let wanted: Vec<_> = wanted.iter().map(|c| (c.authority, c.name, c.usage == Usage::Both)).collect();
    let used: BTreeMap<_, _> = authorities.iter().filter(|(a, _)| wanted.iter().any(|(w, _, _)| w == *a)).collect();
    let mut text = serde_json::to_string(&(used, wanted, names)).unwrap_or_default();
    if !subjects.is_empty() {
        text += &serde_json::to_string(&subjects).unwrap_or_default();
    }
    Digest::of(text.as_bytes())
}

/// Whether a bundle of this age has to be replaced. Both in Unix seconds by the seed's clock.
pub fn is_old(issued: u64, now: u64) -> bool {
    now.saturating_sub(issued) >= RENEW || issued > now + AHEAD
}

/// What is stored under `name`, with its key.
fn opened(tx: &Tx<'_>, name: &str, vault: &AgeKey) -> Result<(Stored, KeyPair)> {
    let text = tx.setting(name)?.ok_or_else(|| anyhow!("the site has no authority {name}"))?;
    let stored: Stored = serde_json::from_str(&text).context("reading an authority")?;
    let sealed = B64.decode(&stored.password).context("reading the key of an authority")?;
    let der = vault.open(&sealed).context("opening the key of an authority")?;
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&der.expose().into(), &PKCS_ECDSA_P256_SHA256)
        .context("reading the key of an authority")?;
    Ok((stored, key))
}

/// What of the names belongs into a certificate: subject, group, DNS names and addresses.
fn sans(subject: Subject, names: &Names) -> (String, Option<&'static str>, Vec<String>, Vec<Ipv4Addr>) {
    let label = names.name.split('.').next().unwrap_or_default();
    match subject {
        Subject::Node => (names.name.clone(), None, names.dns.clone(), names.addresses.clone()),
        Subject::Api => {
            let (dns, address) = names.api.clone().map_or((Vec::new(), None), |(dns, address)| (dns, Some(address)));
            let addresses = names.addresses.iter().copied().chain(address).collect();
            ("kube-apiserver".to_owned(), None, names.dns.iter().cloned().chain(dns).collect(), addresses)
        }
        Subject::Kubelet => (format!("system:node:{label}"), Some("system:nodes"), Vec::new(), Vec::new()),
        Subject::User(name, group) => (name.to_owned(), group, Vec::new(), Vec::new()),
        Subject::ServiceAccounts => (SERVICE_ACCOUNTS.to_owned(), None, Vec::new(), Vec::new()),
    }
}

impl Authorities {
    /// Opens all authorities with the key of the vault.
    pub fn open(tx: &Tx<'_>, vault: &AgeKey) -> Result<Self> {
        let mut all = BTreeMap::new();
        for authority in Authority::ALL {
            let (stored, key) = opened(tx, &name_of(authority), vault)?;
            all.insert(authority, Ca { certificate: stored.certificate, subject: stored.subject, key });
        }
        let (_, service_accounts) = opened(tx, &format!("{PKI}{SERVICE_ACCOUNTS}"), vault)?;
        Ok(Authorities { all, service_accounts })
    }

    /// Issues all certificates of a node. `now` is in Unix seconds.
    pub fn issue(&self, wanted: &[Certificate], names: &Names, now: u64) -> Result<Bundle> {
        let certificates: BTreeMap<Authority, String> = self.all.iter().map(|(a, ca)| (*a, ca.certificate.clone())).collect();
        let id = bundle_id(&certificates, wanted, names);
        let leaves = wanted.iter().map(|c| self.leaf(c, names, now)).collect::<Result<Vec<_>>>()?;
        let authorities = certificates.into_iter().filter(|(a, _)| wanted.iter().any(|w| w.authority == *a)).collect();
        Ok(Bundle { id, issued: now, authorities, leaves })
    }

    fn leaf(&self, wanted: &Certificate, names: &Names, now: u64) -> Result<Leaf> {
        let ca = self.all.get(&wanted.authority).ok_or_else(|| anyhow!("no authority {}", wanted.authority.as_str()))?;
        let fresh = match wanted.subject {
            Subject::ServiceAccounts => None,
            _ => Some(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("creating the key of a certificate")?),
        };
        let key = fresh.as_ref().unwrap_or(&self.service_accounts);
        let (subject, group, dns, addresses) = sans(wanted.subject, names);
        let mut params = subject_params(&subject);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.serial_number = Some(serial()?);
        let end = jiff::Timestamp::from_second(i64::try_from(now.saturating_add(LIFE))?)?.to_zoned(jiff::tz::TimeZone::UTC);
        let (month, day) = (u8::try_from(end.month())?, u8::try_from(end.day())?);
        params.not_after = date_time_ymd(i32::from(end.year()), month, day);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = match wanted.usage {
            Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Usage::Both => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        };
        for dns in &dns {
            params
                .subject_alt_names
                .push(SanType::DnsName(dns.as_str().try_into().with_context(|| format!("using the name {dns}"))?));
        }
        params.subject_alt_names.extend(addresses.iter().map(|ip| SanType::IpAddress(IpAddr::V4(*ip))));
        params.use_authority_key_identifier_extension = true;
        let of_ca = ca_params(&ca.subject);
        let made = params.signed_by(key, &Issuer::from_params(&of_ca, &ca.key)).context("signing a certificate")?;
        let (authority, name) = (wanted.authority, wanted.name.to_owned());
        let secret = Zeroizing::new(key.serialize_der());
        Ok(Leaf { authority, name, certificate: pem("CERTIFICATE", made.der()), key: pem("PRIVATE KEY", &secret) })
    }
}

#[cfg(test)]
#[path = "pki_tests.rs"]
mod tests;
