//! Relations between packages (Debian policy 7.1): `a (>= 1), b | c:any`.

use std::cmp::Ordering;
use std::fmt;

use crate::format::version;

/// Groups in one relation field. The largest in Debian has a few thousand.
pub const MAX_GROUPS: usize = 20_000;
/// Alternatives in one group.
pub const MAX_ALTERNATIVES: usize = 1_000;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelationError {
    #[error("not a package name in a relation: {0:?}")]
    Name(String),
    #[error("malformed version restriction: {0:?}")]
    Version(String),
    #[error("unexpected text after a relation: {0:?}")]
    Rest(String),
    #[error("a relation field has too many groups or alternatives")]
    TooMany,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// Strictly earlier, `<<`.
    Earlier,
    EarlierOrEqual,
    Equal,
    LaterOrEqual,
    /// Strictly later, `>>`.
    Later,
}

impl Op {
    pub fn as_str(self) -> &'static str {
        match self {
            Op::Earlier => "<<",
            Op::EarlierOrEqual => "<=",
            Op::Equal => "=",
            Op::LaterOrEqual => ">=",
            Op::Later => ">>",
        }
    }

    /// True if `have OP want`.
    pub fn holds(self, have: &str, want: &str) -> bool {
        let order = version::compare(have, want);
        match self {
            Op::Earlier => order == Ordering::Less,
            Op::EarlierOrEqual => order != Ordering::Greater,
            Op::Equal => order == Ordering::Equal,
            Op::LaterOrEqual => order != Ordering::Less,
            Op::Later => order == Ordering::Greater,
        }
    }
}

/// One package with its restrictions, the smallest part of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Atom<'a> {
    pub name: &'a str,
    /// The qualifier after the colon: `any`, `native` or an architecture.
    pub arch: Option<&'a str>,
    pub version: Option<(Op, &'a str)>,
}

/// Alternatives: one of them must be satisfied.
pub type Group<'a> = Vec<Atom<'a>>;

impl fmt::Display for Atom<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if let Some(arch) = self.arch {
            write!(f, ":{arch}")?;
        }
        if let Some((op, version)) = self.version {
            write!(f, " ({} {version})", op.as_str())?;
        }
        Ok(())
    }
}

/// A group as written in a control file.
pub fn group_text(group: &[Atom<'_>]) -> String {
    group.iter().map(Atom::to_string).collect::<Vec<_>>().join(" | ")
}

/// Parses a relation field. Empty groups (stray commas) are skipped, as dpkg does.
pub fn parse(text: &str) -> Result<Vec<Group<'_>>, RelationError> {
    let mut groups = Vec::new();
    for part in text.split(',') {
        if part.trim().is_empty() {
            continue;
        }
        if groups.len() == MAX_GROUPS {
            return Err(RelationError::TooMany);
        }
        let mut group = Vec::with_capacity(1);
        for atom in part.split('|') {
            if group.len() == MAX_ALTERNATIVES {
                return Err(RelationError::TooMany);
            }
            group.push(parse_atom(atom.trim())?);
        }
        groups.push(group);
    }
    Ok(groups)
}

/// True for a field that apt can read, if it is not empty. One that it cannot read makes the whole index unusable for apt, so
/// a package with such a field is not published. It follows apt 2.6 and 3.0 exactly (ParseDepends of apt's deblistparser.cc):
/// apt takes a comma at the end, but not two in a row, and wants at least four characters behind an opening bracket.
pub fn apt_reads(field: &str) -> bool {
    let bytes = field.as_bytes();
    let end = bytes.iter().fold(State::Start, |state, byte| NEXT[state as usize][*byte as usize]);
    let behind_bracket = || {
        let open = memchr::memrchr(b'(', bytes)?;
        bytes[open + 1..].iter().position(|b| !is_space(*b)).map(|at| bytes.len() - open - 1 - at)
    };
    // The last bracket that the text has may stand in a version, but then it is not near the end of a good one.
    matches!(end, State::Start | State::Name | State::Gap)
        || end == State::End && (bytes.last() != Some(&b')') || behind_bracket().is_none_or(|rest| rest > 3))
}

