//! Fetches from a mirror: what every way has in common, and local directories. HTTP is in [`super::http`].

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::time::Duration;

use camino::Utf8PathBuf;

/// Attempts to fetch one file.
pub const MAX_TRIES: u32 = 5;

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("the mirror does not have {url}")]
    NotFound { url: String },
    #[error("the mirror returned status {status} for {url}")]
    Status { url: String, status: u16 },
    #[error("fetching {url}")]
    Transport {
        url: String,
        #[source]
        source: Box<ureq::Error>,
    },
    #[error("reading {url}")]
    Read {
        url: String,
        #[source]
        source: io::Error,
    },
    #[error("{url} is larger than {limit} bytes")]
    TooLarge { url: String, limit: u64 },
    #[error("{url} ended after {got} of {want} bytes")]
    Short { url: String, got: u64, want: u64 },
    #[error("{0:?} is not a mirror address (expected http://, https:// or file:///)")]
    Scheme(String),
    #[error("the address of {0} contains a user name or a password")]
    Secret(String),
    #[error("getting a token for {url}: {why}")]
    Token { url: String, why: String },
}

impl FetchError {
    /// True if a retry may succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            FetchError::NotFound { .. }
            | FetchError::TooLarge { .. }
            | FetchError::Scheme(_)
            | FetchError::Secret(_)
            | FetchError::Token { .. } => false,
            FetchError::Status { status, .. } => matches!(status, 408 | 429 | 500..=599),
            FetchError::Transport { source, .. } => {
                !matches!(**source, ureq::Error::BadUri(_) | ureq::Error::TooManyRedirects | ureq::Error::RedirectFailed)
            }
            FetchError::Read { .. } | FetchError::Short { .. } => true,
        }
    }

    /// True if the server does not have the file. Object stores answer 403 for that to whoever may not list their content.
    pub fn is_missing(&self) -> bool {
        matches!(self, FetchError::NotFound { .. } | FetchError::Status { status: 403, .. })
    }

    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            FetchError::Secret(_) => SECRET_HINT,
            FetchError::Token { .. } => "check the name of the image and its registry, or use another registry that has it",
            FetchError::Status { status: 401, .. } => {
                "the server wants a user name and a password: write them into a netrc file and use --netrc FILE"
            }
            FetchError::Status { status: 403, .. } => {
                "the server refuses it, or does not have it (object stores say the same for both); check the address"
            }
            FetchError::NotFound { .. } => {
                "check the mirror's address, the suite and the component; or the mirror is being updated: try again later"
            }
            FetchError::Scheme(_) => "write the mirror as http://host/path, https://host/path or file:///path",
            FetchError::TooLarge { .. } => "the mirror sends more than the signed index lists; use another mirror",
            FetchError::Transport { source, .. } if matches!(**source, ureq::Error::TooManyRedirects) => {
                "the mirror redirects too often; use another mirror"
            }
            _ => "check the network and the mirror; completed downloads are kept, run it again to resume",
        }
    }
}

/// An open body. `offset` is where it begins: a server without range requests sends the file from the start.
pub struct Body {
    pub offset: u64,
    pub reader: Box<dyn Read + Send>,
}

/// Where bytes come from.
pub trait Fetch: Sync {
    /// Opens `url` at byte `offset`, or at its start if it cannot be resumed.
    fn get(&self, url: &str, offset: u64) -> Result<Body, FetchError>;
}

/// What to do with a password instead of writing it into an address.
const SECRET_HINT: &str = "write it into a netrc file (machine HOST login NAME password WORD) and use --netrc FILE; addresses are \
     shown, logged and published";

/// A mirror in a local directory (`file:///srv/mirror`).
pub struct DirFetch;

impl Fetch for DirFetch {
    fn get(&self, url: &str, offset: u64) -> Result<Body, FetchError> {
        let path =
            url.strip_prefix("file://").filter(|p| p.starts_with('/')).ok_or_else(|| FetchError::Scheme(url.to_owned()))?;
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => FetchError::NotFound { url: url.to_owned() },
            _ => FetchError::Read { url: url.to_owned(), source },
        };
        let mut file = File::open(Utf8PathBuf::from(path)).map_err(failed)?;
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        Ok(Body { offset, reader: Box::new(file) })
    }
}

