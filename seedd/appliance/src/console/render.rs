//! Draws the screen, as a pure function from the daemon's view and the dialogue's state to a buffer of characters.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::border;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Widget as _};

use super::plain::ascii;
use super::qr::Qr;
use super::text::{self, Field, Tone, wrap};
use super::ui::{Act, Choice, Dialogue, Typed, Ui};
use super::view::ConsoleView;

/// Width of the column of labels, if there is space for it.
const LABEL: usize = 13;
/// Width from which the head shows version and clock.
const WIDE: u16 = 60;
/// Height from which lines separate head, body and keys.
const TALL: u16 = 14;

/// What the terminal can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    pub colour: bool,
    /// Box-drawing characters and half blocks; otherwise ASCII only.
    pub unicode: bool,
}

/// The daemon as the console knows it.
#[derive(Debug, Default)]
pub enum Daemon {
    #[default]
    Asking,
    Up(Box<ConsoleView>),
    Down(String),
}

impl Daemon {
    pub fn view(&self) -> Option<&ConsoleView> {
        match self {
            Daemon::Up(view) => Some(view),
            _ => None,
        }
    }
}

pub struct Scene<'a> {
    pub daemon: &'a Daemon,
    pub socket: &'a str,
    pub ui: &'a Ui,
    pub look: Look,
}

/// Draws all of `area`, of any size. What does not fit is left out, starting from the end.
pub fn render(scene: &Scene<'_>, area: Rect, buf: &mut Buffer) {
    Clear.render(area, buf);
    if area.width < 4 || area.height < 3 {
        return;
    }
    let rules = u16::from(area.height >= TALL);
    head(scene, Rect { height: 1, ..area }, buf);
    let bottom = area.bottom() - 1;
    keys(scene, Rect { y: bottom, height: 1, ..area }, buf);
    if rules == 1 {
        let rule = if scene.look.unicode { "─" } else { "-" }.repeat(usize::from(area.width));
        buf.set_string(area.x, area.y + 1, &rule, Style::new());
        buf.set_string(area.x, bottom - 1, &rule, Style::new());
    }
    let height = area.height - 2 - 2 * rules;
    body(scene, Rect { y: area.y + 1 + rules, height, ..area }, buf);
    dialogue(scene, area, buf);
}

fn style(look: Look, tone: Tone) -> Style {
    let colour = |style: Style, c| if look.colour { style.fg(c) } else { style };
    match tone {
        Tone::Plain => Style::new(),
        Tone::Strong => Style::new().add_modifier(Modifier::BOLD),
        Tone::Good => colour(Style::new().add_modifier(Modifier::BOLD), Color::Green),
        Tone::Warning => colour(Style::new().add_modifier(Modifier::BOLD), Color::Yellow),
    }
}

/// The text for the terminal: ASCII if it supports nothing else.
fn shown(look: Look, text: &str) -> String {
    if look.unicode { text.to_owned() } else { ascii(text) }
}

fn head(scene: &Scene<'_>, area: Rect, buf: &mut Buffer) {
    let width = usize::from(area.width);
    let (left, right) = match scene.daemon {
        Daemon::Up(view) => {
            let site = view.site.as_deref().unwrap_or("no site yet");
            let (word, _) = text::phase(view);
            let clock = if area.width >= WIDE { format!("{word}  {}", text::clock(view.clock)) } else { word.to_owned() };
            let name = if area.width >= WIDE { format!("Kubedos seed {}  {site}", view.version) } else { site.to_owned() };
            (name, clock)
        }
        Daemon::Asking => ("Kubedos seed".to_owned(), "connecting".to_owned()),
        Daemon::Down(_) => ("Kubedos seed".to_owned(), "NO ANSWER".to_owned()),
    };
    let right: String = right.chars().take(width).collect();
    let room = width.saturating_sub(right.chars().count() + 3);
    let left: String = shown(scene.look, &cluster_seed::machine::tame(&left)).chars().take(room).collect();
    let gap = width.saturating_sub(left.chars().count() + right.chars().count() + 2);
    let line = format!(" {left}{}{right} ", " ".repeat(gap));
    buf.set_stringn(area.x, area.y, line, width, Style::new().add_modifier(Modifier::REVERSED));
}

fn keys(scene: &Scene<'_>, area: Rect, buf: &mut Buffer) {
    let mut all: Vec<&str> = Vec::new();
    if let Some(view) = scene.daemon.view() {
        if view.setup_code.is_some() {
            all.push("c QR code");
        }
        if view.sealed {
            all.push("u unseal");
        }
        if view.appliance {
            all.extend(["i interface", "a address", "h name", "d disk", "r reboot", "p off"]);
        }
    }
    let help = "? help";
    let mut line = String::from(" ");
    for key in all {
        if line.len() + key.len() + help.len() + 2 > usize::from(area.width) {
            break;
        }
        line.push_str(key);
        line.push_str("  ");
    }
    line.push_str(help);
    buf.set_stringn(area.x, area.y, line, usize::from(area.width), style(scene.look, Tone::Strong));
}

