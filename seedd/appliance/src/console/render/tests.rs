use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::super::ui::{Key, press};
use super::super::view::{DiskView, InterfaceView, Phase};
use super::*;

const FULL: Look = Look { colour: true, unicode: true };
const SERIAL: Look = Look { colour: false, unicode: false };

fn view(phase: Phase) -> ConsoleView {
    let setup = phase == Phase::Setup;
    ConsoleView {
        phase,
        sealed: matches!(phase, Phase::Sealed | Phase::Standby),
        site: (!setup).then(|| "site-a".to_owned()),
        version: "0.1.0".to_owned(),
        hostname: "seed".to_owned(),
        pages: vec!["https://10.77.0.1".to_owned(), "https://192.168.100.20".to_owned()],
        fingerprint: Some(vec!["AB"; 32].join(":")),
        setup_code: setup.then(|| "ABCD-EFGH".to_owned()),
        interfaces: vec![
            InterfaceView {
                name: "eth0".to_owned(),
                mac: "52:54:00:00:00:01".to_owned(),
                up: true,
                addresses: vec!["10.77.0.1/24".to_owned()],
            },
            InterfaceView { name: "eth1".to_owned(), mac: "52:54:00:00:00:02".to_owned(), ..Default::default() },
        ],
        disks: vec![
            DiskView { name: "sda".to_owned(), model: "Ultra Fit".to_owned(), size: 32_000_000_000, removable: true },
            DiskView { name: "vda".to_owned(), model: String::new(), size: 8 << 30, removable: false },
        ],
        state: if setup { "memory" } else { "stick /dev/sda3" }.to_owned(),
        appliance: true,
        takes_effect: "at the next start".to_owned(),
        clock: 1_790_000_000,
        nodes: 3,
        pending: 1,
        warnings: if phase == Phase::Serving { Vec::new() } else { vec!["the seed's clock was never set".to_owned()] },
        ..ConsoleView::default()
    }
}

fn painted(daemon: &Daemon, ui: &Ui, look: Look, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let scene = Scene { daemon, socket: "/var/lib/kubedos/site/seedd.sock", ui, look };
    terminal.draw(|frame| render(&scene, frame.area(), frame.buffer_mut())).unwrap();
    terminal.backend().to_string()
}

fn after(keys: &str, view: &ConsoleView) -> Ui {
    let mut ui = Ui::default();
    for c in keys.chars() {
        press(&mut ui, Some(view), if c == '\n' { Key::Enter } else { Key::Char(c) });
    }
    ui
}

#[test]
fn every_phase() {
    for (name, phase) in
        [("setup", Phase::Setup), ("sealed", Phase::Sealed), ("serving", Phase::Serving), ("standby", Phase::Standby)]
    {
        let daemon = Daemon::Up(Box::new(view(phase)));
        insta::assert_snapshot!(format!("{name}-80x25"), painted(&daemon, &Ui::default(), FULL, 80, 25));
        insta::assert_snapshot!(format!("{name}-serial"), painted(&daemon, &Ui::default(), SERIAL, 80, 24));
        insta::assert_snapshot!(format!("{name}-40x10"), painted(&daemon, &Ui::default(), SERIAL, 40, 10));
    }
    insta::assert_snapshot!("asking", painted(&Daemon::Asking, &Ui::default(), SERIAL, 80, 24));
    let down = Daemon::Down("reaching the daemon: No such file or directory (os error 2)".to_owned());
    insta::assert_snapshot!("down", painted(&down, &Ui::default(), SERIAL, 80, 24));
    insta::assert_snapshot!("down-40x10", painted(&down, &Ui::default(), SERIAL, 40, 10));
}

