//! The certificate of this node's SSH host key. The seed makes it with the others; the SSH server shows it to operators, who accept
//! the nodes of the site by its authority.

use camino::Utf8PathBuf;
use cluster_seed::converge::orders::{SshCertificate, SshHost};
use host::files::{FileError, read_limited, write_atomic};
use host::tool::ToolError;

use super::held::{HeldError, Store};
use super::places::Places;
use crate::base::Command;
use crate::http::chain;

/// Largest public key or certificate, in bytes.
const MAX: u64 = 8 << 10;
/// What a line begins with.
const KEY: &str = "ssh-ed25519 ";
const CERTIFICATE: &str = "ssh-ed25519-cert-v01@openssh.com ";

#[derive(Debug, thiserror::Error)]
pub enum HostKeyError {
    #[error("it is not one line with a certificate of an ed25519 host key")]
    Invalid,
    #[error(transparent)]
    File(#[from] FileError),
    #[error("storing which certificate this node has")]
    Store(#[from] HeldError),
    #[error("reloading the SSH server")]
    Reload(#[from] ToolError),
}

impl Places<'_> {
    fn host_key(&self) -> Utf8PathBuf {
        self.root.join("etc/ssh/ssh_host_ed25519_key.pub")
    }

    fn host_certificate(&self) -> Utf8PathBuf {
        self.root.join("etc/ssh/ssh_host_ed25519_key-cert.pub")
    }
}

/// What the seed is told: the public key, and which certificate is there.
pub fn told(places: Places<'_>, store: Store<'_>) -> Option<SshHost> {
    let bytes = match read_limited(&places.host_key(), MAX) {
        Ok(bytes) => bytes,
        Err(e) => {
            tracing::debug!(error = %chain(&e), "no SSH host key");
            return None;
        }
    };
    let text = String::from_utf8(bytes).ok()?;
    let mut words = text.strip_prefix(KEY)?.split_whitespace();
    let key = format!("{KEY}{}", words.next()?);
    let held = store.ssh().filter(|_| places.host_certificate().is_file());
    Some(SshHost { key, held })
}

/// Writes a certificate where the SSH server's settings name it; `reload` makes the server read it.
///
/// # Errors
/// If it is not one, or cannot be written.
pub fn keep(
    places: Places<'_>,
    store: Store<'_>,
    made: &SshCertificate,
    reload: &dyn Fn() -> Result<(), ToolError>,
) -> Result<(), HostKeyError> {
    let line = made.certificate.trim_end();
    let words = line.strip_prefix(CERTIFICATE).ok_or(HostKeyError::Invalid)?;
    if words.len() as u64 > MAX || words.is_empty() || words.chars().any(char::is_control) {
        return Err(HostKeyError::Invalid);
    }
    write_atomic(&places.host_certificate(), format!("{line}\n").as_bytes(), 0o644)?;
    // Noted only then: a server that was not told is told with the next certificate.
    reload()?;
    Ok(store.keep_ssh(&made.held)?)
}

/// systemd's way to tell the SSH server.
pub fn reload() -> Result<(), ToolError> {
    Command::ReloadSsh.run()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use camino::Utf8Path;
    use cluster_seed::converge::orders::HeldBundle;
    use cluster_seed::ids::Digest;

    use super::*;

    struct Node {
        dir: tempfile::TempDir,
    }

    impl Node {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(dir.path().join("etc/ssh")).unwrap();
            Node { dir }
        }

        fn root(&self) -> &Utf8Path {
            Utf8Path::from_path(self.dir.path()).unwrap()
        }

        fn told(&self) -> Option<SshHost> {
            told(Places { root: self.root() }, Store { dir: self.root() })
        }

        fn keep(&self, certificate: &str) -> (bool, u32) {
            let reloads = Cell::new(0);
            let made = SshCertificate { held: held(), certificate: certificate.to_owned() };
            let reload = || {
                reloads.set(reloads.get() + 1);
                Ok(())
            };
            let kept = keep(Places { root: self.root() }, Store { dir: self.root() }, &made, &reload);
            (kept.is_ok(), reloads.get())
        }
    }

    fn held() -> HeldBundle {
        HeldBundle { id: Digest([5; 32]), issued: 7 }
    }

    #[test]
    fn the_key_is_told_with_the_certificate_that_is_there() {
        let node = Node::new();
        assert_eq!(node.told(), None);
        std::fs::write(node.root().join("etc/ssh/ssh_host_ed25519_key.pub"), "ssh-ed25519 AAAA root@n1\n").unwrap();
        let told = |held| Some(SshHost { key: "ssh-ed25519 AAAA".into(), held });
        assert_eq!(node.told(), told(None));
        assert_eq!(node.keep("ssh-ed25519-cert-v01@openssh.com BBBB n1\n"), (true, 1));
        assert_eq!(node.told(), told(Some(held())));
        let path = node.root().join("etc/ssh/ssh_host_ed25519_key-cert.pub");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "ssh-ed25519-cert-v01@openssh.com BBBB n1\n");
        // A certificate that is gone is asked for again.
        std::fs::remove_file(path).unwrap();
        assert_eq!(node.told(), told(None));
    }

    #[test]
    fn what_is_no_certificate_is_not_written() {
        let node = Node::new();
        let long = format!("{CERTIFICATE}{}", "A".repeat(MAX as usize + 1));
        for bad in ["", "ssh-ed25519 AAAA", "ssh-ed25519-cert-v01@openssh.com A\nssh-rsa B", CERTIFICATE, &long] {
            assert_eq!(node.keep(bad), (false, 0), "{bad:.60}");
        }
        assert!(!node.root().join("etc/ssh/ssh_host_ed25519_key-cert.pub").exists());
    }
}
