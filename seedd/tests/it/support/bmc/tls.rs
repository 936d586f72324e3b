//! Certificates as controllers show them: usual, of version 1, with short keys; and servers without the key.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use rsa::pkcs8::EncodePublicKey as _;
use rsa::rand_core::{CryptoRng, Error, RngCore};
use rsa::sha2::Sha256;
use rsa::signature::{RandomizedSigner as _, SignatureEncoding as _, Signer as _};
use rsa::{RsaPrivateKey, RsaPublicKey, pkcs1v15, pss};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey};
use rustls::{ServerConfig, SignatureAlgorithm, SignatureScheme, SupportedProtocolVersion};

/// A certificate and what signs for it.
pub struct Identity {
    pub certificate: CertificateDer<'static>,
    pub key: Arc<dyn SigningKey>,
}

impl Identity {
    pub fn config(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ServerConfig> {
        let certified = CertifiedKey::new(vec![self.certificate.clone()], self.key.clone());
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_protocol_versions(versions).unwrap().with_no_client_auth();
        Arc::new(builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified))))
    }

    pub fn usual(&self) -> Arc<ServerConfig> {
        self.config(&[&rustls::version::TLS13, &rustls::version::TLS12])
    }

    /// The same certificate behind another key of the same kind.
    pub fn stolen(&self, by: &Identity) -> Identity {
        Identity { certificate: self.certificate.clone(), key: by.key.clone() }
    }
}

fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let head = match length {
        0..=0x7f => vec![tag, length as u8],
        0x80..=0xff => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    [head, content.to_vec()].concat()
}

/// A certificate around a key. Nobody checks its own signature, so that it has none worth the name.
pub fn certificate(version: u8, spki: &[u8]) -> CertificateDer<'static> {
    let algorithm = value(0x30, &value(0x06, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]));
    let name = value(0x30, &value(0x31, &value(0x30, &[value(0x06, &[0x55, 4, 3]), value(0x0c, b"bmc")].concat())));
    let validity = value(0x30, &[value(0x17, b"200101000000Z"), value(0x17, b"300101000000Z")].concat());
    let explicit = if version == 1 { Vec::new() } else { value(0xa0, &value(0x02, &[version - 1])) };
    let serial = value(0x02, &[7]);
    let body = [explicit, serial, algorithm.clone(), name.clone(), validity, name, spki.to_vec()].concat();
    let signature = value(0x03, &[0, 1, 2, 3]);
    CertificateDer::from(value(0x30, &[value(0x30, &body), algorithm, signature].concat()))
}

fn elliptic() -> (rcgen::KeyPair, Arc<dyn SigningKey>) {
    let pair = rcgen::KeyPair::generate().unwrap();
    let key = ring::sign::any_ecdsa_type(&PrivatePkcs8KeyDer::from(pair.serialize_der()).into()).unwrap();
    (pair, key)
}

pub fn modern() -> Identity {
    let (pair, key) = elliptic();
    let made = rcgen::CertificateParams::new(vec!["bmc".to_owned()]).unwrap().self_signed(&pair).unwrap();
    Identity { certificate: made.der().clone(), key }
}

pub fn of_version_1() -> Identity {
    let (pair, key) = elliptic();
    let spki = rcgen::PublicKeyData::subject_public_key_info(&pair);
    Identity { certificate: certificate(1, &spki), key }
}

pub fn rsa(version: u8, bits: usize) -> Identity {
    let private = RsaPrivateKey::new(&mut Random, bits).unwrap();
    let spki = RsaPublicKey::from(&private).to_public_key_der().unwrap();
    Identity { certificate: certificate(version, spki.as_bytes()), key: Arc::new(Rsa(private)) }
}

struct Random;

impl RngCore for Random {
    fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        getrandom::fill(bytes).unwrap();
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl CryptoRng for Random {}

/// ring does not sign with keys as short as these.
#[derive(Debug, Clone)]
struct Rsa(RsaPrivateKey);

#[derive(Debug)]
struct Signs(Rsa, SignatureScheme);

impl SigningKey for Rsa {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let known = [SignatureScheme::RSA_PSS_SHA256, SignatureScheme::RSA_PKCS1_SHA256];
        let scheme = known.into_iter().find(|s| offered.contains(s))?;
        Some(Box::new(Signs(self.clone(), scheme)))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::RSA
    }
}

impl Signer for Signs {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let key = self.0.0.clone();
        Ok(match self.1 {
            SignatureScheme::RSA_PSS_SHA256 => pss::SigningKey::<Sha256>::new(key).sign_with_rng(&mut Random, message).to_vec(),
            _ => pkcs1v15::SigningKey::<Sha256>::new(key).sign(message).to_vec(),
        })
    }

    fn scheme(&self) -> SignatureScheme {
        self.1
    }
}

/// Answers every ClientHello with these bytes, as servers do that know older TLS only.
pub fn answers(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut hello = [0; 4096];
            let _ = stream.read(&mut hello);
            let _ = stream.write_all(bytes);
            let _ = stream.read(&mut hello);
        }
    });
    at
}
