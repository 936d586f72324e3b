//! A connection to a host, by the `ssh` of this machine.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::substrate::HostSpec;
use host::tool::{Output, Tool, ToolError};
use host::{files, random};

use super::error::{SshError, last_lines};
use super::pins::{self, Pins};

/// Seconds until a host that does not answer is given up, and between signs of life (ssh_config(5)).
const CONNECT_SECONDS: u64 = 15;
const ALIVE_SECONDS: u64 = 15;
/// Missed signs of life until the connection counts as lost.
const ALIVE_MISSED: u32 = 4;
/// Longest login: a slow host may need much longer than the connection itself, for example for DNS.
const LOGIN: Duration = Duration::from_secs(180);
/// How long an unused connection stays open, should this process be killed.
const PERSIST_SECONDS: u64 = 60;
/// Longest path of a control socket: a socket's name has 108 bytes (unix(7)), and ssh appends 17 for a temporary one.
const MAX_SOCKET: usize = 88;
/// The exit status of a command that itself ended with 255, which is ssh's for a lost connection. `qm` ends with 255.
const STATUS_255: i32 = 125;

/// How hosts are reached.
#[derive(Debug, Clone)]
pub struct SshSettings {
    /// Our file of pinned host keys.
    pub known_hosts: Utf8PathBuf,
    /// The operator's private key. None: the agent's keys.
    pub identity: Option<Utf8PathBuf>,
    /// Folder for control sockets; a short path. A folder of its own is made in it, and removed.
    pub run_dir: Utf8PathBuf,
}

/// A text as one word for a POSIX shell.
pub fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/' | b':' | b'=' | b',' | b'+' | b'@');
    if !word.is_empty() && word.bytes().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// A connection to a host. Dropping it closes the connection.
pub struct Remote<'a> {
    pub(super) spec: &'a HostSpec,
    settings: &'a SshSettings,
    /// One connection for all commands, where its socket's path is short enough.
    socket: Option<Socket>,
    cancelled: &'a (dyn Fn() -> bool + Sync),
}

struct Socket {
    dir: Utf8PathBuf,
    path: Utf8PathBuf,
}

impl<'a> Remote<'a> {
    /// Connects. The host's key must have been pinned.
    pub fn open(
        spec: &'a HostSpec,
        settings: &'a SshSettings,
        cancelled: &'a (dyn Fn() -> bool + Sync),
    ) -> Result<Self, SshError> {
        let pins = Pins::read(&settings.known_hosts).map_err(SshError::Pins)?;
        if pins.of(spec.name.value.as_str()).next().is_none() {
            return Err(SshError::NotPinned { host: spec.name.value.to_string() });
        }
        let mut remote = Remote { spec, settings, socket: None, cancelled };
        remote.socket = socket(&settings.run_dir);
        if remote.socket.is_some() {
            let persist = format!("ControlPersist={PERSIST_SECONDS}");
            // In the background once the login has succeeded.
            let tool = remote.ssh().args(["-f", "-N", "-M", "-o", &persist]).arg(remote.target());
            remote.finish(tool.timeout(LOGIN), "the login").map_err(|e| match e {
                // There was no connection yet.
                SshError::Lost { host, stderr, .. } => SshError::Connect { host, stderr },
                other => other,
            })?;
        }
        Ok(remote)
    }

    pub fn name(&self) -> &str {
        self.spec.name.value.as_str()
    }

    pub(super) fn address(&self) -> &str {
        self.spec.address.as_ref().map_or(self.name(), |a| a.value.as_str())
    }

    fn target(&self) -> String {
        format!("{}@{}", self.spec.user.value, self.address())
    }

    /// Options of ssh and sftp alike; nothing of the operator's configuration, so that the same happens everywhere.
    pub(super) fn options(&self) -> Vec<String> {
        let settings = self.settings;
        let mut all = vec!["-F".to_owned(), "none".to_owned()];
        let mut option = |text: String| all.extend(["-o".to_owned(), text]);
        for fixed in [
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            "UpdateHostKeys=no",
            "GlobalKnownHostsFile=none",
            "ForwardAgent=no",
            "ClearAllForwardings=yes",
            "LogLevel=ERROR",
        ] {
            option(fixed.to_owned());
        }
        option(format!("UserKnownHostsFile={}", settings.known_hosts));
        option(format!("HostKeyAlias={}", self.name()));
        option(format!("ConnectTimeout={CONNECT_SECONDS}"));
        option(format!("ServerAliveInterval={ALIVE_SECONDS}"));
        option(format!("ServerAliveCountMax={ALIVE_MISSED}"));
        if let Some(file) = &settings.identity {
            option(format!("IdentityFile={file}"));
            option("IdentitiesOnly=yes".to_owned());
        }
        if let Some(socket) = &self.socket {
            option(format!("ControlPath={}", socket.path));
        }
        all
    }

