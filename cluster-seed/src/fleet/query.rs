//! What is asked of the list of machines: words, a stage, an order and a page, as they are in an address.

use std::fmt;
use std::str::FromStr;

use super::stage::Stage;

/// Longest search, in characters; the rest is not read.
pub const MAX_QUERY: usize = 200;
/// Most terms of a search; the rest is not read.
pub const MAX_TERMS: usize = 12;
/// Rows of a page.
pub const PAGE: u32 = 50;
/// The last page that can be asked for.
const MAX_PAGE: u32 = 1_000_000;

/// What a term looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Serial,
    Role,
    State,
    Mac,
    Ip,
    Label,
    Name,
    Place,
    Model,
}

impl Field {
    const ALL: [(&'static str, Field); 9] = [
        ("serial", Field::Serial),
        ("role", Field::Role),
        ("state", Field::State),
        ("mac", Field::Mac),
        ("ip", Field::Ip),
        ("label", Field::Label),
        ("name", Field::Name),
        ("place", Field::Place),
        ("model", Field::Model),
    ];
}

/// One condition. Values are in ASCII lower case, and never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Term {
    /// Anywhere in the row.
    Word(String),
    In(Field, String),
}

/// The column that rows are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// What needs an operator first.
    #[default]
    State,
    Name,
    Role,
    Model,
    Serial,
    Address,
    Place,
    Heard,
}

impl Sort {
    const ALL: [(&'static str, Sort); 8] = [
        ("state", Sort::State),
        ("name", Sort::Name),
        ("role", Sort::Role),
        ("model", Sort::Model),
        ("serial", Sort::Serial),
        ("address", Sort::Address),
        ("place", Sort::Place),
        ("heard", Sort::Heard),
    ];

    /// The word in an address.
    pub fn as_str(self) -> &'static str {
        Sort::ALL.iter().find(|(_, s)| *s == self).map_or("", |(word, _)| word)
    }
}

/// What is asked of the list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// The search as it was typed, at most [`MAX_QUERY`] characters.
    pub text: String,
    pub terms: Vec<Term>,
    pub stage: Option<Stage>,
    pub sort: Sort,
    pub descending: bool,
    /// Counts from 0.
    pub page: u32,
}

impl Query {
    /// The query of an address. What cannot be read is left out: an address is typed, shared and old.
    ///
    /// `sort` is a column, with `-` before it for the other direction; `page` counts from 1.
    pub fn read(text: &str, stage: &str, sort: &str, page: &str) -> Self {
        let text: String = text.chars().take(MAX_QUERY).collect();
        let (descending, column) = sort.strip_prefix('-').map_or((false, sort), |rest| (true, rest));
        let sort = Sort::ALL.iter().find(|(word, _)| *word == column).map(|(_, sort)| *sort);
        Query {
            terms: terms(&text),
            text,
            stage: Stage::from_str(stage).ok(),
            sort: sort.unwrap_or_default(),
            descending: descending && sort.is_some(),
            page: page.parse::<u32>().unwrap_or(1).clamp(1, MAX_PAGE) - 1,
        }
    }

    /// The column and direction, as [`Query::read`] reads them.
    pub fn order(&self) -> String {
        format!("{}{}", if self.descending { "-" } else { "" }, self.sort.as_str())
    }
}

/// `word`, `"two words"`, `field:word` and `field:"two words"`, in any order. A field that is not known is part of its word.
fn terms(text: &str) -> Vec<Term> {
    pieces(text).take(MAX_TERMS).filter_map(|piece| term(&piece)).collect()
}

fn term(piece: &str) -> Option<Term> {
    let piece = piece.to_ascii_lowercase();
    let known = piece.split_once(':').and_then(|(name, value)| {
        let field = Field::ALL.iter().find(|(word, _)| *word == name).map(|(_, field)| *field)?;
        Some((field, value))
    });
    match known {
        Some((_, "")) => None,
        // Both spellings of a MAC address find it.
        Some((Field::Mac, value)) => Some(Term::In(Field::Mac, value.replace('-', ":"))),
        Some((field, value)) => Some(Term::In(field, value.to_owned())),
        None => (!piece.is_empty()).then_some(Term::Word(piece)),
    }
}

/// Splits at spaces outside of quotation marks, which are left out.
fn pieces(text: &str) -> impl Iterator<Item = String> {
    let mut all = Vec::new();
    let (mut piece, mut quoted) = (String::new(), false);
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => all.push(std::mem::take(&mut piece)),
            c => piece.push(c),
        }
    }
    all.push(piece);
    all.into_iter().map(|p| p.trim().to_owned()).filter(|p| !p.is_empty())
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<Term> {
        Query::read(text, "", "", "").terms
    }

    #[test]
    fn searches_are_read() {
        let word = |w: &str| Term::Word(w.to_owned());
        let field = |f, w: &str| Term::In(f, w.to_owned());
        for (text, terms) in [
            ("", vec![]),
            ("  ", vec![]),
            ("Dell R650", vec![word("dell"), word("r650")]),
            ("\"Dell  R650\"", vec![word("dell  r650")]),
            ("serial:SN1 role:lb", vec![field(Field::Serial, "sn1"), field(Field::Role, "lb")]),
            ("label:rack=r1 label:\"hall 2\"", vec![field(Field::Label, "rack=r1"), field(Field::Label, "hall 2")]),
            ("mac:52-54-00", vec![field(Field::Mac, "52:54:00")]),
            ("52:54:00", vec![word("52:54:00")]),
            ("colour:red", vec![word("colour:red")]),
            ("state: x", vec![word("x")]),
            ("\"open", vec![word("open")]),
            ("'; DROP TABLE fleet; --", vec![word("';"), word("drop"), word("table"), word("fleet;"), word("--")]),
        ] {
            assert_eq!(of(text), terms, "{text}");
        }
        assert_eq!(of(&"a ".repeat(MAX_TERMS + 1)).len(), MAX_TERMS);
        assert_eq!(Query::read(&"a".repeat(MAX_QUERY + 1), "", "", "").text.len(), MAX_QUERY);
    }

    #[test]
    fn addresses_that_are_old_or_wrong_show_the_list() {
        let of = |stage, sort, page| {
            let q = Query::read("", stage, sort, page);
            (q.stage, q.order(), q.page)
        };
        assert_eq!(of("silent", "-heard", "3"), (Some(Stage::Silent), "-heard".to_owned(), 2));
        for (stage, sort, page) in [("", "", ""), ("x", "x", "x"), ("Silent", "-", "0"), ("", "-colour", "-1")] {
            assert_eq!(of(stage, sort, page), (None, "state".to_owned(), 0), "{stage} {sort} {page}");
        }
        assert_eq!(of("", "name", "4294967295").2, MAX_PAGE - 1);
        for (word, sort) in Sort::ALL {
            assert_eq!(sort.as_str(), word);
        }
    }
}
