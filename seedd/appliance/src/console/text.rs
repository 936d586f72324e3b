//! The texts of the screen: which lines a view gives, and in which order, independent of drawing.

use super::view::{ConsoleView, InterfaceView, Phase};

/// The meaning of a line; the terminal determines how it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Strong,
    Good,
    Warning,
}

/// A label and its values, one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub label: &'static str,
    pub values: Vec<String>,
    pub tone: Tone,
}

fn field(label: &'static str, tone: Tone, values: impl IntoIterator<Item = String>) -> Field {
    Field { label, values: values.into_iter().map(|v| cluster_seed::machine::tame(&v)).collect(), tone }
}

/// The set-up address including its code; the content of the QR code.
pub fn setup_address(view: &ConsoleView) -> Option<String> {
    let (page, code) = (view.pages.first()?, view.setup_code.as_ref()?);
    Some(format!("{page}/setup#{code}"))
}

/// The phase in one word or two.
pub fn phase(view: &ConsoleView) -> (&'static str, Tone) {
    match view.phase {
        Phase::Setup => ("NOT SET UP", Tone::Strong),
        Phase::Sealed => ("SEALED", Tone::Warning),
        Phase::Serving => ("UNSEALED", Tone::Good),
        Phase::Standby if view.sealed => ("STANDBY, SEALED", Tone::Warning),
        Phase::Standby => ("STANDBY", Tone::Warning),
    }
}

/// Date and minute by the seed's clock. No seconds: they would redraw a slow serial line constantly.
pub fn clock(seconds: u64) -> String {
    let at = i64::try_from(seconds).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    at.map_or_else(|| "no clock".to_owned(), |t| t.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

/// All lines except head and keys, the most important first.
pub fn fields(view: &ConsoleView) -> Vec<Field> {
    let mut all = Vec::new();
    let todo = match view.phase {
        Phase::Setup => "Open the address below in a browser and enter the set-up code.",
        _ if view.setup_code.is_some() => "Open the address below and create the first administrator with the set-up code.",
        Phase::Sealed => "Machines boot and wait. Press u, or use a browser, to unseal the seed.",
        Phase::Serving => "",
        Phase::Standby => "On standby: this seed issues no identities until it is promoted.",
    };
    if !todo.is_empty() {
        all.push(field("to do", Tone::Strong, [todo.to_owned()]));
    }
    if let Some(code) = &view.setup_code {
        all.push(field("set-up code", Tone::Strong, [code.clone()]));
    }
    let none = || vec!["none yet: the interface has no address".to_owned()];
    all.push(field("web address", Tone::Strong, if view.pages.is_empty() { none() } else { view.pages.clone() }));
    if let Some(fingerprint) = &view.fingerprint {
        all.push(field("fingerprint", Tone::Plain, [fingerprint.clone()]));
    }
    if !view.warnings.is_empty() {
        all.push(field("warnings", Tone::Warning, view.warnings.iter().map(|w| format!("! {w}"))));
    }
    if view.phase != Phase::Setup {
        let waiting = if view.pending > 0 { Tone::Strong } else { Tone::Plain };
        all.push(field("nodes", waiting, [format!("{}, {} waiting for approval", view.nodes, view.pending)]));
    }
    let in_memory = view.state.starts_with("memory");
    let state = if in_memory { format!("{}: everything is lost at power-off", view.state) } else { view.state.clone() };
    all.push(field("state", if in_memory { Tone::Warning } else { Tone::Plain }, [state]));
    all.push(field("host name", Tone::Plain, [view.hostname.clone()]));
    let none = || vec!["none: no supported network card was found".to_owned()];
    let interfaces: Vec<String> = view.interfaces.iter().map(|i| interface(view, i)).collect();
    all.push(field("interfaces", Tone::Plain, if interfaces.is_empty() { none() } else { interfaces }));
    all
}

fn interface(view: &ConsoleView, i: &InterfaceView) -> String {
    let link = if i.up { "up" } else { "no link" };
    let addresses = if i.addresses.is_empty() { "no address".to_owned() } else { i.addresses.join(" ") };
    let role = if view.settings.iface.as_deref() == Some(i.name.as_str()) { "  netboot" } else { "" };
    format!("{}  {link}  {}  {addresses}{role}", i.name, i.mac)
}

/// The lines while the daemon does not answer.
pub fn unreachable(socket: &str, why: &str) -> Vec<Field> {
    vec![
        field("no answer", Tone::Warning, [format!("The daemon does not answer at {socket}.")]),
        field("error", Tone::Plain, [why.to_owned()]),
        field(
            "to do",
            Tone::Strong,
            [
                "It may still be starting; this screen retries every two seconds.".to_owned(),
                "On an appliance: see `journalctl -u kubedos-seed`; Ctrl-Alt-Del restarts the machine.".to_owned(),
                "Otherwise: start `seedd serve`, or use the right --data or --socket.".to_owned(),
            ],
        ),
    ]
}

/// A disk's size in decimal gigabytes, as printed on its label.
pub fn disk_size(bytes: u64) -> String {
    let gigabytes = bytes as f64 / 1e9;
    if gigabytes >= 10.0 { format!("{gigabytes:.0} GB") } else { format!("{gigabytes:.1} GB") }
}

/// Breaks `text` into lines of at most `width` characters, at spaces or colons where there are any.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut rest: Vec<char> = text.chars().collect();
    let mut lines = Vec::new();
    while rest.len() > width {
        let fits = &rest[..=width];
        let at = match (fits.iter().rposition(|c| *c == ' '), fits[..width].iter().rposition(|c| *c == ':')) {
            (Some(space), _) if space > 0 => space,
            (None, Some(colon)) => colon + 1,
            _ => width,
        };
        let tail = rest.split_off(at);
        lines.push(rest.iter().collect::<String>().trim_end().to_owned());
        rest = tail.into_iter().skip_while(|c| *c == ' ').collect();
    }
    lines.push(rest.into_iter().collect());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_where_they_may() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("AA:BB:CC:DD", 7), ["AA:BB:", "CC:DD"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("abc", 3), ["abc"]);
        assert_eq!(wrap("", 3), [""]);
        assert_eq!(wrap("ab", 0), ["a", "b"]);
        assert_eq!(wrap("   leading", 4), ["", "lead", "ing"].map(str::to_owned).to_vec());
    }

    #[test]
    fn clocks_of_every_age() {
        assert_eq!(clock(0), "1970-01-01 00:00 UTC");
        assert_eq!(clock(4_070_908_800), "2099-01-01 00:00 UTC");
        assert_eq!(clock(u64::MAX), "no clock");
    }
}