    fn ssh(&self) -> Tool<'_> {
        Tool::new("ssh").args(self.options()).args(["-p", &self.spec.port.value.to_string()])
    }

    /// Runs one command with its arguments, as root.
    pub fn run(&self, argv: &[&str], limit: Duration) -> Result<Output, SshError> {
        let sudo = if self.spec.user.value == "root" { None } else { Some("sudo -n") };
        let words = sudo.map(str::to_owned).into_iter().chain(argv.iter().map(|w| quoted(w)));
        let command = words.collect::<Vec<_>>().join(" ");
        let guarded = format!("LC_ALL=C; export LC_ALL; {command}; r=$?; [ \"$r\" -ne 255 ] || r={STATUS_255}; exit \"$r\"");
        let tool = self.ssh().arg(self.target()).arg("--").arg(guarded);
        self.finish(tool.timeout(limit), &argv.iter().take(2).copied().collect::<Vec<_>>().join(" "))
    }

    /// Runs a script of ours with arguments, as root.
    pub fn script(&self, what: &str, script: &str, args: &[&str], limit: Duration) -> Result<Output, SshError> {
        let argv: Vec<&str> = ["sh", "-c", script, "sh"].into_iter().chain(args.iter().copied()).collect();
        self.run(&argv, limit).map_err(|e| match e {
            SshError::Command { host, status, stderr, .. } => {
                SshError::Command { host, command: what.to_owned(), status, stderr }
            }
            SshError::Lost { host, stderr, .. } => SshError::Lost { host, during: what.to_owned(), stderr },
            other => other,
        })
    }

    /// Runs ssh or sftp and says what its end means.
    pub(super) fn finish(&self, tool: Tool<'_>, during: &str) -> Result<Output, SshError> {
        let host = self.name().to_owned();
        let (status, output) = match tool.cancel(self.cancelled).run_any() {
            Ok(ended) => ended,
            Err(ToolError::Cancelled { .. }) => return Err(SshError::Cancelled),
            Err(ToolError::TimedOut { seconds, .. }) => {
                return Err(SshError::Lost { host, during: during.to_owned(), stderr: format!("no answer within {seconds} s") });
            }
            Err(e) => return Err(SshError::Tool { host, program: "ssh", source: Box::new(e) }),
        };
        match status.code() {
            Some(0) => Ok(output),
            Some(255) | None => Err(self.transport(&output.stderr, during)),
            Some(code) => Err(SshError::Command {
                host,
                command: during.to_owned(),
                status: if code == STATUS_255 { 255 } else { code },
                stderr: last_lines(&output.stderr),
            }),
        }
    }

    /// ssh(1) has one exit status for everything; its texts are not translated.
    fn transport(&self, stderr: &str, during: &str) -> SshError {
        let (host, text) = (self.name().to_owned(), last_lines(stderr));
        let has = |words: &[&str]| words.iter().any(|w| stderr.contains(w));
        if has(&["Host key verification failed", "HOST IDENTIFICATION HAS CHANGED"]) {
            return self.key_changed();
        }
        if has(&["Permission denied ("]) {
            return SshError::Denied { host, user: self.spec.user.value.clone(), stderr: text };
        }
        let never = ["connect to host", "Could not resolve", "Connection timed out", "banner exchange", "Connection refused"];
        if has(&never) {
            return SshError::Connect { host, stderr: text };
        }
        SshError::Lost { host, during: during.to_owned(), stderr: text }
    }

    fn key_changed(&self) -> SshError {
        let host = self.name().to_owned();
        let fingerprints = |keys: Vec<String>| if keys.is_empty() { "none".to_owned() } else { keys.join(", ") };
        let pinned = Pins::read(&self.settings.known_hosts).map(|p| p.of(&host).map(|k| k.fingerprint.clone()).collect());
        let shown = pins::scan(self.spec).map(|keys| keys.into_iter().map(|k| k.fingerprint).collect());
        let (pinned, shown) = (fingerprints(pinned.unwrap_or_default()), fingerprints(shown.unwrap_or_default()));
        SshError::KeyChanged { host, pinned, shown }
    }
}

impl Drop for Remote<'_> {
    fn drop(&mut self) {
        if self.socket.is_none() {
            return;
        }
        let closed = self.ssh().args(["-O", "exit"]).arg(self.target()).timeout(Duration::from_secs(10)).run();
        if let Err(error) = closed {
            tracing::debug!(host = self.name(), %error, "closing the connection");
        }
        if let Some(socket) = self.socket.take() {
            std::fs::remove_dir_all(&socket.dir).unwrap_or_else(|error| tracing::debug!(%error, dir = %socket.dir, "removing"));
        }
    }
}

/// A private folder for one connection. None: every command makes a connection of its own.
fn socket(run_dir: &Utf8Path) -> Option<Socket> {
    use std::os::unix::fs::DirBuilderExt as _;
    let drawn = random::bytes::<4>().ok()?;
    let dir = run_dir.join(format!("ssh-{}", hex::encode(drawn)));
    let path = dir.join("c");
    if path.as_str().len() > MAX_SOCKET || path.as_str().contains([' ', '%', '"', '$']) {
        return None;
    }
    files::create_dirs(run_dir).ok()?;
    std::fs::DirBuilder::new().mode(0o700).create(&dir).ok()?;
    Some(Socket { dir, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quoted("local-zfs:0,import-from=/a.b"), "local-zfs:0,import-from=/a.b");
        for (word, want) in
            [("", "''"), ("a;b", "'a;b'"), ("it's", r"'it'\''s'"), ("$(x)", "'$(x)'"), ("a\nb", "'a\nb'"), ("~", "'~'")]
        {
            assert_eq!(quoted(word), want);
        }
    }
}
