//! What keys do: the console's state and its transition function, which is pure.

use cluster_seed::ids::Hostname;
use zeroize::Zeroizing;

use super::view::ConsoleView;
use crate::control::Request;
use crate::settings::{Address, Settings, StatePlace};

/// Maximum length of an input line, in characters.
const MAX_TYPED: usize = 512;
/// Maximum scroll position of the body, in lines.
const MAX_SCROLL: u16 = 500;

/// A key, independent of the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Char(char),
    Enter,
    Esc,
    Backspace,
    Up,
    Down,
    /// Ctrl-C
    Interrupt,
    /// Ctrl-L
    Repaint,
}

/// One of several options in a dialogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub text: String,
    pub chosen: Chosen,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chosen {
    Set(Settings),
    /// An address must be entered first.
    TypeAddress,
}

/// A request that must be confirmed before it is sent to the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    Store(Settings),
    Reboot,
    PowerOff,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typed {
    Address,
    Hostname,
}

#[derive(Debug, Default)]
pub enum Dialogue {
    #[default]
    None,
    Help,
    /// The set-up address as a QR code; with `blocks` the terminal must support half blocks.
    Qr {
        blocks: bool,
    },
    Pick {
        title: &'static str,
        choices: Vec<Choice>,
        at: usize,
    },
    Type {
        what: Typed,
        text: String,
        /// Why the last input was refused.
        wrong: Option<String>,
    },
    Passphrase(Zeroizing<String>),
    Confirm {
        act: Act,
        /// One line per change.
        changes: Vec<String>,
    },
    /// Waiting for the daemon; keys are ignored.
    Busy(&'static str),
    /// The result; any key closes it.
    Told {
        good: bool,
        text: String,
    },
}

#[derive(Debug, Default)]
pub struct Ui {
    pub dialogue: Dialogue,
    /// First visible line of the body.
    pub scroll: u16,
}

/// What the caller must do after a key.
pub enum Effect {
    Nothing,
    Leave,
    Repaint,
    Ask(Request),
}

/// Processes one key. Without a view (the daemon does not answer) only help and quitting work.
pub fn press(ui: &mut Ui, view: Option<&ConsoleView>, key: Key) -> Effect {
    match key {
        Key::Interrupt => return Effect::Leave,
        Key::Repaint => return Effect::Repaint,
        Key::Esc if !matches!(ui.dialogue, Dialogue::Busy(_)) => {
            ui.dialogue = Dialogue::None;
            return Effect::Nothing;
        }
        _ => {}
    }
    match std::mem::take(&mut ui.dialogue) {
        Dialogue::None => return main_key(ui, view, key),
        Dialogue::Help | Dialogue::Told { .. } => {}
        Dialogue::Qr { blocks: false } if key == Key::Char('c') => ui.dialogue = Dialogue::Qr { blocks: true },
        Dialogue::Qr { .. } => {}
        Dialogue::Busy(what) => ui.dialogue = Dialogue::Busy(what),
        Dialogue::Pick { title, choices, at } => pick_key(ui, view, key, title, choices, at),
        Dialogue::Type { what, text, .. } => type_key(ui, view, key, what, text),
        Dialogue::Passphrase(mut text) => {
            if key == Key::Enter && !text.is_empty() {
                ui.dialogue = Dialogue::Busy("unsealing the seed");
                return Effect::Ask(Request::Unseal { passphrase: text.to_string() });
            }
            edit(&mut text, key);
            ui.dialogue = Dialogue::Passphrase(text);
        }
        Dialogue::Confirm { act, changes } => {
            if key == Key::Char('y') {
                ui.dialogue = Dialogue::Busy("waiting for the daemon");
                return Effect::Ask(match act {
                    Act::Store(settings) => Request::Settings { settings },
                    Act::Reboot => Request::Reboot,
                    Act::PowerOff => Request::PowerOff,
                });
            }
            // An accidental Enter neither confirms nor closes the question.
            ui.dialogue = Dialogue::Confirm { act, changes };
        }
    }
    Effect::Nothing
}

/// Shows the daemon's answer to the last request.
pub fn answered(ui: &mut Ui, asked: &Asked, result: Result<(), String>) {
    let (good, text) = match result {
        Ok(()) => (true, asked.done().to_owned()),
        Err(why) => (false, why),
    };
    ui.dialogue = Dialogue::Told { good, text };
}

/// The kind of the pending request, without its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Unseal,
    Settings,
    Reboot,
    PowerOff,
    Look,
}

