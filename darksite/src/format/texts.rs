//! Shared texts: the stanzas of a plan are slices of upstream's indexes, not copies.

use std::io;
use std::sync::Arc;

use cluster_seed::ids::Digest;
use sha2::{Digest as _, Sha256};

use crate::format::deb822;

/// A slice of one of the texts of a [`Texts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    text: u32,
    start: u32,
    len: u32,
}

/// Texts, by number.
#[derive(Debug, Clone, Default)]
pub struct Texts {
    all: Vec<Arc<String>>,
}

impl Texts {
    /// Adds a text of less than 4 GB (indexes are at most [`crate::format::index::MAX_INDEX`]) and returns its number.
    pub fn add(&mut self, text: Arc<String>) -> usize {
        self.all.push(text);
        self.all.len() - 1
    }

    pub fn get(&self, slice: Slice) -> &str {
        let start = slice.start as usize;
        self.all.get(slice.text as usize).and_then(|t| t.get(start..start + slice.len as usize)).unwrap_or_default()
    }

    /// The slice of text number `text` that `part` borrows from it; None if `part` is not in it.
    pub fn locate(&self, text: usize, part: &str) -> Option<Slice> {
        let whole = self.all.get(text)?;
        let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
        (start + part.len() <= whole.len()).then_some(())?;
        Some(Slice { text: u32::try_from(text).ok()?, start: u32::try_from(start).ok()?, len: u32::try_from(part.len()).ok()? })
    }

    /// Text number `text` in slices of a few lines. The cuts depend on nothing but the lines.
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

    /// Adds a text and returns its paragraphs in order.
    pub fn add_paragraphs(&mut self, text: String) -> Vec<Slice> {
        let number = self.add(Arc::new(text));
        let text = Arc::clone(&self.all[number]);
        deb822::paragraphs(&text).filter_map(|p| self.locate(number, p.raw())).collect()
    }
}

/// Lines in one slice of a list.
const LINES: usize = 32;

/// An index to publish.
#[derive(Debug, Clone)]
pub struct IndexText {
    /// Below `dists/<suite>/`, without a file extension: `main/binary-amd64/Packages`.
    pub path: String,
    pub stanzas: Vec<Slice>,
}

impl IndexText {
    /// Each stanza with the name of its package.
    pub fn named<'t>(&self, texts: &'t Texts) -> Vec<(&'t str, &'t str)> {
        self.stanzas.iter().map(|s| texts.get(*s)).map(|stanza| (package_of(stanza), stanza)).collect()
    }

    /// Size and digest of the plain text.
    pub fn digest(&self, texts: &Texts) -> (u64, Digest) {
        plain_digest(&self.named(texts))
    }
}

/// The value of a stanza's Package field.
fn package_of(stanza: &str) -> &str {
    let mut fields = deb822::fields_of(stanza).map_while(Result::ok);
    fields.find(|f| f.name == "Package").map(|f| f.value).unwrap_or_default()
}

/// An index out of its plain text.
pub(crate) fn index_of(path: &str, text: String, texts: &mut Texts) -> IndexText {
    let stanzas = if is_list(path) {
        let number = texts.add(Arc::new(text));
        texts.lines_of(number)
    } else {
        texts.add_paragraphs(text)
    };
    IndexText { path: path.to_owned(), stanzas }
}

/// True for indexes that consist of lines instead of paragraphs.
fn is_list(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.starts_with("Contents-"))
}

/// The stanzas of an index, each with the name of its package.
pub type Stanzas<'a> = [(&'a str, &'a str)];

/// Writes the plain form of an index: each stanza with its line end, followed by an empty line. A stanza without a name is
/// lines of a list, followed by nothing.
pub fn write_plain(stanzas: &Stanzas<'_>, out: &mut dyn io::Write) -> io::Result<()> {
    for (name, stanza) in stanzas {
        out.write_all(stanza.as_bytes())?;
        out.write_all(match (name.is_empty(), stanza.ends_with('\n')) {
            (true, _) => b"",
            (false, true) => b"\n",
            (false, false) => b"\n\n",
        })?;
    }
    Ok(())
}

/// Size and digest of the plain form.
pub fn plain_digest(stanzas: &Stanzas<'_>) -> (u64, Digest) {
    let mut sum = Sum::new(io::sink());
    // Neither hashing nor the sink fails.
    let _ = write_plain(stanzas, &mut sum);
    sum.finish()
}

/// Counts and hashes what it passes on.
pub struct Sum<W> {
    to: W,
    hasher: Sha256,
    size: u64,
}

impl<W: io::Write> Sum<W> {
    pub fn new(to: W) -> Self {
        Sum { to, hasher: Sha256::new(), size: 0 }
    }

    /// Size and digest of what was written.
    pub fn finish(self) -> (u64, Digest) {
        (self.size, Digest(self.hasher.finalize().into()))
    }
}

impl<W: io::Write> io::Write for Sum<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.to.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
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
