//! A `Packages` index: what a suite offers. Each stanza is kept byte for byte.

use std::fmt;

use cluster_seed::ids::Digest;

use crate::format::deb822::{self, Deb822Error};
use crate::format::sum::Sum;
use crate::format::{relation, version};

/// Bytes of a decompressed index; Packages of all of Debian main is 57 MB.
pub const MAX_INDEX: u64 = 512 << 20;
/// Stanzas in one index; all of Debian main has about 70,000.
pub const MAX_ENTRIES: usize = 500_000;
/// Bytes of one package; the largest in Debian is about 2 GB.
pub const MAX_PACKAGE_SIZE: u64 = 8 << 30;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    #[error("reading a stanza of package {package:?}")]
    Syntax {
        package: String,
        #[source]
        source: Deb822Error,
    },
    #[error("package {package:?}: field {field} is missing or malformed: {value:?}")]
    Field { package: String, field: &'static str, value: String },
    #[error("the index lists more than {MAX_ENTRIES} packages")]
    TooMany,
}

impl IndexError {
    /// Why a package is left out, without its name.
    fn reason(&self) -> String {
        match self {
            IndexError::Syntax { source, .. } => source.to_string(),
            IndexError::Field { field, value, .. } if value.is_empty() => format!("it has no {field}"),
            IndexError::Field { field, value, .. } => format!("{field} {value:?}"),
            IndexError::TooMany => self.to_string(),
        }
    }
}

/// One version of one package. Its fields borrow from the index they were read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    pub stanza: &'a str,
    /// Which index it was read from, as given to [`parse`].
    pub origin: usize,
    pub name: &'a str,
    pub version: &'a str,
    pub arch: &'a str,
    /// Source package, with its version in brackets if that differs; empty if it has the same name as the package.
    pub source: &'a str,
    pub priority: &'a str,
    pub multi_arch: &'a str,
    pub essential: bool,
    pub depends: &'a str,
    pub pre_depends: &'a str,
    pub recommends: &'a str,
    pub provides: &'a str,
    pub conflicts: &'a str,
    pub breaks: &'a str,
    pub suggests: &'a str,
    pub replaces: &'a str,
    pub enhances: &'a str,
    /// A Provides field that is there, but empty: apt refuses it.
    pub provides_nothing: bool,
    /// Key of the long description in `Translation-en`; empty if the stanza contains the description.
    pub description_md5: &'a str,
    /// Path below the mirror, checked: relative, no `..`.
    pub filename: &'a str,
    /// Bytes of the .deb.
    pub size: u64,
    pub sha256: Digest,
}

impl Entry<'_> {
    const EMPTY: Self = Entry {
        stanza: "",
        origin: 0,
        name: "",
        version: "",
        arch: "",
        source: "",
        priority: "",
        multi_arch: "",
        essential: false,
        depends: "",
        pre_depends: "",
        recommends: "",
        provides: "",
        conflicts: "",
        breaks: "",
        suggests: "",
        replaces: "",
        enhances: "",
        provides_nothing: false,
        description_md5: "",
        filename: "",
        size: 0,
        sha256: Digest([0; 32]),
    };

    /// Name of the source package.
    pub fn source_name(&self) -> &str {
        self.source.split([' ', '(']).next().filter(|s| !s.is_empty()).unwrap_or(self.name)
    }

    /// The relation field that apt cannot read, if there is one, with its value. apt refuses an index with such a package.
    pub fn refused_by_apt(&self) -> Option<(&'static str, &str)> {
        let fields = [
            ("Depends", self.depends),
            ("Pre-Depends", self.pre_depends),
            ("Recommends", self.recommends),
            ("Suggests", self.suggests),
            ("Conflicts", self.conflicts),
            ("Breaks", self.breaks),
            ("Replaces", self.replaces),
            ("Enhances", self.enhances),
            ("Provides", self.provides),
        ];
        let empty = self.provides_nothing.then_some(("Provides", ""));
        empty.or_else(|| fields.into_iter().find(|(_, value)| !relation::apt_reads(value)))
    }

    /// True for packages of every Debian system: Essential, or Priority required.
    pub fn is_base(&self) -> bool {
        self.essential || self.priority == "required"
    }
}

/// Indexes of at least this many bytes are parsed on two threads.
const SPLIT_FROM: usize = 4 << 20;

/// A package of an index that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// As far as it could be read; empty if the stanza has no readable name.
    pub package: String,
    pub version: String,
    pub why: String,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.package.is_empty() { "one without a name" } else { &self.package };
        let gap = if self.version.is_empty() { "" } else { " " };
        write!(f, "{name}{gap}{} ({})", self.version, self.why)
    }
}

/// Packages named in one note; the rest are counted.
const MAX_NAMED: usize = 10;

