//! index.yaml of a chart repository (helm.sh/docs, "The Chart Repository Guide").

use std::collections::BTreeMap;

use cluster_seed::ids::Digest;
use serde::Deserialize;

use super::error::ExtrasError;
use super::get::address;
use crate::upstream::fetch::{self, Fetch};

/// Bytes of an index.yaml; Cilium's has 1.7 MB.
const MAX_INDEX_YAML: u64 = 64 << 20;
/// Bytes of a chart.
const MAX_CHART: u64 = 64 << 20;

#[derive(Deserialize)]
struct Index {
    entries: BTreeMap<String, Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    version: String,
    /// Older repositories have none.
    #[serde(default)]
    digest: Option<String>,
    #[serde(default)]
    urls: Vec<String>,
}

/// A chart that was fetched.
pub(crate) struct Found {
    pub url: String,
    pub sha256: Digest,
    pub bytes: Vec<u8>,
}

/// Fetches a chart, and compares it with the digest that the index has.
pub(crate) fn fetch_chart(from: &dyn Fetch, repository: &str, name: &str, version: &str) -> Result<Found, ExtrasError> {
    let base = address(repository.trim_end_matches('/'));
    let bad = |why: String| ExtrasError::content(&format!("chart {name} {version}"), why);
    let index_url = format!("{base}/index.yaml");
    let bytes = fetch::get_all(from, &index_url, MAX_INDEX_YAML)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| bad(format!("{index_url} is not UTF-8 text")))?;
    let index: Index = serde_saphyr::from_str(text).map_err(|e| {
        let line: String = e.to_string().lines().next().unwrap_or_default().chars().take(200).collect();
        bad(format!("{index_url} cannot be read: {line}"))
    })?;
    let all = index.entries.get(name).map_or(&[][..], Vec::as_slice);
    let same = |e: &&Entry| e.version.trim_start_matches('v') == version.trim_start_matches('v');
    let Some(entry) = all.iter().find(same) else {
        let newest: Vec<&str> = all.iter().map(|e| e.version.as_str()).take(5).collect();
        let there = if newest.is_empty() { "no version of it".to_owned() } else { format!("for example {}", newest.join(", ")) };
        return Err(bad(format!("{index_url} does not list it; it has {there}")));
    };
    let url = entry.urls.first().ok_or_else(|| bad(format!("{index_url} has no address for it")))?;
    let url = if url.contains("://") { url.clone() } else { fetch::join(&base, url) };
    let bytes = fetch::get_all(from, &url, MAX_CHART)?;
    let sha256 = Digest::of(&bytes);
    if let Some(listed) = &entry.digest {
        let listed = listed.strip_prefix("sha256:").unwrap_or(listed);
        if !listed.eq_ignore_ascii_case(&sha256.to_string()) {
            return Err(bad(format!("{url} has sha256 {sha256}, but {index_url} lists {listed}")));
        }
    }
    Ok(Found { url, sha256, bytes })
}
