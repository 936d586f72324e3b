//! A plan as text: CSV with a header line, or YAML. The first significant character decides which.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::disk::DiskWish;
use super::field::MAX_FIELD;
use super::row::{MAX_LABELS, MAX_ROWS, PlanRow, Problem, machine_label, whole};
use crate::fleet;
use crate::ids::{Hostname, Mac};
use crate::machine::tame;
use crate::spec_error;

/// Largest text of a plan, in bytes: [`MAX_ROWS`] rows of 200.
pub const MAX_TEXT: usize = 2 << 20;
/// Most problems that are told at once.
pub const MAX_PROBLEMS: usize = 50;
const COLUMNS: [&str; 7] = ["serial", "mac", "name", "role", "disk", "place", "labels"];
const EXAMPLE: &str = "serial,mac,name,role,disk,place";
/// Longest key of a label, in bytes.
const MAX_KEY: usize = 63;

/// A row before its fields are checked.
#[derive(Debug, Default)]
struct Raw {
    line: u64,
    serial: String,
    mac: String,
    name: String,
    role: String,
    disk: String,
    place: String,
    labels: Vec<(String, String)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct YamlRow {
    #[serde(default)]
    serial: String,
    #[serde(default)]
    mac: String,
    name: String,
    role: String,
    #[serde(default)]
    disk: String,
    #[serde(default)]
    place: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct YamlFile {
    machines: Vec<Spanned<YamlRow>>,
}

/// The rows, or every problem up to [`MAX_PROBLEMS`].
pub(super) fn rows(text: &str) -> Result<Vec<PlanRow>, Vec<Problem>> {
    if text.len() > MAX_TEXT {
        return Err(vec![whole(format!("the plan has {} bytes, but at most {MAX_TEXT} are allowed", text.len()), "")]);
    }
    let text = text.trim_start_matches('\u{feff}');
    let first = text.lines().map(str::trim).find(|l| !l.is_empty() && !l.starts_with('#')).unwrap_or_default();
    let raw = match first {
        "" => return Err(vec![whole("the plan is empty".to_owned(), &format!("the first line of a CSV file is {EXAMPLE}"))]),
        f if f.starts_with(['-', '[', '{']) || f.starts_with("machines:") => from_yaml(text, f)?,
        _ => from_csv(text, first)?,
    };
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    if raw.len() > MAX_ROWS {
        problems.push(whole(format!("the plan has {} rows, more than {MAX_ROWS}", raw.len()), ""));
    }
    for raw in raw.into_iter().take(MAX_ROWS) {
        if problems.len() >= MAX_PROBLEMS {
            break;
        }
        match raw.checked() {
            Ok(row) => rows.push(row),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(rows) } else { Err(problems) }
}

fn from_yaml(text: &str, first: &str) -> Result<Vec<Raw>, Vec<Problem>> {
    let listed = if first.starts_with("machines:") || first.starts_with('{') || first == "---" && text.contains("machines:") {
        spec_error::read::<YamlFile>(text).map(|f| f.machines)
    } else {
        spec_error::read::<Vec<Spanned<YamlRow>>>(text)
    };
    let rows = listed.map_err(|e| vec![Problem { line: e.line, message: e.message, hint: e.hint.unwrap_or_default() }])?;
    let raw = |row: Spanned<YamlRow>| {
        let line = row.referenced.line();
        let YamlRow { serial, mac, name, role, disk, place, labels } = row.value;
        Raw { line, serial, mac, name, role, disk, place, labels: labels.into_iter().collect() }
    };
    Ok(rows.into_iter().map(raw).collect())
}

fn from_csv(text: &str, first: &str) -> Result<Vec<Raw>, Vec<Problem>> {
    // Spreadsheets of some countries write semicolons.
    let delimiter = if first.contains(';') && !first.contains(',') { b';' } else { b',' };
    let mut reader = csv::ReaderBuilder::new();
    reader.delimiter(delimiter).comment(Some(b'#')).trim(csv::Trim::All).flexible(true);
    let mut reader = reader.from_reader(text.as_bytes());
    let broken = |e: csv::Error| {
        let line = e.position().map_or(0, csv::Position::line);
        vec![Problem { line, message: "this is not CSV".to_owned(), hint: format!("the first line is {EXAMPLE}") }]
    };
    let header: Vec<String> = reader.headers().map_err(broken)?.iter().map(str::to_ascii_lowercase).collect();
    check_header(&header)?;
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let record = record.map_err(broken)?;
        let line = record.position().map_or(0, |p| begin(text, p));
        if record.iter().all(str::is_empty) {
            continue;
        }
        if record.len() > header.len() {
            let message = format!("the line has {} fields, and the header {}", record.len(), header.len());
            problems.push(Problem { line, message, hint: "put a text that has commas into quotes".to_owned() });
        }
        rows.push(raw_of(line, header.iter().map(String::as_str).zip(record.iter())));
        if rows.len() > MAX_ROWS || problems.len() >= MAX_PROBLEMS {
            break;
        }
    }
    if problems.is_empty() { Ok(rows) } else { Err(problems) }
}

fn check_header(header: &[String]) -> Result<(), Vec<Problem>> {
    let has = |column: &str| header.iter().any(|c| c == column);
    let problem = |message: String| Err(vec![Problem { line: 1, message, hint: format!("the first line is {EXAMPLE}") }]);
    if let Some(bad) = header.iter().find(|c| !COLUMNS.contains(&c.as_str())) {
        let bad: String = bad.chars().take(MAX_FIELD).collect();
        return problem(format!("there is no column {bad:?}"));
    }
    if let Some(twice) = COLUMNS.iter().find(|c| header.iter().filter(|h| h == *c).count() > 1) {
        return problem(format!("there are two columns {twice}"));
    }
    if !has("name") || !has("role") || !(has("serial") || has("mac")) {
        return problem("the header needs name, role, and serial or mac".to_owned());
    }
    Ok(())
}

/// The line that a record begins in: the reader's position may be before comments and empty lines.
fn begin(text: &str, position: &csv::Position) -> u64 {
    let rest = usize::try_from(position.byte()).ok().and_then(|at| text.get(at..)).unwrap_or_default();
    let skipped = rest.lines().take_while(|l| l.trim().is_empty() || l.starts_with('#')).count();
    position.line().saturating_add(u64::try_from(skipped).unwrap_or_default())
}

fn raw_of<'a>(line: u64, fields: impl Iterator<Item = (&'a str, &'a str)>) -> Raw {
    let mut raw = Raw { line, ..Raw::default() };
    for (column, value) in fields {
        match column {
            "labels" => {
                let pair = |word: &str| {
                    word.split_once('=').map_or((word.to_owned(), String::new()), |(k, v)| (k.to_owned(), v.to_owned()))
                };
                raw.labels = value.split_whitespace().map(pair).collect();
            }
            _ => {
                let field = match column {
                    "serial" => &mut raw.serial,
                    "mac" => &mut raw.mac,
                    "name" => &mut raw.name,
                    "role" => &mut raw.role,
                    "disk" => &mut raw.disk,
                    _ => &mut raw.place,
                };
                value.clone_into(field);
            }
        }
    }
    raw
}

impl Raw {
    fn checked(self) -> Result<PlanRow, Problem> {
        let line = self.line;
        let bad = |message: String, hint: &str| Problem { line, message, hint: hint.to_owned() };
        let text = |what: &str, value: &str| {
            let value = value.trim();
            if value.chars().count() <= MAX_FIELD && tame(value) == value {
                return Ok(value.to_owned());
            }
            Err(bad(
                format!("{what} is too long, or has characters that cannot be shown"),
                &format!("at most {MAX_FIELD} characters"),
            ))
        };
        let serial = text("the serial number", &self.serial)?;
        let mac = match self.mac.trim() {
            "" => None,
            mac => Some(mac.parse::<Mac>().map_err(|e| bad(e.to_string(), ""))?),
        };
        if serial.is_empty() && mac.is_none() {
            return Err(bad("the row names no machine".to_owned(), "give its serial number, a MAC address, or both"));
        }
        if mac.is_some_and(|m| m.0[0] & 1 == 1 || m.0 == [0; 6]) {
            return Err(bad("this is not the MAC address of a card".to_owned(), "the lowest bit of its first byte must be 0"));
        }
        let name = self.name.trim().to_ascii_lowercase();
        if name.parse::<Hostname>().is_err() || name.contains('.') || name == "seed" {
            let shown: String = name.chars().take(MAX_FIELD).collect();
            return Err(bad(
                format!("{shown:?} is not a name for a node"),
                "one label of a-z, 0-9 and -, without the domain, and not seed",
            ));
        }
        let role = text("the role", &self.role)?;
        if role.is_empty() {
            return Err(bad(format!("{name} has no role"), "roles are in cluster.yaml"));
        }
        let disk = self.disk.parse::<DiskWish>().map_err(|e| bad(e.to_string(), ""))?;
        let place = text("the place", &self.place)?;
        fleet::place(&place).map_err(|e| bad(e.to_string(), ""))?;
        let labels = labels(self.labels).map_err(|(message, hint)| bad(message, hint))?;
        Ok(PlanRow { line, serial, mac, name, role, disk, place, labels })
    }
}

fn labels(given: Vec<(String, String)>) -> Result<BTreeMap<String, String>, (String, &'static str)> {
    if given.len() > MAX_LABELS {
        return Err((format!("{} labels", given.len()), "at most 16"));
    }
    let mut labels = BTreeMap::new();
    for (key, value) in given {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'/' | b'-');
        let shown: String = key.chars().take(MAX_KEY).collect();
        if key.is_empty() || key.len() > MAX_KEY || !key.bytes().all(plain) {
            return Err((format!("{shown:?} is not the key of a label"), "a-z, 0-9, and . _ / -; write key=value"));
        }
        if value.chars().count() > MAX_FIELD || tame(&value) != value {
            return Err((format!("the value of label {shown} is too long, or cannot be shown"), ""));
        }
        if machine_label(&key, &value).is_none() {
            return Err((
                format!("{shown} and its value cannot be a label"),
                "key=value has at most 63 characters, and no comma or quotation mark",
            ));
        }
        if labels.insert(key, value).is_some() {
            return Err((format!("label {shown} is there twice"), ""));
        }
    }
    Ok(labels)
}
