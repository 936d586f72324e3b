//! The stylesheet keeps to its design system: values are names, names are used, and text has the contrast that WCAG 2.2 asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const STYLE: &str = include_str!("../../static/app.css");
/// What comes before it gives values their names; what comes after uses only the names.
const END: &str = "/* end of tokens */";

fn without_comments(text: &str) -> String {
    text.split("/*").enumerate().map(|(n, part)| if n == 0 { part } else { part.split_once("*/").map_or("", |p| p.1) }).collect()
}

/// Property and value of every declaration.
fn declarations(text: &str) -> Vec<(String, String)> {
    let text = without_comments(text);
    let mut all = Vec::new();
    // What ends with a brace that opens is a selector.
    for piece in text.split_inclusive(['{', '}', ';']).filter(|p| !p.ends_with('{')) {
        let piece = piece.trim().trim_end_matches(['}', ';']).trim();
        if let Some((property, value)) = piece.split_once(':') {
            all.push((property.trim().to_owned(), value.trim().to_owned()));
        }
    }
    all
}

fn tokens_of(text: &str) -> BTreeMap<String, String> {
    declarations(text).into_iter().filter(|(name, _)| name.starts_with("--")).collect()
}

/// The declarations after a selector, up to its end.
fn block(selector: &str) -> &'static str {
    let (_, rest) = STYLE.split_once(selector).unwrap_or_else(|| panic!("there is no {selector}"));
    rest.split_once('}').unwrap().0
}

fn is_length(part: &str) -> bool {
    let relative = ["em", "rem", "vh", "mm", "%", "ch"].iter().any(|unit| part.ends_with(unit));
    relative || ["0", "auto", "1px", "-1px"].contains(&part) || part.starts_with("var(--")
}

#[test]
fn every_value_that_has_a_name_is_used_by_it() {
    let (head, body) = STYLE.split_once(END).unwrap();
    let names: BTreeSet<String> = tokens_of(head).into_keys().collect();
    let declared = declarations(body);
    for (property, value) in &declared {
        let what = format!("{property}: {value}");
        assert!(!value.contains('#') && !value.contains("rgb("), "{what}: a colour has a name");
        match property.as_str() {
            "font-size" | "font" => assert!(!value.contains("px") && !value.contains("rem"), "{what}: sizes of text have names"),
            "border-radius" => assert!(!value.contains("px"), "{what}: radii have names"),
            p if p == "gap" || p.starts_with("margin") || p.starts_with("padding") => {
                assert!(value.split_whitespace().all(is_length), "{what}: space has names");
            }
            _ => {}
        }
    }
    let used: BTreeSet<String> = declared
        .iter()
        .flat_map(|(_, value)| value.split("var(").skip(1))
        .filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()))
        .collect();
    assert_eq!(used.difference(&names).collect::<Vec<_>>(), Vec::<&String>::new(), "names that are not defined");
    assert_eq!(names.difference(&used).collect::<Vec<_>>(), Vec::<&String>::new(), "names that nothing uses");
}

#[test]
fn high_contrast_is_the_same_by_choice_and_by_the_system() {
    let (chosen, asked) = (block(":root[data-theme=contrast] {"), block("@media (prefers-contrast: more) {\n  :root {"));
    assert_eq!(tokens_of(chosen), tokens_of(asked));
    assert!(STYLE.contains("@media (forced-colors: active)"));
}

