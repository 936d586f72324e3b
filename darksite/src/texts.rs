//! Texts that are shared instead of copied: the stanzas of a plan point into upstream's indexes.

use std::sync::Arc;

use cluster_seed::ids::Digest;

use crate::deb822;
use crate::pack;

/// A piece of one of the texts of a [`Texts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    text: u32,
    start: u32,
    len: u32,
}

/// Texts by number.
#[derive(Debug, Clone, Default)]
pub struct Texts {
    all: Vec<Arc<String>>,
}

impl Texts {
    /// Adds a text of less than 4 GB (indexes are at most [`crate::plan::MAX_INDEX`]) and returns its number.
    pub fn add(&mut self, text: Arc<String>) -> usize {
        self.all.push(text);
        self.all.len() - 1
    }

    pub fn get(&self, slice: Slice) -> &str {
        let start = slice.start as usize;
        self.all.get(slice.text as usize).and_then(|t| t.get(start..start + slice.len as usize)).unwrap_or_default()
    }

    /// The place of `part`, which has to lie in text number `text`; None where it does not.
    pub fn locate(&self, text: usize, part: &str) -> Option<Slice> {
        let whole = self.all.get(text)?;
        let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
        (start + part.len() <= whole.len()).then_some(())?;
        Some(Slice { text: u32::try_from(text).ok()?, start: u32::try_from(start).ok()?, len: u32::try_from(part.len()).ok()? })
    }

    /// Text number `text` in pieces of a few lines. Where they are cut follows from the lines alone.
    pub fn lines_of(&self, text: usize) -> Vec<Slice> {
        let Some(whole) = self.all.get(text) else { return Vec::new() };
        let mut slices = Vec::new();
        let (mut start, mut end, mut lines) = (0, 0, 0);
        for line in whole.split_inclusive('\n') {
            if lines == LINES || (lines > 0 && crc32fast::hash(line.as_bytes()).is_multiple_of(LINES as u32)) {
                slices.extend(self.locate(text, &whole[start..end]));
                (start, lines) = (end, 0);
            }
            end += line.len();
            lines += 1;
        }
        slices.extend(self.locate(text, &whole[start..end]).filter(|s| s.len > 0));
        slices
    }

    /// Adds a text of paragraphs, and returns them in order.
    pub fn add_paragraphs(&mut self, text: String) -> Vec<Slice> {
        let number = self.add(Arc::new(text));
        let text = Arc::clone(&self.all[number]);
        deb822::paragraphs(&text).filter_map(|p| self.locate(number, p.raw())).collect()
    }
}

/// Lines of a list that one slice holds.
const LINES: usize = 32;

/// An index to publish.
#[derive(Debug, Clone)]
pub struct IndexText {
    /// Below `dists/<suite>/`, without ending: `main/binary-amd64/Packages`.
    pub path: String,
    pub stanzas: Vec<Slice>,
}

impl IndexText {
    /// The stanzas with the name of their package.
    pub fn named<'t>(&self, texts: &'t Texts) -> Vec<(&'t str, &'t str)> {
        self.stanzas.iter().map(|s| texts.get(*s)).map(|stanza| (package_of(stanza), stanza)).collect()
    }

    /// Size and digest of the plain text.
    pub fn digest(&self, texts: &Texts) -> (u64, Digest) {
        pack::plain_digest(&self.named(texts))
    }
}

/// The package a stanza is about.
fn package_of(stanza: &str) -> &str {
    let mut fields = deb822::fields_of(stanza).map_while(Result::ok);
    fields.find(|f| f.name == "Package").map(|f| f.value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_stay_in_their_text() {
        let mut texts = Texts::default();
        let slices = texts.add_paragraphs("Package: a\nX: 1\n\nY: 0\nPackage: b\n".to_owned());
        let index = IndexText { path: "p".into(), stanzas: slices.clone() };
        assert_eq!(index.named(&texts), [("a", "Package: a\nX: 1\n"), ("b", "Y: 0\nPackage: b\n")]);
        assert_eq!(index.digest(&texts).0, 34);
        assert_eq!(texts.locate(0, "elsewhere"), None);
        assert_eq!(texts.locate(1, texts.get(slices[0])), None);
        assert_eq!(texts.locate(0, texts.get(slices[1])), Some(slices[1]));
    }
}
