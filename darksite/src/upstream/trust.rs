//! Verifies an `InRelease` file against pinned keys and the clock, and reads which files it lists.

use std::collections::BTreeMap;

use cluster_seed::ids::Digest;
use jiff::Timestamp;
use pgp::composed::CleartextSignedMessage;

use crate::format::date::parse_date;
use crate::format::deb822;
use crate::format::index::is_safe_path;
use crate::upstream::keyring::{Keyring, MAX_SKEW, Rejected};

/// Bytes of an InRelease file; Debian's is about 150 KB.
pub const MAX_INRELEASE: usize = 8 << 20;
/// Signatures checked in one file; Debian's has three.
pub const MAX_SIGNATURES: usize = 16;
/// Bytes of a file that a Release file lists and that we would fetch.
pub const MAX_LISTED_SIZE: u64 = 2 << 30;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    #[error("not a signed Release file: it begins with {begins:?}")]
    NotSigned { begins: String },
    #[error("the Release file is too large ({0} bytes)")]
    TooLarge(usize),
    #[error("the Release file has no valid signature: {}", .0.join("; "))]
    Signature(Vec<String>),
    #[error("the Release file has no valid {field} field: {value:?}")]
    Field { field: &'static str, value: String },
    #[error("the Release file expired at {until}; this machine's clock says {now}")]
    Expired { until: Timestamp, now: Timestamp },
    #[error("the Release file is dated {date}, but this machine's clock says {now}")]
    FromFuture { date: Timestamp, now: Timestamp },
}

impl TrustError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            TrustError::NotSigned { .. } => "the mirror did not return a Release file; check its address and the suite",
            TrustError::TooLarge(_) | TrustError::Field { .. } => {
                "this is not the Release file of a Debian archive; check the mirror's address"
            }
            TrustError::Signature(_) => {
                "the file was modified, or the keyring is too old for this suite (see package debian-archive-keyring)"
            }
            TrustError::Expired { .. } => {
                "the mirror is out of date or the clock is wrong; use another mirror, set the clock, or use --ignore-clock"
            }
            TrustError::FromFuture { .. } => "set the clock, or use --ignore-clock",
        }
    }
}

/// The time that signatures, keys and Release files are checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The time by the machine's clock.
    At(Timestamp),
    /// The clock is not reliable (air gap, 1970): use the file's own date.
    OfFile,
}

/// A file listed by a Release file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    pub sha256: Digest,
    pub size: u64,
}

/// A Release file with a verified signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The signed text, line ends as LF.
    pub text: String,
    pub suite: String,
    pub codename: String,
    pub date: Timestamp,
    pub valid_until: Option<Timestamp>,
    pub architectures: Vec<String>,
    pub components: Vec<String>,
    /// Files by their path below `dists/<suite>`; from the SHA256 field only.
    pub files: BTreeMap<String, Listed>,
    /// Fingerprints of the certificates with a valid signature.
    pub signed_by: Vec<String>,
}

/// Verifies an InRelease file. One valid signature by a pinned key is enough, as for apt.
pub fn verify_inrelease(bytes: &[u8], keyring: &Keyring, clock: Clock) -> Result<Release, TrustError> {
    let message = read_message(bytes)?;
    let signed = message.signed_text();
    let text = signed.replace("\r\n", "\n");
    let mut release = read_release(&text)?;
    if let Clock::At(now) = clock {
        // Before the signatures: if the clock is far behind, every key is from the future, and this error is the clearer one.
        not_from_future(&release, now)?;
    }
    let mut why = Vec::new();
    for signature in message.signatures().iter().take(MAX_SIGNATURES) {
        let at = match clock {
            Clock::At(now) => now,
            Clock::OfFile => moment_of(signature, release.date),
        };
        match keyring.check(signature, signed.as_bytes(), at) {
            Ok(by) => release.signed_by.push(by),
            Err(rejected) => why.push(describe(signature, &rejected)),
        }
    }
    if release.signed_by.is_empty() {
        if why.is_empty() {
            why.push("there is no signature".to_owned());
        }
        return Err(TrustError::Signature(why));
    }
    if let Clock::At(now) = clock {
        not_expired(&release, now)?;
    }
    Ok(release)
}

