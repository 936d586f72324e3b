//! Searches what is about to be published for private keys and password hashes, also inside tar, deb, gzip, xz and zstd.
//!
//! It finds accidents, not deliberately hidden secrets: data that cannot be unpacked is searched in its packed form.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use camino::{Utf8Path, Utf8PathBuf};
use host::ar;

/// Levels of nested archives that are opened.
pub const MAX_DEPTH: usize = 5;
/// Unpacked bytes searched for one file.
pub const MAX_BYTES: u64 = 64 << 30;
/// Findings reported for one file.
pub const MAX_FINDINGS: usize = 20;
/// Bytes searched at once.
const WINDOW: usize = 256 << 10;
/// Bytes of a window that are searched again with the next: the longest pattern fits.
const OVERLAP: usize = 8 << 10;

/// Something that must not be published.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, and the names inside archives, separated by `!`.
    pub place: String,
    pub what: &'static str,
}

#[derive(Debug, thiserror::Error)]
pub enum LintError {
    #[error("reading {path}")]
    Read {
        path: Utf8PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{place} unpacks to more than {MAX_BYTES} bytes")]
    TooLarge { place: String },
}

struct Look {
    found: Vec<Finding>,
    left: u64,
}

/// Searches a file; findings call it `name`.
pub fn file(path: &Utf8Path, name: &str) -> Result<Vec<Finding>, LintError> {
    let failed = |source| LintError::Read { path: path.to_owned(), source };
    let opened = File::open(path).map_err(failed)?;
    reader(name, Box::new(opened)).map_err(|e| match e.kind() {
        io::ErrorKind::FileTooLarge => LintError::TooLarge { place: name.to_owned() },
        _ => failed(e),
    })
}

/// Searches bytes in memory.
pub fn bytes(name: &str, content: &[u8]) -> Vec<Finding> {
    // Reading from memory does not fail, and no asset unpacks to more than the limit.
    reader(name, Box::new(io::Cursor::new(content.to_vec()))).unwrap_or_default()
}

fn reader(name: &str, from: Box<dyn Read>) -> io::Result<Vec<Finding>> {
    let mut look = Look { found: Vec::new(), left: MAX_BYTES };
    look.any(name, from, 0)?;
    look.found.sort();
    look.found.dedup();
    look.found.truncate(MAX_FINDINGS);
    Ok(look.found)
}

impl Look {
    fn any(&mut self, place: &str, from: Box<dyn Read + '_>, depth: usize) -> io::Result<()> {
        let mut from = BufReader::with_capacity(WINDOW, from);
        // A single read may return fewer bytes.
        let mut head = Vec::new();
        Read::by_ref(&mut from).take(512).read_to_end(&mut head)?;
        let all = io::Cursor::new(head.clone()).chain(from);
        if depth >= MAX_DEPTH {
            return self.plain(place, all);
        }
        let inner = format!("{place}!");
        match () {
            () if head.starts_with(b"\x1f\x8b") => self.packed(&inner, flate2::bufread::MultiGzDecoder::new(all), depth),
            () if head.starts_with(b"\xfd7zXZ\0") => {
                self.packed(&inner, liblzma::bufread::XzDecoder::new_multi_decoder(all), depth)
            }
            () if head.starts_with(b"\x28\xb5\x2f\xfd") => match zstd::stream::read::Decoder::with_buffer(all) {
                Ok(unpacked) => self.packed(&inner, unpacked, depth),
                Err(_) => Ok(()),
            },
            () if head.starts_with(ar::MAGIC) => self.ar(&inner, all, depth),
            () if head.get(257..262) == Some(b"ustar") => self.tar(&inner, all, depth),
            () => self.plain(place, all),
        }
    }

    /// Damaged data is searched up to the damage.
    fn packed(&mut self, place: &str, unpacked: impl Read, depth: usize) -> io::Result<()> {
        self.any(place, Box::new(Lenient(unpacked)), depth + 1)
    }

    fn ar(&mut self, place: &str, mut from: impl BufRead, depth: usize) -> io::Result<()> {
        let mut magic = [0; ar::MAGIC.len()];
        from.read_exact(&mut magic)?;
        let mut header = [0; ar::HEADER];
        while from.read_exact(&mut header).is_ok() {
            let Some(header) = ar::Header::parse(&header) else { return self.plain(place, from) };
            let mut member = (&mut from).take(header.size);
            self.any(&format!("{place}{}", header.name), Box::new(&mut member), depth + 1)?;
            io::copy(&mut member, &mut io::sink())?;
            io::copy(&mut (&mut from).take(header.padded() - header.size), &mut io::sink())?;
        }
        Ok(())
    }

    fn tar(&mut self, place: &str, from: impl Read, depth: usize) -> io::Result<()> {
        let mut archive = tar::Archive::new(from);
        for entry in archive.entries()? {
            // A damaged archive is searched up to the damage.
            let Ok(mut entry) = entry else { return Ok(()) };
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            if entry.header().entry_type().is_file() {
                self.any(&format!("{place}{}", name.trim_start_matches("./")), Box::new(Lenient(&mut entry)), depth + 1)?;
            }
        }
        Ok(())
    }

    fn plain(&mut self, place: &str, mut from: impl BufRead) -> io::Result<()> {
        let mut window: Vec<u8> = Vec::with_capacity(WINDOW + OVERLAP);
        loop {
            let piece = from.fill_buf()?;
            let n = piece.len();
            window.extend_from_slice(piece);
            from.consume(n);
            self.left = self.left.checked_sub(n as u64).ok_or(io::ErrorKind::FileTooLarge)?;
            if n > 0 && window.len() < WINDOW {
                continue;
            }
            for what in secrets(&window) {
                self.found.push(Finding { place: place.trim_end_matches('!').to_owned(), what });
            }
            if n == 0 || self.found.len() > 2 * MAX_FINDINGS {
                return Ok(());
            }
            window.drain(..window.len().saturating_sub(OVERLAP));
        }
    }
}

/// Ends at the first error of its source.
struct Lenient<R>(R);

impl<R: Read> Read for Lenient<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buf) {
            Err(e) if e.kind() == io::ErrorKind::FileTooLarge => Err(e),
            Err(_) => Ok(0),
            good => good,
        }
    }
}

