//! Questions on the terminal: passphrases, which are not echoed, and confirmations.

use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8Path;
use host::files::read_limited;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use site::hint::Hint as _;
use zeroize::Zeroizing;

use crate::terminal::{self, Silent};

/// Largest passphrase file, in bytes.
const MAX_PASSPHRASE: u64 = 4096;
/// Between two looks whether a signal came, in milliseconds.
const LOOK_EVERY: u16 = 100;
/// Longest confirmation read, in bytes.
const MAX_LINE: u64 = 256;

pub fn passphrase_from(path: &Utf8Path) -> Result<Zeroizing<String>> {
    let bytes = Zeroizing::new(read_limited(path, MAX_PASSPHRASE)?);
    let text = std::str::from_utf8(&bytes).with_context(|| format!("reading {path} as UTF-8"))?;
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}

/// Asks on the terminal without echo. By hand rather than with rpassword, which opens /dev/tty: this one reads what is
/// standard input, a pseudo-terminal without a session included, never holds a copy that is not wiped, and gives the
/// terminal back as it was when a signal ends it.
pub fn ask_secret(question: &str) -> Result<Zeroizing<String>> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(anyhow!("cannot prompt for a secret: standard input is not a terminal"))
            .hint("use --passphrase-file (or --password-file)");
    }
    terminal::watch_signals()?;
    let silent = Silent::new()?;
    eprint!("{question}: ");
    std::io::stderr().flush().ok();
    let mut line = Zeroizing::new(String::new());
    let read = wait_for_line(&stdin).and_then(|()| stdin.lock().read_line(&mut line).context("reading the secret"));
    drop(silent);
    eprintln!();
    read?;
    Ok(Zeroizing::new(line.trim_end_matches(['\n', '\r']).to_owned()))
}

/// Waits until a line was typed: a terminal is readable then, not before.
fn wait_for_line(stdin: &std::io::Stdin) -> Result<()> {
    loop {
        let mut line = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        match poll(&mut line, LOOK_EVERY) {
            _ if terminal::stop_asked() => return Err(anyhow!("interrupted while asking for a secret")),
            Ok(n) if n > 0 => return Ok(()),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("waiting for the terminal"),
        }
    }
}

/// Asks twice, and refuses two different answers.
pub fn ask_new_secret(question: &str) -> Result<Zeroizing<String>> {
    let secret = ask_secret(question)?;
    if *ask_secret("Repeat it")? != *secret {
        return Err(anyhow!("the two entries differ")).hint("nothing was changed; try again");
    }
    Ok(secret)
}

/// Continues only if the operator types `expected`.
pub fn confirm(question: &str, expected: &str) -> Result<()> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(anyhow!("cannot ask for confirmation: standard input is not a terminal")).hint("use --yes to skip it");
    }
    eprint!("{question}\nType {expected} to continue: ");
    std::io::stderr().flush().ok();
    let mut line = String::new();
    stdin.lock().take(MAX_LINE).read_line(&mut line).context("reading the answer")?;
    if line.trim() == expected { Ok(()) } else { Err(anyhow!("not confirmed")).hint("nothing was changed") }
}
