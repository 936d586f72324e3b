//! Starts programs: argv is logged, stderr is part of the error, with time limit, cancellation and exit status.
//!
//! Every program runs in its own process group, so stopping it also stops its children; Ctrl-C on the terminal reaches only
//! this process, which then cancels. Environment values and stdin are never logged.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Bytes of stdout that are kept; more is an error, it is not truncated.
pub const MAX_STDOUT: usize = 64 << 20;
/// Bytes of stderr that are kept: the last ones, which contain the reason.
pub const MAX_STDERR: usize = 16 << 10;
const POLL: Duration = Duration::from_millis(20);
/// Between SIGTERM and SIGKILL when a program is stopped.
const GRACE: Duration = Duration::from_secs(5);
/// How long output is read after the program exited: a daemon that it started may keep the pipe open forever.
const DRAIN: Duration = Duration::from_secs(2);

/// Why a program failed.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    #[error("cannot start {program}")]
    Start { program: String, source: std::io::Error },
    #[error("{program} failed with {status}: {}", shown(stderr))]
    Failed { program: String, status: ExitStatus, stderr: String },
    #[error("{program} did not finish within {seconds} s: {}", shown(stderr))]
    TimedOut { program: String, seconds: u64, stderr: String },
    #[error("{program} was stopped on request")]
    Cancelled { program: String },
    #[error("{program} printed more than {MAX_STDOUT} bytes")]
    TooMuchOutput { program: String },
    #[error("waiting for {program}")]
    Wait { program: String, source: std::io::Error },
}

fn shown(stderr: &str) -> &str {
    let text = stderr.trim_end();
    if text.is_empty() { "(no output)" } else { text }
}

/// The output of a program that succeeded.
#[derive(Debug)]
pub struct Output {
    pub stdout: Vec<u8>,
    /// The last [`MAX_STDERR`] bytes, invalid UTF-8 replaced.
    pub stderr: String,
}

impl Output {
    /// stdout as text, with invalid UTF-8 replaced and trailing white space removed.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }
}

type OnLine<'a> = Box<dyn Fn(&str) + Send + 'a>;
/// A program about to run. `Tool::new("ip").args(["link", "show"]).run()?`
pub struct Tool<'a> {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    clean: bool,
    dir: Option<Utf8PathBuf>,
    stdin: Option<Vec<u8>>,
    stdout: Option<File>,
    timeout: Option<Duration>,
    cancelled: Option<&'a dyn Fn() -> bool>,
    on_line: Option<OnLine<'a>>,
}

impl<'a> Tool<'a> {
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Tool {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            clean: false,
            dir: None,
            stdin: None,
            stdout: None,
            timeout: None,
            cancelled: None,
            on_line: None,
        }
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Starts with an empty environment instead of ours.
    pub fn clean_env(self) -> Self {
        Tool { clean: true, ..self }
    }

    pub fn dir(self, dir: &Utf8Path) -> Self {
        Tool { dir: Some(dir.to_owned()), ..self }
    }

    /// Bytes for stdin (may be secret); without this stdin is empty.
    pub fn stdin(self, bytes: impl Into<Vec<u8>>) -> Self {
        Tool { stdin: Some(bytes.into()), ..self }
    }

    /// Sends stdout to a file instead of keeping it.
    pub fn stdout_to(self, file: File) -> Self {
        Tool { stdout: Some(file), ..self }
    }

    /// Without this a program may run forever.
    pub fn timeout(self, limit: Duration) -> Self {
        Tool { timeout: Some(limit), ..self }
    }

    /// Polled every few milliseconds; once true, the program and its children are stopped.
    pub fn cancel(mut self, requested: &'a dyn Fn() -> bool) -> Self {
        self.cancelled = Some(requested);
        self
    }

    /// Called on this thread with each complete line of stderr as it arrives.
    pub fn on_stderr_line(mut self, f: impl Fn(&str) + Send + 'a) -> Self {
        self.on_line = Some(Box::new(f));
        self
    }

