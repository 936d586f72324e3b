//! An authenticator with one passkey, as WebAuthn Level 3 describes it: attestation `none` (section 8.7), ES256, user present and
//! verified.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use cluster_seed::ids::Digest;
use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};

/// Flags of authenticator data (section 6.1): user present, user verified, attested credential data.
const PRESENT: u8 = 1;
const VERIFIED: u8 = 4;
const ATTESTED: u8 = 64;

pub struct Authenticator {
    key: KeyPair,
    id: Vec<u8>,
    user: String,
    pub origin: String,
    pub flags: u8,
    pub count: u32,
}

impl Authenticator {
    pub fn new(origin: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let id = Digest::of(key.der_bytes()).0[..16].to_vec();
        Authenticator { key, id, user: String::new(), origin: origin.to_owned(), flags: PRESENT | VERIFIED, count: 1 }
    }

    /// Without the user's finger or PIN.
    pub fn unverified(self) -> Self {
        Authenticator { flags: PRESENT, ..self }
    }

    fn client_data(&self, kind: &str, options: &Value) -> Vec<u8> {
        let data = json!({"type": kind, "challenge": options["challenge"], "origin": self.origin, "crossOrigin": false});
        data.to_string().into_bytes()
    }

    fn data(&self, rp: &Value, flags: u8) -> Vec<u8> {
        let hash = Digest::of(rp.as_str().unwrap().as_bytes()).0;
        [&hash[..], &[flags], &self.count.to_be_bytes()].concat()
    }

    /// `navigator.credentials.create`, then `toJSON`.
    pub fn create(&mut self, options: &Value) -> Value {
        self.user = options["user"]["id"].as_str().unwrap().to_owned();
        let point = self.key.der_bytes();
        assert_eq!((point.len(), point[0]), (65, 4), "an uncompressed point");
        // COSE_Key (RFC 9053): kty EC2, alg ES256, crv P-256, x, y.
        let cose = [&[0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32], &point[1..33], &[0x22, 0x58, 32], &point[33..]].concat();
        let credential = [&[0; 16][..], &(self.id.len() as u16).to_be_bytes(), &self.id, &cose].concat();
        let data = [self.data(&options["rp"]["id"], self.flags | ATTESTED), credential].concat();
        let head = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58";
        let object = [&head[..], &[u8::try_from(data.len()).unwrap()], &data].concat();
        let client = self.client_data("webauthn.create", options);
        json!({
            "id": B64.encode(&self.id), "rawId": B64.encode(&self.id), "type": "public-key", "clientExtensionResults": {},
            "response": {
                "clientDataJSON": B64.encode(client), "attestationObject": B64.encode(object), "transports": ["internal"],
            },
        })
    }

    /// `navigator.credentials.get`, then `toJSON`.
    pub fn get(&mut self, options: &Value) -> Value {
        self.count += 1;
        let data = self.data(&options["rpId"], self.flags);
        let client = self.client_data("webauthn.get", options);
        let signature = self.key.sign(&[&data[..], &Digest::of(&client).0].concat()).unwrap();
        json!({
            "id": B64.encode(&self.id), "rawId": B64.encode(&self.id), "type": "public-key", "clientExtensionResults": {},
            "response": {
                "clientDataJSON": B64.encode(client), "authenticatorData": B64.encode(data),
                "signature": B64.encode(signature), "userHandle": self.user,
            },
        })
    }
}
