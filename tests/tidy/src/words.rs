//! Words that hide what a message means. A message says what failed and what to do, in the terms of docs/glossary.md.

use std::fmt::Write;

use crate::crates::sources;
use crate::source::{Source, files, report};

/// Words and phrases, in lower case, that no user reads. `is no` and its kind are checked by [`is_no`].
const BANNED: &[&str] = &[
    "a work",
    "answers no more",
    "anew",
    "any more",
    "anybody",
    "as told",
    "beside",
    "broke off",
    "came of it",
    "everybody",
    "for ever",
    "give away",
    "gives away",
    "goes on",
    "handed out",
    "has the reason",
    "in clear",
    "it said",
    "it says of itself",
    "lie",
    "lies",
    "meanwhile",
    "minted",
    "minting",
    "nobody",
    "nothing runs",
    "of this place",
    "once more",
    "quarrel",
    "shall",
    "somebody",
    "stand",
    "stands",
    "stood",
    "take a site over",
    "take over",
    "tell",
    "tells",
    "the work",
    "told",
    "turn away",
    "turned away",
    "what belongs here",
    "what waits",
    "whoever",
];

/// Texts that may stay, as file and number of uses: remove an entry once its text is gone.
const ALLOWED: &[(&str, usize)] = &[];

/// "it is no node" and "that is no site key", but not "there is no site" and "it is no longer pending".
fn is_no(words: &[&str]) -> Option<String> {
    let hit = words.windows(4).find(|w| w[1] == "is" && w[2] == "no" && w[0] != "there" && w[3] != "longer");
    hit.map(|w| w.join(" "))
}

/// The first banned word or phrase of a text.
fn banned(text: &str) -> Option<String> {
    let lower = text.replace("\\\n", " ").to_lowercase();
    let is_word = |c: char| c.is_alphanumeric() || c == '\'' || c == '_' || c == '-';
    let words: Vec<&str> = lower.split(|c| !is_word(c)).filter(|w| !w.is_empty()).collect();
    let has = |phrase: &str| {
        let phrase: Vec<&str> = phrase.split(' ').collect();
        words.windows(phrase.len()).any(|w| w == phrase)
    };
    BANNED.iter().find(|p| has(p)).map(|p| (*p).to_owned()).or_else(|| is_no(&words))
}

/// Text between the tags of a page.
fn page_texts(page: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (n, line) in page.lines().enumerate() {
        let mut rest = line;
        while let Some((text, tag)) = rest.split_once('<') {
            found.push((n + 1, text.to_owned()));
            rest = tag.split_once('>').map_or("", |(_, after)| after);
        }
        found.push((n + 1, rest.to_owned()));
    }
    found
}

#[test]
fn no_text_is_a_riddle() {
    let mut broken = Vec::new();
    let mut check = |path: &str, texts: Vec<(usize, String)>| {
        let hits: Vec<_> = texts.iter().filter_map(|(n, text)| banned(text).map(|word| (n, word, text))).collect();
        let allowed = ALLOWED.iter().find(|(p, _)| *p == path).map_or(0, |(_, n)| *n);
        if hits.len() != allowed {
            let mut list = format!("{path}: {} texts, {allowed} allowed", hits.len());
            for (n, word, text) in hits {
                let _ = write!(list, "\n    {path}:{n}: `{word}` in {text:?}");
            }
            broken.push(list);
        }
    };
    // SQL has words of its own, and what the tests of a crate print is for its developers.
    let skipped =
        |path: &str| path.starts_with("seedd/site/src/store/") || ["/testing/", "/examples/"].iter().any(|p| path.contains(p));
    for source in sources().iter().filter(|s| !s.is_test() && !skipped(&s.path)) {
        check(&source.path, source.literals().into_iter().filter(|(_, text)| text.trim().contains(' ')).collect());
    }
    for help in files(|p| p.starts_with("tests/golden/") && p.ends_with(".help")) {
        check(&help.path, help.text.lines().enumerate().map(|(n, line)| (n + 1, line.to_owned())).collect());
    }
    for page in files(|p| p.starts_with("web/templates/") && p.ends_with(".html")) {
        check(&page.path, page_texts(&page.text));
    }
    for texts in files(|p| p == "web/locales/en.ftl") {
        check(&texts.path, texts.text.lines().enumerate().map(|(n, line)| (n + 1, line.to_owned())).collect());
    }
    report("texts with words that say nothing; use the field's terms (docs/glossary.md)", &broken);
}

#[test]
fn riddles_are_found() {
    for (text, word) in [
        ("the work broke off; the log has the reason", Some("broke off")),
        ("that is no site key", Some("that is no site")),
        ("the peers are\\\n    told", Some("told")),
        ("there is no site yet", None),
        ("it is no longer pending", None),
        ("a standby is toldable", None),
    ] {
        assert_eq!(banned(text).as_deref(), word, "{text}");
    }
    let text = "// no \"comment\"\nf(\"one two\", '\"', b\"x\");\ng(r#\"three \"four\" five\"#)";
    let found = Source { path: String::new(), text: text.to_owned() }.literals();
    assert_eq!(found, [(2, "one two".to_owned()), (2, "x".to_owned()), (3, "three \"four\" five".to_owned())]);
    assert_eq!(page_texts("<p>a <b>c</b></p>\n")[..3], [(1, String::new()), (1, "a ".to_owned()), (1, "c".to_owned())]);
}
