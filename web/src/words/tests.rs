//! Both catalogues are complete, every text of them is used, and what the pages ask for is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use fluent_syntax::ast::{Entry, Expression, InlineExpression, Pattern, PatternElement};

use super::*;

const CATALOGUES: [(&str, &str); 2] = [("en.ftl", ENGLISH), ("de.ftl", GERMAN)];

/// Variables and text of a pattern, those of all its variants.
fn collect(pattern: &Pattern<String>, variables: &mut BTreeSet<String>, text: &mut Vec<String>) {
    for element in &pattern.elements {
        match element {
            PatternElement::TextElement { value } => text.push(value.clone()),
            PatternElement::Placeable { expression } => match expression {
                Expression::Inline(inline) => variable(inline, variables),
                Expression::Select { selector, variants } => {
                    variable(selector, variables);
                    variants.iter().for_each(|v| collect(&v.value, variables, text));
                }
            },
        }
    }
}

fn variable(inline: &InlineExpression<String>, variables: &mut BTreeSet<String>) {
    match inline {
        InlineExpression::VariableReference { id } => {
            variables.insert(id.name.clone());
        }
        // A brace that is shown.
        InlineExpression::StringLiteral { .. } => {}
        other => panic!("{other:?} is not used in the catalogues"),
    }
}

struct Text {
    variables: BTreeSet<String>,
    text: String,
}

fn catalogue(name: &str, text: &str) -> BTreeMap<String, Text> {
    let parsed = fluent_syntax::parser::parse(text.to_owned()).unwrap_or_else(|(_, errors)| panic!("{name}: {errors:?}"));
    let mut all = BTreeMap::new();
    for entry in parsed.body {
        let message = match entry {
            Entry::Message(message) => message,
            Entry::Comment(_) | Entry::GroupComment(_) | Entry::ResourceComment(_) => continue,
            other => panic!("{name}: {other:?}"),
        };
        let (mut variables, mut pieces) = (BTreeSet::new(), Vec::new());
        let pattern = message.value.unwrap_or_else(|| panic!("{name}: {} has no text", message.id.name));
        collect(&pattern, &mut variables, &mut pieces);
        let text = Text { variables, text: pieces.concat() };
        assert!(!text.text.trim().is_empty() || !text.variables.is_empty(), "{name}: {} is empty", message.id.name);
        assert!(all.insert(message.id.name.clone(), text).is_none(), "{name}: {} is there twice", message.id.name);
    }
    all
}

/// The elements of a text, sorted; every one is closed, and allowed.
fn tags(what: &str, text: &str) -> Vec<String> {
    let (mut open, mut all) = (Vec::new(), Vec::new());
    for part in text.split('<').skip(1) {
        let (tag, _) = part.split_once('>').unwrap_or_else(|| panic!("{what}: a tag has no end"));
        if let Some(end) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(end), "{what}: the elements are not nested");
            continue;
        }
        let name = tag.split(' ').next().unwrap_or_default();
        assert!(TAGS.contains(&name), "{what}: <{name}> is not allowed");
        let plain = if name == "a" { tag.starts_with("a href=\"/") && tag.matches('"').count() == 2 } else { tag == name };
        assert!(plain, "{what}: <{tag}>");
        open.push(name.to_owned());
        all.push(tag.to_owned());
    }
    assert!(open.is_empty(), "{what}: {open:?} is not closed");
    all.sort();
    all
}

#[test]
fn no_string_is_missing_in_either_language() {
    let [english, german] = CATALOGUES.map(|(name, text)| catalogue(name, text));
    let keys = |of: &BTreeMap<String, Text>| of.keys().cloned().collect::<BTreeSet<_>>();
    let (en, de) = (keys(&english), keys(&german));
    assert_eq!(en.difference(&de).collect::<Vec<_>>(), Vec::<&String>::new(), "missing in German");
    assert_eq!(de.difference(&en).collect::<Vec<_>>(), Vec::<&String>::new(), "missing in English");
    for (key, text) in &english {
        let other = &german[key];
        assert_eq!(text.variables, other.variables, "{key}: the variables differ");
        let singular = |text: &Text| tags(key, &text.text).into_iter().collect::<BTreeSet<_>>();
        assert_eq!(singular(text), singular(other), "{key}: the elements differ");
    }
}

