//! How a machine that was not netbooted finds its seed: what images, hypervisors and networks can tell it.
//!
//! Every parser here is pure and takes untrusted bytes.

/// Join tokens: enrollment without an operator.
pub mod token;

/// Host names that a token gives, such as `web-{n}`.
pub mod pattern;

/// OEM strings of SMBIOS.
pub mod smbios;

/// cloud-init's NoCloud seed.
pub mod nocloud;

/// A static address instead of DHCP.
pub mod address;

/// The lease that systemd-networkd holds.
pub mod lease;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize as _;

use crate::seal::{SealError, VerifyingKey, key_from_text, key_text};
use crate::secret::Secret;
use crate::site_key;
use token::{JoinToken, TokenError};

/// Name of the file in the node's state directory, mode 0600: it may hold a token.
pub const FILE: &str = "join.json";
/// Largest join.json read, in bytes.
pub const MAX_BYTES: usize = 4096;
/// Parameters of the kernel command line, of SMBIOS strings and of user-data; the site's is [`site_key::PARAMETER`].
pub const SEED: &str = "kubedos.seed";
pub const TOKEN: &str = "kubedos.token";
/// Longest URL of a seed, in bytes.
pub const MAX_URL: usize = 256;

/// Why a description of the seed cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error("{0} bytes are more than allowed")]
    TooLarge(usize),
    #[error("the seed's address {0:?} is not http://HOST or http://HOST:PORT")]
    Url(String),
    #[error("the site key is invalid")]
    SiteKey(#[source] SealError),
    #[error("the join token is invalid")]
    Token(#[from] TokenError),
    #[error("not valid JSON of the expected fields")]
    Json(#[from] serde_json::Error),
    #[error("not valid YAML of the expected fields: {0}")]
    Yaml(String),
}

/// Base URL of a seed without a slash at its end. Only a host and a port: no path, no credentials, no TLS.
pub fn seed_url(text: &str) -> Result<String, JoinError> {
    let bad = || JoinError::Url(text.chars().take(64).collect());
    let host = text.strip_prefix("http://").ok_or_else(bad)?.trim_end_matches('/');
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b':' | b'-' | b'[' | b']');
    if host.is_empty() || text.len() > MAX_URL || !host.bytes().all(plain) {
        return Err(bad());
    }
    Ok(format!("http://{host}"))
}

/// What an image tells the machine that boots from it: `join.json`.
#[derive(Debug)]
pub struct JoinSpec {
    /// Base URL, `http://host:port`; without it the machine has to learn the seed's address elsewhere.
    pub seed: Option<String>,
    /// The site's public key in hex. The machine enrolls at no other site.
    pub site_key: String,
    pub token: Option<JoinToken>,
}

/// The file. The token is in clear here, so this type is neither public nor kept.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wire {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seed: Option<String>,
    site_key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl JoinSpec {
    /// Reads and checks the file.
    pub fn parse(bytes: &[u8]) -> Result<Self, JoinError> {
        if bytes.len() > MAX_BYTES {
            return Err(JoinError::TooLarge(bytes.len()));
        }
        let mut wire: Wire = serde_json::from_slice(bytes)?;
        let token = wire.token.as_ref().map(|t| t.parse()).transpose();
        wire.token.zeroize();
        let seed = wire.seed.as_deref().map(seed_url).transpose()?;
        let site_key = key_text(&key_from_text(&wire.site_key).map_err(JoinError::SiteKey)?);
        Ok(JoinSpec { seed, site_key, token: token? })
    }

    /// The file's bytes, checked as [`JoinSpec::parse`] does. To be written with mode 0600.
    pub fn to_secret(&self) -> Result<Secret, JoinError> {
        let seed = self.seed.as_deref().map(seed_url).transpose()?;
        let site_key = key_text(&self.key()?);
        let mut wire = Wire { seed, site_key, token: self.token.as_ref().map(|t| t.to_text().to_string()) };
        let bytes = serde_json::to_vec(&wire);
        wire.token.zeroize();
        Ok(Secret::new(bytes?))
    }

    /// The site's key.
    pub fn key(&self) -> Result<VerifyingKey, JoinError> {
        key_from_text(&self.site_key).map_err(JoinError::SiteKey)
    }

    /// The same as a source among others.
    pub fn into_given(self) -> Result<Given, JoinError> {
        let site = Some(self.key()?);
        Ok(Given { seed: self.seed, site, token: self.token })
    }
}

/// What one source tells; any part may be missing.
#[derive(Debug, Default)]
pub struct Given {
    pub seed: Option<String>,
    pub site: Option<VerifyingKey>,
    pub token: Option<JoinToken>,
}

impl Given {
    pub fn is_empty(&self) -> bool {
        self.seed.is_none() && self.site.is_none() && self.token.is_none()
    }

    /// Reads `kubedos.seed=`, `kubedos.site=` and `kubedos.token=` of words or lines; others are ignored, and the last of a
    /// repeated one counts. An invalid value is an error: it must not be treated as none.
    pub fn of_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, JoinError> {
        let mut given = Given::default();
        for word in words {
            match word.split_once('=') {
                Some((SEED, value)) => given.seed = Some(seed_url(value)?),
                Some((site_key::PARAMETER, value)) => given.site = Some(key_from_text(value).map_err(JoinError::SiteKey)?),
                Some((TOKEN, value)) => given.token = Some(value.parse()?),
                _ => {}
            }
        }
        Ok(given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::SigningKey;

    fn key() -> String {
        key_text(&SigningKey::from_bytes(&[7; 32]).verifying_key())
    }

    const TOKEN_TEXT: &str = "kjt-0a1b2c3d-000102030405060708090a0b0c0d0e0f";

    #[test]
    fn what_is_written_is_read_back() {
        for (seed, token) in [(None, None), (Some("http://10.44.0.1:8000"), Some(TOKEN_TEXT))] {
            let spec = JoinSpec { seed: seed.map(str::to_owned), site_key: key(), token: token.map(|t| t.parse().unwrap()) };
            let bytes = spec.to_secret().unwrap();
            let again = JoinSpec::parse(bytes.expose()).unwrap();
            assert_eq!((again.seed.as_deref(), &again.site_key), (seed, &spec.site_key));
            assert_eq!(again.token.map(|t| t.to_text().to_string()).as_deref(), token);
        }
        let full = JoinSpec { seed: Some("http://a".into()), site_key: key(), token: Some(TOKEN_TEXT.parse().unwrap()) };
        let text = String::from_utf8(full.to_secret().unwrap().expose().to_vec()).unwrap();
        assert_eq!(text, format!(r#"{{"seed":"http://a","siteKey":"{}","token":"{TOKEN_TEXT}"}}"#, key()));
        assert!(!format!("{full:?}").contains("0405"), "the secret is not printed");
    }

    #[test]
    fn files_that_say_something_else_are_refused() {
        let key = key();
        for bad in [
            "",
            "{}",
            r#"{"seed":"http://a"}"#,
            &format!(r#"{{"siteKey":"{key}","seed":"https://a"}}"#),
            &format!(r#"{{"siteKey":"{key}","seed":"http://a/b"}}"#),
            &format!(r#"{{"siteKey":"{key}","token":"kjt-1"}}"#),
            &format!(r#"{{"siteKey":"{key}","extra":1}}"#),
            &format!(r#"{{"site_key":"{key}"}}"#),
            &format!(r#"{{"siteKey":"{}"}}"#, "0".repeat(64)),
        ] {
            assert!(JoinSpec::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let padded = |n: usize| format!(r#"{{"siteKey":"{key}"}}{}"#, " ".repeat(n - 14 - key.len()));
        assert!(JoinSpec::parse(padded(MAX_BYTES).as_bytes()).is_ok());
        assert!(matches!(JoinSpec::parse(padded(MAX_BYTES + 1).as_bytes()), Err(JoinError::TooLarge(_))));
        let spec = JoinSpec { seed: Some("ftp://a".into()), site_key: key, token: None };
        assert!(spec.to_secret().is_err(), "nothing is written that would not be read");
    }

    #[test]
    fn words_give_parts_and_an_invalid_one_is_no_silence() {
        let given = Given::of_words("quiet kubedos.seed=http://a/ x=y".split(' ')).unwrap();
        assert_eq!((given.seed.as_deref(), given.site.is_none()), (Some("http://a"), true));
        assert!(Given::of_words(["kubedos.seeds=http://a"]).unwrap().is_empty());
        for bad in ["kubedos.seed=a", "kubedos.site=00", "kubedos.token=x"] {
            assert!(Given::of_words([bad]).is_err(), "{bad}");
        }
        for url in ["", "https://a", "http://", "http:///", "http://a/b", "http://a@b", "10.0.0.1", "http://a b"] {
            assert!(seed_url(url).is_err(), "{url}");
        }
        let long = |n: usize| format!("http://{}", "a".repeat(n - 7));
        assert!(seed_url(&long(MAX_URL)).is_ok() && seed_url(&long(MAX_URL + 1)).is_err());
    }
}