fn body(scene: &Scene<'_>, area: Rect, buf: &mut Buffer) {
    let fields = match scene.daemon {
        Daemon::Asking => Vec::new(),
        Daemon::Up(view) => text::fields(view),
        Daemon::Down(why) => text::unreachable(scene.socket, why),
    };
    let mut area = area;
    let code = scene.daemon.view().and_then(text::setup_address).and_then(|a| Qr::new(&a));
    if let Some(code) = code.filter(|_| scene.look.unicode) {
        let rows = code.blocks();
        let side = u16::try_from(rows[0].chars().count()).unwrap_or(u16::MAX);
        // Beside the text, if there is space.
        if area.width.saturating_sub(side) >= 46 && usize::from(area.height) >= rows.len() {
            area.width -= side + 1;
            paint_code(scene.look, &rows, area.right(), area.y, buf);
        }
    }
    let lines = body_lines(scene.look, &fields, area.width);
    let hidden = lines.len().saturating_sub(usize::from(area.height));
    let from = usize::from(scene.ui.scroll).min(hidden);
    let more = hidden > from && area.height > 1;
    let count = usize::from(area.height) - usize::from(more);
    for (y, line) in (area.y..).zip(lines.iter().skip(from).take(count)) {
        buf.set_line(area.x, y, line, area.width);
    }
    if more {
        let text = format!(" ... {} more lines: arrow down", lines.len() - from - count);
        buf.set_stringn(area.x, area.bottom() - 1, text, usize::from(area.width), Style::new());
    }
}

fn body_lines(look: Look, fields: &[Field], width: u16) -> Vec<Line<'static>> {
    let label_column = if width >= 46 { LABEL } else { 0 };
    let room = usize::from(width).saturating_sub(label_column + 2);
    let mut lines = Vec::new();
    for field in fields {
        let style = style(look, field.tone);
        let mut first = true;
        for value in &field.values {
            let value = if label_column == 0 && first { format!("{}: {value}", field.label) } else { value.clone() };
            for part in wrap(&shown(look, &value), room) {
                let label = if first && label_column > 0 { field.label } else { "" };
                first = false;
                lines.push(Line::from(vec![Span::raw(format!(" {label:<label_column$}")), Span::styled(part, style)]));
            }
        }
    }
    lines
}

fn paint_code(look: Look, rows: &[String], x: u16, y: u16, buf: &mut Buffer) {
    let style = if look.colour { Style::new().fg(Color::White).bg(Color::Black) } else { Style::new() };
    for (y, row) in (y..buf.area.bottom()).zip(rows) {
        buf.set_stringn(x, y, row, usize::from(buf.area.right().saturating_sub(x)), style);
    }
}

/// A dialogue: its title, its text, and the line that must be visible.
struct Window {
    title: String,
    lines: Vec<Line<'static>>,
    /// The line below the text.
    keys: &'static str,
    focus: usize,
}

fn dialogue(scene: &Scene<'_>, area: Rect, buf: &mut Buffer) {
    if let Dialogue::Qr { blocks } = scene.ui.dialogue {
        return code_page(scene, blocks, area, buf);
    }
    let width = area.width.min(72);
    let room = usize::from(width).saturating_sub(4);
    let Some(window) = window(scene, room) else { return };
    let height = u16::try_from(window.lines.len() + 4).unwrap_or(u16::MAX).min(area.height);
    let place = Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    Clear.render(place, buf);
    let title = format!(" {} ", window.title);
    let block = Block::bordered().border_set(border_of(scene.look)).title(title);
    let inside = block.inner(place);
    block.render(place, buf);
    let text = Rect { height: inside.height.saturating_sub(1), ..inside };
    let from = (window.focus + 1).saturating_sub(usize::from(text.height));
    Paragraph::new(window.lines.into_iter().skip(from).collect::<Vec<_>>()).render(text, buf);
    buf.set_stringn(
        inside.x,
        inside.bottom().saturating_sub(1),
        window.keys,
        usize::from(inside.width),
        style(scene.look, Tone::Strong),
    );
}

fn border_of(look: Look) -> border::Set<'static> {
    let plain = border::Set {
        top_left: "+",
        top_right: "+",
        bottom_left: "+",
        bottom_right: "+",
        vertical_left: "|",
        vertical_right: "|",
        horizontal_top: "-",
        horizontal_bottom: "-",
    };
    if look.unicode { border::PLAIN } else { plain }
}