fn sources(dir: &Path, ending: &[&str], all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, ending, all);
        } else if path.extension().is_some_and(|e| ending.iter().any(|w| e == *w)) && path != Path::new(file!()) {
            all.push(path);
        }
    }
}

/// Templates and sources, without this file.
fn written() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    sources(&root.join("templates"), &["html"], &mut paths);
    sources(&root.join("src"), &["rs"], &mut paths);
    paths.retain(|p| !p.ends_with("words/tests.rs"));
    paths.iter().map(|p| (p.display().to_string(), std::fs::read_to_string(p).unwrap())).collect()
}

/// Calls that take a key as their first argument, up to the quotation mark before it.
const CALLS: [&str; 9] = [".t(\"", ".n(\"", ".x(\"", ".nx(\"", ".by(\"", ".html(\"", ".html_by(\"", ".with(\"", ".titled(\""];
/// Macros of templates that take one as their last argument.
const MACROS: [&str; 2] = ["copies(shell, ", "entry(shell, "];

#[test]
fn what_the_pages_ask_for_is_there() {
    let keys = catalogue("en.ftl", ENGLISH);
    let mut asked = 0;
    for (path, text) in written() {
        for call in CALLS {
            for rest in text.split(call).skip(1) {
                let key = rest.split('"').next().unwrap();
                asked += 1;
                assert!(keys.contains_key(key), "{path}: {key:?} is in no catalogue");
            }
        }
        for call in MACROS {
            for rest in text.split(call).skip(1) {
                let key = rest.split(')').next().unwrap().rsplit('"').nth(1);
                asked += 1;
                assert!(key.is_none_or(|key| keys.contains_key(key)), "{path}: {key:?} is in no catalogue");
            }
        }
    }
    assert!(asked > 150, "only {asked} were found");
}

#[test]
fn every_text_is_used() {
    let all: String = written().into_iter().map(|(_, text)| text).collect();
    let unused = |key: &&String| !all.contains(&format!("\"{key}\""));
    let keys = catalogue("en.ftl", ENGLISH);
    assert_eq!(keys.keys().filter(unused).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn numbers_choose_their_form_and_words_are_put_in() {
    for (lang, n, text) in
        [(Lang::En, 1u32, "1 machine"), (Lang::En, 2, "2 machines"), (Lang::De, 1, "1 Maschine"), (Lang::De, 0, "0 Maschinen")]
    {
        assert_eq!(lang.with("machines-count", &[("n", n.into())]), text);
    }
    assert_eq!(Lang::De.with("sheet-address", &[("x", "https://a".into())]), "Die QR-Codes führen zu https://a.");
    assert_eq!(Lang::De.t("no-such-key"), "no-such-key");
}

#[test]
fn what_is_put_into_html_is_text() {
    let evil = "<script>\"'&";
    let html = Lang::En.html("error-request", &[("x", evil.into())]);
    assert!(html.starts_with("Request <code>&#60;script&#62;&#34;&#39;&#38;</code>."), "{html}");
}

#[test]
fn the_browser_is_asked_by_weight() {
    for (header, lang) in [
        ("de", Some(Lang::De)),
        ("de-CH, en;q=0.8", Some(Lang::De)),
        ("en-US,en;q=0.9,de;q=0.8", Some(Lang::En)),
        ("en;q=0.2, de;q=0.3", Some(Lang::De)),
        ("fr, it;q=0.5", None),
        ("de;q=0, en;q=0.1", Some(Lang::En)),
        ("de;q=x, en;q=0.1", Some(Lang::En)),
        ("den, english", None),
        ("*", None),
        ("", None),
    ] {
        assert_eq!(Lang::asked(header), lang, "{header}");
    }
}