impl Asked {
    pub fn of(request: &Request) -> Self {
        match request {
            Request::Unseal { .. } => Asked::Unseal,
            Request::Settings { .. } => Asked::Settings,
            Request::Reboot => Asked::Reboot,
            Request::PowerOff => Asked::PowerOff,
            Request::View
            | Request::Status
            | Request::Reload
            | Request::Promote
            | Request::PromoteDrill
            | Request::Clock
            | Request::SetClock { .. } => Asked::Look,
            Request::Site { .. } | Request::Seal => Asked::Look,
        }
    }

    fn done(self) -> &'static str {
        match self {
            Asked::Unseal => "Unsealed: machines can be approved now.",
            Asked::Settings => "Saved.",
            Asked::Reboot => "Restarting.",
            Asked::PowerOff => "Powering off.",
            Asked::Look => "Done.",
        }
    }
}

fn main_key(ui: &mut Ui, view: Option<&ConsoleView>, key: Key) -> Effect {
    match key {
        Key::Char('q') => return Effect::Leave,
        Key::Char('?') => ui.dialogue = Dialogue::Help,
        Key::Up => ui.scroll = ui.scroll.saturating_sub(1),
        Key::Down => ui.scroll = (ui.scroll + 1).min(MAX_SCROLL),
        Key::Char(c) => {
            let Some(view) = view else { return Effect::Nothing };
            ui.dialogue = opened(view, c);
        }
        _ => {}
    }
    Effect::Nothing
}

fn opened(view: &ConsoleView, key: char) -> Dialogue {
    let changes_machine = matches!(key, 'i' | 'a' | 'h' | 'd' | 'r' | 'p');
    if changes_machine && !view.appliance {
        let text = "This seed is not an appliance: change these settings on the machine itself.";
        return Dialogue::Told { good: false, text: text.to_owned() };
    }
    match key {
        'i' => pick("Interface for netboot", interface_choices(view)),
        'a' => pick("Address of that interface", address_choices(view)),
        'd' => pick("Where the state is kept", disk_choices(view)),
        'h' => {
            let text = view.settings.hostname.as_ref().map_or_else(|| view.hostname.clone(), Hostname::to_string);
            Dialogue::Type { what: Typed::Hostname, text, wrong: None }
        }
        'u' if view.site.is_none() => told(false, "There is no site yet: set it up in a browser first."),
        'u' if !view.sealed => told(true, "The seed is already unsealed."),
        'u' => {
            // It never reallocates: that would leave copies in memory.
            Dialogue::Passphrase(Zeroizing::new(String::with_capacity(MAX_TYPED * 4)))
        }
        'c' if view.setup_code.is_some() && !view.pages.is_empty() => Dialogue::Qr { blocks: false },
        'r' => Dialogue::Confirm { act: Act::Reboot, changes: vec!["The machine will restart.".to_owned()] },
        'p' => Dialogue::Confirm { act: Act::PowerOff, changes: vec!["The machine will be switched off.".to_owned()] },
        _ => Dialogue::None,
    }
}

fn told(good: bool, text: &str) -> Dialogue {
    Dialogue::Told { good, text: text.to_owned() }
}

fn pick(title: &'static str, (choices, at): (Vec<Choice>, usize)) -> Dialogue {
    Dialogue::Pick { title, choices, at }
}

fn choice(text: impl Into<String>, settings: Settings) -> Choice {
    Choice { text: text.into(), chosen: Chosen::Set(settings) }
}

fn interface_choices(view: &ConsoleView) -> (Vec<Choice>, usize) {
    let with = |iface| Settings { iface, ..view.settings.clone() };
    let mut choices = vec![choice("chosen at start (the first one with a link)", with(None))];
    for i in &view.interfaces {
        let link = if i.up { "up" } else { "no link" };
        choices.push(choice(format!("{}  {}  {link}", i.name, i.mac), with(Some(i.name.clone()))));
    }
    let at = view.settings.iface.as_ref().and_then(|n| view.interfaces.iter().position(|i| i.name == *n));
    (choices, at.map_or(0, |i| i + 1))
}

fn address_choices(view: &ConsoleView) -> (Vec<Choice>, usize) {
    let with = |address| Settings { address, ..view.settings.clone() };
    let choices = vec![
        choice("chosen at start (DHCP if a server answers, else the medium's)", with(None)),
        choice("from a DHCP server", with(Some(Address::Dhcp))),
        Choice { text: "static: enter it".to_owned(), chosen: Chosen::TypeAddress },
    ];
    let at = match view.settings.address {
        None => 0,
        Some(Address::Dhcp) => 1,
        Some(Address::Static(_)) => 2,
    };
    (choices, at)
}

