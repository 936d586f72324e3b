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
use cluster_seed::converge::platform::{Authority, Certificate, Usage};
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

/// All authorities of the site, opened.
pub struct Authorities(BTreeMap<Authority, Ca>);

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

/// Creates the authorities that the site does not have yet. `vault` is the recipient of the vault.
///
/// # Errors
/// If the database cannot be written.
pub fn ensure(tx: &Tx<'_>, site: &str, vault: &str) -> Result<()> {
    for authority in Authority::ALL {
        if tx.setting(&name_of(authority))?.is_some() {
            continue;
        }
        let subject = format!("Kubedos {} of {site} {}", authority.as_str(), Digest::of(&random::bytes::<16>()?).short());
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("creating the key of an authority")?;
        let mut params = ca_params(&subject);
        params.serial_number = Some(serial()?);
        let made = params.self_signed(&key).context("creating the certificate of an authority")?;
        let certificate = pem("CERTIFICATE", made.der());
        let secret = Zeroizing::new(key.serialize_der());
        let password = B64.encode(seal_to(vault, &secret).context("sealing the key of an authority")?);
        tx.set(&name_of(authority), &serde_json::to_string(&Stored { certificate, subject, password })?)?;
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
}

/// Names what a bundle says, without its keys and dates.
pub fn bundle_id(authorities: &BTreeMap<Authority, String>, wanted: &[Certificate], names: &Names) -> Digest {
    let wanted: Vec<_> = wanted.iter().map(|c| (c.authority, c.name, c.usage == Usage::Both)).collect();
    let used: BTreeMap<_, _> = authorities.iter().filter(|(a, _)| wanted.iter().any(|(w, _, _)| w == *a)).collect();
    let text = serde_json::to_string(&(used, wanted, names)).unwrap_or_default();
    Digest::of(text.as_bytes())
}

/// Whether a bundle of this age has to be replaced. Both in Unix seconds by the seed's clock.
pub fn is_old(issued: u64, now: u64) -> bool {
    now.saturating_sub(issued) >= RENEW || issued > now + AHEAD
}

impl Authorities {
    /// Opens all authorities with the key of the vault.
    pub fn open(tx: &Tx<'_>, vault: &AgeKey) -> Result<Self> {
        let mut all = BTreeMap::new();
        for authority in Authority::ALL {
            let text =
                tx.setting(&name_of(authority))?.ok_or_else(|| anyhow!("the site has no authority {}", authority.as_str()))?;
            let stored: Stored = serde_json::from_str(&text).context("reading an authority")?;
            let sealed = B64.decode(&stored.password).context("reading the key of an authority")?;
            let der = vault.open(&sealed).context("opening the key of an authority")?;
            let key = KeyPair::from_pkcs8_der_and_sign_algo(&der.expose().into(), &PKCS_ECDSA_P256_SHA256)
                .context("reading the key of an authority")?;
            all.insert(authority, Ca { certificate: stored.certificate, subject: stored.subject, key });
        }
        Ok(Authorities(all))
    }

    /// Issues all certificates of a node. `now` is in Unix seconds.
    pub fn issue(&self, wanted: &[Certificate], names: &Names, now: u64) -> Result<Bundle> {
        let certificates: BTreeMap<Authority, String> = self.0.iter().map(|(a, ca)| (*a, ca.certificate.clone())).collect();
        let id = bundle_id(&certificates, wanted, names);
        let leaves = wanted.iter().map(|c| self.leaf(c, names, now)).collect::<Result<Vec<_>>>()?;
        let authorities = certificates.into_iter().filter(|(a, _)| wanted.iter().any(|w| w.authority == *a)).collect();
        Ok(Bundle { id, issued: now, authorities, leaves })
    }

    fn leaf(&self, wanted: &Certificate, names: &Names, now: u64) -> Result<Leaf> {
        let ca = self.0.get(&wanted.authority).ok_or_else(|| anyhow!("no authority {}", wanted.authority.as_str()))?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("creating the key of a certificate")?;
        let mut params = subject_params(&names.name);
        params.serial_number = Some(serial()?);
        let end = jiff::Timestamp::from_second(i64::try_from(now.saturating_add(LIFE))?)?.to_zoned(jiff::tz::TimeZone::UTC);
        let (month, day) = (u8::try_from(end.month())?, u8::try_from(end.day())?);
        params.not_after = date_time_ymd(i32::from(end.year()), month, day);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = match wanted.usage {
            Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Usage::Both => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        };
        for dns in &names.dns {
            params
                .subject_alt_names
                .push(SanType::DnsName(dns.as_str().try_into().with_context(|| format!("using the name {dns}"))?));
        }
        params.subject_alt_names.extend(names.addresses.iter().map(|ip| SanType::IpAddress(IpAddr::V4(*ip))));
        params.use_authority_key_identifier_extension = true;
        let of_ca = ca_params(&ca.subject);
        let made = params.signed_by(&key, &Issuer::from_params(&of_ca, &ca.key)).context("signing a certificate")?;
        let (authority, name) = (wanted.authority, wanted.name.to_owned());
        let secret = Zeroizing::new(key.serialize_der());
        Ok(Leaf { authority, name, certificate: pem("CERTIFICATE", made.der()), key: pem("PRIVATE KEY", &secret) })
    }
}

#[cfg(test)]
mod tests {
    use cluster_seed::converge::platform::play;
    use site::store::Store;

    use super::*;

    fn names() -> Names {
        Names {
            name: "e1.kubedos.lan".into(),
            dns: vec!["e1.kubedos.lan".into(), "localhost".into()],
            addresses: vec!["10.80.0.2".parse().unwrap()],
        }
    }

    #[test]
    fn authorities_are_made_once_and_open_with_the_vault_only() {
        let (store, vault) = (Store::in_memory().unwrap(), AgeKey::generate());
        let made = || {
            store
                .write(|tx| ensure(tx, "a", &vault.recipient()).map(|()| certificates(tx).unwrap()))
                .map_err(|e: anyhow::Error| e)
        };
        let (first, again) = (made().unwrap(), made().unwrap());
        assert_eq!((first.len(), &first), (4, &again));
        let distinct: std::collections::BTreeSet<_> = first.values().collect();
        assert_eq!(distinct.len(), 4, "one authority is not another's");
        let open = |key: &AgeKey| store.read(|tx| Authorities::open(tx, key).map(drop));
        assert!(open(&vault).is_ok() && open(&AgeKey::generate()).is_err());
    }

    #[test]
    fn a_bundle_has_what_the_play_needs_and_openssl_accepts_it() {
        let (store, vault) = (Store::in_memory().unwrap(), AgeKey::generate());
        store.write(|tx| ensure(tx, "a", &vault.recipient())).unwrap();
        let wanted = play("etcd").unwrap().certificates;
        let bundle = store.read(|tx| Authorities::open(tx, &vault)?.issue(wanted, &names(), 1_800_000_000)).unwrap();
        assert_eq!(bundle.leaves.len(), 3);
        assert_eq!(bundle.authorities.keys().copied().collect::<Vec<_>>(), [Authority::Etcd]);
        assert_eq!(bundle.id, store.read(|tx| Ok::<_, StoreError>(bundle_id(&certificates(tx)?, wanted, &names()))).unwrap());
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(path("ca.pem"), &bundle.authorities[&Authority::Etcd]).unwrap();
        std::fs::write(path("leaf.pem"), &bundle.leaves[0].certificate).unwrap();
        let verify = |at: &str| {
            let args = [
                "verify",
                "-attime",
                at,
                "-verify_ip",
                "10.80.0.2",
                "-purpose",
                "sslserver",
                "-CAfile",
                &path("ca.pem"),
                &path("leaf.pem"),
            ];
            host::tool::Tool::new("openssl").args(args).run()
        };
        if let Err(host::tool::ToolError::Start { .. }) = verify("0") {
            return kubedos_skip::skip("openssl", "is not installed");
        }
        // From 1970 on, for a clock that is behind; not after a year.
        verify("100").unwrap();
        verify("1800000000").unwrap();
        assert!(verify(&(1_800_000_000 + LIFE + 2 * 86_400).to_string()).is_err());
    }

    #[test]
    fn another_name_needs_another_bundle_and_age_is_told() {
        let (wanted, pems) = (play("etcd").unwrap().certificates, BTreeMap::from([(Authority::Etcd, "x".to_owned())]));
        let other = Names { addresses: vec![], ..names() };
        assert_ne!(bundle_id(&pems, wanted, &names()), bundle_id(&pems, wanted, &other));
        assert_ne!(bundle_id(&pems, wanted, &names()), bundle_id(&pems, &wanted[..1], &names()));
        let unrelated = BTreeMap::from([(Authority::Etcd, "x".to_owned()), (Authority::Kubernetes, "y".to_owned())]);
        assert_eq!(bundle_id(&pems, wanted, &names()), bundle_id(&unrelated, wanted, &names()));
        assert!(!is_old(1_000, 1_000 + RENEW - 1) && is_old(1_000, 1_000 + RENEW));
        assert!(!is_old(1_000, 1_000 - 500) && is_old(2 * AHEAD, AHEAD - 1));
    }
}
