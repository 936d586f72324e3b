//! Starts programs; the only file of the lab that does.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::stop;

/// A line of argv as a person would type it.
pub fn shown(argv: &[String]) -> String {
    argv.join(" ")
}

/// Owned argv from borrowed words.
pub fn words(argv: &[&str]) -> Vec<String> {
    argv.iter().map(|w| (*w).to_owned()).collect()
}

/// Output of a finished program.
#[derive(Debug)]
pub struct Outcome {
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

fn command(argv: &[String]) -> Result<Command> {
    let (program, rest) = argv.split_first().context("an empty command line")?;
    let mut command = Command::new(program);
    // Its own process group: Ctrl-C on the terminal reaches the lab alone, which then ends its children in order.
    command.args(rest).process_group(0).stdin(Stdio::null());
    Ok(command)
}

/// Runs a short program to its end; its exit code is the caller's to judge.
pub fn outcome(argv: &[String]) -> Result<Outcome> {
    let out = command(argv)?.output().with_context(|| format!("starting {}", argv[0]))?;
    Ok(Outcome {
        code: out.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
    })
}

/// The command line that ends `argv` after `seconds` with code 124 (timeout(1)).
pub fn limited(argv: &[String], seconds: u32) -> Vec<String> {
    let mut all = words(&["timeout", "-k", "5", &seconds.to_string()]);
    all.extend_from_slice(argv);
    all
}

/// Runs a short program that must succeed; its standard output.
pub fn run(argv: &[&str]) -> Result<String> {
    run_owned(&words(argv))
}

pub fn run_owned(argv: &[String]) -> Result<String> {
    let out = outcome(argv)?;
    if out.code != 0 {
        bail!("{} ended with {}: {}{}", shown(argv), out.code, out.stderr.trim(), out.stdout.trim());
    }
    Ok(out.stdout)
}

/// A program in the background; killed and reaped when dropped.
#[derive(Debug)]
pub struct Background {
    child: Child,
    pub name: String,
    pub log: PathBuf,
}

impl Background {
    /// Starts `argv` with output appended to `log`; `stdin` becomes its standard input.
    pub fn spawn(name: &str, argv: &[String], log: &Path, stdin: Option<OwnedFd>) -> Result<Self> {
        let out = open_log(log)?;
        let err = out.try_clone().context("sharing a log file")?;
        let mut command = command(argv)?;
        command.stdout(out).stderr(err);
        if let Some(fd) = stdin {
            command.stdin(Stdio::from(fd));
        }
        let child = command.spawn().with_context(|| format!("starting {}", shown(argv)))?;
        Ok(Background { child, name: name.to_owned(), log: log.to_owned() })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The exit code once it has ended (-1 when a signal ended it).
    pub fn ended(&mut self) -> Result<Option<i32>> {
        let status = self.child.try_wait().with_context(|| format!("waiting for {}", self.name))?;
        Ok(status.map(|s| s.code().unwrap_or(-1)))
    }

    /// SIGKILL and reap. Ending what has already ended is fine.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, then up to `patience`, then SIGKILL; the exit code if it went by itself.
    pub fn terminate(&mut self, patience: Duration) -> Option<i32> {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let start = std::time::Instant::now();
        while start.elapsed() < patience {
            if let Ok(Some(code)) = self.ended() {
                return Some(code);
            }
            std::thread::sleep(stop::TICK);
        }
        self.kill();
        None
    }

    /// The error text for a program that ended when it should not have.
    pub fn must_run(&mut self) -> Result<()> {
        if let Some(code) = self.ended()? {
            bail!("{} ended with {code}; its log: {}\n{}", self.name, self.log.display(), tail(&self.log, 5));
        }
        Ok(())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.kill();
    }
}

fn open_log(path: &Path) -> Result<File> {
    OpenOptions::new().create(true).append(true).open(path).with_context(|| format!("opening log {}", path.display()))
}

/// Runs a long program with its output in `log`, showing the log's last line through `show` while it works.
pub fn run_long(argv: &[String], log: &Path, limit: Duration, mut show: impl FnMut(&str)) -> Result<()> {
    let mut program = Background::spawn(argv.first().map_or("", String::as_str), argv, log, None)?;
    let code = stop::wait_for(&shown(argv), limit, || {
        if let Some(line) = tail(log, 1).lines().last() {
            show(line);
        }
        program.ended()
    })?;
    if code != 0 {
        bail!("{} ended with {code}; its log: {}\n{}", shown(argv), log.display(), tail(log, 12));
    }
    Ok(())
}

/// The last `most` bytes of a file.
pub fn end_of(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(most)))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The last `lines` lines of a text file (of its last 64 KiB), without empty ones.
pub fn tail(path: &Path, lines: usize) -> String {
    let bytes = end_of(path, 64 << 10).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.split(['\n', '\r']).filter(|l| !l.trim().is_empty()).collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Where a program is on PATH (or in the system's sbin directories), if anywhere.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').chain(["/usr/sbin", "/sbin"]).map(|dir| Path::new(dir).join(program)).find(|p| p.is_file())
}