    fn command(&mut self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).process_group(0);
        self.clean.then(|| command.env_clear());
        command.envs(self.env.iter().map(|(k, v)| (k, v)));
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command.stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        command
    }

    fn start(command: &mut Command, program: &str) -> Result<Child, ToolError> {
        tracing::debug!(argv = ?ArgvOf(command), "starting program");
        command.spawn().map_err(|source| ToolError::Start { program: program.to_owned(), source })
    }

    /// Runs the program; any exit status other than 0 is an error.
    pub fn run(self) -> Result<Output, ToolError> {
        let program = self.program.to_string_lossy().into_owned();
        let (status, output) = self.run_any()?;
        if status.success() {
            return Ok(output);
        }
        tracing::debug!(%program, %status, stderr = %output.stderr, "program failed");
        Err(ToolError::Failed { program, status, stderr: output.stderr })
    }

    /// Runs the program and returns its exit status, including a signal.
    pub fn run_any(mut self) -> Result<(ExitStatus, Output), ToolError> {
        let program = self.program.to_string_lossy().into_owned();
        let mut command = self.command();
        command.stderr(Stdio::piped()).stdout(self.stdout.take().map_or_else(Stdio::piped, Stdio::from));
        let child = Self::start(&mut command, &program)?;
        let mut running = Running { child, program: program.clone(), stopped: false };
        let feeder = running.child.stdin.take().zip(self.stdin.take()).map(|(mut pipe, bytes)| {
            // A program that does not read all of its stdin is judged by its exit status, not by this write.
            thread::spawn(move || pipe.write_all(&bytes).is_ok())
        });
        let stdout = running.child.stdout.take().map(|p| Collector::start(p, Keep::First(MAX_STDOUT)));
        let stderr = running.child.stderr.take().map(|p| Collector::start(p, Keep::Last(MAX_STDERR)));
        let ended = self.watch(&mut running, stderr.as_ref());
        let error_text = stderr.map(|c| c.finish().0).map_or_else(String::new, |b| String::from_utf8_lossy(&b).into_owned());
        let (bytes, over) = stdout.map(Collector::finish).unwrap_or_default();
        match ended {
            Ended::Status(_) if over => Err(ToolError::TooMuchOutput { program }),
            Ended::Status(status) => {
                drop(feeder);
                Ok((status, Output { stdout: bytes, stderr: error_text }))
            }
            Ended::TimedOut(seconds) => Err(ToolError::TimedOut { program, seconds, stderr: error_text }),
            Ended::Cancelled => Err(ToolError::Cancelled { program }),
            Ended::Lost(source) => Err(ToolError::Wait { program, source }),
        }
    }

    /// Starts a program that keeps running (a server, a virtual machine); it is stopped when the handle is dropped.
    /// stdout and stderr go to `log`.
    pub fn spawn(mut self, log: File) -> Result<Running, ToolError> {
        let program = self.program.to_string_lossy().into_owned();
        let start = |source| ToolError::Start { program: program.clone(), source };
        let mut command = self.command();
        command.stderr(log.try_clone().map_err(start)?).stdout(log);
        let mut child = Self::start(&mut command, &program)?;
        if let Some((mut pipe, bytes)) = child.stdin.take().zip(self.stdin.take()) {
            thread::spawn(move || pipe.write_all(&bytes).is_ok());
        }
        Ok(Running { child, program, stopped: false })
    }

    fn watch(&self, running: &mut Running, stderr: Option<&Collector>) -> Ended {
        let started = Instant::now();
        let mut seen = 0;
        loop {
            let status = running.child.try_wait();
            if let (Some(f), Some(collector)) = (&self.on_line, stderr) {
                seen = collector.lines_after(seen, f);
            }
            match status {
                Ok(Some(status)) => {
                    running.stopped = true;
                    return Ended::Status(status);
                }
                Ok(None) => {}
                Err(e) => return Ended::Lost(e),
            }
            if self.cancelled.is_some_and(|asked| asked()) {
                running.stop();
                return Ended::Cancelled;
            }
            if let Some(limit) = self.timeout.filter(|l| started.elapsed() >= *l) {
                running.stop();
                return Ended::TimedOut(limit.as_secs());
            }
            thread::sleep(POLL);
        }
    }
}

