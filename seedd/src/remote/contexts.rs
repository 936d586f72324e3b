//! `contexts.yaml`: the seeds that an operator works with from here.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow};
use camino::{Utf8Path, Utf8PathBuf};
use host::files::{PRIVATE, create_dirs, read_limited, write_atomic};
use serde::{Deserialize, Serialize};
use site::hint::Hint as _;
use zeroize::Zeroizing;

use super::server::Server;
use super::trust::{self, Believed};

/// The name that means the seed on this machine, whatever the file says.
pub const LOCAL: &str = "local";
/// Largest file read, in bytes; most contexts; longest name in characters.
const MAX_FILE: u64 = 1 << 20;
const MAX_CONTEXTS: usize = 1_000;
const MAX_NAME: usize = 64;
/// Largest file with a token, in bytes.
const MAX_TOKEN: u64 = 4_096;

/// The file.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Contexts {
    /// The one that is used where none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    pub contexts: BTreeMap<String, Entry>,
}

/// One seed. No `Debug`: it may hold a token.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    pub server: Server,
    /// sha256 of its certificate, as consoles show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The site's CA, in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Who logged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Of a session, by `seedd login`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// A file with a token, read each time. The token of a session counts first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<Utf8PathBuf>,
}

impl Entry {
    pub fn believed(&self) -> Result<Believed> {
        let fingerprint = self.fingerprint.as_deref().map(trust::fingerprint).transpose()?;
        Ok(Believed { fingerprint, ca: self.ca.clone() })
    }

    pub fn token(&self) -> Result<Option<Zeroizing<String>>> {
        if let Some(token) = &self.token {
            return Ok(Some(Zeroizing::new(token.clone())));
        }
        let Some(path) = &self.token_file else { return Ok(None) };
        let bytes = Zeroizing::new(read_limited(path, MAX_TOKEN)?);
        let text = std::str::from_utf8(&bytes).with_context(|| format!("reading {path} as UTF-8"))?;
        Ok(Some(Zeroizing::new(text.trim().to_owned())))
    }
}

/// The file in a directory.
pub fn file(dir: &Utf8Path) -> Utf8PathBuf {
    dir.join("contexts.yaml")
}

/// A name of letters, digits, dots, dashes and underscores.
pub fn check_name(name: &str) -> Result<()> {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if plain && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.len() <= MAX_NAME && name != LOCAL {
        return Ok(());
    }
    let why = if name == LOCAL { "is the seed on this machine" } else { "is not a name for a context" };
    Err(anyhow!("{name:?} {why}")).hint("use letters, digits, dots, dashes and underscores, for example site-a")
}

impl Contexts {
    /// Those in a directory; none if there is no file.
    pub fn read(dir: &Utf8Path) -> Result<Self> {
        let path = file(dir);
        let bytes = match read_limited(&path, MAX_FILE) {
            Err(e) if e.is_not_found() => return Ok(Contexts::default()),
            other => Zeroizing::new(other?),
        };
        let text = std::str::from_utf8(&bytes).with_context(|| format!("reading {path} as UTF-8"))?;
        // Its message may quote a line of the file, and with it a token.
        serde_saphyr::from_str(text).map_err(|_| anyhow!("{path} is not a file of contexts")).hint("correct it, or delete it")
    }

    /// Stores them with mode 0600: they hold tokens.
    pub fn write(&self, dir: &Utf8Path) -> Result<()> {
        if self.contexts.len() > MAX_CONTEXTS {
            return Err(anyhow!("there are more than {MAX_CONTEXTS} contexts"));
        }
        let text = Zeroizing::new(serde_saphyr::to_string(self).context("writing the contexts")?);
        create_dirs(dir)?;
        Ok(write_atomic(&file(dir), text.as_bytes(), PRIVATE)?)
    }

    pub fn get(&self, name: &str) -> Result<&Entry> {
        let found = self.contexts.get(name).ok_or_else(|| anyhow!("there is no context {name:?}"));
        found.hint("`seedd context list` lists them, `seedd context add` adds one")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn contexts_are_stored_for_their_owner_alone_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap().join("kubedos");
        assert!(Contexts::read(&dir).unwrap().contexts.is_empty());
        let entry = Entry {
            server: "https://seed:8443".parse().unwrap(),
            fingerprint: Some("AB".to_owned()),
            ca: Some("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".to_owned()),
            user: Some("ada".to_owned()),
            token: Some("0e1".to_owned()),
            token_file: None,
        };
        let all = Contexts { current: Some("a".to_owned()), contexts: [("a".to_owned(), entry)].into() };
        all.write(&dir).unwrap();
        assert_eq!(std::fs::metadata(file(&dir)).unwrap().permissions().mode() & 0o777, 0o600);
        let read = Contexts::read(&dir).unwrap();
        let got = read.get("a").unwrap();
        assert_eq!((got.token.as_deref(), got.ca.as_deref()), (Some("0e1"), all.contexts["a"].ca.as_deref()));
        assert_eq!(got.server.to_string(), "https://seed:8443");
        assert!(read.get("b").is_err() && read.current.as_deref() == Some("a"));
    }

    #[test]
    fn an_error_in_the_file_does_not_show_what_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        std::fs::write(file(dir), "contexts: {a: {server: 'https://seed', token: hush, more: 1}}").unwrap();
        let error = format!("{:#}", Contexts::read(dir).err().unwrap());
        assert!(error.contains("contexts.yaml") && !error.contains("hush"), "{error}");
    }

    #[test]
    fn names_are_plain() {
        let longest = "a".repeat(MAX_NAME);
        for good in ["a", "site-a", "1.b_c", &longest] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        let long = "a".repeat(MAX_NAME + 1);
        for bad in ["", "local", "-a", ".a", "a b", "a/b", "ä", &long] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
