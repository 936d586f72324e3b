//! The site's certificate authority: an ECDSA P-256 key that signs the certificates of the site's web interface.
//!
//! Its certificate is constrained (RFC 5280, section 4.2.1.10) to the site's domain, this host's name and private
//! addresses, so a browser that trusts it does not trust the holder of its key for anything else. The validity
//! is 1970 to 9999, because the clock of a seed without a network can be completely wrong.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as B64;
use cluster_seed::cluster::ClusterSpec;
use cluster_seed::secret::Secret;
use host::random;
use ipnet::IpNet;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

/// All networks that are not routed on the internet (RFC 1918, 6598, 3927, 4193, loopback).
const PRIVATE: [&str; 8] =
    ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "127.0.0.0/8", "fc00::/7", "::1/128"];

/// The names and addresses that a CA may certify. Stored with its key, because certificates must match them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Permitted {
    /// Names and everything below them.
    pub domains: Vec<String>,
    pub networks: Vec<IpNet>,
}

impl Permitted {
    /// For a site on a host with this name.
    pub fn of(spec: &ClusterSpec, hostname: Option<&str>) -> Self {
        let networking = &spec.spec.networking;
        let mut domains = vec![networking.domain.to_string(), "localhost".to_owned()];
        domains.extend(hostname.map(str::to_owned));
        let mut networks: Vec<IpNet> = PRIVATE.iter().filter_map(|n| n.parse().ok()).collect();
        networks.push(IpNet::V4(networking.underlay.subnet.trunc()));
        networks.extend(networking.planes.values().map(|p| IpNet::V4(p.value.cidr)));
        Permitted { domains, networks }
    }

    /// Whether a certificate with this name would be accepted.
    pub fn allows(&self, name: &SanType) -> bool {
        match name {
            SanType::IpAddress(ip) => self.networks.iter().any(|n| n.contains(ip)),
            SanType::DnsName(dns) => {
                let below = |d: &String| dns.as_ref().strip_suffix(d.as_str()).is_some_and(|rest| rest.ends_with('.'));
                self.domains.iter().any(|d| dns.as_ref() == d || below(d))
            }
            _ => false,
        }
    }

    fn constraints(&self) -> NameConstraints {
        let names = self.domains.iter().map(|d| GeneralSubtree::DnsName(d.clone()));
        let nets =
            self.networks.iter().map(|n| GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(n.addr(), n.prefix_len())));
        NameConstraints { permitted_subtrees: names.chain(nets).collect(), excluded_subtrees: Vec::new() }
    }
}

/// The plaintext of `keys/ca.age`; the key is wiped from memory when it is dropped.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Plain {
    /// PKCS#8 in Base64.
    key: String,
    /// Its certificate's common name.
    subject: String,
    /// DER in Base64.
    certificate: String,
    permitted: Permitted,
}

impl Drop for Plain {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// The CA with its private key, in memory only.
pub struct Ca {
    key: KeyPair,
    subject: String,
    certificate: CertificateDer<'static>,
    pub permitted: Permitted,
}

fn dated(subject: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(1970, 1, 1);
    params.not_after = date_time_ymd(9999, 12, 31);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject);
    params
}

/// A random serial number: browsers refuse two certificates of one CA with the same number.
fn serial() -> Result<SerialNumber> {
    let mut bytes = random::bytes::<32>()?;
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(SerialNumber::from_slice(&bytes[..16]))
}

/// A certificate for `key` and `names`, signed by `ca`, or self-signed.
pub fn certificate(ca: Option<&Ca>, key: &KeyPair, names: &[SanType]) -> Result<CertificateDer<'static>> {
    let mut params = dated("Kubedos seed");
    params.serial_number = Some(serial()?);
    params.subject_alt_names = names.iter().filter(|n| ca.is_none_or(|ca| ca.permitted.allows(n))).cloned().collect();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let made = match ca {
        None => params.self_signed(key),
        Some(ca) => {
            params.use_authority_key_identifier_extension = true;
            let of_ca = ca_params(&ca.subject, &ca.permitted);
            params.signed_by(key, &Issuer::from_params(&of_ca, &ca.key))
        }
    };
    Ok(made.context("creating the certificate of the web interface")?.der().clone())
}

fn ca_params(subject: &str, permitted: &Permitted) -> CertificateParams {
    let mut params = dated(subject);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.name_constraints = Some(permitted.constraints());
    params
}

impl Ca {
    pub fn generate(site: &str, permitted: Permitted) -> Result<Self> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("creating the key of the site's CA")?;
        // Two sites may have the same name, but two CAs with the same name confuse browsers.
        let subject = format!("Kubedos site {site} {}", hex::encode(random::bytes::<4>()?));
        let mut params = ca_params(&subject, &permitted);
        params.serial_number = Some(serial()?);
        let certificate = params.self_signed(&key).context("creating the certificate of the site's CA")?.der().clone();
        Ok(Ca { key, subject, certificate, permitted })
    }

    /// For `keys/ca.age`, to be encrypted.
    pub fn to_secret(&self) -> Result<Secret> {
        let file = Plain {
            key: B64.encode(self.key.serialized_der()),
            subject: self.subject.clone(),
            certificate: B64.encode(&self.certificate),
            permitted: self.permitted.clone(),
        };
        Ok(Secret::new(serde_json::to_vec(&file).context("writing the site's CA")?))
    }

    pub fn from_secret(secret: &Secret) -> Result<Self> {
        let file: Plain = serde_json::from_slice(secret.expose()).map_err(|_| anyhow!("keys/ca.age is not a CA"))?;
        let der = Zeroizing::new(B64.decode(file.key.as_bytes()).map_err(|_| anyhow!("keys/ca.age does not contain a key"))?);
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&der.as_slice().into(), &PKCS_ECDSA_P256_SHA256)
            .context("reading the key of the site's CA")?;
        let certificate = B64.decode(&file.certificate).context("reading the certificate of the site's CA")?.into();
        Ok(Ca { key, subject: file.subject.clone(), certificate, permitted: file.permitted.clone() })
    }

    /// Its certificate (RFC 7468).
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    pub fn der(&self) -> &CertificateDer<'static> {
        &self.certificate
    }
}

/// DER as text (RFC 7468); `label` is, for example, `CERTIFICATE` or `PRIVATE KEY`.
pub fn pem(label: &str, der: &[u8]) -> String {
    let text = Zeroizing::new(B64.encode(der));
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64).filter_map(|l| std::str::from_utf8(l).ok()) {
        pem.push_str(line);
        pem.push('\n');
    }
    pem + &format!("-----END {label}-----\n")
}

/// A DNS name for a certificate; `None` if it is not valid.
pub fn dns_name(name: &str) -> Option<SanType> {
    let fits = !name.is_empty() && name.len() <= 253 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    let name = name.to_ascii_lowercase();
    fits.then(|| name.try_into().ok().map(SanType::DnsName)).flatten()
}

/// An address that can be used in a URL: no link-local IPv6 address, which needs a zone.
pub fn ip_name(ip: IpAddr) -> Option<SanType> {
    let usable = match ip {
        IpAddr::V4(v4) => v4 != Ipv4Addr::UNSPECIFIED,
        IpAddr::V6(v6) => v6 != Ipv6Addr::UNSPECIFIED && !v6.is_unicast_link_local(),
    };
    usable.then_some(SanType::IpAddress(ip))
}
