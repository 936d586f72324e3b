use super::*;
use crate::console::view::{DiskView, InterfaceView, Phase};

fn view() -> ConsoleView {
    ConsoleView {
        phase: Phase::Sealed,
        sealed: true,
        site: Some("site-a".to_owned()),
        appliance: true,
        hostname: "seed".to_owned(),
        takes_effect: "at the next start".to_owned(),
        interfaces: vec![
            InterfaceView { name: "eth0".to_owned(), up: true, ..Default::default() },
            InterfaceView { name: "eth1".to_owned(), ..Default::default() },
        ],
        disks: vec![DiskView { name: "sdb".to_owned(), model: "Stick".to_owned(), size: 1 << 30, removable: true }],
        ..ConsoleView::default()
    }
}

/// `<`: Enter, `~`: Esc, `^`: Backspace, `v`/`A` stay letters; `\u{2193}` down, `\u{2191}` up.
fn keys(text: &str) -> Vec<Key> {
    let key = |c| match c {
        '<' => Key::Enter,
        '~' => Key::Esc,
        '^' => Key::Backspace,
        '↓' => Key::Down,
        '↑' => Key::Up,
        c => Key::Char(c),
    };
    text.chars().map(key).collect()
}

/// Types all keys; the last effect and the state after.
fn typed(view: Option<&ConsoleView>, text: &str) -> (Ui, Effect) {
    let mut ui = Ui::default();
    let mut effect = Effect::Nothing;
    for key in keys(text) {
        effect = press(&mut ui, view, key);
    }
    (ui, effect)
}

fn effect_text(effect: &Effect) -> String {
    match effect {
        Effect::Nothing => "nothing".to_owned(),
        Effect::Leave => "leave".to_owned(),
        Effect::Repaint => "repaint".to_owned(),
        Effect::Ask(request) => serde_json::to_string(request).unwrap(),
    }
}

#[test]
fn every_way_to_a_request() {
    let view = view();
    let stored = |fields: &str| {
        let all = [("iface", "null"), ("address", "null"), ("hostname", "null"), ("state", "null")];
        let fields: Vec<String> = all
            .iter()
            .map(|(name, none)| {
                let given = fields.split(';').find_map(|f| f.strip_prefix(&format!("{name}=")));
                format!("\"{name}\":{}", given.unwrap_or(none))
            })
            .collect();
        format!("{{\"op\":\"settings\",\"settings\":{{{}}}}}", fields.join(","))
    };
    for (text, effect) in [
        ("q", "leave".to_owned()),
        ("i↓<y", stored("iface=\"eth0\"")),
        ("i3<y", stored("iface=\"eth1\"")),
        ("i↓↓↓↓↑<y", stored("iface=\"eth0\"")),
        ("a2<y", stored("address=\"dhcp\"")),
        ("a3<10.77.0.1/24<y", stored("address={\"static\":\"10.77.0.1/24\"}")),
        ("a3<10.77.0.1/233^<y", stored("address={\"static\":\"10.77.0.1/23\"}")),
        ("h^^^^rack-7<y", stored("hostname=\"rack-7\"")),
        ("d2<y", stored("state=\"stick\"")),
        ("d3<y", stored("state=\"ram\"")),
        ("d4<y", stored("state={\"disk\":\"/dev/sdb\"}")),
        ("uopen sesame<", "{\"op\":\"unseal\",\"passphrase\":\"open sesame\"}".to_owned()),
        ("ry", "{\"op\":\"reboot\"}".to_owned()),
        ("py", "{\"op\":\"powerOff\"}".to_owned()),
        // Nothing happens without the confirmation, and Esc leaves from everywhere.
        ("r", "nothing".to_owned()),
        ("r<", "nothing".to_owned()),
        ("r~y", "nothing".to_owned()),
        ("p~y", "nothing".to_owned()),
        ("i↓<~y", "nothing".to_owned()),
        ("u<", "nothing".to_owned()),
        ("uabc~<", "nothing".to_owned()),
        ("a3<10.77.0.0/24<y", "nothing".to_owned()),
        ("a3<not an address<", "nothing".to_owned()),
        ("i1<", "nothing".to_owned()),
        ("i9<", "nothing".to_owned()),
        ("x", "nothing".to_owned()),
    ] {
        let (_, got) = typed(Some(&view), text);
        assert_eq!(effect_text(&got), effect, "{text}");
    }
}

