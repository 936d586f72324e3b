//! The control file of a binary package (deb-control(5)) from another source. The published stanza is generated from its
//! parsed fields: no byte of it is copied unparsed into an index.

use std::fmt::Write as _;

use cluster_seed::ids::Digest;

use crate::format::deb822::{self, Deb822Error};
use crate::format::{relation, version};

/// Fields that are published (deb-control(5), Debian policy 5.3 and 5.6), in their canonical spelling. Others, such as
/// vendor fields, mean nothing to apt and are omitted.
const PUBLISHED: &[&str] = &[
    "Package",
    "Package-Type",
    "Source",
    "Version",
    "Built-Using",
    "Static-Built-Using",
    "Kernel-Version",
    "Auto-Built-Package",
    "Build-Ids",
    "Architecture",
    "Subarchitecture",
    "Essential",
    "Protected",
    "Important",
    "Build-Essential",
    "Priority",
    "Section",
    "Maintainer",
    "Original-Maintainer",
    "Installed-Size",
    "Installer-Menu-Item",
    "Provides",
    "Pre-Depends",
    "Depends",
    "Recommends",
    "Suggests",
    "Enhances",
    "Conflicts",
    "Breaks",
    "Replaces",
    "Multi-Arch",
    "Homepage",
    "Description",
    "Origin",
    "Bugs",
    "Tag",
    "Task",
];

/// Fields that only an index has, in addition to every name that begins with `SHA`. In a package they could only be meant to
/// mislead a reader of the index.
const OF_INDEX: &[&str] = &["Filename", "Size", "MD5sum", "Description-md5", "Status", "Phased-Update-Percentage"];

/// Why a control file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    #[error("its control file is empty")]
    Empty,
    #[error("its control file has more than one paragraph")]
    Paragraphs,
    #[error("its control file has a comment, which only a source package may have")]
    Comment,
    #[error("its control file has a control character")]
    Character,
    #[error("its control file has the field {0}, which belongs to an index")]
    OfIndex(String),
    #[error(transparent)]
    Syntax(#[from] Deb822Error),
    #[error("invalid name, version or architecture")]
    Identity,
}

/// A parsed control file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    pub name: String,
    pub version: String,
    pub arch: String,
    /// In the file's order, the names as in [`PUBLISHED`]. Continuation lines of a value begin with a blank and have text.
    fields: Vec<(&'static str, String)>,
}

impl Control {
    /// Reads the text of `./control`.
    pub fn parse(text: &str) -> Result<Self, ControlError> {
        if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
            return Err(ControlError::Character);
        }
        // Some builders leave empty lines at the end, which separate nothing.
        let text = text.trim_end_matches('\n');
        if text.lines().any(|line| line.starts_with('#')) {
            return Err(ControlError::Comment);
        }
        let paragraph = deb822::paragraphs(text).next().ok_or(ControlError::Empty)?;
        if paragraph.raw().len() != text.len() {
            return Err(ControlError::Paragraphs);
        }
        paragraph.check()?;
        let mut fields = Vec::new();
        for field in paragraph.fields() {
            let field = field?;
            let is = |name: &&&str| field.name.eq_ignore_ascii_case(name);
            let digest = field.name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("sha"));
            if digest || OF_INDEX.iter().any(|name| is(&name)) {
                return Err(ControlError::OfIndex(field.name.to_owned()));
            }
            if let Some(name) = PUBLISHED.iter().find(is) {
                fields.push((*name, field.value.to_owned()));
            }
        }
        let field = |name: &str| fields.iter().find(|(n, _)| *n == name).map(|(_, v)| v.clone()).unwrap_or_default();
        let (name, version, arch) = (field("Package"), field("Version"), field("Architecture"));
        let word = |w: &str| {
            !w.is_empty() && !w.starts_with('.') && w.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.~:".contains(&b))
        };
        if !relation::is_name(&name) || !version::is_valid(&version) || !word(&arch) || !word(&version) {
            return Err(ControlError::Identity);
        }
        Ok(Control { name, version, arch, fields })
    }

    /// Its stanza of a `Packages` file, with the blank line after it.
    pub fn stanza(&self, filename: &str, size: u64, sha256: Digest) -> String {
        let mut text = deb822::render(self.fields.iter().map(|(name, value)| (*name, value.as_str())));
        // Writing to a String cannot fail.
        let _ = write!(text, "Filename: {filename}\nSize: {size}\nSHA256: {sha256}\n\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "Package: a\nVersion: 1:2-3\nArchitecture: amd64\n";

    #[test]
    fn a_control_file_is_one_paragraph_without_fields_of_an_index() {
        let with = |more: &str| Control::parse(&format!("{GOOD}{more}"));
        assert!(with("Description: a\n .\n more\n").is_ok());
        assert!(with("\n\n").is_ok(), "empty lines at the end separate nothing");
        let injected = "\nPackage: openssh-server\nVersion: 9:99-1\nFilename: pool/evil.deb\nSHA256: 00\n";
        assert_eq!(with(injected), Err(ControlError::Paragraphs));
        for blank in [" ", "\t", " \t "] {
            assert_eq!(with(&format!("Section: x\n{blank}\nPackage: b\n")), Err(ControlError::Paragraphs), "{blank:?}");
        }
        assert_eq!(Control::parse(&format!("\n{GOOD}")), Err(ControlError::Paragraphs));
        for name in ["Filename", "filename", "SIZE", "MD5sum", "SHA256", "Sha1", "sha512", "Description-md5", "Status"] {
            assert!(matches!(with(&format!("{name}: 1\n")), Err(ControlError::OfIndex(_))), "{name}");
        }
        assert!(matches!(with("version: 9\n"), Err(ControlError::Syntax(Deb822Error::Duplicate(_)))));
        assert!(matches!(with("no field\n"), Err(ControlError::Syntax(_))));
        for bad in ["Section: a\rPackage: b\n", "Section: a\0\n", "Section: a\u{85}b\n", "Section: a\r\n"] {
            assert_eq!(with(bad), Err(ControlError::Character), "{bad:?}");
        }
        assert_eq!(with("Description: a\n# b\n"), Err(ControlError::Comment));
        assert_eq!(Control::parse("\n"), Err(ControlError::Empty));
        for bad in ["Package: -a\nVersion: 1\nArchitecture: all", "Package: ab\nVersion: 1", "Package: ab\nArchitecture: all"] {
            assert_eq!(Control::parse(bad), Err(ControlError::Identity), "{bad}");
        }
    }

    #[test]
    fn a_stanza_has_the_known_fields_of_the_file_and_those_of_the_index() {
        let text = format!("{GOOD}X-Vendor: v\ndepends: b,\n c\nDescription: short\n long\n");
        let control = Control::parse(&text).unwrap();
        assert_eq!((control.name.as_str(), control.version.as_str(), control.arch.as_str()), ("a", "1:2-3", "amd64"));
        let sum = Digest([7; 32]);
        assert_eq!(
            control.stanza("pool/a.deb", 5, sum),
            format!("{GOOD}Depends: b,\n c\nDescription: short\n long\nFilename: pool/a.deb\nSize: 5\nSHA256: {sum}\n\n")
        );
    }
}