fn window(scene: &Scene<'_>, room: usize) -> Option<Window> {
    let look = scene.look;
    let wrapped = |text: &str, tone| -> Vec<Line<'static>> {
        let text = shown(look, &cluster_seed::machine::tame(text));
        wrap(&text, room).into_iter().map(|l| Line::styled(format!(" {l}"), style(look, tone))).collect()
    };
    let simple = |title: &str, lines, keys| Window { title: title.to_owned(), lines, keys, focus: 0 };
    Some(match &scene.ui.dialogue {
        Dialogue::None | Dialogue::Qr { .. } => return None,
        Dialogue::Help => simple("Keys", help().iter().flat_map(|l| wrapped(l, Tone::Plain)).collect(), " any key closes"),
        Dialogue::Pick { title, choices, at } => picking(look, title, choices, *at, room),
        Dialogue::Type { what, text, wrong } => {
            let (title, hint) = match what {
                Typed::Address => ("Static address", "With its prefix length, for example 10.77.0.1/24."),
                Typed::Hostname => ("Host name", "Letters, digits and dashes. Leave it empty to choose at start."),
            };
            let mut lines = wrapped(hint, Tone::Plain);
            lines.extend(wrapped(&format!("> {text}_"), Tone::Strong));
            lines.extend(wrong.iter().flat_map(|w| wrapped(w, Tone::Warning)));
            Window { focus: lines.len(), ..simple(title, lines, " Enter continues, Esc cancels") }
        }
        Dialogue::Passphrase(text) => {
            let mut lines = wrapped("Enter the site's passphrase. What you type is not shown.", Tone::Plain);
            let stars: String = "*".repeat(text.chars().count().min(room.saturating_sub(4)));
            lines.extend(wrapped(&format!("> {stars}_"), Tone::Strong));
            simple("Unseal", lines, " Enter unseals, Esc cancels")
        }
        Dialogue::Confirm { act, changes } => {
            let title = match act {
                Act::Store(_) => "Save this setting?",
                Act::Reboot => "Restart the machine?",
                Act::PowerOff => "Power off?",
            };
            let mut lines: Vec<Line<'static>> = changes.iter().flat_map(|c| wrapped(c, Tone::Strong)).collect();
            lines.extend(wrapped(&effect_of(act, scene.daemon.view()), Tone::Plain));
            simple(title, lines, " y confirms, Esc cancels")
        }
        Dialogue::Busy(what) => simple("Please wait", wrapped(&format!("{what} ..."), Tone::Plain), ""),
        Dialogue::Told { good, text } => {
            let (title, tone) = if *good { ("Done", Tone::Plain) } else { ("Failed", Tone::Warning) };
            simple(title, wrapped(text, tone), " any key closes")
        }
    })
}

fn effect_of(act: &Act, view: Option<&ConsoleView>) -> String {
    match act {
        Act::Store(_) => {
            let when = view.map_or("at the next start", |v| v.takes_effect.as_str());
            format!("It takes effect {when}. Boot parameters override it.")
        }
        Act::Reboot | Act::PowerOff => {
            "Machines wait until the seed is back. It will be sealed then. Running jobs are lost.".to_owned()
        }
    }
}

fn picking(look: Look, title: &str, choices: &[Choice], at: usize, room: usize) -> Window {
    let line = |(n, c): (usize, &Choice)| {
        let mark = if n == at { ">" } else { " " };
        let text = shown(look, &cluster_seed::machine::tame(&c.text));
        let text: String = format!("{mark} {} {text}", n + 1).chars().take(room).collect();
        let style = if n == at { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
        Line::styled(format!(" {text}"), style)
    };
    let lines = choices.iter().enumerate().map(line).collect();
    Window { title: title.to_owned(), lines, keys: " arrows or digits, Enter selects, Esc cancels", focus: at }
}

fn help() -> &'static [&'static str] {
    &[
        "i  interface for netboot",
        "a  its address: static or from a DHCP server",
        "h  host name",
        "d  disk for the state",
        "u  unseal with the site's passphrase",
        "c  QR code of the set-up address, during set-up",
        "r  reboot      p  power off",
        "Ctrl-L redraws, arrows scroll, q quits.",
        "Use a browser for everything else, at the address shown.",
    ]
}

/// The QR code alone: with half blocks if the terminal supports them, otherwise two characters per module.
fn code_page(scene: &Scene<'_>, blocks: bool, area: Rect, buf: &mut Buffer) {
    Clear.render(area, buf);
    let address = scene.daemon.view().and_then(text::setup_address);
    let (Some(address), Some(code)) = (address.clone(), address.and_then(|a| Qr::new(&a))) else {
        buf.set_stringn(
            area.x,
            area.y,
            "The set-up is complete; the code is no longer needed.",
            usize::from(area.width),
            Style::new(),
        );
        return;
    };
    let halves = scene.look.unicode || blocks;
    let rows = if halves { code.blocks() } else { code.ascii() };
    let (width, height) = (rows[0].chars().count(), rows.len());
    if width <= usize::from(area.width) && height < usize::from(area.height) {
        paint_code(scene.look, &rows, area.x, area.y, buf);
    } else {
        let lines = [
            format!("The QR code needs {width} columns and {} lines.", height + 1),
            if halves { "Type the address instead:" } else { "Press c for a smaller one (needs UTF-8)." }.to_owned(),
            address,
        ];
        for (y, line) in (area.y..area.bottom()).zip(lines) {
            buf.set_stringn(area.x, y, line, usize::from(area.width), Style::new());
        }
    }
    buf.set_stringn(area.x, area.bottom() - 1, " Esc closes", usize::from(area.width), style(scene.look, Tone::Strong));
}

#[cfg(test)]
mod tests;
