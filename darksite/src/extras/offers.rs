//! What the index of somebody else's repository offers. Only what is needed to fetch a package is read: its published stanza
//! comes from the package itself. So much that would not do in an index of ours is taken here, as apt takes it.

use crate::format::deb822;
use crate::format::index::{LeftOut, MAX_ENTRIES};
use crate::format::sum::Sum;

/// Bytes of a name, a version or an architecture.
const MAX_WORD: usize = 200;
/// Bytes of a path.
const MAX_PATH: usize = 1024;

/// A package that can be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer<'a> {
    pub name: &'a str,
    pub version: &'a str,
    pub arch: &'a str,
    /// Below the repository's address, cleaned by [`clean_path`].
    pub path: String,
    pub sum: Sum,
}

/// The packages of an index, and those that cannot be fetched.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Offers<'a> {
    pub usable: Vec<Offer<'a>>,
    pub left_out: Vec<LeftOut>,
    /// True if the index has more packages than are read.
    pub cut: bool,
}

/// Reads an index. Only packages with one of the `names` are kept; the others can be as odd as they like, but are counted.
pub fn read<'a>(text: &'a str, names: &[&str]) -> Offers<'a> {
    let mut offers = Offers::default();
    for (count, paragraph) in deb822::paragraphs(text).enumerate() {
        if count == MAX_ENTRIES {
            offers.cut = true;
            break;
        }
        match offer(paragraph) {
            Ok(offer) if names.contains(&offer.name) => offers.usable.push(offer),
            Ok(_) => {}
            Err(out) => offers.left_out.push(out),
        }
    }
    offers
}

fn offer(paragraph: deb822::Paragraph<'_>) -> Result<Offer<'_>, LeftOut> {
    let [mut name, mut version, mut arch, mut filename, mut sha256, mut sha512] = [""; 6];
    let mut broken = None;
    for field in paragraph.fields() {
        let field = match field {
            Ok(field) => field,
            Err(e) => {
                broken = Some(e.to_string());
                break;
            }
        };
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        // Of a field that stands twice, the last counts, as for apt.
        match field.name.len() {
            6 if is("SHA256") => sha256 = field.value,
            6 if is("SHA512") => sha512 = field.value,
            7 if is("Package") => name = field.value,
            7 if is("Version") => version = field.value,
            8 if is("Filename") => filename = field.value,
            12 if is("Architecture") => arch = field.value,
            _ => {}
        }
    }
    let out = |why: String| {
        let short = |text: &str| text.chars().take(80).collect();
        LeftOut { package: short(name), version: short(version), why }
    };
    if let Some(why) = broken {
        return Err(out(why));
    }
    for (field, value) in [("Package", name), ("Version", version), ("Architecture", arch)] {
        if value.is_empty() {
            return Err(out(format!("it has no {field}")));
        }
        if value.len() > MAX_WORD || value.contains(char::is_control) {
            return Err(out(format!("{field} {:?}", value.chars().take(80).collect::<String>())));
        }
    }
    let Some(path) = clean_path(filename) else {
        let why = match filename {
            "" => "it has no Filename".to_owned(),
            bad => format!("Filename {:?}", bad.chars().take(120).collect::<String>()),
        };
        return Err(out(why));
    };
    let sum = match (sha256, sha512) {
        ("", long) => Sum::parse(long).filter(|sum| matches!(sum, Sum::Sha512(_))),
        (short, _) => Sum::parse(short).filter(|sum| matches!(sum, Sum::Sha256(_))),
    };
    let sum = sum.ok_or_else(|| out("it has no valid SHA256, and no SHA512 instead".to_owned()))?;
    Ok(Offer { name, version, arch, path, sum })
}

/// A path below a repository without empty and `.` parts. None if it leaves the repository, or cannot be asked for.
pub fn clean_path(path: &str) -> Option<String> {
    // A replaced byte was not UTF-8: the server knows the file by another name.
    if path.len() > MAX_PATH || path.contains(|c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER) {
        return None;
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    // Some servers read a backslash as a slash.
    let leaves = parts.iter().any(|part| part.split('\\').any(|p| p == ".."));
    (!leaves && !parts.is_empty() && !path.ends_with('/')).then(|| parts.join("/"))
}
