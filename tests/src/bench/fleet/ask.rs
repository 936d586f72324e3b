//! Pages and lists, asked for one after the other with a session.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::api::{Client, Fetched};
use crate::places::{links, lists, shape};
use crate::say;
use crate::stop;

/// Most kinds of pages; a seed has about fifty.
const MAX_PAGES: usize = 200;
/// Where the crawl begins: what no link leads to is here too.
const START: [&str; 8] = [
    "/",
    "/machines",
    "/machines?page=100",
    "/machines?q=r03u&sort=-heard",
    "/machines?state=waiting&sort=serial",
    "/machines/approve",
    "/machines/1",
    "/machines/20",
];

/// One page, and what it took.
#[derive(Debug, Clone, Serialize)]
pub struct Asked {
    pub path: String,
    pub status: u16,
    pub bytes: usize,
    pub median_ms: f64,
    pub worst_ms: f64,
}

impl Asked {
    pub fn is_over(&self, ms: f64, bytes: usize) -> bool {
        self.worst_ms > ms || self.bytes > bytes
    }

    /// Its row of the table, marked if it is over a limit.
    pub fn row(&self, ms: f64, bytes: usize) -> String {
        let mark = if self.is_over(ms, bytes) { "**over**" } else { "" };
        let status = if self.status == 200 { String::new() } else { format!(" ({})", self.status) };
        format!("| {}{status} | {:.1} | {:.1} | {} | {mark} |", self.path, self.median_ms, self.worst_ms, self.bytes)
    }
}

/// Every page that links lead to, one of each kind, and every list of the API.
pub fn every(client: &Client, rounds: usize) -> Result<Vec<Asked>> {
    let mut paths = crawl(client)?;
    let description = client.get("/api/v1/openapi.json")?.good("asking for the description of the API")?;
    paths.extend(lists(&description));
    paths.iter().map(|path| measure(client, path, rounds)).collect()
}

fn crawl(client: &Client) -> Result<Vec<String>> {
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    let mut next: VecDeque<String> = START.iter().map(|s| (*s).to_owned()).collect();
    while let Some(path) = next.pop_front() {
        stop::check()?;
        // The chapters of the documents are no part of the site.
        if seen.contains_key(&shape(&path)) || path.starts_with("/docs/") || seen.len() >= MAX_PAGES {
            continue;
        }
        let page = client.fetch(&path)?;
        if page.kind.starts_with("text/html") {
            next.extend(links(&page.text()));
        }
        seen.insert(shape(&path), path);
    }
    ensure!(seen.len() > START.len(), "the first page has no links: {:?}", seen.values());
    Ok(seen.into_values().collect())
}

fn measure(client: &Client, path: &str, rounds: usize) -> Result<Asked> {
    stop::check()?;
    say::progress(path);
    let mut times = Vec::new();
    let mut last: Option<Fetched> = None;
    for _ in 0..rounds.max(1) {
        let began = Instant::now();
        last = Some(client.fetch(path)?);
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    let last = last.context("a page that was never asked for")?;
    times.sort_by(f64::total_cmp);
    Ok(Asked {
        path: path.to_owned(),
        status: last.status,
        bytes: last.bytes.len(),
        median_ms: times[times.len() / 2],
        worst_ms: times.last().copied().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_and_large_pages_are_marked() {
        let page = |worst_ms, bytes| Asked { path: "/x".into(), status: 200, bytes, median_ms: 1.0, worst_ms };
        assert!(!page(200.0, 300_000).is_over(200.0, 300_000));
        assert!(page(200.1, 1).is_over(200.0, 300_000) && page(1.0, 300_001).is_over(200.0, 300_000));
        assert_eq!(page(250.0, 9).row(200.0, 300_000), "| /x | 1.0 | 250.0 | 9 | **over** |");
        assert!(Asked { status: 404, ..page(1.0, 9) }.row(200.0, 10).starts_with("| /x (404) |"));
    }
}
