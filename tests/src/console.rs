//! Follows a machine's serial console.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use cluster_seed::pairing::PairingCode;

/// Most output read from a console.
const MAX_LOG: u64 = 256 << 20;
/// Bytes read at once.
const MAX_READ: u64 = 1 << 20;
/// A line longer than this many bytes is cut.
const MAX_LINE: usize = 4096;

/// One line of a console, without control sequences, and when the lab saw it.
#[derive(Debug, Clone)]
pub struct Line {
    pub at: Instant,
    pub text: String,
}

/// The console of one machine.
#[derive(Debug)]
pub struct Console {
    path: PathBuf,
    offset: u64,
    rest: Vec<u8>,
    pub lines: Vec<Line>,
}

impl Console {
    pub fn follow(path: &Path) -> Self {
        Console { path: path.to_owned(), offset: 0, rest: Vec::new(), lines: Vec::new() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads what is new. A log that does not exist yet has nothing new.
    pub fn poll(&mut self) -> Result<()> {
        let Ok(mut file) = File::open(&self.path) else { return Ok(()) };
        while self.offset < MAX_LOG {
            file.seek(SeekFrom::Start(self.offset)).context("reading a console")?;
            let mut new = Vec::new();
            (&mut file).take(MAX_READ).read_to_end(&mut new).context("reading a console")?;
            if new.is_empty() {
                break;
            }
            self.offset += new.len() as u64;
            self.feed(&new, Instant::now());
        }
        Ok(())
    }

    /// Cuts bytes into lines.
    fn feed(&mut self, bytes: &[u8], at: Instant) {
        for &byte in bytes {
            if byte == b'\n' || self.rest.len() >= MAX_LINE {
                let text = plain(&self.rest);
                self.rest.clear();
                if !text.is_empty() {
                    self.lines.push(Line { at, text });
                }
            }
            if byte != b'\n' {
                self.rest.push(byte);
            }
        }
    }

    /// The line at or after `from` that contains `pattern`.
    pub fn find(&self, from: usize, pattern: &str) -> Option<&Line> {
        self.lines.iter().skip(from).find(|l| l.text.contains(pattern))
    }

    /// The newest pairing code the agent printed, `12-597-850`.
    pub fn pairing_code(&self) -> Option<String> {
        self.lines.iter().rev().find_map(|l| pairing_code(&l.text))
    }

    /// The last line that the agent itself wrote, for progress.
    pub fn last_of_agent(&self) -> Option<&str> {
        self.lines.iter().rev().map(|l| l.text.as_str()).find(|t| t.contains("kubedos: "))
    }
}

/// The code in `kubedos: pairing code 12-597-850`.
pub fn pairing_code(line: &str) -> Option<String> {
    let (_, after) = line.split_once("kubedos: pairing code ")?;
    let code: String = after.chars().take_while(|c| c.is_ascii_digit() || *c == '-').collect();
    code.parse::<PairingCode>().ok().map(|_| code)
}

/// Text without ECMA-48 control sequences, carriage returns and other control characters.
pub fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\u{1b}' {
            if !c.is_control() || c == '\t' {
                out.push(c);
            }
            continue;
        }
        match chars.next() {
            // CSI: parameters, then one final byte in @..~ (ECMA-48 5.4).
            Some('[') => while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {},
            // OSC: until BEL or ESC.
            Some(']') => while chars.next().is_some_and(|c| c != '\u{7}' && c != '\u{1b}') {},
            _ => {}
        }
    }
    out.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_sequences_go() {
        let table: [(&[u8], &str); 5] = [
            (b"\x1b[2J\x1b[01;01Hhello\r", "hello"),
            (b"\x1b]0;title\x07name", "name"),
            (b"plain", "plain"),
            (b"\x1b", ""),
            (b"\x1b[31mred\x1b[0m and \xff", "red and \u{fffd}"),
        ];
        for (bytes, want) in table {
            assert_eq!(plain(bytes), want);
        }
    }

    #[test]
    fn codes_are_a_number_and_six_digits() {
        let table = [
            ("kubedos: pairing code 12-123-456", Some("12-123-456")),
            ("[  1.5] kubedos: pairing code 999-000-001  |", Some("999-000-001")),
            ("kubedos: pairing code 123-456", None),
            ("kubedos: pairing code 1234-123-456", None),
            ("pairing code 12-123-456", None),
        ];
        for (line, want) in table {
            assert_eq!(pairing_code(line).as_deref(), want, "{line}");
        }
    }

    #[test]
    fn lines_are_complete_however_the_input_is_split() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut console = Console::follow(&path);
        console.poll().unwrap();
        for part in ["kubedos: ste", "p hello\r\nkubedos: pairing ", "code 1-111-222\nkubedos: pairing code 2-333-444\ntail"] {
            use std::io::Write as _;
            std::fs::OpenOptions::new().create(true).append(true).open(&path).unwrap().write_all(part.as_bytes()).unwrap();
            console.poll().unwrap();
        }
        let texts: Vec<&str> = console.lines.iter().map(|l| l.text.as_str()).collect();
        assert_eq!(texts, ["kubedos: step hello", "kubedos: pairing code 1-111-222", "kubedos: pairing code 2-333-444"]);
        assert_eq!(console.pairing_code().unwrap(), "2-333-444");
        assert!(console.find(0, "step hello").is_some());
        assert!(console.find(1, "step hello").is_none());
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let mut console = Console::follow(Path::new("/nonexistent"));
        console.feed(&vec![b'x'; MAX_LINE * 2 + 1], Instant::now());
        assert_eq!(console.lines.len(), 2);
        assert_eq!(console.lines[0].text.len(), MAX_LINE);
    }
}
