//! A kernel command line that values cannot break out of.

use std::fmt;
use std::net::SocketAddrV4;

use cluster_seed::agent::TELL_CODE;
use cluster_seed::arch::Arch;
use cluster_seed::ids::Mac;

/// COMMAND_LINE_SIZE of x86 and arm64 kernels, with its NUL.
pub const MAX_CMDLINE: usize = 2_048;
/// The longest key or value of one parameter.
pub const MAX_TOKEN: usize = 256;

/// Parameters that only this program may set.
const RESERVED: [&str; 11] = [
    "kubedos.seed",
    "kubedos.rescue",
    "BOOTIF",
    "initrd",
    "init",
    "rdinit",
    "root",
    "console",
    "module",
    "debug_shell",
    "memtest",
];

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CmdlineError {
    #[error("kernel parameter name {0:?} is not 1 to 256 characters of a-z, A-Z, 0-9, '.', '_', '-'")]
    Key(String),
    #[error("kernel parameter value {0:?} has characters other than a-z, A-Z, 0-9 and ._:/,@%+=-")]
    Value(String),
    #[error("kernel parameter {0} is set by the boot server itself")]
    Reserved(String),
    #[error("kernel command line longer than {} characters", MAX_CMDLINE - 1)]
    TooLong,
    #[error("file name {0:?} is not 1 to 64 characters of a-z, A-Z, 0-9, '.', '_', '-'")]
    FileName(String),
}

/// `http://address[:port]` of the seed. An address, so that a booting machine needs no name server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeedUrl(pub SocketAddrV4);

impl fmt::Display for SeedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.port() {
            80 => write!(f, "http://{}", self.0.ip()),
            port => write!(f, "http://{}:{port}", self.0.ip()),
        }
    }
}

/// A name under `/boot/`, also used as a kernel parameter value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileName(String);

impl FileName {
    pub fn new(name: &str) -> Result<Self, CmdlineError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if name.is_empty() || name.len() > 64 || name.starts_with(['.', '-']) || !name.bytes().all(plain) {
            return Err(CmdlineError::FileName(shown(name)));
        }
        Ok(FileName(name.to_owned()))
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Consoles of the kernel and the agent. The last one is /dev/console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Console {
    /// The screen.
    Vga,
    /// A serial port by number (0 to 3), 115200 baud, 8 data bits, no parity.
    Serial(u8),
}

/// Kernel parameters, each checked when it is added, printed separated by single spaces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelCmdline {
    tokens: Vec<String>,
}

impl KernelCmdline {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn seed(mut self, url: SeedUrl) -> Self {
        self.tokens.push(format!("kubedos.seed={url}"));
        self
    }

    /// `BOOTIF=01-aa-bb-...`, the form PXELINUX made common: hardware type, then the address.
    pub fn bootif(mut self, mac: Mac) -> Self {
        self.tokens.push(format!("BOOTIF=01-{}", mac.to_string().replace(':', "-")));
        self
    }

    /// A serial port of arm64 is either a 16550 or a PL011, with different names: the kernel ignores the one that is not there.
    pub fn console(mut self, console: Console, arch: Arch) -> Self {
        match console {
            Console::Vga => self.tokens.push("console=tty0".into()),
            Console::Serial(port) => {
                let names = if arch == Arch::Arm64 { &["ttyS", "ttyAMA"][..] } else { &["ttyS"] };
                self.tokens.extend(names.iter().map(|name| format!("console={name}{},115200n8", port.min(3))));
            }
        }
        self
    }

    /// The name under which the boot loader passes the initramfs; EFI kernels look for it.
    pub fn initrd(mut self, name: &FileName) -> Self {
        self.tokens.push(format!("initrd={name}"));
        self
    }

    /// A shell on every console instead of the agent, with nothing mounted and no address (`kubedos-node rescue`).
    pub fn rescue(mut self) -> Self {
        self.tokens.push("kubedos.rescue".into());
        self
    }

    /// Allows the agent to tell its code to the seed that asks for it.
    pub fn tell_code(mut self) -> Self {
        self.tokens.push(TELL_CODE.into());
        self
    }

    /// The kernel tests all free memory with this many patterns (1 to 17) before it starts the agent; bad memory is
    /// reported and not used (admin-guide/kernel-parameters, `memtest=`).
    pub fn memory_test(mut self, patterns: u8) -> Self {
        self.tokens.push(format!("memtest={}", patterns.clamp(1, 17)));
        self
    }