/// One line about the packages of `index` that were left out; None if there are none.
pub fn left_out_note(index: &str, all: &[LeftOut]) -> Option<String> {
    let shown: Vec<String> = all.iter().take(MAX_NAMED).map(LeftOut::to_string).collect();
    let more = if all.len() > shown.len() { format!(" and {} more", all.len() - shown.len()) } else { String::new() };
    let count = if all.len() == 1 { "1 package".to_owned() } else { format!("{} packages", all.len()) };
    (!all.is_empty()).then(|| format!("{count} of {index} left out as unusable: {}{more}", shown.join("; ")))
}

/// The packages of an index that can be used, and the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index<'a> {
    pub entries: Vec<Entry<'a>>,
    /// Of any architecture; at most [`MAX_ENTRIES`] together with `entries`.
    pub left_out: Vec<LeftOut>,
}

/// Parses an index that we wrote: a package that cannot be used is an error. Packages of other architectures than `arch` and
/// `all` are skipped.
pub fn parse<'a>(text: &'a str, arch: &str, origin: usize) -> Result<Vec<Entry<'a>>, IndexError> {
    Ok(read_halves(text, &|part| read_part(part, arch, origin, false))?.entries)
}

/// Parses somebody else's index: a package that cannot be used is left out. Only [`IndexError::TooMany`] is an error.
pub fn read<'a>(text: &'a str, arch: &str, origin: usize) -> Result<Index<'a>, IndexError> {
    read_halves(text, &|part| read_part(part, arch, origin, true))
}

type ReadPart<'f, 'a> = &'f (dyn Fn(&'a str) -> Result<Index<'a>, IndexError> + Sync);

fn read_halves<'a>(text: &'a str, read_part: ReadPart<'_, 'a>) -> Result<Index<'a>, IndexError> {
    let middle = match text.len() >= SPLIT_FROM {
        // Between two paragraphs; a text without an empty line in its second half is not split.
        true => memchr::memmem::find(&text.as_bytes()[text.len() / 2..], b"\n\n").map(|at| text.len() / 2 + at + 1),
        false => None,
    };
    let Some(middle) = middle else { return read_part(text) };
    let (first, second) = text.split_at(middle);
    std::thread::scope(|scope| {
        let second = scope.spawn(|| read_part(second));
        let mut index = read_part(first)?;
        // Pass a panic of the thread on.
        let second = second.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        if index.count() + second.count() > MAX_ENTRIES {
            return Err(IndexError::TooMany);
        }
        index.entries.extend(second.entries);
        index.left_out.extend(second.left_out);
        Ok(index)
    })
}

impl Index<'_> {
    fn count(&self) -> usize {
        self.entries.len() + self.left_out.len()
    }
}