/// Where apt is in a relation field.
#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Before a name; the text may end here.
    Start,
    /// Before a name, behind a bar. Where the text ends here, apt 2.6 crashes.
    Alternative,
    Name,
    /// Behind a name.
    Gap,
    /// Behind an opening bracket, and behind the first character of an operator.
    Bracket,
    Less,
    Greater,
    /// Behind an operator.
    Operator,
    Version,
    /// Behind a closing bracket.
    End,
    Refused,
}

/// The next state for each byte: a table, since a plan of profile full checks 12 MB.
static NEXT: [[State; 256]; 11] = {
    use State::{Alternative, Bracket, End, Gap, Greater, Less, Name, Operator, Refused, Start, Version};
    let all = [Start, Alternative, Name, Gap, Bracket, Less, Greater, Operator, Version, End, Refused];
    let mut table = [[Refused; 256]; 11];
    let mut state = 0;
    while state < all.len() {
        let mut byte = 0;
        while byte < 256 {
            table[state][byte] = next(all[state], byte as u8);
            byte += 1;
        }
        state += 1;
    }
    table
};

const fn next(state: State, byte: u8) -> State {
    use State::{Alternative, Bracket, End, Gap, Greater, Less, Name, Operator, Refused, Start, Version};
    let space = is_space(byte);
    match (state, byte) {
        (Version, b')') => End,
        (Version, _) => Version,
        (Name | Gap | End, b',') => Start,
        (Name | Gap | End, b'|') => Alternative,
        (Name | Gap, b'(') => Bracket,
        (Name, _) if space => Gap,
        (Start | Alternative | Gap | Bracket | End, _) if space => state,
        (Start | Alternative | Name, b'(' | b')' | b',' | b'|' | b'[' | b']' | b'<' | b'>') => Refused,
        (Start | Alternative | Name, _) => Name,
        (Bracket | Less | Greater | Operator, b')') => Refused,
        (Bracket, b'<') => Less,
        (Bracket, b'>') => Greater,
        (Bracket, b'=') | (Less, b'=' | b'<') | (Greater, b'=' | b'>') => Operator,
        (Less | Greater | Operator, _) if space => Operator,
        (Bracket | Less | Greater | Operator, _) => Version,
        _ => Refused,
    }
}

/// As isspace(3).
const fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// The packages that a Provides field names, without those in a form that nothing can ask for.
pub fn provided(text: &str) -> impl Iterator<Item = Atom<'_>> {
    text.split(',').filter_map(|part| parse_atom(part.trim()).ok())
}

/// Parses one package with its restrictions.
pub fn parse_atom(text: &str) -> Result<Atom<'_>, RelationError> {
    let (head, restriction) = match text.find('(') {
        Some(at) => (text[..at].trim_end(), Some(&text[at..])),
        None => (text, None),
    };
    let (name, arch) = match head.split_once(':') {
        Some((name, arch)) => (name, Some(arch)),
        None => (head, None),
    };
    if !is_name(name) || arch.is_some_and(|a| !is_arch(a)) {
        return Err(RelationError::Name(head.chars().take(80).collect()));
    }
    let version = restriction.map(parse_restriction).transpose()?;
    Ok(Atom { name, arch, version })
}

