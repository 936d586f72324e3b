//! Every error and hint of the product, pinned in one file: a text is changed on purpose, and read in a review.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[path = "../shared/golden.rs"]
mod golden;

/// Markers of texts: the brackets after each contain literals that an operator may read.
const MARKS: [&str; 11] = [
    "#[error(",
    "anyhow!(",
    "bail!(",
    "ensure!(",
    ".hint(",
    "hint::with(",
    ".context(",
    ".with_context(",
    "tracing::warn!(",
    "tracing::error!(",
    "ApiError::",
];
const CRATES: [&str; 8] = ["cluster-seed", "darksite", "host", "image", "payload", "pxe", "seedd", "web"];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() && !["tests", "target", "examples", "benches"].contains(&name.as_str()) {
            sources(&path, found);
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

/// The literal that begins at `at`, and where it ends.
fn literal(text: &str, at: usize) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut rest = text[at + 1..].char_indices();
    while let Some((n, c)) = rest.next() {
        match c {
            '"' => return Some((value, at + 1 + n + 1)),
            // A line that goes on: the backslash, the newline and the indentation are not in the text.
            '\\' => match rest.next()?.1 {
                '\n' => {
                    let line = rest.as_str();
                    let skip = line.len() - line.trim_start().len();
                    rest.by_ref().take(skip).for_each(drop);
                }
                escaped => value.extend(['\\', escaped]),
            },
            c => value.push(c),
        }
    }
    None
}

/// Literals between the bracket that was just opened and the one that closes it.
fn literals(text: &str, from: usize, open: char, close: char, found: &mut BTreeSet<String>) {
    let (mut at, mut depth) = (from, 1);
    while depth > 0 {
        let Some(c) = text[at..].chars().next() else { return };
        match c {
            '"' => match literal(text, at) {
                Some((value, end)) => {
                    at = end;
                    // One word is a name or a key, not a sentence.
                    if value.trim().contains(' ') {
                        found.insert(value);
                    }
                    continue;
                }
                None => return,
            },
            // A quote of a character, not of a lifetime.
            '\'' if text[at..].chars().nth(2) == Some('\'') => {
                at += text[at..].chars().take(2).map(char::len_utf8).sum::<usize>()
            }
            c if c == open => depth += 1,
            c if c == close => depth -= 1,
            _ => {}
        }
        at += text[at..].chars().next().map_or(1, char::len_utf8);
    }
}

fn texts(source: &str) -> BTreeSet<String> {
    let end = source.find("#[cfg(test)]\nmod ").unwrap_or(source.len());
    let code: Vec<&str> = source[..end].lines().map(|l| if l.trim_start().starts_with("//") { "" } else { l }).collect();
    let code = code.join("\n");
    let mut found = BTreeSet::new();
    for mark in MARKS {
        for (at, _) in code.match_indices(mark) {
            let open = code[at..].find(['(', '{', ';', '\n']).map(|n| at + n);
            match open.map(|n| (n, &code[n..=n])) {
                Some((n, "(")) => literals(&code, n + 1, '(', ')', &mut found),
                Some((n, "{")) => literals(&code, n + 1, '{', '}', &mut found),
                _ => {}
            }
        }
    }
    // Bodies of functions that give an error its hint.
    for (at, _) in code.match_indices("fn hint(&self") {
        if let Some(open) = code[at..].find('{') {
            literals(&code, at + open + 1, '{', '}', &mut found);
        }
    }
    found
}

#[test]
fn literals_are_found() {
    let source = "Err(anyhow!(\"a {x} (not\\\n   b\")).hint(\"do this\");\n// anyhow!(\"no comment\")\nanyhow!(\"word\")\n\
        fn hint(&self) -> Option<&str> { match self { A(')') => Some(\"try again\"), _ => None } }\n";
    let found: Vec<String> = texts(source).into_iter().collect();
    assert_eq!(found, ["a {x} (notb", "do this", "try again"]);
}

#[test]
fn errors_and_hints_are_changed_on_purpose() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut text =
        "# Errors, hints and warnings by crate, sorted. KUBEDOS_BLESS=1 cargo test -p kubedos-tests --test texts rewrites it.\n"
            .to_owned();
    for name in CRATES {
        let mut files = Vec::new();
        sources(&root.join(name), &mut files);
        let mut found = BTreeSet::new();
        for file in files {
            found.extend(texts(&std::fs::read_to_string(&file).unwrap()));
        }
        text.push_str(&format!("\n## {name}\n"));
        found.iter().for_each(|t| text.push_str(&format!("{t}\n")));
    }
    golden::check("tests/golden/errors.txt", &text);
}
