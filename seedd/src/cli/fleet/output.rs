//! How lists and objects are printed: as a table, JSON or YAML, once or again with each change.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use host::clock::now;
use serde_json::{Value, json};

use super::super::args::{say, wrote};
use super::select::Selector;
use crate::terminal;

/// Time between two looks of `--watch`, and between two looks whether a signal came.
const WATCH: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_millis(100);
/// Spaces between two columns.
const GAP: usize = 2;
/// To the upper left corner, and everything below it away (ECMA-48: CUP, ED).
const CLEAR: &str = "\u{1b}[H\u{1b}[J";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Table,
    /// A table with more columns
    Wide,
    Json,
    Yaml,
}

// Ordinary comments on purpose: clap would show a doc comment of a flattened struct as its parent's description.

// How an answer is printed.
#[derive(Args, Clone)]
pub struct Shape {
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    pub output: Format,
    /// Output JSON: the same as --output json
    #[arg(long, conflicts_with = "output")]
    pub json: bool,
}

impl Shape {
    pub fn format(&self) -> Format {
        if self.json { Format::Json } else { self.output }
    }

    /// The document, or for people `text`.
    pub fn render(&self, value: &Value, text: &dyn Fn() -> String) -> Result<String> {
        Ok(match self.format() {
            Format::Json => value.to_string(),
            Format::Yaml => serde_saphyr::to_string(value).context("writing YAML")?.trim_end().to_owned(),
            Format::Table | Format::Wide => text(),
        })
    }

    pub fn show(&self, value: &Value, text: &str) -> Result<()> {
        say(&self.render(value, &|| text.to_owned())?)
    }
}

// How a list is printed.
#[derive(Args, Clone)]
pub struct ListArgs {
    #[command(flatten)]
    pub shape: Shape,
    /// Only rows with these values of columns or labels, for example state=pending,role=core
    #[arg(short = 'l', long, value_name = "CONDITIONS", default_value = "", hide_default_value = true)]
    pub selector: Selector,
    /// Print the list again whenever it changes, until Ctrl-C
    #[arg(short, long)]
    pub watch: bool,
    /// Print no line with the titles of the columns
    #[arg(long)]
    pub no_headers: bool,
}

/// A column of a table. Its title in lower case is its key in selectors.
pub struct Column {
    pub title: &'static str,
    /// Only in wide tables.
    pub wide: bool,
    pub cell: fn(&Value) -> String,
}

pub const fn column(title: &'static str, cell: fn(&Value) -> String) -> Column {
    Column { title, wide: false, cell }
}

pub const fn wide(title: &'static str, cell: fn(&Value) -> String) -> Column {
    Column { title, wide: true, cell }
}

impl ListArgs {
    /// Prints the rows that `fetch` gives and the selector lets through, in documents under `key`.
    pub fn list(&self, key: &str, columns: &[Column], fetch: &dyn Fn() -> Result<Vec<Value>>) -> Result<()> {
        if !self.watch {
            let (text, empty) = self.rendered(key, columns, fetch()?)?;
            if empty && matches!(self.shape.format(), Format::Table | Format::Wide) {
                eprintln!("seedd: no {}", if key == "dead" { "dead letters" } else { key });
                return Ok(());
            }
            return say(&text);
        }
        terminal::watch_signals()?;
        let mut shown = None;
        while !terminal::stop_asked() {
            let (text, _) = self.rendered(key, columns, fetch()?)?;
            if shown.as_ref() != Some(&text) {
                again(&text)?;
                shown = Some(text);
            }
            pause(WATCH);
        }
        Ok(())
    }

    fn rendered(&self, key: &str, columns: &[Column], rows: Vec<Value>) -> Result<(String, bool)> {
        let fits = |row: &Value| {
            let cell = |name: &str| {
                let found = columns.iter().find(|c| c.title.eq_ignore_ascii_case(name));
                found.map(|c| (c.cell)(row))
            };
            self.selector.fits(row, &cell)
        };
        let rows: Vec<Value> = rows.into_iter().filter(fits).collect();
        let empty = rows.is_empty();
        let is_wide = self.shape.format() == Format::Wide;
        let table = table(columns, &rows, is_wide, !self.no_headers);
        let document = json!({ key: rows });
        Ok((self.shape.render(&document, &|| table.clone())?, empty))
    }
}

/// On a terminal in place of what was there, elsewhere below it.
fn again(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    let clear = if stdout.is_terminal() { CLEAR } else { "" };
    wrote(writeln!(stdout, "{clear}{text}").and_then(|()| stdout.flush()))
}

