//! The public key of a certificate, as Chromium takes it to trust one server: passkeys need a page without certificate errors.

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use cluster_seed::ids::Digest;

/// ASN.1 (X.690): the tags that lead to the key in a certificate (RFC 5280, 4.1).
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
/// Fields of a TBSCertificate between version and key: serial, algorithm, issuer, validity, subject.
const BEFORE_KEY: usize = 5;

/// SHA-256 of the certificate's SubjectPublicKeyInfo in base64, for `--ignore-certificate-errors-spki-list`.
pub fn pin(certificate: &[u8]) -> Result<String> {
    let (_, outer, _) = element(certificate, SEQUENCE)?;
    let (_, mut rest, _) = element(outer, SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        rest = element(rest, VERSION)?.2;
    }
    for _ in 0..BEFORE_KEY {
        rest = any(rest)?.2;
    }
    let (whole, ..) = element(rest, SEQUENCE)?;
    Ok(base64::engine::general_purpose::STANDARD.encode(Digest::of(whole).0))
}

/// The first element whole, its content, and what follows it.
fn any(bytes: &[u8]) -> Result<(&[u8], &[u8], &[u8])> {
    let first = *bytes.get(1).context("a certificate that ends early")?;
    let (length, head) = match first {
        0..=0x7f => (usize::from(first), 2),
        0x81..=0x84 => {
            let count = usize::from(first & 0x7f);
            let digits = bytes.get(2..2 + count).context("a certificate that ends early")?;
            (digits.iter().fold(0, |n, d| n << 8 | usize::from(*d)), 2 + count)
        }
        _ => anyhow::bail!("a length that DER does not have"),
    };
    let end = head.checked_add(length).context("a length that is too large")?;
    let whole = bytes.get(..end).context("a certificate that ends early")?;
    Ok((whole, &whole[head..], &bytes[end..]))
}

fn element(bytes: &[u8], tag: u8) -> Result<(&[u8], &[u8], &[u8])> {
    ensure!(bytes.first() == Some(&tag), "a certificate with {:02x?} in place of {tag:02x}", bytes.first());
    any(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut all = vec![tag, 0x82];
        all.extend_from_slice(&u16::try_from(content.len()).unwrap().to_be_bytes());
        all.extend_from_slice(content);
        all
    }

    #[test]
    fn the_key_is_found_with_and_without_a_version() {
        let key = tlv(SEQUENCE, b"the key");
        let fields: Vec<u8> = (0..5).flat_map(|n| tlv(0x02, &[n; 200])).chain(key.clone()).collect();
        let wanted = base64::engine::general_purpose::STANDARD.encode(Digest::of(&key).0);
        for version in [Vec::new(), tlv(VERSION, &[2])] {
            let all: Vec<u8> = version.into_iter().chain(fields.clone()).collect();
            let certificate = tlv(SEQUENCE, &tlv(SEQUENCE, &all));
            assert_eq!(pin(&certificate).unwrap(), wanted);
            for cut in [0, 1, 3, 50, certificate.len() - 1] {
                assert!(pin(&certificate[..cut]).is_err(), "{cut}");
            }
        }
    }
}
