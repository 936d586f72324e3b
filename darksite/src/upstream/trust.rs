//! Verifies a Release file against pinned keys and the clock, and reads which files it lists. It is an `InRelease` file, or
//! `Release` with the signatures of `Release.gpg`, joined by [`join`].

use std::collections::BTreeMap;

use jiff::Timestamp;
use pgp::composed::{ArmorOptions, CleartextSignedMessage, Deserializable as _, DetachedSignature};
use pgp::packet::Signature;

use crate::format::date::{Read, read_date};
use crate::format::deb822;
use crate::format::index::is_safe_path;
use crate::format::sum::Sum;
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
    #[error("the Release file lists no file with its SHA256 or SHA512; MD5 and SHA-1 prove nothing")]
    NoSums,
    #[error("the Release file is malformed: {0}")]
    Malformed(String),
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
            TrustError::TooLarge(_) | TrustError::Malformed(_) => {
                "this is not the Release file of a Debian archive; check the mirror's address"
            }
            TrustError::Field { .. } | TrustError::NoSums => {
                "the publisher of the repository has to correct its Release file; apt refuses it too"
            }
            TrustError::Signature(_) => "the file was modified, or the keyring lacks the key that signs it now",
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
    pub sum: Sum,
    pub size: u64,
}

/// A Release file with a verified signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The signed text, line ends as LF.
    pub text: String,
    pub suite: String,
    pub codename: String,
    /// Of its Date field; without a readable one, the time of its signature.
    pub date: Timestamp,
    /// False without a readable Date field.
    pub dated: bool,
    pub valid_until: Option<Timestamp>,
    pub architectures: Vec<String>,
    pub components: Vec<String>,
    /// Files by their path below `dists/<suite>`; from the SHA256 field, and from SHA512 what that does not list.
    pub files: BTreeMap<String, Listed>,
    /// The mirror has files by their digest too.
    pub by_hash: bool,
    /// Packages for all architectures are in `binary-all` only (as apt reads No-Support-for-Architecture-all).
    pub binary_all: bool,
    /// Fingerprints of the certificates with a valid signature.
    pub signed_by: Vec<String>,
    /// What is odd but taken, one line each.
    pub warnings: Vec<String>,
}

/// A Release file and its signatures, not verified.
pub struct Signed {
    /// Line ends as LF; bytes that are not UTF-8 replaced.
    pub text: String,
    /// What the signatures are over.
    bytes: Vec<u8>,
    signatures: Vec<Signature>,
}

const BEGIN_MESSAGE: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const BEGIN_SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";

/// Joins `Release` and `Release.gpg` to one file that [`verify_inrelease`] reads; None if the second has no signature.
pub fn join(release: &[u8], signature: &[u8]) -> Option<Vec<u8>> {
    let mut joined = [release, b"\n"].concat();
    for one in detached(signature) {
        joined.extend(one.to_armored_bytes(ArmorOptions::default()).ok()?);
        joined.push(b'\n');
    }
    (joined.len() > release.len() + 1).then_some(joined)
}

/// The detached signatures of a file, binary or in one or more armored blocks.
pub(crate) fn detached(bytes: &[u8]) -> Vec<DetachedSignature> {
    let text = String::from_utf8_lossy(bytes);
    let mut found = Vec::new();
    if !text.contains(BEGIN_SIGNATURE) {
        if let Ok(all) = DetachedSignature::from_bytes_many(bytes) {
            found.extend(all.take(MAX_SIGNATURES).map_while(Result::ok));
        }
        return found;
    }
    for block in text.split(BEGIN_SIGNATURE).skip(1).take(MAX_SIGNATURES) {
        let block = format!("{BEGIN_SIGNATURE}{block}");
        if let Ok((all, _)) = DetachedSignature::from_armor_many(block.as_bytes()) {
            found.extend(all.take(MAX_SIGNATURES).map_while(Result::ok));
        }
    }
    found
}

/// Parses a Release file in either form without verifying it.
pub fn open(bytes: &[u8]) -> Result<Signed, TrustError> {
    let error = match read_message(bytes) {
        Ok(message) => {
            let signed = message.signed_text();
            let signatures = message.signatures().iter().take(MAX_SIGNATURES).cloned().collect();
            return Ok(Signed { text: signed.replace("\r\n", "\n"), bytes: signed.into_bytes(), signatures });
        }
        Err(error) => error,
    };
    let begin = format!("\n{BEGIN_SIGNATURE}");
    let Some(end) = memchr::memmem::find(bytes, begin.as_bytes()) else { return Err(error) };
    let (release, signatures) = bytes.split_at(end);
    // An InRelease file that cannot be read is not a Release file with something before it.
    if bytes.len() > MAX_INRELEASE || memchr::memmem::find(release, BEGIN_MESSAGE.as_bytes()).is_some() {
        return Err(error);
    }
    let signatures = detached(signatures).into_iter().take(MAX_SIGNATURES).map(|s| s.signature).collect();
    let text = String::from_utf8_lossy(release).replace("\r\n", "\n");
    Ok(Signed { text, bytes: release.to_vec(), signatures })
}

