//! `/docs`: the documents of this very version, which are compiled in and need no network.

mod chapters;
mod render;

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::shell::{Shell, overview, page};
use crate::auth::{NoPage, PageSession};
use crate::call::App;
use crate::error::Failure;
use crate::headers::RequestId;
use chapters::CHAPTERS;
use render::{render, title};

/// Longest name of a chapter, in bytes.
const MAX_NAME: usize = 128;

/// A part of the index: the key of its heading, and the address and title of each chapter.
struct Part {
    title: &'static str,
    chapters: Vec<(&'static str, String)>,
}

/// What is read to run a site comes first; everything that is not named is background.
const RUNNING: &[&str] = &[
    "running-a-seed",
    "joining",
    "people",
    "planes",
    "countersigning",
    "netboot",
    "darksite",
    "extras",
    "foundry",
    "foundry-aws",
    "installer",
    "proxmox",
    "converge",
    "kubernetes-offline",
    "second-site",
    "audit",
    "webhooks",
    "command-line",
    "ansible",
    "troubleshooting",
];
const REFERENCE: &[&str] = &["cluster-yaml", "cli", "api", "glossary"];

fn parts() -> Vec<Part> {
    let title_of = |name: &str| find(name).map_or_else(|| name.to_owned(), title);
    let listed = |names: &[&'static str]| names.iter().filter(|n| find(n).is_some()).map(|n| (*n, title_of(n))).collect();
    let others = |fits: &dyn Fn(&str) -> bool| {
        let named = |n: &str| RUNNING.contains(&n) || REFERENCE.contains(&n);
        CHAPTERS.iter().map(|(n, _)| *n).filter(|n| fits(n) && !named(n)).map(|n| (n, title_of(n))).collect()
    };
    vec![
        Part { title: "docs-running", chapters: listed(RUNNING) },
        Part { title: "docs-reference", chapters: listed(REFERENCE) },
        Part { title: "docs-plays", chapters: others(&|n| n.starts_with("platform/")) },
        Part { title: "docs-background", chapters: others(&|n| !n.contains('/')) },
        Part { title: "docs-decisions", chapters: others(&|n| n.starts_with("adr/")) },
    ]
}

fn find(name: &str) -> Option<&'static str> {
    CHAPTERS.iter().find(|(n, _)| *n == name).map(|(_, text)| *text)
}

#[derive(Template)]
#[template(path = "docs.html")]
struct Index {
    shell: Shell,
    parts: Vec<Part>,
}

#[derive(Template)]
#[template(path = "chapter.html")]
struct Chapter {
    shell: Shell,
    /// Made from a document that is part of this program.
    html: String,
    /// Its sections: anchor and heading.
    sections: Vec<(String, String)>,
}

pub(crate) async fn index(State(app): State<App>, PageSession(session): PageSession, id: RequestId) -> Result<Response, NoPage> {
    let overview = overview(&app).await?;
    let shell = Shell::new("Documentation", &overview, &id, Some(&session)).titled("foot-docs");
    Ok(page(StatusCode::OK, &Index { shell, parts: parts() })?)
}

pub(crate) async fn chapter(
    State(app): State<App>,
    PageSession(session): PageSession,
    id: RequestId,
    Path(name): Path<String>,
) -> Result<Response, NoPage> {
    let text = Some(name.as_str()).filter(|n| n.len() <= MAX_NAME).and_then(find).ok_or_else(Failure::not_found)?;
    let overview = overview(&app).await?;
    // The frame and what leads on are in the visitor's language, the chapter is English.
    let shell = Shell::new(&title(text), &overview, &id, Some(&session));
    let known: BTreeMap<&str, &str> = CHAPTERS.iter().copied().collect();
    let (html, sections) = render(&name, text, &|chapter| known.contains_key(chapter));
    Ok(page(StatusCode::OK, &Chapter { shell, html, sections })?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn files(dir: &std::path::Path, prefix: &str, out: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if entry.path().is_dir() {
                files(&entry.path(), &format!("{prefix}{name}/"), out);
            } else if let Some(stem) = name.strip_suffix(".md") {
                out.insert(format!("{prefix}{stem}"));
            }
        }
    }

    #[test]
    fn every_document_is_a_chapter() {
        let mut there = BTreeSet::new();
        files(std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs")), "", &mut there);
        let chapters: BTreeSet<String> = CHAPTERS.iter().map(|(n, _)| (*n).to_owned()).collect();
        assert_eq!(chapters, there, "web/src/pages/docs/chapters.rs lists the files of docs/");
        assert_eq!(chapters.len(), CHAPTERS.len(), "each once");
        assert!(chapters.iter().all(|n| n.len() <= MAX_NAME));
    }

    #[test]
    fn every_chapter_is_in_the_index_once() {
        let mut listed: Vec<&str> = parts().iter().flat_map(|p| p.chapters.iter().map(|(n, _)| *n)).collect();
        listed.sort_unstable();
        let mut all: Vec<&str> = CHAPTERS.iter().map(|(n, _)| *n).collect();
        all.sort_unstable();
        assert_eq!(listed, all);
    }

    #[test]
    fn links_between_chapters_lead_to_chapters_and_sections() {
        let exists = |name: &str| find(name).is_some();
        let rendered: BTreeMap<&str, String> = CHAPTERS.iter().map(|(n, text)| (*n, render(n, text, &exists).0)).collect();
        let (mut broken, mut links) = (Vec::new(), 0);
        for (name, html) in &rendered {
            for target in html.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
                let own = format!("/docs/{name}{target}");
                let target = if target.starts_with('#') { own.as_str() } else { target };
                let Some(chapter) = target.strip_prefix("/docs/") else { continue };
                links += 1;
                let (chapter, anchor) = chapter.split_once('#').unwrap_or((chapter, ""));
                let there = rendered.get(chapter).is_some_and(|h| anchor.is_empty() || h.contains(&format!("id=\"{anchor}\"")));
                if !there {
                    broken.push(format!("{name}: {target}"));
                }
            }
        }
        assert!(links > 100, "only {links} links were found");
        assert!(broken.is_empty(), "{broken:#?}");
    }
}