fn disk_choices(view: &ConsoleView) -> (Vec<Choice>, usize) {
    let with = |state| Settings { state, ..view.settings.clone() };
    let mut choices = vec![
        choice("chosen at start", with(None)),
        choice("a partition in the free space of the stick", with(Some(StatePlace::Stick))),
        choice("memory: lost at power-off", with(Some(StatePlace::Ram))),
    ];
    for d in &view.disks {
        let size = super::text::disk_size(d.size);
        let removable = if d.removable { ", removable" } else { "" };
        let place = StatePlace::Disk(format!("/dev/{}", d.name));
        choices.push(choice(format!("disk {}  {size}  {}{removable}", d.name, d.model), with(Some(place))));
    }
    let at = choices.iter().position(|c| c.chosen == Chosen::Set(view.settings.clone())).unwrap_or(0);
    (choices, at)
}

fn pick_key(ui: &mut Ui, view: Option<&ConsoleView>, key: Key, title: &'static str, choices: Vec<Choice>, at: usize) {
    let last = choices.len().saturating_sub(1);
    let at = match key {
        Key::Up => at.saturating_sub(1),
        Key::Down => (at + 1).min(last),
        Key::Char(c) => c.to_digit(10).and_then(|d| (d as usize).checked_sub(1)).filter(|d| *d <= last).unwrap_or(at),
        _ => at,
    };
    let chosen = choices.get(at).filter(|_| key == Key::Enter).map(|c| c.chosen.clone());
    ui.dialogue = match (chosen, view) {
        (Some(Chosen::Set(settings)), Some(view)) => confirm(view, settings),
        (Some(Chosen::TypeAddress), Some(view)) => {
            let text = match view.settings.address {
                Some(Address::Static(net)) => net.to_string(),
                _ => String::new(),
            };
            Dialogue::Type { what: Typed::Address, text, wrong: None }
        }
        _ => Dialogue::Pick { title, choices, at },
    };
}

fn type_key(ui: &mut Ui, view: Option<&ConsoleView>, key: Key, what: Typed, mut text: String) {
    let (Key::Enter, Some(view)) = (key, view) else {
        edit(&mut text, key);
        ui.dialogue = Dialogue::Type { what, text, wrong: None };
        return;
    };
    ui.dialogue = match typed_settings(&view.settings, what, text.trim()) {
        Ok(settings) => confirm(view, settings),
        Err(why) => Dialogue::Type { what, text, wrong: Some(why) },
    };
}

fn typed_settings(before: &Settings, what: Typed, text: &str) -> Result<Settings, String> {
    let mut settings = before.clone();
    match what {
        Typed::Hostname if text.is_empty() => settings.hostname = None,
        Typed::Hostname => settings.hostname = Some(text.parse().map_err(|e| format!("{e}"))?),
        Typed::Address => {
            let net = text.parse().map_err(|_| "enter it with its prefix length, for example 10.77.0.1/24".to_owned())?;
            super::host::check_address(net).map_err(|e| e.to_string())?;
            settings.address = Some(Address::Static(net));
        }
    }
    Ok(settings)
}

fn confirm(view: &ConsoleView, settings: Settings) -> Dialogue {
    let changes = changes(&view.settings, &settings);
    if changes.is_empty() {
        return told(true, "No changes.");
    }
    let mut changes = changes;
    if let (Some(StatePlace::Disk(_)), true) = (&settings.state, settings.state != view.settings.state) {
        changes.push("A disk is used only if it is blank or already contains the state of a seed.".to_owned());
    }
    Dialogue::Confirm { act: Act::Store(settings), changes }
}

/// One line per field that differs.
fn changes(before: &Settings, after: &Settings) -> Vec<String> {
    let lines = [
        ("netboot interface", words(&before.iface), words(&after.iface)),
        ("address", address_words(before), address_words(after)),
        ("host name", words(&before.hostname), words(&after.hostname)),
        ("state", state_words(before), state_words(after)),
    ];
    let differ = lines.into_iter().filter(|(_, a, b)| a != b);
    differ.map(|(what, a, b)| format!("{what}: {a} -> {b}")).collect()
}

fn words<T: ToString>(value: &Option<T>) -> String {
    value.as_ref().map_or_else(|| "chosen at start".to_owned(), T::to_string)
}

fn address_words(settings: &Settings) -> String {
    match &settings.address {
        None => "chosen at start".to_owned(),
        Some(Address::Dhcp) => "from a DHCP server".to_owned(),
        Some(Address::Static(net)) => net.to_string(),
    }
}

fn state_words(settings: &Settings) -> String {
    match &settings.state {
        None => "chosen at start".to_owned(),
        Some(StatePlace::Stick) => "on the stick".to_owned(),
        Some(StatePlace::Ram) => "memory".to_owned(),
        Some(StatePlace::Disk(path)) => path.clone(),
    }
}

fn edit(text: &mut String, key: Key) {
    match key {
        Key::Char(c) if !c.is_control() && text.chars().count() < MAX_TYPED => text.push(c),
        Key::Backspace => drop(text.pop()),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