#[test]
fn a_choice_that_changes_nothing_is_not_stored() {
    let (ui, _) = typed(Some(&view()), "i1<");
    assert!(matches!(ui.dialogue, Dialogue::Told { good: true, .. }));
    let (ui, _) = typed(Some(&view()), "a3<10.0.0.255/24<");
    let Dialogue::Type { wrong: Some(why), text, .. } = ui.dialogue else { panic!("the dialogue stays") };
    assert!(why.contains("not a host address") && text == "10.0.0.255/24");
    let (ui, _) = typed(Some(&view()), "h^^^^-bad-<");
    assert!(matches!(ui.dialogue, Dialogue::Type { wrong: Some(_), .. }));
}

#[test]
fn what_was_set_is_where_the_choice_begins() {
    let settings = Settings {
        iface: Some("eth1".to_owned()),
        address: Some(Address::Dhcp),
        state: Some(StatePlace::Disk("/dev/sdb".to_owned())),
        hostname: Some("seed-a".parse().unwrap()),
    };
    let view = ConsoleView { settings, ..view() };
    for (key, expected) in [('i', 2), ('a', 1), ('d', 3)] {
        let (ui, _) = typed(Some(&view), &key.to_string());
        let Dialogue::Pick { at, .. } = ui.dialogue else { panic!("{key} opens a list") };
        assert_eq!(at, expected, "{key}");
    }
    let (ui, _) = typed(Some(&view), "h");
    assert!(matches!(ui.dialogue, Dialogue::Type { text, .. } if text == "seed-a"));
    let (_, effect) = typed(Some(&view), "h^^^^^^<y");
    assert!(effect_text(&effect).contains("\"hostname\":null") && effect_text(&effect).contains("eth1"));
}

#[test]
fn what_a_server_or_a_silent_daemon_does_not_offer() {
    let server = ConsoleView { appliance: false, ..view() };
    for key in ["i", "a", "h", "d", "r", "p"] {
        let (ui, _) = typed(Some(&server), key);
        assert!(matches!(ui.dialogue, Dialogue::Told { good: false, .. }), "{key}");
        let (ui, effect) = typed(None, &format!("{key}<y"));
        assert!(matches!((ui.dialogue, effect), (Dialogue::None, Effect::Nothing)), "{key}");
    }
    let (ui, _) = typed(None, "?");
    assert!(matches!(ui.dialogue, Dialogue::Help));
    let serving = ConsoleView { phase: Phase::Serving, sealed: false, ..view() };
    assert!(matches!(typed(Some(&serving), "u").0.dialogue, Dialogue::Told { good: true, .. }));
    assert!(matches!(typed(Some(&serving), "c").0.dialogue, Dialogue::None), "no code after the set-up");
    let setup = ConsoleView { site: None, phase: Phase::Setup, ..view() };
    assert!(matches!(typed(Some(&setup), "u").0.dialogue, Dialogue::Told { good: false, .. }));
}

#[test]
fn keys_wait_while_the_daemon_thinks_and_input_has_a_limit() {
    let view = view();
    let (mut ui, _) = typed(Some(&view), "uabc<~↓<yq");
    assert!(matches!(ui.dialogue, Dialogue::Busy(_)));
    assert!(matches!(press(&mut ui, Some(&view), Key::Interrupt), Effect::Leave));
    answered(&mut ui, &Asked::Unseal, Err("the passphrase is wrong".to_owned()));
    assert!(matches!(&ui.dialogue, Dialogue::Told { good: false, text } if text.contains("wrong")));
    press(&mut ui, Some(&view), Key::Char('z'));
    assert!(matches!(ui.dialogue, Dialogue::None));

    let (ui, _) = typed(Some(&view), &format!("u{}", "ä".repeat(MAX_TYPED + 10)));
    let Dialogue::Passphrase(text) = ui.dialogue else { panic!("still typing") };
    assert_eq!(text.chars().count(), MAX_TYPED);
    assert_eq!(text.capacity(), MAX_TYPED * 4, "never copied while it grew");
    let (ui, _) = typed(Some(&view), &"↓".repeat(usize::from(MAX_SCROLL) + 5));
    assert_eq!(ui.scroll, MAX_SCROLL);
}

proptest::proptest! {
    #[test]
    fn no_row_of_keys_panics(text in "[iahdurpc?q0-9a-z<~^↓↑./-]{0,60}", with_view in proptest::bool::ANY) {
        let view = view();
        typed(with_view.then_some(&view), &text);
    }
}