#[test]
fn every_dialogue() {
    let (sealed, setup) = (view(Phase::Sealed), view(Phase::Setup));
    for (name, view, keys) in [
        ("help", &sealed, "?"),
        ("interface", &sealed, "i"),
        ("interface-confirm", &sealed, "i2\n"),
        ("address", &sealed, "a"),
        ("address-typed", &sealed, "a3\n10.77.0.0/24\n"),
        ("hostname", &sealed, "h"),
        ("disk", &sealed, "d"),
        ("disk-confirm", &sealed, "d5\n"),
        ("unseal", &sealed, "uopen sesame"),
        ("busy", &sealed, "uopen sesame\n"),
        ("reboot", &sealed, "r"),
        ("poweroff", &sealed, "p"),
        ("qr", &setup, "c"),
        ("qr-blocks", &setup, "cc"),
        ("nothing-changes", &sealed, "i1\n"),
    ] {
        let (daemon, ui) = (Daemon::Up(Box::new(view.clone())), after(keys, view));
        insta::assert_snapshot!(format!("dialogue-{name}"), painted(&daemon, &ui, SERIAL, 80, 24));
        insta::assert_snapshot!(format!("dialogue-{name}-40x10"), painted(&daemon, &ui, SERIAL, 40, 10));
    }
}

#[test]
fn the_passphrase_is_never_on_the_screen() {
    let view = view(Phase::Sealed);
    let ui = after("uopen sesame", &view);
    let screen = painted(&Daemon::Up(Box::new(view)), &ui, FULL, 80, 25);
    assert!(!screen.contains("sesame") && screen.contains("> ***********_"), "{screen}");
}

#[test]
fn the_code_vanishes_with_the_set_up() {
    let setup = view(Phase::Setup);
    let shown = |view: &ConsoleView, ui: &Ui| painted(&Daemon::Up(Box::new(view.clone())), ui, FULL, 100, 40);
    assert!(shown(&setup, &Ui::default()).contains("ABCD-EFGH") && shown(&setup, &Ui::default()).contains('█'));
    for phase in [Phase::Sealed, Phase::Serving, Phase::Standby] {
        // Also from the page of the code, left open.
        for ui in [Ui::default(), after("c", &setup)] {
            let screen = shown(&view(phase), &ui);
            assert!(!screen.contains("ABCD") && !screen.contains('█'), "{screen}");
        }
    }
}

#[test]
fn a_serial_line_gets_ascii_and_no_colour() {
    let hostile = "caf\u{e9} \u{1b}[2J\u{202e}evil\u{7}\u{9b}31m";
    let mut seen = view(Phase::Sealed);
    seen.disks[0].model = hostile.to_owned();
    seen.warnings = vec![hostile.to_owned()];
    seen.site = Some(hostile.to_owned());
    seen.state = hostile.to_owned();
    for keys in ["", "d", "d4\n", "i", "?", "u", "h"] {
        let ui = after(keys, &seen);
        let daemon = Daemon::Up(Box::new(seen.clone()));
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        let scene = Scene { daemon: &daemon, socket: hostile, ui: &ui, look: SERIAL };
        terminal.draw(|frame| render(&scene, frame.area(), frame.buffer_mut())).unwrap();
        for cell in terminal.backend().buffer().content() {
            assert!(cell.symbol().chars().all(|c| (' '..='~').contains(&c)), "{:?}", cell.symbol());
            assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset));
        }
        let rich = painted(&daemon, &ui, FULL, 80, 25);
        assert!(!rich.contains(['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}']), "{keys}: {rich:?}");
    }
    assert!(crate::console::plain::block(&seen).bytes().all(|b| b == b'\n' || (b' '..=b'~').contains(&b)));
}

#[test]
fn no_size_panics() {
    let mut full = view(Phase::Setup);
    full.warnings = vec!["a long warning ".repeat(20); 30];
    let daemon = Daemon::Up(Box::new(full.clone()));
    for keys in ["", "i", "d", "?", "c", "cc", "a3\n", "uabc", "r"] {
        let ui = after(keys, &full);
        for (width, height) in [(0, 0), (1, 1), (3, 3), (4, 3), (5, 4), (10, 5), (20, 7), (40, 10), (200, 80)] {
            for look in [FULL, SERIAL] {
                let area = Rect::new(0, 0, width, height);
                let scene = Scene { daemon: &daemon, socket: "s", ui: &ui, look };
                render(&scene, area, &mut Buffer::empty(area));
            }
        }
    }
    insta::assert_snapshot!("many-warnings", painted(&daemon, &Ui { scroll: 5, ..Ui::default() }, SERIAL, 80, 24));
}
