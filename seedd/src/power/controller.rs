//! A machine's management controller as the site keeps it: its password is age ciphertext to the vault.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as B64;
use cluster_seed::secret::{AgeKey, Secret, seal_to};
use serde::{Deserialize, Serialize};
use site::hint::Hint as _;
use web::api::{BmcKind, SetPower};

/// Longest values taken, in bytes.
const MAX_USER: usize = 64;
const MAX_PASSWORD: usize = 128;
const REDFISH_PORT: u16 = 443;
const IPMI_PORT: u16 = 623;

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
    /// sha256 of the certificate that counts, in hex.
    pub pin: Option<String>,
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
        // IPMI 2.0 section 22.30: longer ones are cut by some controllers and refused by others.
        if set.kind == BmcKind::Ipmi && set.password.len() > 20 {
            return Err(anyhow!("an IPMI password has at most 20 characters"));
        }
        let password = B64.encode(seal_to(vault, set.password.as_bytes()).context("sealing the password")?);
        Ok(Controller { kind: set.kind, host, port, plain, user: set.user.clone(), password, pin: None })
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
            (BmcKind::Redfish, true) => format!("http://{host}{}", port(80)),
            (BmcKind::Ipmi, _) => format!("{host}{}", port(IPMI_PORT)),
        }
    }

    /// The pin for people: upper-case hex pairs with colons.
    pub fn shown_pin(&self) -> Option<String> {
        let pin = self.pin.as_deref()?.to_uppercase();
        Some(pin.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).into_owned()).collect::<Vec<_>>().join(":"))
    }
}

/// Host, port, and whether it is spoken to in clear.
fn parse_address(kind: BmcKind, text: &str) -> Result<(IpAddr, u16, bool)> {
    let hint = match kind {
        BmcKind::Redfish => "write it as https://10.44.9.1, an address and no name",
        BmcKind::Ipmi => "write it as 10.44.9.1, an address and no name",
    };
    let bad = || anyhow!("{:?} is not the address of a controller", text.chars().take(80).collect::<String>());
    let (rest, usual, plain) = match (kind, text.split_once("://")) {
        (BmcKind::Redfish, Some(("https", rest))) => (rest, REDFISH_PORT, false),
        (BmcKind::Redfish, Some(("http", rest))) => (rest, 80, true),
        (BmcKind::Redfish, None) => (text, REDFISH_PORT, false),
        (BmcKind::Ipmi, None) => (text, IPMI_PORT, false),
        _ => return Err(bad()).hint(hint),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let parsed = match rest.parse::<IpAddr>() {
        Ok(ip) => Some((ip, usual)),
        Err(_) => rest.parse::<std::net::SocketAddr>().ok().map(|a| (a.ip(), a.port())),
    };
    let (ip, port) = parsed.filter(|(ip, port)| *port != 0 && is_unicast(*ip)).ok_or_else(bad).hint(hint)?;
    if plain && !ip.is_loopback() {
        return Err(anyhow!("without TLS the password would travel in clear")).hint("use https://");
    }
    Ok((ip, port, plain))
}

fn is_unicast(ip: IpAddr) -> bool {
    let other =
        ip.is_unspecified() || ip.is_multicast() || ip == Ipv4Addr::BROADCAST || ip == IpAddr::from(Ipv6Addr::UNSPECIFIED);
    !other
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(kind: BmcKind, address: &str) -> SetPower {
        SetPower { kind, address: address.into(), user: "admin".into(), password: "s3cret-of-the-bmc".into() }
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
