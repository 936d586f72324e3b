//! A machine's management controller as the site keeps it: its password is age ciphertext to the vault.

use std::net::IpAddr;

use anyhow::{Context as _, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as B64;
use cluster_seed::secret::{AgeKey, Secret, seal_to};
use serde::{Deserialize, Serialize};
use site::hint::Hint as _;
use web::api::{BmcKind, IpmiPrivilege, SetPower};

use super::address::{IPMI_PORT, PLAIN_PORT, REDFISH_PORT, parse_address};
use super::net::certificate;
use super::net::pin::Shown;

/// Longest values taken, in bytes.
const MAX_USER: usize = 64;
const MAX_PASSWORD: usize = 128;
/// Cipher suites of IPMI that encrypt with AES (IPMI 2.0, table 22-20); the others are RC4, or no encryption, or no login.
const CIPHER_SUITES: [u8; 4] = [3, 8, 12, 17];

/// Setting of a controller, followed by the machine's MAC address. It travels in a capsule, as the vault key does.
pub const SETTING: &str = site::setting::CONTROLLER;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Controller {
    pub kind: BmcKind,
    pub host: IpAddr,
    pub port: u16,
    /// Without it the password would travel in clear; allowed on this machine only, for emulators.
    #[serde(default)]
    pub plain: bool,
    pub user: String,
    /// age ciphertext, base64.
    password: String,
    /// sha256 of the certificate that an operator confirmed, in hex.
    pub pin: Option<String>,
    /// What is weak about that one, as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weakness: Option<String>,
    /// The certificate shown last, while it is not the confirmed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered: Option<Offered>,
    /// It refused basic authentication and took a session.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub session: bool,
    /// For IPMI; ipmitool's own choice without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cipher_suite: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privilege: Option<IpmiPrivilege>,
}

/// A certificate that waits for an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Offered {
    /// In lower-case hex.
    pub sha256: String,
    pub weakness: Option<String>,
}

impl From<Shown> for Offered {
    fn from(shown: Shown) -> Self {
        Offered { sha256: shown.sha256, weakness: shown.weakness }
    }
}

impl Controller {
    /// Checks what was typed and seals the password to the vault.
    pub fn new(set: &SetPower, vault: &str) -> Result<Self> {
        let (host, port, plain) = parse_address(set.kind, &set.address)?;
        let printable = |s: &str| s.bytes().all(|b| b.is_ascii_graphic());
        if set.user.is_empty() || set.user.len() > MAX_USER || !printable(&set.user) || set.user.contains(':') {
            return Err(anyhow!("this cannot be a controller's user"))
                .hint("1 to 64 printable characters, no spaces and no colon");
        }
        if set.password.is_empty() || set.password.len() > MAX_PASSWORD || !printable(&set.password) {
            return Err(anyhow!("this cannot be a controller's password")).hint("1 to 128 printable ASCII characters, no spaces");
        }
        check_ipmi(set)?;
        let password = B64.encode(seal_to(vault, set.password.as_bytes()).context("sealing the password")?);
        Ok(Controller {
            kind: set.kind,
            host,
            port,
            plain,
            user: set.user.clone(),
            password,
            pin: None,
            weakness: None,
            offered: None,
            session: false,
            cipher_suite: set.cipher_suite,
            privilege: set.privilege,
        })
    }

    /// Keeps what was learned of the same address: a new password does not make another controller of it.
    pub fn succeeds(&mut self, earlier: Controller) {
        if (self.kind, self.host, self.port, self.plain) == (earlier.kind, earlier.host, earlier.port, earlier.plain) {
            (self.pin, self.weakness, self.offered) = (earlier.pin, earlier.weakness, earlier.offered);
            self.session = earlier.session;
        }
    }

    /// It shows a certificate at all.
    pub fn has_certificate(&self) -> bool {
        self.kind == BmcKind::Redfish && !self.plain
    }

    /// An operator confirmed this certificate, and it is the one shown.
    pub fn trust(&mut self, shown: Shown) {
        (self.pin, self.weakness, self.offered) = (Some(shown.sha256), shown.weakness, None);
    }

    pub fn password(&self, vault: &AgeKey) -> Result<Secret> {
        let sealed = B64.decode(&self.password).context("reading a controller's password")?;
        vault.open(&sealed).context("opening a controller's password")
    }

    /// For people.
    pub fn address(&self) -> String {
        let host = if self.host.is_ipv6() { format!("[{}]", self.host) } else { self.host.to_string() };
        let port = |usual| if self.port == usual { String::new() } else { format!(":{}", self.port) };
        match (self.kind, self.plain) {
            (BmcKind::Redfish, false) => format!("https://{host}{}", port(REDFISH_PORT)),
            (BmcKind::Redfish, true) => format!("http://{host}{}", port(PLAIN_PORT)),
            (BmcKind::Ipmi, _) => format!("{host}{}", port(IPMI_PORT)),
        }
    }

