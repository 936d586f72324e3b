//! Events of the log as lines of syslog (RFC 5424).

use cluster_seed::events::{EventKind, Tone};

use crate::store::log::ChainedRow;

/// Facility 13, "log audit" (RFC 5424, section 6.2.1).
const FACILITY: u8 = 13;
/// The id of the structured data. 32473 is the enterprise number for documentation (RFC 5612): the project has none of its own.
const SD_ID: &str = "event@32473";
/// Longest name of a host, and of a kind as MSGID (RFC 5424, section 6).
const MAX_HOST: usize = 255;
const MAX_KIND: usize = 32;

/// One event as a line without its line feed. `host` is the name of the seed.
///
/// The message's id is the kind; the structured data has the number, the machine, the enrollment, the actor and the hash of the
/// event, and the facts of its packet as JSON.
pub fn line(row: &ChainedRow, host: &str) -> String {
    let priority = FACILITY * 8 + severity(&row.kind);
    let time = i64::try_from(row.at).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let time = time.map_or_else(|| "-".to_owned(), |t| format!("{t:.3}"));
    let mut data = format!("[{SD_ID} id=\"{}\" hash=\"{}\"", row.id, value(&row.hash));
    let machine = row.machine.map(|m| m.to_string());
    for (name, text) in [("machine", &machine), ("enrollment", &row.enrollment), ("actor", &row.actor), ("facts", &row.facts)] {
        if let Some(text) = text {
            data.push_str(&format!(" {name}=\"{}\"", value(text)));
        }
    }
    let text: String = row.text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    format!("<{priority}>1 {time} {} seedd - {} {data}] {text}", word(host, MAX_HOST), word(&row.kind, MAX_KIND))
}

/// Severity (RFC 5424, table 2): 4 is warning, 5 notice, 6 informational.
fn severity(kind: &str) -> u8 {
    match kind.parse().map_or(Tone::Idle, EventKind::tone) {
        Tone::Bad => 4,
        Tone::Wait => 5,
        Tone::Good | Tone::Idle => 6,
    }
}

/// A header field: printable ASCII without spaces, `-` if there is nothing.
fn word(text: &str, most: usize) -> String {
    let word: String = text.chars().filter(char::is_ascii_graphic).take(most).collect();
    if word.is_empty() { "-".to_owned() } else { word }
}

/// The value of a parameter: `"`, `\` and `]` are escaped (RFC 5424, section 6.3.3).
fn value(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' | ']' => out.extend(['\\', c]),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: &str, text: &str) -> ChainedRow {
        ChainedRow {
            id: 7,
            at: 1_795_377_600_123,
            kind: kind.to_owned(),
            text: text.to_owned(),
            machine: None,
            enrollment: None,
            actor: None,
            facts: None,
            hash: "ab".to_owned(),
        }
    }

    #[test]
    fn an_event_is_a_line_of_rfc_5424() {
        let login = ChainedRow { actor: Some("ada".to_owned()), machine: Some(3), ..row("login.failed", "wrong password") };
        assert_eq!(
            line(&login, "seed.lab.lan"),
            "<108>1 2026-11-22T20:00:00.123Z seed.lab.lan seedd - login.failed \
             [event@32473 id=\"7\" hash=\"ab\" machine=\"3\" actor=\"ada\"] wrong password"
        );
    }

    #[test]
    fn hostile_text_stays_where_it_is() {
        let evil =
            ChainedRow { actor: Some("a\"] x=\"\\".to_owned()), ..row("a b\n<34>1", "one\n<34>1 - evil - - - two\r\u{0}") };
        let line = line(&evil, "a b\nc");
        assert!(!line.contains('\n') && !line.contains('\r') && !line.contains('\u{0}'), "{line}");
        assert!(line.starts_with("<110>1 2026-11-22T20:00:00.123Z abc seedd - ab<34>1 ["), "{line}");
        assert!(line.contains(r#"actor="a\"\] x=\"\\"]"#), "{line}");
    }

    #[test]
    fn fields_have_their_limits() {
        let line = line(&row(&"k".repeat(MAX_KIND + 1), "t"), "");
        assert!(line.contains(&format!(" - seedd - {} [", "k".repeat(MAX_KIND))), "{line}");
    }
}
