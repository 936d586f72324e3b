//! The console on terminals without cursor control (`TERM=dumb`, a pipe): a block of lines whenever something has changed.

use super::text::{self, Field};
use super::view::ConsoleView;

/// The whole state as lines of ASCII.
pub fn block(view: &ConsoleView) -> String {
    let site = view.site.as_deref().unwrap_or("no site");
    let head = format!("Kubedos seed {}  {site}  {}", view.version, text::phase(view).0);
    lines(&head, &text::fields(view))
}

pub fn lines(head: &str, fields: &[Field]) -> String {
    let mut out = format!("---- {head}\n");
    for field in fields {
        for (n, value) in field.values.iter().enumerate() {
            let label = if n == 0 { field.label } else { "" };
            out.push_str(&format!("{label:<12} {value}\n"));
        }
    }
    ascii(&out)
}

/// Replaces everything except printable ASCII and newlines: names may come from untrusted firmware.
pub fn ascii(text: &str) -> String {
    text.chars().map(|c| if c == '\n' || (' '..='~').contains(&c) { c } else { '?' }).collect()
}
