//! The Debian installer's preseed file for one machine, rendered from a template. It is public.

use cluster_seed::ids::{Digest, Hostname};

/// Everything that differs between machines is a word between `@`.
pub const TEMPLATE: &str = include_str!("../assets/preseed/preseed.cfg");
/// Path of a snapshot on the installer's medium.
pub const CDROM: &str = "/cdrom/darksite";

/// Where the installer finds packages and the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// The seed: `host` or `host:port`, and the snapshot's path there.
    Seed { host: String, path: String },
    /// The installer's medium, at [`CDROM`].
    Cdrom,
}

/// What differs from machine to machine.
#[derive(Debug, Clone)]
pub struct Preseed {
    /// The label alone.
    pub hostname: Hostname,
    pub domain: Hostname,
    pub suite: String,
    pub from: From,
    /// `http://host:port`, where the agent will enroll.
    pub seed_url: String,
    /// In hex.
    pub site_key: String,
    /// Kernel name of the disk to install on; without it the installer uses the only disk, or asks.
    pub disk: Option<String>,
    /// Packages besides the base system.
    pub packages: Vec<String>,
    /// Digest of the agent that the seed serves.
    pub agent: Digest,
}

/// A value that would change the meaning of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {value:?}, which is not allowed in a preseed file")]
pub struct PreseedError {
    pub what: &'static str,
    pub value: String,
}

/// Accepts only what cannot end a line, a quote, a word or a command.
fn word(what: &'static str, value: &str, also: &str) -> Result<String, PreseedError> {
    let fine = |c: char| c.is_ascii_alphanumeric() || also.contains(c);
    if !value.is_empty() && value.len() <= 512 && value.chars().all(fine) {
        return Ok(value.to_owned());
    }
    Err(PreseedError { what, value: value.chars().take(80).collect() })
}

impl Preseed {
    /// The file's text.
    ///
    /// # Errors
    /// When a value has a character that could add a token or a line.
    pub fn render(&self) -> Result<String, PreseedError> {
        let seed_url = word("the seed's address", &self.seed_url, ":/.-")?;
        let seed_host = seed_url.trim_start_matches("http://").split([':', '/']).next().unwrap_or_default().to_owned();
        let agent = "wget -q -O $t/kubedos-node";
        let (host, path, fetch) = match &self.from {
            From::Seed { host, path } => (
                word("the mirror's host", host, ":.-")?,
                word("the mirror's path", path, "/.-_")?,
                format!("{agent} {seed_url}/boot/kubedos-node"),
            ),
            From::Cdrom => ("localhost".to_owned(), CDROM.to_owned(), format!("cp {CDROM}/kubedos-node $t/kubedos-node")),
        };
        let (disk, grub) = match &self.disk {
            None => (String::new(), String::new()),
            Some(disk) => {
                let disk = word("the disk", disk, "-_")?;
                (
                    format!("d-i partman-auto/disk string /dev/{disk}\n"),
                    format!("d-i grub-installer/bootdev string /dev/{disk}\n"),
                )
            }
        };
        let packages = self.packages.iter().map(|p| word("a package", p, "+-.")).collect::<Result<Vec<_>, _>>()?.join(" ");
        let mut text = TEMPLATE.to_owned();
        for (name, value) in [
            ("@HOSTNAME@", word("the host name", self.hostname.label(), "-")?),
            ("@DOMAIN@", word("the domain", self.domain.as_str(), "-.")?),
            ("@MIRROR_HOST@", host),
            ("@MIRROR_PATH@", path),
            ("@SUITE@", word("the suite", &self.suite, "-.")?),
            ("@SEED_HOST@", seed_host),
            ("@DISK@", disk),
            ("@GRUB@", grub),
            ("@PACKAGES@", packages),
            ("@FETCH_AGENT@", fetch),
            ("@AGENT_SHA256@", self.agent.to_string()),
            ("@SEED_URL@", seed_url),
            ("@SITE_KEY@", word("the site key", &self.site_key, "")?),
        ] {
            text = text.replace(name, &value);
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preseed() -> Preseed {
        Preseed {
            hostname: "n1".parse().unwrap(),
            domain: "kubedos.lan".parse().unwrap(),
            suite: "trixie".into(),
            from: From::Seed { host: "10.44.0.1".into(), path: "/darksite/current".into() },
            seed_url: "http://10.44.0.1:80".into(),
            site_key: "ab".repeat(32),
            disk: Some("vda".into()),
            packages: vec!["openssh-server".into(), "wireguard-tools".into()],
            agent: Digest::of(b"agent"),
        }
    }

    #[test]
    fn every_placeholder_is_filled_in() {
        for from in [preseed().from, From::Cdrom] {
            for disk in [None, Some("nvme0n1".to_owned())] {
                let text = Preseed { from: from.clone(), disk, ..preseed() }.render().unwrap();
                let left = text.split('@').skip(1).step_by(2).find(|w| w.chars().all(|c| c.is_ascii_uppercase() || c == '_'));
                assert_eq!(left, None, "{text}");
                // Every line is a comment, empty, or owner, question, type and at most a value.
                for line in text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
                    assert!(line.split(' ').count() >= 3 && line.split(' ').nth(1).unwrap().contains('/'), "{line}");
                }
            }
        }
        let text = preseed().render().unwrap();
        assert!(text.contains("d-i partman-auto/disk string /dev/vda\n") && text.contains("string 10.44.0.1\n"));
        assert!(Preseed { from: From::Cdrom, ..preseed() }.render().unwrap().contains("cp /cdrom/darksite/kubedos-node"));
    }

    #[test]
    fn nothing_can_add_a_word_or_a_line() {
        for bad in
            ["", "x y", "x\nd-i passwd/root-password password x", "x'", "$(reboot)", "x;y", "`x`", "x\\", "ä", "@SITE_KEY@"]
        {
            let bad = bad.to_owned();
            for p in [
                Preseed { suite: bad.clone(), ..preseed() },
                Preseed { from: From::Seed { host: bad.clone(), path: "/x".into() }, ..preseed() },
                Preseed { from: From::Seed { host: "x".into(), path: bad.clone() }, ..preseed() },
                Preseed { seed_url: bad.clone(), ..preseed() },
                Preseed { site_key: bad.clone(), ..preseed() },
                Preseed { disk: Some(bad.clone()), ..preseed() },
                Preseed { packages: vec![bad.clone()], ..preseed() },
            ] {
                assert!(p.render().is_err(), "{bad:?}");
            }
        }
    }
}
