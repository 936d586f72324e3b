//! Every page of the seed in both themes and both languages: what axe finds, whether it fits a phone, and a picture.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::hands::Hands;
use crate::api::Client;
use crate::browser::Browser;
use crate::dirs;
use crate::places::{links, shape};
use crate::say;
use crate::stop;

/// Where the pages are found from.
const START: [&str; 5] = ["/", "/machines", "/machines/approve", "/login", "/unseal"];
/// Most kinds of pages.
const MAX_PAGES: usize = 120;
/// Pages with a picture of every look, not only of the first.
const ALL_LOOKS: [&str; 2] = ["/", "/machines"];
/// WCAG 2.2 AA and what it is built on.
const TAGS: [&str; 5] = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
const DESK: (u32, u32) = (1280, 900);
/// CSS pixels of a narrow telephone.
const PHONE: (u32, u32) = (390, 844);

/// One way in which a page is shown.
#[derive(Clone, Copy)]
struct Look {
    language: &'static str,
    dark: bool,
    /// Of the name of its picture.
    suffix: &'static str,
}

const LOOKS: [Look; 3] = [
    Look { language: "en", dark: false, suffix: "" },
    Look { language: "en", dark: true, suffix: "-dark" },
    Look { language: "de", dark: false, suffix: "-de" },
];

/// The path of axe's program, where it was fetched.
pub fn axe() -> Option<PathBuf> {
    let fetched = dirs::cache().join("tools/axe/node_modules/axe-core/axe.min.js");
    std::env::var_os("KUBEDOS_AXE").map(PathBuf::from).into_iter().chain([fetched]).find(|p| p.is_file())
}

/// The pages that links lead to, one of each kind, with the kind.
fn pages(client: &Client) -> Result<BTreeMap<String, String>> {
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    let mut next: VecDeque<String> = START.iter().map(|s| (*s).to_owned()).collect();
    while let Some(path) = next.pop_front() {
        // One chapter of the documents has what all of them have.
        let kind = match path.as_str() {
            docs if docs.starts_with("/docs/") => "/docs/chapter".to_owned(),
            printed if printed.starts_with("/machines/by/") => "/machines/by/serial".to_owned(),
            other => shape(other),
        };
        if seen.contains_key(&kind) || seen.len() >= MAX_PAGES {
            continue;
        }
        let page = client.fetch(&path)?;
        if page.kind.starts_with("text/html") && page.status == 200 {
            next.extend(links(&page.text()));
            seen.insert(kind, path);
        }
    }
    ensure!(seen.len() > 15, "only these pages were found: {:?}", seen.values());
    Ok(seen)
}

/// `machines-id` for the kind `/machines/{id}?`; none for what a search or a further page of a list shows.
fn file_name(kind: &str) -> Option<String> {
    let (path, query) = kind.split_once('?').unwrap_or((kind, ""));
    if !query.is_empty() {
        return None;
    }
    let words: Vec<&str> = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    Some(if words.is_empty() { "home".to_owned() } else { words.join("-") })
}

/// Looks at every page; an error names what is wrong on all of them.
pub fn at_every_page(hands: &Hands<'_>, client: &Client, pictures: Option<&Path>) -> Result<()> {
    let axe =
        axe().map(|path| std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))).transpose()?;
    if axe.is_none() {
        kubedos_skip::note("axe-core", "is not installed; the pages were opened and measured only")
            .map_err(anyhow::Error::msg)?;
    }
    let folder = pictures.map(|p| p.join("pages"));
    if let Some(folder) = &folder {
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    let pages = pages(client)?;
    let mut wrong = Vec::new();
    for (kind, path) in &pages {
        stop::check()?;
        say::progress(path);
        for look in LOOKS {
            let named = file_name(kind).filter(|_| look.suffix.is_empty() || ALL_LOOKS.contains(&path.as_str()));
            let picture = folder.as_ref().zip(named).map(|(f, name)| f.join(format!("{name}{}.png", look.suffix)));
            let looked = look_at(hands, path, look, axe.as_deref(), picture.as_deref())?;
            wrong.extend(looked.into_iter().map(|what| format!("{path}{}: {what}", look.suffix)));
        }
    }
    hands.browser.dark(false)?;
    speak(hands.browser, LOOKS[0].language)?;
    say::line(&format!(
        "{} pages were opened in both themes and both languages{}",
        pages.len(),
        if axe.is_some() { " and checked by axe" } else { "" }
    ));
    ensure!(wrong.is_empty(), "{} findings:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

/// What is wrong with a page; a picture of it, as far as the window shows it, goes into the file.
fn look_at(hands: &Hands<'_>, path: &str, look: Look, axe: Option<&str>, picture: Option<&Path>) -> Result<Vec<String>> {
    let browser = hands.browser;
    browser.dark(look.dark)?;
    speak(browser, look.language)?;
    hands.open(path)?;
    let mut wrong = axe.map_or(Ok(Vec::new()), |axe| violations(browser, axe))?;
    if let Some(picture) = picture {
        browser.picture(picture)?;
    }
    if look.dark {
        return Ok(wrong);
    }
    browser.size(PHONE)?;
    hands.open(path)?;
    let wide = browser.script("return document.documentElement.scrollWidth - window.innerWidth", json!([]))?;
    if wide.as_i64().is_none_or(|pixels| pixels > 0) {
        wrong.push(format!("{wide} pixels wider than a telephone"));
    }
    browser.size(DESK)?;
    Ok(wrong)
}

/// Chooses the language as the page *Appearance and language* does.
fn speak(browser: &Browser, language: &str) -> Result<()> {
    let choose = "document.cookie = 'kubedos_language=' + arguments[0] + '; path=/; secure; samesite=lax'";
    browser.script(choose, json!([language])).map(drop)
}

fn violations(browser: &Browser, axe: &str) -> Result<Vec<String>> {
    let run = "const done = arguments[arguments.length - 1]; \
               axe.run({ runOnly: { type: 'tag', values: arguments[0] }, resultTypes: ['violations'] }).then( \
                 (r) => done(r.violations.map((v) => v.id + ' at ' + v.nodes.slice(0, 3).map((n) => n.target.join(' ')).join(', '))), \
                 (e) => done(['axe failed: ' + e]));";
    browser.script(axe, json!([]))?;
    let found = browser.script_async(run, json!([TAGS]))?;
    let found = found.as_array().context("axe gave no list")?;
    Ok(found.iter().map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).collect())
}

/// The lines of an export, as a page's own script would read them.
pub fn exported(browser: &Browser, css: &str) -> Result<Vec<Value>> {
    let read = "const done = arguments[arguments.length - 1]; const link = document.querySelector(arguments[0]); \
                fetch(link.href).then((r) => r.text()).then(done, (e) => done('failed: ' + e));";
    let text = browser.script_async(read, json!([css]))?;
    let text = text.as_str().context("an export that is no text")?;
    text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("reading the line {line:.200}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_named_after_their_pages() {
        let names = ["/?", "/machines/{id}/power?", "/docs/chapter", "/audit?before"].map(file_name);
        assert_eq!(names.map(Option::unwrap_or_default), ["home", "machines-id-power", "docs-chapter", ""]);
    }
}