/// The kinds of secrets in these bytes.
pub fn secrets(text: &[u8]) -> Vec<&'static str> {
    let mut found = Vec::new();
    let mut say = |yes: bool, what| yes.then(|| found.push(what));
    say(private_key(text), "a private key");
    say(after(text, b"AGE-SECRET-KEY-1", |rest| run(rest, is_base32) >= 50), "an age secret key");
    say(
        after(text, b"PuTTY-User-Key-File-", |rest| rest.len() > 40 && memchr::memmem::find(rest, b"Private-Lines").is_some()),
        "a private key",
    );
    say(after(text, b"PrivateKey", wireguard), "a WireGuard private key");
    say(password_hash(text), "a password hash");
    say(after(text, b"passwd/", preseeded), "a password in a preseed");
    found.dedup();
    found
}

fn after(text: &[u8], word: &[u8], rest: impl Fn(&[u8]) -> bool) -> bool {
    memchr::memmem::find_iter(text, word).any(|at| rest(&text[at + word.len()..]))
}

fn run(text: &[u8], of: impl Fn(u8) -> bool) -> usize {
    text.iter().take_while(|b| of(**b)).count()
}

fn is_base32(b: u8) -> bool {
    b.is_ascii_uppercase() || b.is_ascii_digit()
}

fn is_base64(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=')
}

/// crypt(5)'s alphabet.
fn is_crypt(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/')
}

/// RFC 7468 and OpenPGP armor. Many programs contain the begin line alone, so a line of base64 must follow.
fn private_key(text: &[u8]) -> bool {
    after(text, b"-----BEGIN ", |rest| {
        let line = &rest[..run(rest, |b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b' ').min(60)];
        let kind = line.ends_with(b"PRIVATE KEY") || line.ends_with(b"PRIVATE KEY BLOCK");
        let Some(body) = rest.get(line.len()..).and_then(|r| r.strip_prefix(b"-----")) else { return false };
        let body = &body[..body.len().min(600)];
        let end = memchr::memmem::find(body, b"-----").unwrap_or(body.len());
        kind && (0..end).any(|at| run(&body[at..end], is_base64) >= 40)
    })
}

/// `PrivateKey = <43 base64 digits>=` (wg(8)).
fn wireguard(rest: &[u8]) -> bool {
    let rest = rest.trim_ascii_start();
    let Some(value) = rest.strip_prefix(b"=").map(<[u8]>::trim_ascii_start) else { return false };
    run(value, |b| is_base64(b) && b != b'=') == 43 && value.get(43) == Some(&b'=')
}

/// `passwd/root-password password x`, with any whitespace (debconf's preseed format).
fn preseeded(rest: &[u8]) -> bool {
    let line = &rest[..run(rest, |b| b != b'\n').min(200)];
    let mut words = line.split(|b| b.is_ascii_whitespace()).filter(|w| !w.is_empty());
    let question = words.next().unwrap_or_default();
    let asked = memchr::memmem::find(question, b"-password").is_some();
    asked
        && matches!(words.next(), Some(b"password" | b"string"))
        && words.next().is_some_and(|v| v != b"!" && v != b"*" && v != b"\\")
}

/// Hashes in the format of crypt(5), with exactly the length of their method.
fn password_hash(text: &[u8]) -> bool {
    memchr::memchr_iter(b'$', text).any(|at| {
        let rest = &text[at + 1..text.len().min(at + 300)];
        let mut fields = rest.split(|b| *b == b'$');
        let method = fields.next().unwrap_or_default();
        let digits = match method {
            b"1" => 22,
            b"5" => 43,
            b"6" => 86,
            b"y" | b"gy" | b"7" => 43,
            b"2a" | b"2b" | b"2y" => 53,
            b"argon2id" | b"argon2i" | b"argon2d" => return argon2(fields),
            _ => return false,
        };
        let fields: Vec<&[u8]> = fields.take(4).collect();
        let (salts, hash) = match (method, &fields[..]) {
            (b"2a" | b"2b" | b"2y", [cost, hash, ..]) if cost.len() == 2 => (vec![], *hash),
            (b"1", [salt, hash, ..]) => (vec![*salt], *hash),
            (b"5" | b"6", [rounds, salt, hash, ..]) if rounds.starts_with(b"rounds=") => (vec![*salt], *hash),
            (b"5" | b"6", [salt, hash, ..]) => (vec![*salt], *hash),
            (b"y" | b"gy" | b"7", [cost, salt, hash, ..]) => (vec![*cost, *salt], *hash),
            _ => return false,
        };
        salts.iter().all(|s| s.iter().all(|b| is_crypt(*b)) && s.len() <= 86) && run(hash, is_crypt) == digits
    })
}

fn argon2<'t>(mut fields: impl Iterator<Item = &'t [u8]>) -> bool {
    let version = fields.next().is_some_and(|f| f.starts_with(b"v="));
    let cost = fields.next().is_some_and(|f| f.starts_with(b"m="));
    let salt = fields.next().is_some_and(|f| run(f, is_base64) >= 11);
    version && cost && salt && fields.next().is_some_and(|f| run(f, is_base64) >= 22)
}

#[cfg(test)]
mod tests;
