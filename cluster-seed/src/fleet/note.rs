//! What an operator notes about a machine: labels, and the place where it is mounted. Both are texts of people: any characters,
//! but bounded, and none that hides or reorders the text around it.

use std::fmt;
use std::str::FromStr;

use crate::machine::tame;

/// Longest label, in characters.
pub const MAX_LABEL: usize = 63;
/// Most labels of a machine.
pub const MAX_LABELS: usize = 16;
/// Longest place, in characters; [`crate::machine::MAX_TEXT`] bounds it too.
pub const MAX_PLACE: usize = 80;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    #[error("a label is empty")]
    Empty,
    #[error("a label has at most {MAX_LABEL} characters")]
    Long,
    #[error("a label has no comma and no quotation mark")]
    Character,
    #[error("a place has at most {MAX_PLACE} characters")]
    LongPlace,
}

/// A label: any word or `key=value`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(String);

impl Label {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The labels of a list with commas; empty items are skipped.
    ///
    /// # Errors
    /// The first label that is none.
    pub fn list(text: &str) -> Result<Vec<Label>, NoteError> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        let mut all = items.map(str::parse).collect::<Result<Vec<Label>, _>>()?;
        all.sort();
        all.dedup();
        Ok(all)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Label {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if text.is_empty() {
            return Err(NoteError::Empty);
        }
        if text.chars().count() > MAX_LABEL {
            return Err(NoteError::Long);
        }
        if text.contains([',', '"']) {
            return Err(NoteError::Character);
        }
        Ok(Label(tame(&text)))
    }
}

/// A place as it is stored; empty for none.
///
/// # Errors
/// If it is longer than [`MAX_PLACE`] characters.
pub fn place(text: &str) -> Result<String, NoteError> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().count() > MAX_PLACE {
        return Err(NoteError::LongPlace);
    }
    Ok(tame(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_bounded_and_hide_nothing() {
        for (text, read) in [
            (" rack=r1 ", Ok("rack=r1")),
            ("two  words\n", Ok("two words")),
            ("", Err(NoteError::Empty)),
            (" \t", Err(NoteError::Empty)),
            ("a,b", Err(NoteError::Character)),
            ("a\"b", Err(NoteError::Character)),
            ("<script>", Ok("<script>")),
            ("a\u{202e}b\u{1b}c", Ok("a?b?c")),
        ] {
            assert_eq!(text.parse::<Label>().as_ref().map(Label::as_str), read.as_ref().map(|t| *t), "{text:?}");
        }
        assert!("x".repeat(MAX_LABEL).parse::<Label>().is_ok());
        assert_eq!("x".repeat(MAX_LABEL + 1).parse::<Label>(), Err(NoteError::Long));
        let list = Label::list("b, a ,,b").unwrap();
        assert_eq!(list.iter().map(Label::as_str).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(Label::list(" , "), Ok(vec![]));
    }

    #[test]
    fn places_are_bounded() {
        assert_eq!(place("  hall 2,\track 7 "), Ok("hall 2, rack 7".to_owned()));
        assert_eq!(place(&"é".repeat(MAX_PLACE)).map(|p| p.chars().count()), Ok(MAX_PLACE));
        assert_eq!(place(&"é".repeat(MAX_PLACE + 1)), Err(NoteError::LongPlace));
    }
}
