//! Waits for a key press on one of the machine's consoles.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;

use host::files::{Access, open_device};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{FlushArg, LocalFlags, SetArg, Termios, tcflush, tcgetattr, tcsetattr};

use crate::console::places;

/// A console that keys are read from; its settings are restored on drop.
struct Keys {
    file: File,
    before: Termios,
}

impl Keys {
    /// `None` if it is not a terminal, such as a serial port without hardware.
    fn open(device: &str) -> Option<Self> {
        let flags = libc::O_NOCTTY | libc::O_NONBLOCK;
        let file = open_device(device, Access::Both, flags).ok()?;
        let before = tcgetattr(&file).ok()?;
        let mut now = before.clone();
        // A single key, without Enter and without echo.
        now.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        tcsetattr(&file, SetArg::TCSANOW, &now).ok()?;
        // Discard keys that were pressed earlier.
        tcflush(&file, FlushArg::TCIFLUSH).ok()?;
        Some(Keys { file, before })
    }

    /// Whether a key was pressed; `None` if the terminal no longer exists.
    fn pressed(&mut self) -> Option<bool> {
        match self.file.read(&mut [0; 64]) {
            Ok(0) => None,
            Ok(_) => Some(true),
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted) => Some(false),
            Err(_) => None,
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.file, SetArg::TCSANOW, &self.before);
    }
}

/// Returns true once a key was pressed, false if there is no console to press one on.
pub fn wait_for_key() -> bool {
    wait_on(&places())
}

fn wait_on(devices: &[String]) -> bool {
    let mut consoles: Vec<Keys> = devices.iter().filter_map(|d| Keys::open(d)).collect();
    while !consoles.is_empty() {
        let mut waiting: Vec<PollFd<'_>> = consoles.iter().map(|c| PollFd::new(c.file.as_fd(), PollFlags::POLLIN)).collect();
        match poll(&mut waiting, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(_) => return false,
        }
        let mut pressed = false;
        consoles.retain_mut(|c| c.pressed().inspect(|p| pressed |= *p).is_some());
        if pressed {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn one_key_on_any_console_is_enough() {
        let (a, b) = (nix::pty::openpty(None, None).unwrap(), nix::pty::openpty(None, None).unwrap());
        let names = [&a, &b].map(|p| nix::unistd::ttyname(&p.slave).unwrap().to_str().unwrap().to_owned());
        // Typed before the wait.
        File::from(b.master.try_clone().unwrap()).write_all(b"early").unwrap();
        let mut typist = File::from(b.master.try_clone().unwrap());
        let flags = nix::fcntl::OFlag::O_NONBLOCK;
        nix::fcntl::fcntl(&b.master, nix::fcntl::FcntlArg::F_SETFL(flags)).unwrap();
        let devices = names.clone();
        let waiter = std::thread::spawn(move || wait_on(&devices));
        // Without Enter. Input is discarded when the wait begins, so a key may have to be pressed again.
        while !waiter.is_finished() {
            // Full once nobody reads.
            let _ = typist.write(b"x");
            std::thread::yield_now();
        }
        assert!(waiter.join().unwrap());
        let settings = tcgetattr(&b.slave).unwrap();
        assert!(settings.local_flags.contains(LocalFlags::ICANON | LocalFlags::ECHO), "the settings are restored");
    }

    #[test]
    fn without_a_console_there_is_no_wait() {
        assert!(!wait_on(&[]));
        assert!(!wait_on(&["/dev/null".to_owned(), "/nonexistent".to_owned()]));
    }
}
