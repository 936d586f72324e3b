//! Helm charts: reads chart archives and writes the repository's index.yaml (helm.sh/docs, "The Chart Repository Guide").

use std::fs::File;
use std::io::Read;

use camino::Utf8Path;
use cluster_seed::ids::Digest;
use host::files::failed;
use serde::{Deserialize, Serialize};

use super::error::ExtrasError;

/// Bytes of a Chart.yaml.
const MAX_CHART_YAML: u64 = 1 << 20;
/// Bytes of a values.yaml; that of Cilium 1.20 has 190 KB.
const MAX_VALUES: u64 = 4 << 20;
/// Bytes of an unpacked chart that are searched.
const MAX_UNPACKED: u64 = 256 << 20;
/// Entries of a chart.
const MAX_ENTRIES: usize = 20_000;

/// The fields of Chart.yaml that a repository's index repeats.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChartYaml {
    /// Charts of Helm 2 have none.
    #[serde(default = "v1")]
    pub api_version: String,
    pub name: String,
    pub version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// A chart of the repository.
#[derive(Debug, Clone)]
pub struct Chart {
    pub yaml: ChartYaml,
    pub digest: Digest,
    /// File name beside index.yaml.
    pub file: String,
}

fn v1() -> String {
    "v1".to_owned()
}

/// Said about a chart that helm packages differently.
const DOT_SLASH: &str = "its entries begin with ./, which Helm's own loader does not read; repack it with `helm package`";

/// Reads the Chart.yaml of a chart archive, in whatever folder it is; name and version must match. Also returns what is odd
/// about the archive.
pub fn read(path: &Utf8Path, name: &str, version: &str) -> Result<(ChartYaml, Option<&'static str>), ExtrasError> {
    let bad = |why: String| ExtrasError::content(&format!("chart {name} {version}"), why);
    let Some((text, dotted)) = scan(path, b"Chart.yaml", MAX_CHART_YAML, &bad)? else {
        return Err(bad(format!("the archive does not contain {name}/Chart.yaml")));
    };
    let mut yaml: ChartYaml = serde_saphyr::from_str(&text).map_err(|e| bad(format!("malformed Chart.yaml: {e}")))?;
    if yaml.name != name || yaml.version != version {
        return Err(bad(format!("the archive contains {} {}", yaml.name, yaml.version)));
    }
    if yaml.api_version.is_empty() {
        yaml.api_version = v1();
    }
    Ok((yaml, dotted.then_some(DOT_SLASH)))
}

/// Reads the values.yaml of a chart archive; empty if it has none.
pub fn values(path: &Utf8Path, name: &str, version: &str) -> Result<String, ExtrasError> {
    let bad = |why: String| ExtrasError::content(&format!("chart {name} {version}"), why);
    Ok(scan(path, b"values.yaml", MAX_VALUES, &bad)?.map(|(text, _)| text).unwrap_or_default())
}

type Bad<'a> = &'a dyn Fn(String) -> ExtrasError;

/// The text of `FOLDER/FILE` in a chart archive, and whether its entries begin with `./`.
fn scan(path: &Utf8Path, file: &[u8], limit: u64, bad: Bad<'_>) -> Result<Option<(String, bool)>, ExtrasError> {
    let called = String::from_utf8_lossy(file);
    let archive = File::open(path).map_err(failed("opening", path))?;
    let unpacked = flate2::read::MultiGzDecoder::new(archive).take(MAX_UNPACKED);
    let mut archive = tar::Archive::new(unpacked);
    let mut found: Option<(Vec<u8>, bool)> = None;
    for (count, entry) in archive.entries().map_err(|e| bad(e.to_string()))?.enumerate() {
        let entry = entry.map_err(|e| bad(format!("not a chart archive: {e}")))?;
        if count >= MAX_ENTRIES {
            return Err(bad(format!("the archive has more than {MAX_ENTRIES} entries")));
        }
        let raw = entry.path_bytes().into_owned();
        if !is_in_folder(&raw, file) || !entry.header().entry_type().is_file() {
            continue;
        }
        if entry.size() > limit {
            return Err(bad(format!("{called} is too large ({} bytes)", entry.size())));
        }
        let mut text = Vec::new();
        entry.take(limit).read_to_end(&mut text).map_err(|e| bad(e.to_string()))?;
        // Helm reads the last one, others the first.
        if found.replace((text, raw.starts_with(b"./"))).is_some() {
            return Err(bad(format!("the archive contains more than one {called}")));
        }
    }
    let Some((text, dotted)) = found else { return Ok(None) };
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    let text = std::str::from_utf8(text).map_err(|_| bad(format!("{called} is not UTF-8 text")))?;
    Ok(Some((text.to_owned(), dotted)))
}

/// True for `FOLDER/FILE` with any folder, as for Helm's loader, which also takes the backslashes of Windows.
fn is_in_folder(path: &[u8], file: &[u8]) -> bool {
    let slash = if path.contains(&b'\\') { b'\\' } else { b'/' };
    let parts: Vec<&[u8]> = path.split(|b| *b == slash).filter(|part| !matches!(*part, b"" | b".")).collect();
    matches!(parts[..], [folder, name] if folder != b".." && name == file) && !path.starts_with(b"/")
}

/// index.yaml of a repository with these charts, as JSON, which is YAML. `created` is constant: the real time would differ from
/// build to build.
pub fn index(charts: &[Chart]) -> Result<String, serde_json::Error> {
    let mut entries: std::collections::BTreeMap<&str, Vec<serde_json::Value>> = std::collections::BTreeMap::new();
    for chart in charts {
        let mut entry = serde_json::to_value(&chart.yaml)?;
        entry["digest"] = chart.digest.to_string().into();
        entry["urls"] = vec![chart.file.clone()].into();
        entry["created"] = "1970-01-01T00:00:00Z".into();
        entries.entry(&chart.yaml.name).or_default().push(entry);
    }
    let index = serde_json::json!({"apiVersion": "v1", "entries": entries, "generated": "1970-01-01T00:00:00Z"});
    Ok(format!("{}\n", serde_json::to_string_pretty(&index)?))
}