/// The time at which a signature is checked without a clock: the file's date, or the signature's if that is later (a release
/// key can be newer than the packages it signs).
pub fn moment_of(signature: &pgp::packet::Signature, date: Timestamp) -> Timestamp {
    let made = signature.created().and_then(|t| Timestamp::from_second(i64::from(t.as_secs())).ok());
    made.map_or(date, |made| made.max(date))
}

/// Parses a clearsigned file without verifying it.
pub fn read_message(bytes: &[u8]) -> Result<CleartextSignedMessage, TrustError> {
    if bytes.len() > MAX_INRELEASE {
        return Err(TrustError::TooLarge(bytes.len()));
    }
    let not_signed = || TrustError::NotSigned { begins: String::from_utf8_lossy(bytes).chars().take(40).collect() };
    let text = std::str::from_utf8(bytes).map_err(|_| not_signed())?;
    let (message, _) = CleartextSignedMessage::from_string(text).map_err(|_| not_signed())?;
    Ok(message)
}

fn describe(signature: &pgp::packet::Signature, rejected: &Rejected) -> String {
    let by = signature
        .issuer_fingerprint()
        .first()
        .map(|f| format!("{f:X}"))
        .or_else(|| signature.issuer_key_id().first().map(|id| id.to_string().to_uppercase()))
        .unwrap_or_else(|| "an unnamed key".to_owned());
    format!("the signature by {by} {rejected}")
}

fn not_from_future(release: &Release, now: Timestamp) -> Result<(), TrustError> {
    match release.date.as_second() > now.as_second() + MAX_SKEW {
        true => Err(TrustError::FromFuture { date: release.date, now }),
        false => Ok(()),
    }
}

fn not_expired(release: &Release, now: Timestamp) -> Result<(), TrustError> {
    match release.valid_until {
        Some(until) if until < now => Err(TrustError::Expired { until, now }),
        _ => Ok(()),
    }
}

/// Parses a Release file; the caller verifies its signature.
pub fn read_release(text: &str) -> Result<Release, TrustError> {
    let malformed = |field, value: &str| TrustError::Field { field, value: value.chars().take(120).collect() };
    let paragraph = deb822::paragraphs(text).next().ok_or_else(|| malformed("Date", ""))?;
    paragraph.check().map_err(|e| malformed("any", &e.to_string()))?;
    let field = |name| paragraph.get(name).unwrap_or_default();
    let words = |name| field(name).split_whitespace().map(str::to_owned).collect();
    let date = parse_date(field("Date")).ok_or_else(|| malformed("Date", field("Date")))?;
    let valid_until = match paragraph.get("Valid-Until") {
        Some(value) => Some(parse_date(value).ok_or_else(|| malformed("Valid-Until", value))?),
        None => None,
    };
    let mut files = BTreeMap::new();
    for line in field("SHA256").lines().map(str::trim).filter(|l| !l.is_empty()) {
        let mut parts = line.split_whitespace();
        let listed = (|| {
            let sha256 = parts.next()?.parse().ok()?;
            let size = parts.next()?.parse().ok().filter(|&n| n <= MAX_LISTED_SIZE * 64)?;
            let path = parts.next().filter(|p| is_safe_path(p))?;
            if parts.next().is_some() { None } else { Some((path, Listed { sha256, size })) }
        })();
        let (path, listed) = listed.ok_or_else(|| malformed("SHA256", line))?;
        files.insert(path.to_owned(), listed);
    }
    if files.is_empty() {
        return Err(malformed("SHA256", ""));
    }
    Ok(Release {
        suite: field("Suite").to_owned(),
        codename: field("Codename").to_owned(),
        date,
        valid_until,
        architectures: words("Architectures"),
        components: words("Components"),
        files,
        signed_by: Vec::new(),
        text: text.to_owned(),
    })
}