    /// The pin for people: upper-case hex pairs with colons.
    pub fn shown_pin(&self) -> Option<String> {
        self.pin.as_deref().map(certificate::shown)
    }
}

/// The settings that IPMI alone has.
fn check_ipmi(set: &SetPower) -> Result<()> {
    if set.kind != BmcKind::Ipmi && (set.cipher_suite.is_some() || set.privilege.is_some()) {
        return Err(anyhow!("cipher suite and privilege are settings of IPMI")).hint("leave them out, or use the protocol IPMI");
    }
    // IPMI 2.0 section 22.30: longer ones are cut by some controllers and refused by others.
    if set.kind == BmcKind::Ipmi && set.password.len() > 20 {
        return Err(anyhow!("an IPMI password has at most 20 characters"));
    }
    match set.cipher_suite {
        Some(suite) if !CIPHER_SUITES.contains(&suite) => Err(anyhow!("cipher suite {suite} of IPMI is not used"))
            .hint("3, 8, 12 and 17 encrypt with AES; the others do not encrypt, or use RC4, or let everyone in"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(kind: BmcKind, address: &str) -> SetPower {
        SetPower {
            kind,
            address: address.into(),
            user: "admin".into(),
            password: "s3cret-of-the-bmc".into(),
            cipher_suite: None,
            privilege: None,
        }
    }

    #[test]
    fn addresses_are_taken_or_refused_with_a_hint() {
        use BmcKind::{Ipmi, Redfish};
        let vault = AgeKey::generate().recipient();
        for (kind, text, shown) in [
            (Redfish, "https://10.44.9.1", Some("https://10.44.9.1")),
            (Redfish, "10.44.9.1", Some("https://10.44.9.1")),
            (Redfish, "https://10.44.9.1:8443/", Some("https://10.44.9.1:8443")),
            (Redfish, "https://[fe80::1]:8443", Some("https://[fe80::1]:8443")),
            (Redfish, "http://127.0.0.1:8000", Some("http://127.0.0.1:8000")),
            (Redfish, "http://10.44.9.1", None),
            (Redfish, "ftp://10.44.9.1", None),
            (Redfish, "https://bmc.lan", None),
            (Redfish, "https://10.44.9.1/redfish", None),
            (Redfish, "https://0.0.0.0", None),
            (Redfish, "https://255.255.255.255", None),
            (Redfish, "https://10.44.9.1:0", None),
            (Redfish, "https://a@10.44.9.1", None),
            (Ipmi, "10.44.9.1", Some("10.44.9.1")),
            (Ipmi, "10.44.9.1:9623", Some("10.44.9.1:9623")),
            (Ipmi, "https://10.44.9.1", None),
            (Ipmi, "-I open", None),
            (Ipmi, "", None),
        ] {
            let made = Controller::new(&set(kind, text), &vault);
            assert_eq!(made.as_ref().ok().map(|c| c.address()).as_deref(), shown, "{text}");
            if let Err(e) = made {
                assert!(site::hint::of(&e).is_some(), "{text}: {e:#}");
            }
        }
    }

    #[test]
    fn the_password_is_there_as_ciphertext_only() {
        let vault = AgeKey::generate();
        let made = Controller::new(&set(BmcKind::Redfish, "10.44.9.1"), &vault.recipient()).unwrap();
        let json = serde_json::to_string(&made).unwrap();
        for text in [json.clone(), format!("{made:?}")] {
            assert!(!text.contains("s3cret") && !text.contains(&B64.encode("s3cret-of-the-bmc")), "{text}");
        }
        let kept: Controller = serde_json::from_str(&json).unwrap();
        assert_eq!(kept.password(&vault).unwrap().expose(), b"s3cret-of-the-bmc");
        assert!(kept.password(&AgeKey::generate()).is_err());
    }

    #[test]
    fn users_and_passwords_that_could_break_a_header_or_an_argument_are_refused() {
        let vault = AgeKey::generate().recipient();
        for (user, password) in [("", "x"), ("a b", "x"), ("a:b", "x"), ("a", ""), ("a", "x\r\ny"), ("a", "é"), ("\u{0}", "x")] {
            let set = SetPower { user: user.into(), password: password.into(), ..set(BmcKind::Redfish, "10.44.9.1") };
            assert!(Controller::new(&set, &vault).is_err(), "{user:?} {password:?}");
        }
        for (len, good) in [(20, true), (21, false)] {
            let set = SetPower { password: "x".repeat(len), ..set(BmcKind::Ipmi, "10.44.9.1") };
            assert_eq!(Controller::new(&set, &vault).is_ok(), good);
        }
    }
}
