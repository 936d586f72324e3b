//! Output for a person at the machine, and for a program that reads its serial port.

use std::fs::File;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use camino::Utf8Path;
use cluster_seed::machine::tame;
use host::files::{Access, PUBLIC, Start, open, open_device};

/// Used in addition to the kernel's configured consoles. `/dev/console` is an alias of one of them, so it is used only if
/// none of them exists.
const DEVICES: [&str; 2] = ["/dev/tty1", "/dev/ttyS0"];
/// The kernel's consoles, the last of them /dev/console (Documentation/ABI/testing/sysfs-tty).
const ACTIVE: &str = "/sys/class/tty/console/active";
/// The screen's first virtual terminal; `tty0` is whichever is in the foreground and cannot be owned.
pub(crate) const SCREEN: &str = "tty1";

/// All consoles of the machine. A console that cannot be written to is skipped; the boot must not stop because of it.
pub struct Console {
    outputs: Mutex<Vec<Output>>,
}

struct Output {
    /// Path to reopen it.
    device: Option<String>,
    file: File,
}

impl Console {
    /// Opens the consoles that exist.
    pub fn open() -> Self {
        let mut outputs = there(&places());
        if outputs.is_empty() {
            outputs.extend(Output::device("/dev/console").ok());
        }
        Console { outputs: Mutex::new(outputs) }
    }

    /// Writes to one file instead (tests, or a command run by hand).
    pub fn to(file: File) -> Self {
        Console { outputs: Mutex::new(vec![Output { device: None, file }]) }
    }

    pub fn to_path(path: &Utf8Path) -> std::io::Result<Self> {
        Ok(Self::to(open(path, Start::End, PUBLIC)?))
    }

    fn print(&self, text: &str) {
        // A terminal in raw mode does not add the carriage return.
        let text = text.replace('\n', "\r\n");
        for output in self.outputs.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            output.write(text.as_bytes());
        }
    }

    /// `kubedos: step <name>`
    pub fn step(&self, name: &str) {
        self.print(&format!("kubedos: step {}\n", one_line(name)));
    }

    /// `kubedos: error <text>`
    pub fn error(&self, text: &str) {
        self.print(&format!("kubedos: error {}\n", one_line(text)));
    }

    /// The block with the pairing code; `facts` are lines that identify this machine.
    pub fn pairing_code(&self, code: &str, facts: &[String]) {
        self.print(&code_block(code, facts));
    }
}

/// Terminals of the kernel's consoles, such as `tty1`.
pub(crate) fn terminals() -> Vec<String> {
    read_terminals(&std::fs::read_to_string(ACTIVE).unwrap_or_default())
}

fn read_terminals(active: &str) -> Vec<String> {
    let plain =
        |name: &&str| (name.starts_with("tty") || name.starts_with("hvc")) && name.bytes().all(|b| b.is_ascii_alphanumeric());
    active.split_ascii_whitespace().filter(plain).map(|n| if n == "tty0" { SCREEN } else { n }.to_owned()).collect()
}

/// Device names of the consoles that [`Console::open`] writes to.
pub(crate) fn places() -> Vec<String> {
    devices(&terminals())
}

/// The two defaults and the kernel's others: serial-over-LAN is often the second serial port.
fn devices(terminals: &[String]) -> Vec<String> {
    let mut devices: Vec<String> = DEVICES.iter().map(|&d| d.to_owned()).collect();
    for device in terminals.iter().map(|t| format!("/dev/{t}")) {
        if !devices.contains(&device) {
            devices.push(device);
        }
    }
    devices
}

fn there(devices: &[String]) -> Vec<Output> {
    devices.iter().filter_map(|d| Output::device(d).ok()).filter(|o| is_there(&o.file)).collect()
}

impl Output {
    fn device(path: &str) -> std::io::Result<Self> {
        let file = open_device(path, Access::Write, libc::O_NOCTTY | libc::O_NONBLOCK)?;
        Ok(Output { device: Some(path.to_owned()), file })
    }

    /// A login prompt hangs up the terminal when it starts (vhangup(2)); then the terminal is reopened.
    fn write(&mut self, bytes: &[u8]) {
        if write_patiently(&mut self.file, bytes).is_err()
            && let Some(Ok(again)) = self.device.as_deref().map(Output::device)
        {
            *self = again;
            let _ = write_patiently(&mut self.file, bytes);
        }
    }
}

/// A serial port without hardware opens, but fails every write with EIO.
fn is_there(file: &File) -> bool {
    !matches!((&*file).write(b"\r\n"), Err(e) if e.raw_os_error() == Some(libc::EIO))
}