/// Waits; a signal ends it.
pub fn pause(time: Duration) {
    for _ in 0..time.as_millis().div_ceil(TICK.as_millis()) {
        if terminal::stop_asked() {
            return;
        }
        std::thread::sleep(TICK);
    }
}

/// Titles, and a line per row. Texts from elsewhere lose their control characters.
pub fn table(columns: &[Column], rows: &[Value], is_wide: bool, titles: bool) -> String {
    let shown: Vec<&Column> = columns.iter().filter(|c| is_wide || !c.wide).collect();
    let mut lines: Vec<Vec<String>> = Vec::new();
    if titles {
        lines.push(shown.iter().map(|c| c.title.to_owned()).collect());
    }
    lines.extend(rows.iter().map(|row| shown.iter().map(|c| cell(&(c.cell)(row))).collect()));
    let width = |n: usize| lines.iter().map(|line| line[n].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..shown.len()).map(width).collect();
    let lines = lines.iter().map(|line| {
        let cells = line.iter().zip(&widths).map(|(text, width)| format!("{text:<width$}"));
        cells.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn cell(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { plain(text) }
}

/// Without control characters.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// What stands at a JSON pointer (RFC 6901), as text; empty if nothing does.
pub fn at(row: &Value, pointer: &str) -> String {
    match row.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// The time since a moment in Unix seconds at a JSON pointer.
pub fn age(row: &Value, pointer: &str) -> String {
    match row.pointer(pointer).and_then(Value::as_u64) {
        Some(then) if then > 0 => span(now().saturating_sub(then)),
        _ => String::new(),
    }
}

/// `42s`, `7m`, `3h12m`, `9d`.
pub fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h{}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Names and values, one a line; those without a value are left out.
pub fn facts(pairs: &[(&str, String)]) -> String {
    let some: Vec<_> = pairs.iter().filter(|(_, value)| !value.is_empty()).collect();
    let width = some.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + GAP;
    let lines = some.iter().map(|(name, value)| format!("{name:<width$}{}", plain(value)));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] =
        [column("NAME", |r| at(r, "/name")), column("STATE", |r| at(r, "/e/state")), wide("N", |r| at(r, "/n"))];

    fn args(output: Format, selector: &str) -> ListArgs {
        let shape = Shape { output, json: false };
        ListArgs { shape, selector: selector.parse().unwrap(), watch: false, no_headers: false }
    }

    fn rows() -> Vec<Value> {
        vec![json!({"name": "alpha-beta", "e": {"state": "Pending"}, "n": 7}), json!({"name": "x\u{1b}[2J", "e": null, "n": 8})]
    }

    fn shown(output: Format, selector: &str) -> String {
        args(output, selector).rendered("rows", &COLUMNS, rows()).unwrap().0
    }

    #[test]
    fn tables_are_aligned_and_plain() {
        assert_eq!(shown(Format::Table, ""), "NAME        STATE\nalpha-beta  Pending\nx\u{fffd}[2J       -");
        assert_eq!(shown(Format::Wide, "state=pending"), "NAME        STATE    N\nalpha-beta  Pending  7");
        let mut bare = args(Format::Table, "n=7");
        bare.no_headers = true;
        assert_eq!(bare.rendered("rows", &COLUMNS, rows()).unwrap().0, "alpha-beta  Pending");
    }

    #[test]
    fn documents_have_the_rows_that_were_selected() {
        assert_eq!(shown(Format::Json, "n=7"), r#"{"rows":[{"e":{"state":"Pending"},"n":7,"name":"alpha-beta"}]}"#);
        let yaml = shown(Format::Yaml, "n=7");
        assert!(yaml.starts_with("rows:") && yaml.contains("name: alpha-beta"), "{yaml}");
        let mut short = args(Format::Table, "n=7");
        short.shape.json = true;
        assert_eq!(short.rendered("rows", &COLUMNS, rows()).unwrap().0, shown(Format::Json, "n=7"));
        assert!(args(Format::Table, "n=9").rendered("rows", &COLUMNS, rows()).unwrap().1);
    }

    #[test]
    fn ages_are_short() {
        for (seconds, text) in [(0, "0s"), (119, "119s"), (120, "2m"), (7_199, "119m"), (11_520, "3h12m"), (172_800, "2d")] {
            assert_eq!(span(seconds), text);
        }
        assert_eq!(facts(&[("name", "a".into()), ("none", String::new()), ("longer", "b".into())]), "name    a\nlonger  b");
    }
}
