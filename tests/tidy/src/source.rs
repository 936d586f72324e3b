//! Source files, and what of their text is code of the product.

use std::fs;
use std::path::{Path, PathBuf};

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("tests/tidy lies in the workspace").to_owned()
}

pub struct Source {
    /// Path below the workspace, with `/`.
    pub path: String,
    pub text: String,
}

impl Source {
    pub fn file(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or("")
    }

    /// Test code beside the code, in `tests/` and in the lab.
    pub fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.contains("/tests/") || self.file().ends_with("tests.rs")
    }

    /// The text without comments and without what is compiled for tests only; lines keep their numbers.
    pub fn product(&self) -> String {
        let code = blank(&self.text, true);
        let keep = without_tests(&code);
        let mut text = blank(&self.text, false);
        for (from, to) in keep {
            text.replace_range(from..to, &hollow(&text[from..to]));
        }
        text
    }

    /// The string literals of the product with their lines, without quotes.
    pub fn literals(&self) -> Vec<(usize, String)> {
        let text = self.product();
        let bytes = text.as_bytes();
        let (mut found, mut at, mut line) = (Vec::new(), 0, 1);
        while at < bytes.len() {
            let rest = &bytes[at..];
            let (len, is_string) = match rest[0] {
                b'r' | b'b' if !is_word_before(bytes, at) => raw_end(rest).map_or((1, false), |n| (n, true)),
                b'"' => (string_end(rest), true),
                b'\'' => (char_end(rest).unwrap_or(1), false),
                _ => (1, false),
            };
            let literal = String::from_utf8_lossy(&rest[..len]);
            if is_string {
                found
                    .push((line, literal.trim_start_matches(['b', 'r', '#']).trim_end_matches('#').trim_matches('"').to_owned()));
            }
            line += rest[..len].iter().filter(|b| **b == b'\n').count();
            at += len;
        }
        found
    }

    /// [`Source::product`] with the content of strings blanked too.
    pub fn code(&self) -> String {
        let mut text = blank(&self.text, true);
        for (from, to) in without_tests(&text) {
            text.replace_range(from..to, &hollow(&text[from..to]));
        }
        text
    }
}

/// Spaces of the same length, with the line ends where they were.
fn hollow(text: &str) -> String {
    text.bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }).collect()
}

/// Byte ranges of the items marked `#[cfg(test)]`, in text whose comments and strings are blank.
fn without_tests(code: &str) -> Vec<(usize, usize)> {
    const MARK: &str = "#[cfg(test)]";
    let mut ranges = Vec::new();
    let mut at = 0;
    while let Some(start) = code[at..].find(MARK).map(|n| at + n) {
        let mut depth = 0usize;
        let mut end = code.len();
        for (n, byte) in code.bytes().enumerate().skip(start + MARK.len()) {
            match byte {
                b'{' | b'(' | b'[' => depth += 1,
                b'}' | b')' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            let ends = byte == b';' || byte == b'}' || (byte == b',' && !code[start..n].contains("fn "));
            if depth == 0 && ends {
                end = n + 1;
                break;
            }
        }
        ranges.push((start, end));
        at = end;
    }
    ranges
}

/// Blanks comments, and the content of strings and characters if `strings`, byte by byte.
fn blank(text: &str, strings: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let (len, wipe) = match rest[0] {
            b'/' if rest.starts_with(b"//") => (line_end(rest), true),
            b'/' if rest.starts_with(b"/*") => (block_end(rest), true),
            b'r' | b'b' if !is_word_before(bytes, at) => (raw_end(rest).unwrap_or(0), strings),
            b'"' => (string_end(rest), strings),
            b'\'' => (char_end(rest).unwrap_or(0), strings),
            _ => (0, false),
        };
        if wipe {
            out[at..at + len].iter_mut().filter(|b| **b != b'\n').for_each(|b| *b = b' ');
        }
        at += len.max(1);
    }
    String::from_utf8(out).expect("whole characters are blanked")
}

fn is_word_before(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
}

fn line_end(rest: &[u8]) -> usize {
    rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len())
}

fn block_end(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// Length of `r"…"`, `r#"…"#` and their `b` kind; none where it is only a letter, and `b"…"` is left to the string.
fn raw_end(rest: &[u8]) -> Option<usize> {
    let after = rest.strip_prefix(b"br").or_else(|| rest.strip_prefix(b"r"))?;
    let hashes = after.iter().take_while(|b| **b == b'#').count();
    let start = rest.len() - after.len() + hashes + 1;
    if after.get(hashes) != Some(&b'"') {
        return None;
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    Some(rest[start..].windows(close.len()).position(|w| w == close).map_or(rest.len(), |n| start + n + close.len()))
}

fn string_end(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != b'"' {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// Length of a character literal; none for a lifetime.
fn char_end(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        return rest.iter().skip(3).position(|b| *b == b'\'').map(|n| n + 4);
    }
    let text = std::str::from_utf8(&rest[..rest.len().min(6)])
        .unwrap_or_else(|e| std::str::from_utf8(&rest[..e.valid_up_to()]).expect("valid up to there"));
    let len = text.chars().nth(1)?.len_utf8();
    (rest.get(1 + len) == Some(&b'\'')).then_some(len + 2)
}

pub fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(dir).into_iter().flatten().filter_map(|e| e.ok().map(|e| e.path())).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            if path.file_name().is_some_and(|n| n != "target" && n != ".git") {
                walk(&path, out);
            }
        } else {
            out.push(path);
        }
    }
}

pub fn files(wanted: impl Fn(&str) -> bool) -> Vec<Source> {
    let root = root();
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    let name = |p: &PathBuf| p.strip_prefix(&root).expect("below the root").to_string_lossy().into_owned();
    let read = |p: PathBuf| Some(Source { path: name(&p), text: fs::read_to_string(&p).ok()? });
    paths.into_iter().filter(|p| wanted(&name(p))).filter_map(read).collect()
}

/// Fails with the list of what breaks a rule.
pub fn report(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

#[test]
fn comments_strings_and_tests_are_told_from_code() {
    let source = |text: &str| Source { path: "x/src/a.rs".into(), text: text.into() };
    for (text, code) in [
        ("let a = 1; // b\nc", "let a = 1;     \nc"),
        ("/* a /* b */ c */d", "                 d"),
        (r#"f("a // b\"", 'x', '\'', '"', b'\\');"#, "f(          ,    ,     ,    , b    );"),
        ("fn f<'a>(x: &'a str) { r#\"}\"#; }", "fn f<'a>(x: &'a str) {       ; }"),
        ("for r in br\"x\" {}", "for r in       {}"),
        ("#[cfg(test)]\nmod tests;\nfn late() {}", "            \n          \nfn late() {}"),
        ("#[cfg(test)]\nmod t { fn a() { b(\"}\") } }\nlate()", "            \n                           \nlate()"),
        ("#[cfg(test)]\n#[path = \"a.rs\"]\nmod t;\nlate()", "            \n                \n      \nlate()"),
        ("S { #[cfg(test)] a: [1, 2], b }", "S {                         b }"),
        ("#[cfg(test)]\nfn f(a: u8, b: u8) -> u8 { a }\nlate()", "            \n                              \nlate()"),
        ("'é'; 'a: loop {}", "    ; 'a: loop {}"),
    ] {
        assert_eq!(source(text).code(), code, "{text}");
    }
    assert_eq!(source("a(\"SELECT\"); // b").product(), "a(\"SELECT\");     ");
}