/// Relative luminance (WCAG 2.2) of `#rgb` or `#rrggbb`.
fn luminance(colour: &str) -> f64 {
    let hex = colour.strip_prefix('#').unwrap_or_else(|| panic!("{colour} is not a colour"));
    let long: String = if hex.len() == 3 { hex.chars().flat_map(|c| [c, c]).collect() } else { hex.to_owned() };
    let part = |n: usize| {
        let value = f64::from(u8::from_str_radix(&long[n..n + 2], 16).unwrap()) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * part(0) + 0.7152 * part(2) + 0.0722 * part(4)
}

fn ratio(a: &str, b: &str) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

/// The colour of a name, for light and for dark.
fn pair(tokens: &BTreeMap<String, String>, name: &str) -> [String; 2] {
    let value = &tokens[&format!("--{name}")];
    let inner = value.strip_prefix("light-dark(").and_then(|v| v.strip_suffix(')'));
    let (light, dark) = inner.and_then(|v| v.split_once(", ")).unwrap_or_else(|| panic!("{name} is {value}"));
    [light.to_owned(), dark.to_owned()]
}

const TEXT: [(&str, &str); 22] = [
    ("ink", "bg"),
    ("ink", "card"),
    ("ink", "field"),
    ("ink", "good-bg"),
    ("ink", "bad-bg"),
    ("soft", "bg"),
    ("soft", "card"),
    ("soft", "field"),
    ("link", "bg"),
    ("link", "card"),
    ("accent-ink", "accent"),
    ("wait", "wait-bg"),
    ("busy", "busy-bg"),
    ("good", "good-bg"),
    ("bad", "bad-bg"),
    ("idle", "idle-bg"),
    ("wait", "card"),
    ("busy", "card"),
    ("good", "card"),
    ("bad", "card"),
    ("bad", "bg"),
    ("idle", "card"),
];
const PARTS: [(&str, &str); 4] = [("field-line", "field"), ("field-line", "card"), ("focus", "bg"), ("focus", "card")];

#[test]
fn text_can_be_read_in_every_theme() {
    let base = tokens_of(block(":root {"));
    let mut contrast = base.clone();
    contrast.extend(tokens_of(block(":root[data-theme=contrast] {")));
    // AA for text and for parts of controls; AAA in high contrast.
    for (theme, tokens, text, parts) in [("the usual one", &base, 4.5, 3.0), ("high contrast", &contrast, 7.0, 4.5)] {
        for (pairs, least) in [(&TEXT[..], text), (&PARTS[..], parts)] {
            for (front, back) in pairs {
                let (front_of, back_of) = (pair(tokens, front), pair(tokens, back));
                for (scheme, (a, b)) in ["light", "dark"].iter().zip(front_of.iter().zip(&back_of)) {
                    let ratio = ratio(a, b);
                    assert!(ratio >= least, "{theme}, {scheme}: {front} on {back} has {ratio:.2}, not {least}");
                }
            }
        }
    }
}

#[test]
fn paper_is_white_and_has_no_navigation() {
    let print = tokens_of(block(":root, :root[data-theme] {"));
    let names: BTreeSet<String> = tokens_of(block(":root {")).into_keys().collect();
    let colours: Vec<&String> = names.iter().filter(|n| tokens_of(block(":root {"))[*n].starts_with("light-dark(")).collect();
    for name in colours {
        assert!(print.contains_key(name), "{name} has no colour on paper");
    }
    let (_, rules) = STYLE.rsplit_once("@media print {").unwrap();
    for part in [".bar nav", "form button", "break-inside: avoid", "table-header-group"] {
        assert!(rules.contains(part), "{part}");
    }
}

/// A narrow screen turns tables into cards; paper is as narrow, and keeps them.
#[test]
fn widths_are_those_of_screens() {
    let queries: Vec<&str> = STYLE.lines().filter(|l| l.contains("@media") && l.contains("max-width")).collect();
    assert!(queries.len() >= 2 && queries.iter().all(|q| q.contains("@media screen and")), "{queries:?}");
}

#[test]
fn every_icon_is_hidden_and_used() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
    let icons = std::fs::read_to_string(dir.join("icons.html")).unwrap();
    let drawn: Vec<&str> = icons.split("name == \"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(drawn.len(), 12, "{drawn:?}");
    assert_eq!(icons.matches("<svg").count(), icons.matches("aria-hidden=\"true\"").count());
    let mut used = BTreeSet::new();
    for entry in std::fs::read_dir(&dir).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        used.extend(text.split("icon(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
    }
    assert_eq!(used, drawn.iter().map(|d| (*d).to_owned()).collect::<BTreeSet<_>>());
}