/// A file's address below a mirror, escaped but for a mirror that is a directory. `+` is escaped too: Amazon S3 reads it as
/// a space. A `%` in a file name is not an escape.
pub fn join(mirror: &str, path: &str) -> String {
    let mirror = mirror.trim_end_matches('/');
    if mirror.starts_with("file:") {
        return format!("{mirror}/{path}");
    }
    let mut url = format!("{mirror}/");
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b':' | b'@' | b'=' => {
                url.push(char::from(byte));
            }
            // Writing to a String cannot fail.
            other => _ = write!(url, "%{other:02X}"),
        }
    }
    url
}

/// The address without user name and password, if it has any.
pub fn without_login(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (_, host) = rest[..end].rsplit_once('@')?;
    Some(format!("{scheme}://{host}{}", &rest[end..]))
}

/// The address as it may be published: without a query, which may be a signature or a token.
pub fn published(url: &str) -> String {
    let url = without_login(url).unwrap_or_else(|| url.to_owned());
    let web = url.starts_with("http://") || url.starts_with("https://");
    let end = url.find(['?', '#']).filter(|_| web).unwrap_or(url.len());
    url[..end].to_owned()
}

/// Waits before attempt number `tries` (from 1): 0.2 s, doubled each time.
pub fn pause(tries: u32) {
    std::thread::sleep(Duration::from_millis(200 << tries.min(5)));
}

/// Fetches a small file into memory, with retries.
pub fn get_all(fetch: &dyn Fetch, url: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match get_once(fetch, url, limit) {
            Err(e) if e.is_transient() && tries < MAX_TRIES => pause(tries),
            other => return other,
        }
    }
}

fn get_once(fetch: &dyn Fetch, url: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
    let body = fetch.get(url, 0)?;
    let mut bytes = Vec::new();
    body.reader.take(limit + 1).read_to_end(&mut bytes).map_err(|source| FetchError::Read { url: url.to_owned(), source })?;
    if bytes.len() as u64 > limit {
        return Err(FetchError::TooLarge { url: url.to_owned(), limit });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::http::{AnyFetch, HttpLimits};

    #[test]
    fn a_local_mirror_is_read_from_any_offset() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), b"0123456789").unwrap();
        let url = join(&format!("file://{}", dir.path().display()), "f");
        let fetch = AnyFetch::new(HttpLimits::default());
        assert_eq!(get_all(&fetch, &url, 10).unwrap(), b"0123456789");
        assert!(matches!(get_all(&fetch, &url, 9), Err(FetchError::TooLarge { limit: 9, .. })));
        let mut rest = String::new();
        fetch.get(&url, 7).unwrap().reader.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "789");
        assert!(matches!(fetch.get(&(url + "x"), 0), Err(FetchError::NotFound { .. })));
        for bad in ["ftp://x/y", "nothing", "file:relative"] {
            assert!(matches!(fetch.get(bad, 0), Err(FetchError::Scheme(_))), "{bad}");
        }
    }

    #[test]
    fn addresses_are_joined_once() {
        assert_eq!(join("http://m/debian/", "pool/a%3a1.deb"), "http://m/debian/pool/a%253a1.deb");
        assert_eq!(join("file:///m", "pool/a%3a1.deb"), "file:///m/pool/a%3a1.deb");
        assert_eq!(join("file:///m", "pool/a+b c.deb"), "file:///m/pool/a+b c.deb");
        assert_eq!(join("http://m+n/d", "a+b c[1]$,\u{e4}~?#"), "http://m+n/d/a%2Bb%20c%5B1%5D%24%2C%C3%A4~%3F%23");
    }

    #[test]
    fn a_password_is_not_part_of_a_public_address() {
        assert_eq!(without_login("http://u:p@h:80/a?b").as_deref(), Some("http://h:80/a?b"));
        assert_eq!(without_login("https://u:p@x@h").as_deref(), Some("https://h"));
        for url in ["http://h/a@b", "/srv/a@b", "file:///a@b", "https://h?x=a@b"] {
            assert_eq!(without_login(url), None, "{url}");
        }
        assert_eq!(published("https://u:p@h/a/b?token=x#y"), "https://h/a/b");
        assert_eq!(published("/srv/a?b"), "/srv/a?b");
        let fetch = AnyFetch::new(HttpLimits::default());
        let error = fetch.get("http://user:s3cret@127.0.0.1:1/x", 0).err().unwrap();
        assert!(matches!(&error, FetchError::Secret(_)) && !error.to_string().contains("s3cret"), "{error}");
        assert!(error.hint().contains("--netrc"));
    }
}