/// Verifies a Release file. One valid signature by a pinned key is enough, as for apt.
pub fn verify_inrelease(bytes: &[u8], keyring: &Keyring, clock: Clock) -> Result<Release, TrustError> {
    let signed = open(bytes)?;
    let mut release = read_release(&signed.text)?;
    if let Clock::At(now) = clock {
        // Before the signatures: if the clock is far behind, every key is from the future, and this error is the clearer one.
        not_from_future(&release, now)?;
    }
    let (mut why, mut made) = (Vec::new(), None);
    for signature in &signed.signatures {
        let at = match clock {
            Clock::At(now) => now,
            Clock::OfFile => moment_of(signature, release.date),
        };
        match keyring.check(signature, &signed.bytes, at) {
            Ok(by) => {
                release.signed_by.push(by);
                made = made.max(Some(moment_of(signature, Timestamp::UNIX_EPOCH)));
            }
            Err(rejected) => why.push(describe(signature, &rejected)),
        }
    }
    if release.signed_by.is_empty() {
        if why.is_empty() {
            why.push("there is no signature".to_owned());
        }
        return Err(TrustError::Signature(why));
    }
    if let Some(made) = made.filter(|_| !release.dated) {
        release.date = made;
    }
    if let Clock::At(now) = clock {
        not_expired(&release, now)?;
    }
    Ok(release)
}

/// The time at which a signature is checked without a clock: the file's date, or the signature's if that is later (a release
/// key can be newer than the packages it signs).
pub fn moment_of(signature: &Signature, date: Timestamp) -> Timestamp {
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

fn describe(signature: &Signature, rejected: &Rejected) -> String {
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

/// Parses a Release file; the caller verifies its signature. Of a field that stands twice, the last counts, as for apt.
pub fn read_release(text: &str) -> Result<Release, TrustError> {
    let malformed = |field, value: &str| TrustError::Field { field, value: value.chars().take(120).collect() };
    let paragraph = deb822::paragraphs(text).next().ok_or_else(|| TrustError::Malformed("it is empty".to_owned()))?;
    let mut fields = BTreeMap::new();
    for field in paragraph.fields() {
        let field = field.map_err(|e| TrustError::Malformed(e.to_string()))?;
        fields.insert(field.name.to_ascii_lowercase(), field.value);
    }
    let field = |name: &str| fields.get(name).copied().unwrap_or_default();
    let words = |name| field(name).split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut warnings = Vec::new();
    let date = read_date(field("date"));
    match date {
        Some(Read { zoned: true, .. }) => {}
        Some(_) => warnings.push(format!("its Date {:?} names no zone; UTC is assumed", field("date"))),
        None => warnings.push(format!("its Date {:?} cannot be read; the date of its signature is used", field("date"))),
    }
    let valid_until = match fields.get("valid-until") {
        // Unlike the date, this one must be certain: apt refuses it too.
        Some(value) => Some(read_date(value).filter(|r| r.zoned).ok_or_else(|| malformed("Valid-Until", value))?.at),
        None => None,
    };
    if field("suite").is_empty() && field("codename").is_empty() {
        warnings.push("it names neither Suite nor Codename".to_owned());
    }
    let mut files = listed(field("sha512"), |sum| matches!(sum, Sum::Sha512(_)));
    files.extend(listed(field("sha256"), |sum| matches!(sum, Sum::Sha256(_))));
    if files.is_empty() {
        return Err(TrustError::NoSums);
    }
    let architectures = words("architectures");
    let separate = !words("no-support-for-architecture-all").iter().any(|w| w.eq_ignore_ascii_case("packages"));
    Ok(Release {
        suite: field("suite").to_owned(),
        codename: field("codename").to_owned(),
        date: date.map_or(Timestamp::UNIX_EPOCH, |read| read.at),
        dated: date.is_some(),
        valid_until,
        binary_all: separate && architectures.iter().any(|a| a == "all"),
        architectures,
        components: words("components"),
        files,
        by_hash: field("acquire-by-hash").eq_ignore_ascii_case("yes"),
        signed_by: Vec::new(),
        warnings,
        text: text.to_owned(),
    })
}

/// The lines of a SHA256 or SHA512 field. One that cannot be used is skipped: its file is as if it were not listed.
fn listed(field: &str, kind: impl Fn(&Sum) -> bool) -> BTreeMap<String, Listed> {
    let one = |line: &str| {
        let mut parts = line.split_whitespace();
        let sum = Sum::parse(parts.next()?).filter(&kind)?;
        let size = parts.next()?.parse().ok().filter(|&n| n <= MAX_LISTED_SIZE * 64)?;
        // Repositories made by `apt-ftparchive release .` list "./Packages".
        let path = parts.next()?.trim_start_matches("./");
        (parts.next().is_none() && is_safe_path(path)).then(|| (path.to_owned(), Listed { sum, size }))
    };
    field.lines().filter_map(one).collect()
}
