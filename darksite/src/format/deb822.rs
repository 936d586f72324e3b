//! Debian control data (deb822(5), Debian policy 5.1), parsed without changing a byte.
//!
//! A paragraph keeps its exact text, so that it is published unchanged.

/// Bytes of one paragraph. Debian's longest is under 64 KiB.
pub const MAX_PARAGRAPH: usize = 1 << 20;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Deb822Error {
    #[error("a line has neither a field name nor leading whitespace: {0:?}")]
    Line(String),
    #[error("field {0} appears twice in one paragraph")]
    Duplicate(String),
    #[error("a paragraph of {0} bytes is too long")]
    TooLong(usize),
}

/// One paragraph: its lines with their line ends, without the blank line that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paragraph<'a> {
    raw: &'a str,
}

/// A field. `value` is the text after the colon, trimmed; continuation lines are unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    pub name: &'a str,
    pub value: &'a str,
}

/// The paragraphs of a text, in order. Blank lines and comment lines between paragraphs are skipped.
pub fn paragraphs(text: &str) -> Paragraphs<'_> {
    Paragraphs { rest: text }
}

/// The fields of a text that consists of one paragraph.
pub fn fields_of(paragraph: &str) -> Fields<'_> {
    Paragraph { raw: paragraph }.fields()
}

/// See [`paragraphs`].
pub struct Paragraphs<'a> {
    rest: &'a str,
}

fn first_line(text: &str) -> &str {
    match memchr::memchr(b'\n', text.as_bytes()) {
        Some(end) => &text[..=end],
        None => text,
    }
}

fn is_blank(line: &str) -> bool {
    // Fast path: nearly every line begins with a letter.
    !line.as_bytes().first().is_some_and(|b| b.is_ascii_alphanumeric()) && is_all_blank(line)
}

fn is_all_blank(line: &str) -> bool {
    line.bytes().all(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n'))
}

impl<'a> Iterator for Paragraphs<'a> {
    type Item = Paragraph<'a>;

    fn next(&mut self) -> Option<Paragraph<'a>> {
        loop {
            let line = first_line(self.rest);
            if line.is_empty() {
                return None;
            }
            if !is_blank(line) {
                break;
            }
            self.rest = &self.rest[line.len()..];
        }
        let mut len = 0;
        loop {
            let line = first_line(&self.rest[len..]);
            if line.is_empty() || is_blank(line) {
                break;
            }
            len += line.len();
        }
        let (raw, rest) = self.rest.split_at(len);
        self.rest = rest;
        Some(Paragraph { raw })
    }
}

impl<'a> Paragraph<'a> {
    /// The exact text of the paragraph.
    pub fn raw(&self) -> &'a str {
        self.raw
    }

    /// The fields in order. Iteration ends after the first error.
    pub fn fields(&self) -> Fields<'a> {
        Fields { rest: if self.raw.len() > MAX_PARAGRAPH { Err(self.raw.len()) } else { Ok(self.raw) } }
    }

    /// The value of a field; names are case-insensitive (policy 5.1).
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.fields().map_while(Result::ok).find(|f| f.name.eq_ignore_ascii_case(name)).map(|f| f.value)
    }

    /// Rejects malformed lines and duplicate fields.
    pub fn check(&self) -> Result<(), Deb822Error> {
        let mut seen = std::collections::BTreeSet::new();
        for field in self.fields() {
            let field = field?;
            if !seen.insert(field.name.to_ascii_lowercase()) {
                return Err(Deb822Error::Duplicate(field.name.to_owned()));
            }
        }
        Ok(())
    }
}