    /// Parameters set by an operator: `name` or `name=value`, each validated by [`KernelCmdline::param`].
    pub fn params<'a>(self, words: impl IntoIterator<Item = &'a str>) -> Result<Self, CmdlineError> {
        words.into_iter().try_fold(self, |line, word| match word.split_once('=') {
            Some((key, value)) => line.param(key, Some(value)),
            None => line.param(word, None),
        })
    }

    /// All parameters of `other` after these.
    pub(super) fn and(mut self, other: &KernelCmdline) -> Result<Self, CmdlineError> {
        self.tokens.extend_from_slice(&other.tokens);
        if self.to_string().len() >= MAX_CMDLINE { Err(CmdlineError::TooLong) } else { Ok(self) }
    }

    /// A parameter set by an operator, with or without a value. It cannot add a second parameter.
    pub fn param(mut self, key: &str, value: Option<&str>) -> Result<Self, CmdlineError> {
        let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if key.is_empty() || key.len() > MAX_TOKEN || key.starts_with('-') || !key.bytes().all(word) {
            return Err(CmdlineError::Key(shown(key)));
        }
        if key.starts_with("kubedos.") || RESERVED.contains(&key) {
            return Err(CmdlineError::Reserved(key.to_owned()));
        }
        // No `$` and no quotes: iPXE and GRUB expand them. No `#`, `;`, `&`, `|`, backslash or brackets.
        let safe = |b: u8| word(b) || b":/,@%+=".contains(&b);
        match value {
            Some(v) if v.len() > MAX_TOKEN || !v.bytes().all(safe) => return Err(CmdlineError::Value(shown(v))),
            Some(v) => self.tokens.push(format!("{key}={v}")),
            None => self.tokens.push(key.to_owned()),
        }
        if self.to_string().len() >= MAX_CMDLINE { Err(CmdlineError::TooLong) } else { Ok(self) }
    }
}

impl fmt::Display for KernelCmdline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.tokens.join(" "))
    }
}

fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn limits() {
        for (len, ok) in [(MAX_TOKEN - 1, true), (MAX_TOKEN, true), (MAX_TOKEN + 1, false)] {
            assert_eq!(KernelCmdline::new().param("a", Some(&"v".repeat(len))).is_ok(), ok, "{len}");
            assert_eq!(KernelCmdline::new().param(&"k".repeat(len), None).is_ok(), ok, "{len}");
        }
        let seven = (0..7).fold(KernelCmdline::new(), |c, _| c.param("k", Some(&"v".repeat(253))).unwrap());
        assert_eq!(seven.to_string().len(), 1791);
        // One space, "k=" and the value: 1791 + 1 + 2 + n.
        assert!(seven.clone().param("k", Some(&"v".repeat(253))).is_ok());
        assert_eq!(seven.clone().param("k", Some(&"v".repeat(253))).unwrap().to_string().len(), MAX_CMDLINE - 1);
        assert_eq!(seven.param("k", Some(&"v".repeat(254))).unwrap_err(), CmdlineError::TooLong);
    }

    #[test]
    fn values_that_would_break_out_are_refused() {
        for bad in ["a b", "a\nb", "a\tb", "${x}", "a\"b", "a'b", "a\\b", "a;b", "a|b", "a&b", "#", "\u{e9}", "a\0b", "[x]"] {
            assert!(matches!(KernelCmdline::new().param("k", Some(bad)), Err(CmdlineError::Value(_))), "{bad:?}");
            assert!(KernelCmdline::new().param(bad, None).is_err(), "{bad:?}");
        }
        for bad in ["", "--", "-x", "a=b"] {
            assert!(matches!(KernelCmdline::new().param(bad, None), Err(CmdlineError::Key(_))), "{bad:?}");
        }
        for reserved in RESERVED.into_iter().chain(["kubedos.anything"]) {
            assert!(matches!(KernelCmdline::new().param(reserved, Some("x")), Err(CmdlineError::Reserved(_))), "{reserved}");
        }
        for bad in ["", "a/b", "..", ".x", "-x", "a b", "a\n", &"n".repeat(65)] {
            assert!(FileName::new(bad).is_err(), "{bad:?}");
        }
        assert!(FileName::new(&"n".repeat(64)).is_ok());
    }

    proptest! {
        #[test]
        fn a_parameter_is_one_token_or_refused(key in any::<String>(), value in any::<Option<String>>()) {
            if let Ok(cmdline) = KernelCmdline::new().param(&key, value.as_deref()) {
                let text = cmdline.to_string();
                prop_assert_eq!(text.split_whitespace().count(), 1);
                prop_assert!(text.bytes().all(|b| b.is_ascii_graphic()));
                prop_assert!(!text.contains(['$', '"', '\'', '\\', '#', ';', '&', '|']));
            }
        }
    }
}
