//! Private keys and password hashes in bytes that are about to leave a machine. It finds accidents, not secrets that somebody hid.

/// The kinds of secrets in these bytes.
pub fn secrets(text: &[u8]) -> Vec<&'static str> {
    let mut found = Vec::new();
    let mut say = |yes: bool, what| yes.then(|| found.push(what));
    say(private_key(text), "a private key");
    say(after(text, b"AGE-SECRET-KEY-1", |rest| run(rest, is_base32) >= 50), "an age secret key");
    say(
        // `PuTTY-User-Key-File-3: ssh-ed25519`
        after(text, b"PuTTY-User-Key-File-", |rest| {
            let format = rest.first().is_some_and(u8::is_ascii_digit) && rest.get(1) == Some(&b':');
            format && memchr::memmem::find(rest, b"Private-Lines").is_some()
        }),
        "a private key",
    );
    say(after(text, b"PrivateKey", wireguard), "a WireGuard private key");
    say(after(text, b"kjt-", join_token), "a join token");
    say(after(text, b"kbd_", api_token), "an API token");
    say(after(text, b"kdm-", metrics_token), "a metrics token");
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
        // Word by word: a program with this code in it must not look like a key itself.
        let words: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
        let kind = words.ends_with(&[b"PRIVATE", b"KEY"]) || words.ends_with(&[b"PRIVATE", b"KEY", b"BLOCK"]);
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

/// `kjt-<8 hex digits>-<32 hex digits>` ([`JoinToken`](crate::join::token::JoinToken)), as on the kernel command line of a disk image.
fn join_token(rest: &[u8]) -> bool {
    let digits = |text: &[u8]| run(text, |b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'));
    digits(rest) == 8 && rest.get(8) == Some(&b'-') && digits(&rest[9..]) >= 32
}

/// `kbd_<8 hex digits>_<48 hex digits>` ([`api_token`](crate::people::api_token)).
fn api_token(rest: &[u8]) -> bool {
    let digits = |text: &[u8]| run(text, |b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'));
    digits(rest) == 8 && rest.get(8) == Some(&b'_') && digits(&rest[9..]) >= 48
}

/// `kdm-<43 digits of base64url>`, as `seedd metrics token` prints it. Names of files are long too, but have no capitals and digits.
fn metrics_token(rest: &[u8]) -> bool {
    let digits = &rest[..run(rest, |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))];
    let has = |of: fn(&u8) -> bool| digits.iter().any(of);
    digits.len() == 43 && has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit)
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
#[path = "leak_tests.rs"]
mod tests;