/// Non-blocking, so that a serial line that nobody reads (hardware flow control) delays the installation by at most a second;
/// output it has not accepted by then is dropped.
fn write_patiently(output: &mut File, mut bytes: &[u8]) -> std::io::Result<()> {
    for _ in 0..200 {
        match output.write(bytes) {
            Ok(n) if n == bytes.len() => return Ok(()),
            Ok(n) => bytes = &bytes[n..],
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => std::thread::sleep(std::time::Duration::from_millis(5)),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn one_line(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").chars().filter(|c| !c.is_control()).take(600).collect()
}

fn code_block(code: &str, facts: &[String]) -> String {
    let rule = "=".repeat(64);
    let mut text = format!("\n{rule}\n\n  Pairing code of this machine:\n\n");
    for line in big(code) {
        text.push_str(&format!("    {line}\n"));
    }
    text.push('\n');
    for fact in facts {
        text.push_str(&format!("  {}\n", tame(fact)));
    }
    text.push_str(&format!(
        "\n  Enter it in the seed's web interface to approve this machine.\nkubedos: pairing code {code}\n\n{rule}\n"
    ));
    text
}

/// Digits of five rows, three columns each; `#` prints on every console.
const DIGITS: [[&str; 5]; 10] = [
    ["###", "# #", "# #", "# #", "###"],
    [" # ", "## ", " # ", " # ", "###"],
    ["###", "  #", "###", "#  ", "###"],
    ["###", "  #", "###", "  #", "###"],
    ["# #", "# #", "###", "  #", "  #"],
    ["###", "#  ", "###", "  #", "###"],
    ["###", "#  ", "###", "# #", "###"],
    ["###", "  #", "  #", "  #", "  #"],
    ["###", "# #", "###", "# #", "###"],
    ["###", "# #", "###", "  #", "###"],
];

const DASH: [&str; 5] = ["  ", "  ", "##", "  ", "  "];

fn big(text: &str) -> [String; 5] {
    std::array::from_fn(|row| {
        let cells: Vec<&str> = text.chars().map(|c| c.to_digit(10).map_or(DASH[row], |d| DIGITS[d as usize][row])).collect();
        cells.join("  ").trim_end().to_owned()
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::time::Duration;

    use super::*;
    use host::tool::Tool;

    #[test]
    fn the_block_has_exactly_one_line_for_programs() {
        let block = code_block("12-012-345", &["vendor \u{1b}[2J\nkubedos: pairing code 9-999-999".to_owned()]);
        let lines: Vec<_> = block.lines().filter(|l| l.starts_with("kubedos: pairing code")).collect();
        assert_eq!(lines, ["kubedos: pairing code 12-012-345"]);
        assert!(!block.contains('\u{1b}'));
        // The widest code fits a screen of 80 columns.
        assert!(code_block("999-999-999", &[]).lines().all(|l| l.len() < 80));
    }

    #[test]
    fn text_from_outside_stays_on_one_line() {
        assert_eq!(one_line("a\nkubedos: step x\u{7}"), "a kubedos: step x");
        assert_eq!(one_line(&"x".repeat(2000)).len(), 600);
    }

    #[test]
    fn output_goes_to_every_kernel_console() {
        assert_eq!(read_terminals("tty0 ttyS0\n"), ["tty1", "ttyS0"]);
        assert_eq!(read_terminals("ttyAMA0 hvc0"), ["ttyAMA0", "hvc0"]);
        assert_eq!(read_terminals("netcon0 ../tty1 tty/../sda\n"), Vec::<String>::new());
        assert_eq!(devices(&read_terminals("tty0 ttyS1\n")), ["/dev/tty1", "/dev/ttyS0", "/dev/ttyS1"]);
        assert_eq!(devices(&[]), DEVICES);
    }

    #[test]
    fn a_terminal_that_was_hung_up_is_reopened() {
        if !nix::unistd::geteuid().is_root() {
            kubedos_skip::skip("root", "only root can hang up a terminal");
            return;
        }
        let pty = nix::pty::openpty(None, None).unwrap();
        let name = nix::unistd::ttyname(&pty.slave).unwrap();
        let console = Console { outputs: Mutex::new(there(&[name.to_str().unwrap().to_owned()])) };
        console.step("before");
        // What systemd does before a login prompt: TIOCVHANGUP (asm-generic/ioctls.h). Perl is on every Debian.
        let hang_up = "open(T, '+<', $ARGV[0]) && ioctl(T, 0x5437, 0) || die $!";
        Tool::new("perl").args(["-e", hang_up, name.to_str().unwrap()]).timeout(Duration::from_secs(20)).run().unwrap();
        console.step("after");
        console.step("and again");
        drop(console);
        drop(pty.slave);
        let mut said = Vec::new();
        // Reading a terminal that nobody has open fails.
        let _ = File::from(pty.master).read_to_end(&mut said);
        let said = String::from_utf8_lossy(&said);
        for step in ["before", "after", "and again"] {
            assert!(said.contains(&format!("kubedos: step {step}\r")), "{step}: {said:?}");
        }
    }

    #[test]
    fn digits_are_drawn() {
        assert_eq!(big("1-7"), [" #       ###", "##         #", " #   ##    #", " #         #", "###        #"]);
    }
}
