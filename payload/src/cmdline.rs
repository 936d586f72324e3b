//! Kernel command line parameters of the RAM agent.

use cluster_seed::agent::TELL_CODE;
use cluster_seed::ids::Mac;
use cluster_seed::join::seed_url;
use cluster_seed::seal::{VerifyingKey, key_from_text};
use cluster_seed::site_key;

/// Parameters set by the boot script (`kubedos.seed=http://10.44.0.1 BOOTIF=01-52-54-00-aa-bb-cc`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cmdline {
    /// Base URL of the seed, without a slash at its end.
    pub seed: String,
    /// The interface the firmware booted from. The leading `01` is the ARP hardware type of Ethernet (pxelinux, `ipappend 2`).
    pub boot_mac: Option<Mac>,
    /// The only site to enroll at (`kubedos.site=`), if it was given.
    pub site: Option<VerifyingKey>,
    /// Whether the agent may tell its code to the seed that asks for it.
    pub may_tell: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CmdlineError {
    #[error("the kernel command line has no kubedos.seed=http://ADDRESS")]
    NoSeed,
    #[error("kubedos.seed={0:?} is not a plain http:// address")]
    BadSeed(String),
    #[error("BOOTIF={0:?} is not a hardware type and a MAC address")]
    BadBootif(String),
    #[error("kubedos.site={0:?} is not a public key of 64 hex digits")]
    BadSite(String),
}

impl Cmdline {
    /// Parses the text of /proc/cmdline. Other parameters are ignored; the last of a repeated one wins.
    pub fn parse(text: &str) -> Result<Self, CmdlineError> {
        let (mut seed, mut boot_mac, mut site, mut may_tell) = (None, None, None, false);
        for word in text.split_ascii_whitespace() {
            may_tell |= word == TELL_CODE;
            match word.split_once('=') {
                Some(("kubedos.seed", value)) => seed = Some(parse_seed(value)?),
                Some((site_key::PARAMETER, value)) => site = Some(parse_site(value)?),
                Some(("BOOTIF", value)) => boot_mac = Some(parse_bootif(value)?),
                _ => {}
            }
        }
        // A machine that knows its site came from a medium: nothing that the network says may make it tell.
        may_tell &= site.is_none();
        Ok(Cmdline { seed: seed.ok_or(CmdlineError::NoSeed)?, boot_mac, site, may_tell })
    }
}

fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

fn parse_seed(value: &str) -> Result<String, CmdlineError> {
    seed_url(value).map_err(|_| CmdlineError::BadSeed(shown(value)))
}

fn parse_site(value: &str) -> Result<VerifyingKey, CmdlineError> {
    key_from_text(value).map_err(|_| CmdlineError::BadSite(shown(value)))
}

fn parse_bootif(value: &str) -> Result<Mac, CmdlineError> {
    let mac = value.split_once('-').filter(|(kind, _)| *kind == "01").and_then(|(_, mac)| mac.parse().ok());
    mac.ok_or_else(|| CmdlineError::BadBootif(shown(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_line_of_the_boot_script() {
        let text = "kubedos.seed=http://10.44.0.1:8000/ BOOTIF=01-52-54-00-AA-bb-cc console=tty0 initrd=initrd.img quiet\n";
        let line = Cmdline::parse(text).unwrap();
        assert_eq!(line.seed, "http://10.44.0.1:8000");
        assert_eq!(line.boot_mac.unwrap().to_string(), "52:54:00:aa:bb:cc");
        let bare = Cmdline::parse("kubedos.seed=http://s").unwrap();
        assert_eq!((bare.boot_mac, bare.site), (None, None));
        for (words, may_tell) in
            [("", false), (" kubedos.tell-code", true), (" kubedos.tell-code=1", false), (" xkubedos.tell-code", false)]
        {
            assert_eq!(Cmdline::parse(&format!("kubedos.seed=http://s{words}")).unwrap().may_tell, may_tell, "{words}");
        }
        let key = cluster_seed::seal::SigningKey::from_bytes(&[7; 32]).verifying_key();
        let text = format!("kubedos.seed=http://s kubedos.site={}", cluster_seed::seal::key_text(&key));
        assert_eq!(Cmdline::parse(&text).unwrap().site, Some(key));
        assert!(!Cmdline::parse(&format!("{text} kubedos.tell-code")).unwrap().may_tell, "it knows its site");
    }

    #[test]
    fn errors_quote_the_value() {
        assert_eq!(Cmdline::parse("quiet"), Err(CmdlineError::NoSeed));
        for seed in [
            "",
            "https://a",
            "http://",
            "http:///",
            "http://a/b",
            "http://a@b",
            "10.0.0.1",
            &format!("http://{}", "a".repeat(250)),
        ] {
            assert!(matches!(Cmdline::parse(&format!("kubedos.seed={seed}")), Err(CmdlineError::BadSeed(_))), "{seed}");
        }
        // An invalid key must not be treated as no key.
        for site in ["", "00", &"0".repeat(64), &"g".repeat(64)] {
            let text = format!("kubedos.seed=http://a kubedos.site={site}");
            assert!(matches!(Cmdline::parse(&text), Err(CmdlineError::BadSite(_))), "{site}");
        }
        for mac in ["", "01", "20-52-54-00-aa-bb-cc", "52-54-00-aa-bb-cc", "01-52-54-00-aa-bb"] {
            let text = format!("kubedos.seed=http://a BOOTIF={mac}");
            assert!(matches!(Cmdline::parse(&text), Err(CmdlineError::BadBootif(_))), "{mac}");
        }
    }
}