/// A package that cannot be used is left out of a `foreign` index, and an error in ours.
fn read_part<'a>(text: &'a str, arch: &str, origin: usize, foreign: bool) -> Result<Index<'a>, IndexError> {
    let mut index = Index { entries: Vec::with_capacity(text.len() / 800), left_out: Vec::new() };
    for paragraph in deb822::paragraphs(text) {
        let mut entry = Entry { stanza: paragraph.raw(), origin, ..Entry::EMPTY };
        let read = read_entry(paragraph, &mut entry);
        if read.is_ok() && entry.arch != arch && entry.arch != "all" {
            continue;
        }
        if index.count() == MAX_ENTRIES {
            return Err(IndexError::TooMany);
        }
        match read {
            Ok(()) => index.entries.push(entry),
            Err(error) if foreign => {
                let short = |text: &str| text.chars().take(80).collect();
                let (package, version) = (short(entry.name), short(entry.version));
                index.left_out.push(LeftOut { package, version, why: error.reason() });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(index)
}

/// Reads one stanza into `e`, which has what was read before an error.
fn read_entry<'a>(paragraph: deb822::Paragraph<'a>, e: &mut Entry<'a>) -> Result<(), IndexError> {
    let mut size = "";
    let mut sha256 = "";
    for field in paragraph.fields() {
        let field = field.map_err(|source| IndexError::Syntax { package: e.name.to_owned(), source })?;
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        // By length first: most fields of an index are not needed, and there are a million of them.
        let slot = match field.name.len() {
            4 if is("Size") => &mut size,
            6 if is("SHA256") => &mut sha256,
            6 if is("Source") => &mut e.source,
            6 if is("Breaks") => &mut e.breaks,
            7 if is("Package") => &mut e.name,
            7 if is("Version") => &mut e.version,
            7 if is("Depends") => &mut e.depends,
            8 if is("Filename") => &mut e.filename,
            8 if is("Priority") => &mut e.priority,
            8 if is("Provides") => {
                e.provides_nothing = field.value.is_empty();
                &mut e.provides
            }
            8 if is("Suggests") => &mut e.suggests,
            8 if is("Replaces") => &mut e.replaces,
            8 if is("Enhances") => &mut e.enhances,
            9 if is("Conflicts") => &mut e.conflicts,
            9 if is("Essential") => {
                e.essential = field.value == "yes";
                continue;
            }
            10 if is("Multi-Arch") => &mut e.multi_arch,
            10 if is("Recommends") => &mut e.recommends,
            11 if is("Pre-Depends") => &mut e.pre_depends,
            12 if is("Architecture") => &mut e.arch,
            15 if is("Description-md5") => &mut e.description_md5,
            _ => continue,
        };
        if !slot.is_empty() {
            let source = Deb822Error::Duplicate(field.name.to_owned());
            return Err(IndexError::Syntax { package: e.name.to_owned(), source });
        }
        *slot = field.value;
    }
    check(e, size, sha256)
}

fn check(e: &mut Entry<'_>, size: &str, sha256: &str) -> Result<(), IndexError> {
    let bad = |field, value: &str| IndexError::Field {
        package: e.name.chars().take(80).collect(),
        field,
        value: value.chars().take(120).collect(),
    };
    if !relation::is_name(e.name) {
        return Err(bad("Package", e.name));
    }
    if !version::is_valid(e.version) {
        return Err(bad("Version", e.version));
    }
    if e.arch.is_empty() || e.arch.contains(char::is_whitespace) {
        return Err(bad("Architecture", e.arch));
    }
    if !is_safe_path(e.filename) {
        return Err(bad("Filename", e.filename));
    }
    let bytes = size.parse().ok().filter(|&n: &u64| n > 0 && n <= MAX_PACKAGE_SIZE).ok_or_else(|| bad("Size", size))?;
    let digest = match Sum::parse(sha256) {
        Some(Sum::Sha256(digest)) => digest,
        _ => return Err(bad("SHA256", sha256)),
    };
    e.size = bytes;
    e.sha256 = digest;
    Ok(())
}

/// A relative path that cannot leave its root and needs no escaping as a path, in a URL or in a line of a lock file.
pub fn is_safe_path(path: &str) -> bool {
    !path.is_empty()
        && path.len() <= 1024
        && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._+-~:%=@".contains(&b))
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stanza(change: &str, to: &str) -> String {
        let text = format!(
            "Package: a\nVersion: 1-1\nArchitecture: amd64\nEssential: yes\nDepends: b,\n c\nFilename: pool/main/a/a_1-1_amd64.deb\nSize: 10\nSHA256: {}\nDescription: x\n long\n",
            "ab".repeat(32)
        );
        assert!(text.contains(change));
        text.replace(change, to)
    }

    #[test]
    fn reads_what_the_resolver_needs() {
        let text = stanza("x", "y") + "\n" + &stanza("amd64\nE", "arm64\nE");
        let all = parse(&text, "amd64", 0).unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].name, all[0].size, all[0].essential, all[0].depends), ("a", 10, true, "b,\n c"));
        assert!(all[0].is_base());
        assert_eq!(all[0].stanza, stanza("x", "y"));
    }

    #[test]
    fn a_large_index_is_read_like_a_small_one() {
        let one = |n: usize| stanza("Package: a\n", &format!("Package: p{n}\n"));
        let text: String = (0..20_000).map(|n| one(n) + "\n").collect();
        assert!(text.len() > SPLIT_FROM);
        let all = parse(&text, "amd64", 3).unwrap();
        assert_eq!(all, read_part(&text, "amd64", 3, false).unwrap().entries);
        assert_eq!((all.len(), all[19_999].name, all[19_999].stanza), (20_000, "p19999", one(19_999).as_str()));
        let bad = text.replacen("Package: p19998\n", "", 1);
        assert!(parse(&bad, "amd64", 0).is_err());
    }

    #[test]
    fn refuses_misleading_stanzas() {
        for (from, to) in [
            ("Package: a\n", ""),
            ("Package: a", "Package: ../a"),
            ("Version: 1-1", "Version: 1 1"),
            ("Architecture: amd64\n", ""),
            ("pool/main/a", "pool/../../a"),
            ("pool/main/a", "/pool/main/a"),
            ("pool/main/a", "pool//a"),
            ("pool/main/a", "pool/a b"),
            ("Size: 10", "Size: -1"),
            ("Size: 10", "Size: 0"),
            ("Size: 10", "Size: 8589934593"),
            ("SHA256: ab", "SHA256: zz"),
            ("Version: 1-1\n", "Version: 1-1\nVersion: 1-1\n"),
            ("Description: x", "no colon"),
        ] {
            assert!(parse(&stanza(from, to), "amd64", 0).is_err(), "{to}");
        }
        assert!(parse(&stanza("Size: 10", "Size: 8589934592"), "amd64", 0).is_ok());
    }
}
