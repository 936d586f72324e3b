//! From the path in a request to a path below a directory.

use camino::{Utf8Path, Utf8PathBuf};

use crate::limits::MAX_PATH;

/// A validated relative path: only plain names, decoded once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SafePath {
    pub(crate) names: Vec<String>,
    /// The request ended in `/`.
    pub(crate) directory: bool,
}

impl SafePath {
    /// Reads the raw, still percent-encoded path (without the leading `/`). Every name must be visible and ordinary:
    /// not empty, not starting with a dot, valid UTF-8 without controls, `/`, `\` or a second layer of encoding.
    pub(crate) fn parse(raw: &str) -> Option<Self> {
        if raw.len() > MAX_PATH {
            return None;
        }
        if raw.is_empty() {
            return Some(SafePath { names: Vec::new(), directory: true });
        }
        let (body, directory) = raw.strip_suffix('/').map_or((raw, false), |body| (body, true));
        let names = body.split('/').map(decode).collect::<Option<Vec<_>>>()?;
        Some(SafePath { names, directory })
    }

    pub(crate) fn below(&self, root: &Utf8Path) -> Utf8PathBuf {
        self.names.iter().fold(root.to_owned(), |path, name| path.join(name))
    }
}

fn decode(segment: &str) -> Option<String> {
    let mut out = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => hex_digit(bytes.next()?)? << 4 | hex_digit(bytes.next()?)?,
            plain => plain,
        });
    }
    let name = String::from_utf8(out).ok()?;
    let bad = |c: char| c.is_control() || matches!(c, '/' | '\\' | '%');
    (!name.is_empty() && !name.starts_with('.') && !name.contains(bad)).then_some(name)
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

/// `name` as one segment of a link.
pub(crate) fn encode(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~+".contains(&b);
    name.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_pass() {
        for (raw, names) in [
            ("pool/main/g/g%2b%2b/g++_4%3a14.2.0-1_amd64.deb", vec!["pool", "main", "g", "g++", "g++_4:14.2.0-1_amd64.deb"]),
            ("dists/trixie/InRelease", vec!["dists", "trixie", "InRelease"]),
            ("a~b/c..d/e.", vec!["a~b", "c..d", "e."]),
        ] {
            assert_eq!(SafePath::parse(raw).unwrap().names, names);
        }
        assert_eq!(SafePath::parse("").unwrap(), SafePath { names: vec![], directory: true });
        assert!(SafePath::parse("pool/").unwrap().directory);
        assert!(SafePath::parse(&"a".repeat(MAX_PATH)).is_some());
    }

    #[test]
    fn everything_else_does_not() {
        let long = "a".repeat(MAX_PATH + 1);
        let huge = "a".repeat(64 << 10);
        for raw in [
            "..",
            "../x",
            "a/../b",
            "a/..",
            "./a",
            "%2e%2e/x",
            "%2E%2e/x",
            ".%2e/x",
            "%2e/x",
            "a%2fb",
            "a%2Fb",
            "..%2fx",
            "a\\b",
            "a%5cb",
            "a%00",
            "%00",
            "a%0ab",
            "a%7fb",
            "//",
            "/",
            "/etc/passwd",
            "a//b",
            "a//",
            "%",
            "%4",
            "%zz",
            "a%+1b",
            "%252e%252e/x",
            "%ff",
            ".hidden",
            "a/.git/b",
            long.as_str(),
            huge.as_str(),
        ] {
            assert_eq!(SafePath::parse(raw), None, "{raw:.40}");
        }
    }

    #[test]
    fn links_lead_back() {
        for name in ["g++_4:14~rc1.deb", "ä b&<\"'>", "%41"] {
            let decoded = decode(&encode(name));
            assert_eq!(decoded.is_some(), !name.contains('%'));
            assert!(decoded.is_none_or(|d| d == name));
        }
    }
}
