//! Package sources: the seed, upstream or both, and no others.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use camino::Utf8PathBuf;
use cluster_seed::identity::{DarksiteSource, IdentityInfo};
use cluster_seed::repo::RepoMode;
use host::files::{PUBLIC, failed};

use super::command::Command;
use super::context::{Base, BaseError, Change};
use crate::assets::APT_PRIORITY;

const KEYRINGS: &str = "/etc/apt/keyrings";
/// The site's release key.
const KEYRING: &str = "/etc/apt/keyrings/kubedos.gpg";
/// Debian's keys, for upstream.
const DEBIAN_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const SOURCES: &str = "kubedos.sources";
/// Directories that apt reads sources from (sources.list(5)).
const FOLDERS: [&str; 2] = ["/etc/apt", "/etc/apt/sources.list.d"];
/// Longest value in a source, in bytes.
const MAX_WORD: usize = 512;

pub(super) fn write_keyring(base: &Base<'_>) -> Result<Change, BaseError> {
    let key = keyring(base.info)?;
    let folder = base.folder(KEYRINGS, 0o755)?;
    let file = base.file(KEYRING, &key, PUBLIC)?;
    Ok(Change::made_if([folder, file].contains(&Change::Made)))
}

pub(super) fn write_sources(base: &Base<'_>) -> Result<Change, BaseError> {
    base.file(&format!("{}/{SOURCES}", FOLDERS[1]), sources(&base.info.darksite)?.as_bytes(), PUBLIC)
}

pub(super) fn write_priority(base: &Base<'_>) -> Result<Change, BaseError> {
    base.asset(&APT_PRIORITY)
}

pub(super) fn remove_other_sources(base: &Base<'_>) -> Result<Change, BaseError> {
    let mut others: Vec<Utf8PathBuf> = Vec::new();
    for folder in FOLDERS {
        let Ok(entries) = base.path(folder).read_dir_utf8() else { continue };
        let entries = entries.flatten().filter(|e| e.file_type().is_ok_and(|kind| !kind.is_dir()));
        others.extend(entries.filter(|e| is_source(e.file_name()) && e.file_name() != SOURCES).map(|e| e.into_path()));
    }
    for path in &others {
        fs::remove_file(path).map_err(failed("removing", path))?;
    }
    Ok(Change::made_if(!others.is_empty()))
}

/// apt ignores hidden files.
fn is_source(name: &str) -> bool {
    !name.starts_with('.') && (name.ends_with(".list") || name.ends_with(".sources"))
}

/// With both sources, upstream may be unreachable. Fetching lists does not count as a change.
pub(super) fn update_lists(base: &Base<'_>) -> Result<Change, BaseError> {
    (base.run)(&Command::UpdateLists { strict: base.info.darksite.mode != RepoMode::Both })?;
    Ok(Change::None)
}

/// The site's release key, binary.
///
/// # Errors
/// If the key in the identity is not base64.
pub fn keyring(info: &IdentityInfo) -> Result<Vec<u8>, BaseError> {
    let text = &info.darksite.keyring;
    STANDARD.decode(text).map_err(|_| BaseError::refused("the APT keyring", text, "it is not base64"))
}

/// The sources in deb822 style (sources.list(5)).
///
/// # Errors
/// If a value has a character that could add a word or a line.
pub fn sources(darksite: &DarksiteSource) -> Result<String, BaseError> {
    let components = words("a component", &darksite.components)?;
    let mut stanzas = Vec::new();
    if darksite.mode.uses_seed() {
        let suite = word("the suite", &darksite.suite)?;
        stanzas.push(stanza(word("the address", &darksite.url)?, suite, &components, KEYRING));
    }
    if darksite.mode.uses_upstream() {
        for source in &darksite.upstream {
            let suites = words("a suite", &source.suites)?;
            stanzas.push(stanza(word("the address", &source.url)?, &suites, &components, DEBIAN_KEYRING));
        }
    }
    Ok(stanzas.join("\n"))
}

fn stanza(uri: &str, suites: &str, components: &str, key: &str) -> String {
    format!("Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: {components}\nSigned-By: {key}\n")
}

fn word<'w>(what: &'static str, value: &'w str) -> Result<&'w str, BaseError> {
    if value.is_empty() || value.len() > MAX_WORD || !value.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(BaseError::refused(what, value, "it is not one word"));
    }
    Ok(value)
}

fn words(what: &'static str, values: &[String]) -> Result<String, BaseError> {
    let words: Vec<&str> = values.iter().map(|v| word(what, v)).collect::<Result<_, _>>()?;
    Ok(words.join(" "))
}