fn parse_restriction(text: &str) -> Result<(Op, &str), RelationError> {
    let bad = || RelationError::Version(text.chars().take(80).collect());
    let (inner, rest) = text.strip_prefix('(').and_then(|t| t.split_once(')')).ok_or_else(bad)?;
    if !rest.trim().is_empty() {
        return Err(RelationError::Rest(rest.trim().chars().take(80).collect()));
    }
    let inner = inner.trim();
    let digits = inner.find(|c| !matches!(c, '<' | '>' | '=')).ok_or_else(bad)?;
    let (op, version) = inner.split_at(digits);
    let op = match op {
        "<<" => Op::Earlier,
        // A single angle bracket is the old spelling and means "or equal" (policy 7.1).
        "<=" | "<" => Op::EarlierOrEqual,
        "=" => Op::Equal,
        ">=" | ">" => Op::LaterOrEqual,
        ">>" => Op::Later,
        _ => return Err(bad()),
    };
    let version = version.trim();
    if version.is_empty() || version.contains(char::is_whitespace) { Err(bad()) } else { Ok((op, version)) }
}

/// Package names by policy 5.6.1; a single character is allowed because virtual packages have such names.
pub fn is_name(name: &str) -> bool {
    name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && name.len() <= 200
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.' | b'_'))
}

fn is_arch(arch: &str) -> bool {
    !arch.is_empty() && arch.len() <= 40 && arch.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_the_forms_of_the_policy() {
        let groups = parse("libc6 (>= 2.34), python3:any | perl (<<5.40),\n libfoo( = 1:2-3 ), init-system , ").unwrap();
        let texts: Vec<_> = groups.iter().map(|g| group_text(g)).collect();
        assert_eq!(texts, ["libc6 (>= 2.34)", "python3:any | perl (<< 5.40)", "libfoo (= 1:2-3)", "init-system"]);
        assert_eq!(parse("").unwrap(), Vec::<Group>::new());
        assert_eq!(parse_atom("a (< 1)").unwrap().version, Some((Op::EarlierOrEqual, "1")));
    }

    #[test]
    fn refuses_the_rest() {
        for bad in [
            "a b",
            "(>= 1)",
            "a (1)",
            "a (>= )",
            "a (>=)",
            "a (>= 1",
            "a (== 1)",
            "a (>= 1) x",
            "a |",
            "a:",
            "a:ANY",
            "../x",
            "a [amd64]",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let most = vec!["a"; MAX_GROUPS].join(",");
        assert_eq!(parse(&most).unwrap().len(), MAX_GROUPS);
        assert_eq!(parse(&(most + ",a")), Err(RelationError::TooMany));
        let most = vec!["a"; MAX_ALTERNATIVES].join("|");
        assert_eq!(parse(&most).unwrap()[0].len(), MAX_ALTERNATIVES);
        assert_eq!(parse(&(most + "|a")), Err(RelationError::TooMany));
    }

    #[test]
    fn operators_hold_as_named() {
        for (op, holds) in [
            (Op::Earlier, [true, false, false]),
            (Op::EarlierOrEqual, [true, true, false]),
            (Op::Equal, [false, true, false]),
            (Op::LaterOrEqual, [false, true, true]),
            (Op::Later, [false, false, true]),
        ] {
            assert_eq!(["1", "2", "3"].map(|have| op.holds(have, "2")), holds, "{}", op.as_str());
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(parts in prop::collection::vec(prop::collection::vec(
            ("[a-z0-9][a-z0-9+.-]{0,10}", prop::option::of("any|native|amd64"), prop::option::of(("<<|<=|=|>=|>>", "[0-9][0-9a-z.+~]{0,8}"))), 1..4), 0..5)) {
            let text = parts.iter().map(|g| g.iter().map(|(n, a, v)| {
                let arch = a.as_ref().map(|a| format!(":{a}")).unwrap_or_default();
                let version = v.as_ref().map(|(op, v)| format!(" ({op} {v})")).unwrap_or_default();
                format!("{n}{arch}{version}")
            }).collect::<Vec<_>>().join(" | ")).collect::<Vec<_>>().join(", ");
            let groups = parse(&text).unwrap();
            prop_assert_eq!(groups.iter().map(|g| group_text(g)).collect::<Vec<_>>().join(", "), text);
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,60}") {
            let _ = parse(&text);
        }
    }
}