enum Ended {
    Status(ExitStatus),
    TimedOut(u64),
    Cancelled,
    Lost(std::io::Error),
}

struct ArgvOf<'c>(&'c Command);

impl std::fmt::Debug for ArgvOf<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entry(&self.0.get_program()).entries(self.0.get_args()).finish()
    }
}

/// A program that keeps running; dropping it stops its whole process group.
pub struct Running {
    child: Child,
    program: String,
    stopped: bool,
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().ok().flatten();
        self.stopped |= status.is_some();
        status
    }

    fn signal(&self, signal: Signal) {
        // The group may have ended already.
        if let Ok(pid) = i32::try_from(self.child.id()) {
            killpg(Pid::from_raw(pid), signal).unwrap_or_else(|e| tracing::debug!(program = %self.program, %e, "signal"));
        }
    }

    /// SIGTERM to the group, a grace of five seconds, then SIGKILL. Returns the exit status, if it is known.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        if self.stopped {
            return None;
        }
        self.signal(Signal::SIGTERM);
        let began = Instant::now();
        while began.elapsed() < GRACE {
            if let Some(status) = self.ended() {
                self.signal(Signal::SIGKILL);
                return Some(status);
            }
            thread::sleep(POLL);
        }
        self.signal(Signal::SIGKILL);
        self.stopped = true;
        self.child.wait().ok()
    }

    /// Kills the group at once, like a power failure.
    pub fn kill(&mut self) {
        if !self.stopped {
            self.signal(Signal::SIGKILL);
            self.stopped = self.child.wait().is_ok();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

enum Keep {
    First(usize),
    Last(usize),
}

#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    /// Total bytes read, kept or not.
    seen: u64,
    over: bool,
}

/// Reads a pipe to its end on a separate thread, so that a full pipe never blocks the program.
struct Collector {
    kept: Arc<Mutex<Kept>>,
    reader: JoinHandle<()>,
}

impl Collector {
    fn start(mut pipe: impl Read + Send + 'static, keep: Keep) -> Self {
        let kept = Arc::new(Mutex::new(Kept::default()));
        let shared = Arc::clone(&kept);
        let reader = thread::spawn(move || {
            let mut buf = [0u8; 16 << 10];
            loop {
                match pipe.read(&mut buf) {
                    Ok(0) => break,
                    Ok(n) => shared.lock().unwrap_or_else(PoisonError::into_inner).take(&buf[..n], &keep),
                    Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
        });
        Collector { kept, reader }
    }

    fn lines_after(&self, from: u64, f: &dyn Fn(&str)) -> u64 {
        let (start, fresh) = {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let oldest = kept.seen - kept.bytes.len() as u64;
            let start = from.max(oldest);
            (start, kept.bytes[(start - oldest) as usize..].to_vec())
        };
        let Some(end) = fresh.iter().rposition(|&b| b == b'\n') else { return from };
        String::from_utf8_lossy(&fresh[..end]).lines().for_each(f);
        start + end as u64 + 1
    }

    fn finish(self) -> (Vec<u8>, bool) {
        let started = Instant::now();
        while !self.reader.is_finished() && started.elapsed() < DRAIN {
            thread::sleep(Duration::from_millis(1));
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut kept.bytes), kept.over)
    }
}

impl Kept {
    fn take(&mut self, new: &[u8], keep: &Keep) {
        self.seen += new.len() as u64;
        match *keep {
            Keep::First(limit) => {
                let room = limit - self.bytes.len().min(limit);
                self.over |= new.len() > room;
                self.bytes.extend_from_slice(&new[..new.len().min(room)]);
            }
            Keep::Last(limit) => {
                self.bytes.extend_from_slice(new);
                let extra = self.bytes.len().saturating_sub(limit);
                self.bytes.drain(..extra);
            }
        }
    }
}

#[cfg(test)]
#[path = "tool_tests.rs"]
mod tests;