/// See [`Paragraph::fields`].
pub struct Fields<'a> {
    rest: Result<&'a str, usize>,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Deb822Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = match self.rest {
            Ok(rest) => rest,
            Err(len) => {
                self.rest = Ok("");
                return Some(Err(Deb822Error::TooLong(len)));
            }
        };
        while rest.starts_with('#') {
            rest = &rest[first_line(rest).len()..];
        }
        if rest.is_empty() {
            return None;
        }
        let first = first_line(rest);
        let colon = memchr::memchr(b':', first.as_bytes())
            .filter(|&at| at > 0 && first.as_bytes()[..at].iter().all(|b| (0x21..0x7f).contains(b)));
        let Some(colon) = colon else {
            self.rest = Ok("");
            return Some(Err(Deb822Error::Line(first.trim_end().chars().take(80).collect())));
        };
        let mut len = first.len();
        while rest[len..].starts_with([' ', '\t']) {
            len += first_line(&rest[len..]).len();
        }
        self.rest = Ok(&rest[len..]);
        Some(Ok(Field { name: &rest[..colon], value: rest[colon + 1..len].trim_matches(BLANKS) }))
    }
}

const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// Writes one paragraph without the blank line after it. Continuation lines of a value must already begin with a space.
pub fn render<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::new();
    for (name, value) in fields {
        out.push_str(name);
        out.push(':');
        if !value.starts_with('\n') {
            out.push(' ');
        }
        out.push_str(value);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keeps_every_byte_of_a_paragraph() {
        let text = "\n \nA: 1\nB:2 \n more\n\tand more\n\n\nC: x";
        let all: Vec<_> = paragraphs(text).collect();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].raw(), "A: 1\nB:2 \n more\n\tand more\n");
        assert_eq!(all[0].get("b"), Some("2 \n more\n\tand more"));
        assert_eq!(all[1].get("C"), Some("x"));
        assert_eq!(all[1].get("D"), None);
    }

    #[test]
    fn refuses_what_is_not_a_field() {
        for bad in ["nothing here\n", " leading\n", ": x\n", "Na me: x\n", "A: 1\nbroken\n", "\u{e4}: x\n"] {
            let p = paragraphs(bad).next().unwrap();
            assert!(matches!(p.check(), Err(Deb822Error::Line(_))), "{bad:?}");
        }
        let p = paragraphs("A: 1\na: 2\n").next().unwrap();
        assert_eq!(p.check(), Err(Deb822Error::Duplicate("a".into())));
        assert_eq!(paragraphs("# c\nA: 1\n").next().unwrap().get("A"), Some("1"));
    }

    #[test]
    fn a_paragraph_has_a_limit() {
        let most = format!("A: {}\n", "x".repeat(MAX_PARAGRAPH - 4));
        assert_eq!(most.len(), MAX_PARAGRAPH);
        assert_eq!(paragraphs(&most).next().unwrap().check(), Ok(()));
        let over = format!("A: {}\n", "x".repeat(MAX_PARAGRAPH - 3));
        assert_eq!(paragraphs(&over).next().unwrap().check(), Err(Deb822Error::TooLong(MAX_PARAGRAPH + 1)));
    }

    proptest! {
        #[test]
        fn a_rendered_paragraph_is_read_back(fields in prop::collection::vec(("[A-Za-z][A-Za-z0-9-]{0,12}", "[!-~]([ -~]{0,30}[!-~])?(\n [!-~]{1,20}){0,3}"), 1..8)) {
            let text = render(fields.iter().map(|(n, v)| (n.as_str(), v.as_str())));
            let all: Vec<_> = paragraphs(&text).collect();
            prop_assert_eq!(all.len(), 1);
            prop_assert_eq!(all[0].raw(), text.as_str());
            let back: Result<Vec<_>, _> = all[0].fields().collect();
            let back: Vec<_> = back.unwrap().iter().map(|f| (f.name.to_owned(), f.value.to_owned())).collect();
            prop_assert_eq!(back, fields);
        }

        #[test]
        fn any_text_is_read_without_panic(text in "(\\PC|\n){0,200}") {
            let kept: usize = paragraphs(&text).map(|p| { let _ = p.check(); p.raw().len() }).sum();
            prop_assert!(kept <= text.len());
        }
    }
}
