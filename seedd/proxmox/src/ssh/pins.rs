//! Pinned host keys: a file in the format of known_hosts (sshd(8)), with the names of cluster.yaml instead of addresses, so that
//! a host keeps its pin when its address changes.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use camino::Utf8Path;
use cluster_seed::ids::Digest;
use cluster_seed::substrate::HostSpec;
use host::files::{self, FileError};
use host::tool::Tool;
use serde::Serialize;

use super::error::{SshError, last_lines};

/// Largest file of pins, in bytes.
const MAX_FILE: u64 = 4 << 20;
/// Types of keys that are pinned. DSA is not, nor are certificates: their lines have another form.
const KINDS: [&str; 5] = ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"];

/// A host's public key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct HostKey {
    /// `ssh-ed25519`, ….
    pub kind: String,
    /// Base64.
    pub key: String,
    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
}

impl HostKey {
    /// The rest of a line after its name.
    fn parse(mut words: std::str::SplitWhitespace<'_>) -> Option<Self> {
        let (kind, key) = (words.next()?, words.next()?);
        let blob = STANDARD.decode(key).ok().filter(|_| KINDS.contains(&kind))?;
        let fingerprint = format!("SHA256:{}", STANDARD_NO_PAD.encode(Digest::of(&blob).0));
        Some(HostKey { kind: kind.to_owned(), key: key.to_owned(), fingerprint })
    }
}

/// The keys that a host shows. They prove nothing until a person has compared the fingerprints.
pub fn scan(spec: &HostSpec) -> Result<Vec<HostKey>, SshError> {
    let host = spec.name.value.to_string();
    let address = spec.address.as_ref().map_or(spec.name.value.as_str(), |a| a.value.as_str());
    let tool = Tool::new("ssh-keyscan").args(["-T", "10", "-p", &spec.port.value.to_string()]).arg(address);
    let (_, output) = tool.timeout(Duration::from_secs(60)).run_any().map_err(|e| SshError::Tool {
        host: host.clone(),
        program: "ssh-keyscan",
        source: Box::new(e),
    })?;
    let text = output.text();
    let keys = text.lines().filter(|l| !l.starts_with('#')).filter_map(|line| {
        let mut words = line.split_whitespace();
        words.next()?;
        HostKey::parse(words)
    });
    let keys: BTreeSet<HostKey> = keys.collect();
    if keys.is_empty() {
        let stderr = last_lines(&output.stderr);
        return Err(SshError::Connect { host, stderr });
    }
    Ok(keys.into_iter().collect())
}

/// The file of pins.
#[derive(Debug, Default)]
pub struct Pins {
    text: String,
    keys: Vec<(String, HostKey)>,
}

impl Pins {
    /// An absent file has no pins.
    pub fn read(path: &Utf8Path) -> Result<Self, FileError> {
        let bytes = match files::read_limited(path, MAX_FILE) {
            Ok(bytes) => bytes,
            Err(e) if e.is_not_found() => Vec::new(),
            Err(e) => return Err(e),
        };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let line = |line: &str| {
            let mut words = line.split_whitespace();
            Some((words.next()?.to_owned(), HostKey::parse(words)?))
        };
        let keys = text.lines().filter_map(line).collect();
        Ok(Pins { text, keys })
    }

    /// The keys of a host by its name in cluster.yaml.
    pub fn of<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a HostKey> {
        self.keys.iter().filter(move |(name, _)| name == host).map(|(_, key)| key)
    }

    /// Pins the keys of a host that has none yet, after a person confirmed them. A host that has some keeps them: a changed key
    /// is accepted by removing its lines from the file, not by a question that one gets used to answering.
    pub fn pin(path: &Utf8Path, host: &str, keys: &[HostKey]) -> Result<bool, FileError> {
        let pins = Pins::read(path)?;
        if pins.of(host).next().is_some() || keys.is_empty() {
            return Ok(false);
        }
        let mut text = pins.text;
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        keys.iter().for_each(|k| text.push_str(&format!("{host} {} {}\n", k.kind, k.key)));
        if let Some(dir) = path.parent() {
            files::create_dirs(dir)?;
        }
        files::write_atomic(path, text.as_bytes(), files::PRIVATE)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAINsuC5U4QOXap6iqh80E87cDOzCfRLmtDBF/EFAhH/Hq";

    #[test]
    fn a_host_is_pinned_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = Utf8Path::from_path(dir.path()).unwrap().join("pins/known_hosts");
        let key = HostKey::parse(format!("ssh-ed25519 {KEY}").split_whitespace()).unwrap();
        assert!(key.fingerprint.starts_with("SHA256:") && key.fingerprint.len() == 50, "{}", key.fingerprint);
        assert!(Pins::pin(&file, "pve1", std::slice::from_ref(&key)).unwrap());
        assert!(!Pins::pin(&file, "pve1", std::slice::from_ref(&key)).unwrap(), "a second pin would replace the first");
        assert!(Pins::pin(&file, "pve2", std::slice::from_ref(&key)).unwrap());
        assert!(!Pins::pin(&file, "pve3", &[]).unwrap());
        let pins = Pins::read(&file).unwrap();
        assert_eq!(pins.of("pve1").collect::<Vec<_>>(), [&key]);
        assert_eq!(pins.of("pve").count(), 0);
        assert_eq!(pins.text, format!("pve1 ssh-ed25519 {KEY}\npve2 ssh-ed25519 {KEY}\n"));
    }

    #[test]
    fn odd_lines_are_no_pins() {
        for line in
            ["", "pve1", "pve1 ssh-ed25519", "pve1 ssh-dss AAAA", "@cert-authority pve1 ssh-ed25519 AAAA", "pve1 ssh-ed25519 !"]
        {
            let mut words = line.split_whitespace();
            words.next();
            assert!(HostKey::parse(words).is_none(), "{line}");
        }
    }
}
