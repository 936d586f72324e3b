//! Boot parameters: settings on the kernel command line, which override the stored ones.

use std::str::FromStr as _;

use cluster_seed::medium::PARAMETER;
use cluster_seed::seal::{VerifyingKey, key_from_text};

use super::settings::{Address, Settings, StatePlace};

/// Maximum length of a value, in bytes.
const MAX_VALUE: usize = 256;

/// The parameters of the kernel command line.
#[derive(Debug, Clone, Default)]
pub struct Preset {
    /// Site key of the medium's maker.
    pub maker: Option<VerifyingKey>,
    /// They override the stored settings.
    pub settings: Settings,
    /// Invalid parameters; they are ignored with a warning.
    pub problems: Vec<String>,
}

impl Preset {
    /// Parses the text of /proc/cmdline. Other parameters are ignored; if one is repeated, the last counts.
    pub fn parse(text: &str) -> Self {
        let mut preset = Preset::default();
        for word in text.split_ascii_whitespace() {
            let Some((name, value)) = word.split_once('=') else { continue };
            if let Err(why) = preset.take(name, value) {
                let shown: String = word.chars().take(64).filter(|c| !c.is_control()).collect();
                preset.problems.push(format!("the boot parameter {shown} was ignored: {why}"));
            }
        }
        preset
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), String> {
        let ours = [PARAMETER, "kubedos.iface", "kubedos.address", "kubedos.hostname", "kubedos.state"];
        if !ours.contains(&name) {
            return Ok(());
        }
        if value.is_empty() || value.len() > MAX_VALUE {
            return Err(format!("its value has {} characters", value.len()));
        }
        match name {
            "kubedos.iface" => self.settings.iface = Some(iface(value)?),
            "kubedos.address" => self.settings.address = Some(address(value)?),
            "kubedos.hostname" => self.settings.hostname = Some(value.parse().map_err(|e| format!("{e}"))?),
            "kubedos.state" => self.settings.state = Some(state(value)?),
            _ => self.maker = Some(key_from_text(value).map_err(|e| e.to_string())?),
        }
        Ok(())
    }

    /// The effective settings: boot parameters, then stored settings.
    pub fn over(&self, stored: &Settings) -> Settings {
        let first = self.settings.clone();
        Settings {
            iface: first.iface.or_else(|| stored.iface.clone()),
            address: first.address.or_else(|| stored.address.clone()),
            hostname: first.hostname.or_else(|| stored.hostname.clone()),
            state: first.state.or_else(|| stored.state.clone()),
        }
    }
}

fn iface(value: &str) -> Result<String, String> {
    // linux/if.h: IFNAMSIZ is 16 including the NUL.
    let fits = value.len() <= 15 && value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if fits { Ok(value.to_owned()) } else { Err("it is not a valid interface name".to_owned()) }
}

fn address(value: &str) -> Result<Address, String> {
    if value == "dhcp" {
        return Ok(Address::Dhcp);
    }
    let net = ipnet::Ipv4Net::from_str(value).map_err(|_| "use dhcp or an address like 10.44.0.1/24".to_owned())?;
    Ok(Address::Static(net))
}

fn state(value: &str) -> Result<StatePlace, String> {
    match value {
        "stick" => Ok(StatePlace::Stick),
        "ram" => Ok(StatePlace::Ram),
        path if path.strip_prefix("/dev/").is_some_and(|p| !p.is_empty() && !p.split('/').any(|s| s.is_empty() || s == "..")) => {
            Ok(StatePlace::Disk(path.to_owned()))
        }
        _ => Err("use stick, ram or a disk like /dev/sdb".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster_seed::seal::key_text;

    #[test]
    fn reads_every_parameter_and_passes_over_others() {
        let key = cluster_seed::seal::SigningKey::from_bytes(&[1; 32]).verifying_key();
        let text = format!(
            "BOOT_IMAGE=/vmlinuz {PARAMETER}={} quiet kubedos.iface=enp1s0 kubedos.address=10.9.0.1/24 kubedos.hostname=seed-b \
             kubedos.state=/dev/disk/by-id/x console=ttyS0,115200 kubedos.setup-code=1\n",
            key_text(&key)
        );
        let p = Preset::parse(&text);
        assert!(p.problems.is_empty(), "{:?}", p.problems);
        assert_eq!(p.maker, Some(key));
        assert_eq!(p.settings.iface.as_deref(), Some("enp1s0"));
        assert_eq!(p.settings.address, Some(Address::Static("10.9.0.1/24".parse().unwrap())));
        assert_eq!(p.settings.hostname.unwrap().as_str(), "seed-b");
        assert_eq!(p.settings.state, Some(StatePlace::Disk("/dev/disk/by-id/x".into())));
        let p = Preset::parse("kubedos.state=ram kubedos.address=10.9.0.1/24 kubedos.address=dhcp kubedos.state=stick");
        assert_eq!((p.settings.address, p.settings.state), (Some(Address::Dhcp), Some(StatePlace::Stick)));
    }

    #[test]
    fn nonsense_is_told_and_changes_nothing() {
        let long = format!("kubedos.hostname={}", "a".repeat(MAX_VALUE + 1));
        for word in [
            "kubedos.iface=",
            "kubedos.iface=a/b",
            "kubedos.iface=sixteencharacter",
            "kubedos.address=10.0.0.1",
            "kubedos.address=10.0.0.1/33",
            "kubedos.hostname=A_B",
            "kubedos.state=sda",
            "kubedos.state=/dev/",
            "kubedos.state=/dev/../etc",
            "kubedos.state=/dev//sda",
            "kubedos.medium=00",
            long.as_str(),
        ] {
            let p = Preset::parse(&format!("quiet {word} ro"));
            assert_eq!(p.problems.len(), 1, "{word}");
            assert_eq!((p.settings, p.maker), (Settings::default(), None), "{word}");
        }
    }

    #[test]
    fn boot_parameters_win_over_what_is_stored() {
        let stored = Settings { iface: Some("a".into()), state: Some(StatePlace::Ram), ..Default::default() };
        let over = Preset::parse("kubedos.iface=b").over(&stored);
        assert_eq!((over.iface.as_deref(), over.state), (Some("b"), Some(StatePlace::Ram)));
    }
}
