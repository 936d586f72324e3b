//! The seed's daemon in the lab's namespace, its pages reachable from the host by a passed socket.

use std::fs::read_to_string;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::netns::Netns;
use crate::seedd::Seedd;
use crate::stop;
use crate::tool::{self, Background};
use crate::trust;

/// A running `seedd serve`. The socket of the pages outlives it, so a restart keeps the address.
#[derive(Debug)]
pub struct Daemon {
    listener: TcpListener,
    pub log: PathBuf,
    process: Option<Background>,
    /// Largest resident set seen at a sample (several a second while machines run), in bytes.
    pub memory: u64,
    /// The kernel's own high-water mark, in bytes: it also has the moment a passphrase is opened, where scrypt takes
    /// 256 MiB for a second by design (RFC 7914, N = 2^18).
    pub peak_memory: u64,
    /// Times it was killed and started again.
    pub restarts: u32,
}

impl Daemon {
    /// Opens the pages' socket on 127.0.0.1 (port 0: any) in the host's namespace.
    pub fn new(port: u16, log: &Path) -> Result<Self> {
        let listener =
            TcpListener::bind(("127.0.0.1", port)).with_context(|| format!("opening 127.0.0.1:{port} for the pages"))?;
        Ok(Daemon { listener, log: log.to_owned(), process: None, memory: 0, peak_memory: 0, restarts: 0 })
    }

    pub fn address(&self) -> Result<String> {
        Ok(format!("https://{}", self.listener.local_addr().context("asking for the pages' address")?))
    }

    pub fn start(&mut self, ns: &Netns, seedd: &Seedd) -> Result<()> {
        // Descriptor 3 and LISTEN_PID as sd_listen_fds(3) wants them: every step from here is an exec, so $$ stays true.
        let script = "exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$@\"";
        let mut argv = tool::words(&["sh", "-c", script, "sh"]);
        argv.extend(ns.argv(&seedd.serve_argv()));
        let socket = self.listener.try_clone().context("sharing the pages' socket")?;
        self.process = Some(Background::spawn("seedd serve", &argv, &self.log, Some(socket.into()))?);
        let address = self.listener.local_addr().context("asking for the pages' address")?;
        stop::wait_for(&format!("the daemon's first answer (log: {})", self.log.display()), Duration::from_secs(60), || {
            self.must_run()?;
            // The socket was listening before the daemon was, and the log may end with the words of the one before:
            // only a handshake with the printed certificate counts.
            let printed = read_to_string(&self.log).ok().as_deref().and_then(fingerprint);
            Ok(printed.and_then(|printed| trust::pinned(address, &printed).ok()).map(|_| ()))
        })
    }

    pub fn must_run(&mut self) -> Result<()> {
        self.measure();
        self.process.as_mut().map_or(Ok(()), Background::must_run)
    }

    /// kill -9, as a power cut would.
    pub fn kill(&mut self) {
        self.measure();
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    pub fn kill_and_restart(&mut self, ns: &Netns, seedd: &Seedd) -> Result<()> {
        self.kill();
        self.restarts += 1;
        self.start(ns, seedd)
    }

    /// SIGTERM; true if it ended by itself with code 0.
    pub fn stop(&mut self) -> bool {
        self.measure();
        self.process.take().is_some_and(|mut p| p.terminate(Duration::from_secs(15)) == Some(0))
    }

    /// Resident memory now, in bytes.
    pub fn resident(&self) -> Result<u64> {
        let process = self.process.as_ref().context("the daemon does not run")?;
        let status = read_to_string(format!("/proc/{}/status", process.pid())).context("reading the daemon's memory")?;
        kib_of(&status, "VmRSS:").context("no VmRSS in /proc/PID/status")
    }

    fn measure(&mut self) {
        let Some(process) = &self.process else { return };
        let Ok(status) = read_to_string(format!("/proc/{}/status", process.pid())) else { return };
        self.peak_memory = self.peak_memory.max(kib_of(&status, "VmHWM:").unwrap_or(0));
        self.memory = self.memory.max(kib_of(&status, "VmRSS:").unwrap_or(0));
    }

    /// The fingerprint of the certificate that the pages show, from the log.
    pub fn fingerprint(&self) -> Result<String> {
        let log = read_to_string(&self.log).with_context(|| format!("reading {}", self.log.display()))?;
        fingerprint(&log).context("the log has no fingerprint")
    }

    /// The set-up code for the first administrator, from the log.
    pub fn setup_code(&self) -> Result<String> {
        let what = format!("the one-time setup code in {}", self.log.display());
        stop::wait_for(&what, Duration::from_secs(20), || Ok(read_to_string(&self.log).ok().as_deref().and_then(setup_code)))
    }
}

/// A line in kB of /proc/<pid>/status (proc_pid_status(5)), in bytes.
fn kib_of(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The last `sha256 fingerprint XX:…` of a log.
fn fingerprint(log: &str) -> Option<String> {
    let (_, after) = log.rsplit_once("sha256 fingerprint ")?;
    let text: String = after.chars().take_while(|c| c.is_ascii_hexdigit() || *c == ':').collect();
    (text.len() == 95).then_some(text)
}

/// The last `setup code XXXX` of a log.
fn setup_code(log: &str) -> Option<String> {
    let (_, after) = log.rsplit_once("setup code")?;
    let code: String =
        after.trim_start_matches([' ', ':', '=', '"']).chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    (code.len() >= 4).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_proc() {
        let status = "Name:\tseedd\nVmHWM:\t   20480 kB\nVmRSS:\t 100 kB\n";
        assert_eq!((kib_of(status, "VmHWM:"), kib_of(status, "VmRSS:")), (Some(20480 * 1024), Some(100 * 1024)));
        assert_eq!(kib_of("Name:\tseedd\n", "VmHWM:"), None);
    }

    #[test]
    fn the_fingerprint_is_found() {
        let (a, b) = ([const { "AA" }; 32].join(":"), [const { "BB" }; 32].join(":"));
        assert_eq!(fingerprint(&format!("x sha256 fingerprint {a}\nsha256 fingerprint {b}\n")), Some(b));
        assert_eq!(fingerprint(&format!("sha256 fingerprint {}", &a[..94])), None, "half a line");
        assert_eq!(fingerprint(""), None);
    }

    #[test]
    fn the_setup_code_is_found() {
        let table = [
            ("INFO setup code: ABCD-1234 (once)", Some("ABCD-1234")),
            ("setup code OLD1\nsetup code NEW2\n", Some("NEW2")),
            ("setup code: ", None),
            ("", None),
        ];
        for (log, want) in table {
            assert_eq!(setup_code(log).as_deref(), want, "{log:?}");
        }
    }
}
