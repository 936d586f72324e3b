//! The main loop of the console: reads keys and the daemon's answers, and draws buffers. It makes no decisions.

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use host::clock::Stopwatch;
use nix::poll::{PollFd, PollFlags, poll};
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::{cursor, execute, style, terminal};
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};

use super::render::{Daemon, Look, Scene, render};
use super::ui::{Asked, Effect, Key, Ui, answered, press};
use super::view::ConsoleView;
use super::{plain, text};
use crate::control::{Client, Request};

/// Interval between requests to the daemon.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// Minimum time between two redraws without a key press, because a serial line is slow.
const PAINT_EVERY: Duration = Duration::from_secs(1);
/// Maximum wait for a key; signals and answers are checked in between.
const WAIT: Duration = Duration::from_millis(200);
/// Time after which the program ends even if the terminal library does not notice the signal.
const STUCK: Duration = Duration::from_secs(2);
/// Terminal size if it is not known, as on serial lines.
const UNKNOWN_SIZE: (u16, u16) = (80, 24);

type Screen = Terminal<CrosstermBackend<std::io::Stdout>>;

enum News {
    View(Result<Box<ConsoleView>, String>),
    Answer(Asked, Result<(), String>),
}

/// Set by SIGTERM, SIGHUP and SIGINT.
fn stop_flag() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, stop.clone()).context("listening for signals")?;
    }
    Ok(stop)
}

/// Requests a view every two seconds, and sends other requests in between.
fn asker(daemon: &Client, requests: &Receiver<Request>, news: &Sender<News>) {
    loop {
        let view = daemon.view().map(Box::new).map_err(|e| format!("{e:#}"));
        if news.send(News::View(view)).is_err() {
            return;
        }
        match requests.recv_timeout(ASK_EVERY) {
            Ok(request) => {
                let asked = Asked::of(&request);
                let answer = daemon.send(request).map_err(|e| format!("{e:#}"));
                if news.send(News::Answer(asked, answer)).is_err() {
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// A view without the fields that change constantly.
fn settled(mut view: Box<ConsoleView>) -> Box<ConsoleView> {
    view.clock -= view.clock % 60;
    view
}

/// Prints a block whenever something has changed, until a signal arrives.
pub fn run_plain(socket: &Utf8Path) -> Result<()> {
    let stop = stop_flag()?;
    let (_requests, for_asker) = channel();
    let (news, incoming) = channel();
    let daemon = Client::new(socket);
    std::thread::spawn(move || asker(&daemon, &for_asker, &news));
    let mut last = String::new();
    while !stop.load(Ordering::SeqCst) {
        let Ok(News::View(view)) = incoming.recv_timeout(WAIT) else { continue };
        let block = match view {
            Ok(view) => plain::block(&view),
            Err(why) => plain::lines("Kubedos seed", &text::unreachable(socket.as_str(), &why)),
        };
        if block != last {
            let mut out = std::io::stdout().lock();
            out.write_all(block.as_bytes()).and_then(|()| out.flush()).context("writing to the terminal")?;
            last = block;
        }
    }
    Ok(())
}

/// The full screen, until `q` or a signal. The terminal is restored afterwards, even after a panic.
pub fn run(socket: &Utf8Path, look: Look) -> Result<()> {
    let stop = stop_flag()?;
    let (requests, for_asker) = channel();
    let (news, incoming) = channel();
    let daemon = Client::new(socket);
    std::thread::spawn(move || asker(&daemon, &for_asker, &news));
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        restore();
        before(info);
    }));
    terminal::enable_raw_mode().context("preparing the terminal")?;
    let _restored = Restored;
    let flag = stop.clone();
    std::thread::spawn(move || watch_terminal(&flag));
    execute!(std::io::stdout(), terminal::EnterAlternateScreen, cursor::Hide).context("preparing the terminal")?;
    let options = TerminalOptions { viewport: Viewport::Fixed(size()) };
    let screen = Terminal::with_options(CrosstermBackend::new(std::io::stdout()), options).context("preparing the terminal")?;
    let mut console = Console {
        socket: socket.to_owned(),
        look,
        screen,
        area: Rect::default(),
        daemon: Daemon::default(),
        ui: Ui::default(),
        requests,
        minute: 0,
    };
    console.run(&incoming, &stop)
}

/// Ends the program when its terminal is gone: reading from a terminal that hung up returns immediately, and the library
/// would read in an endless loop.
#[expect(clippy::disallowed_methods, reason = "the main thread cannot return from its read, so the terminal is restored here")]
fn watch_terminal(stop: &AtomicBool) {
    let stdin = std::io::stdin();
    loop {
        let mut line = [PollFd::new(stdin.as_fd(), PollFlags::empty())];
        let gone = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
        let hung_up = poll(&mut line, 200u16).is_ok() && line[0].revents().is_some_and(|r| r.intersects(gone));
        if hung_up || stop.load(Ordering::SeqCst) {
            stop.store(true, Ordering::SeqCst);
            std::thread::sleep(STUCK);
            restore();
            std::process::exit(0);
        }
    }
}

/// Restores the terminal when it goes out of scope.
struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    // Errors are ignored: the terminal may be gone.
    let _ = execute!(std::io::stdout(), style::ResetColor, terminal::LeaveAlternateScreen, cursor::Show);
    let _ = terminal::disable_raw_mode();
}

fn size() -> Rect {
    let known = terminal::window_size().ok().map(|s| (s.columns, s.rows)).filter(|(w, h)| *w > 0 && *h > 0);
    let (width, height) = known.unwrap_or(UNKNOWN_SIZE);
    Rect::new(0, 0, width, height)
}

struct Console {
    socket: Utf8PathBuf,
    look: Look,
    screen: Screen,
    area: Rect,
    daemon: Daemon,
    ui: Ui,
    requests: Sender<Request>,
    /// Minute of the last full redraw.
    minute: u64,
}

impl Console {
    fn run(&mut self, incoming: &Receiver<News>, stop: &AtomicBool) -> Result<()> {
        let (mut dirty, mut at_once) = (true, true);
        let mut painted = Stopwatch::start();
        while !stop.load(Ordering::SeqCst) {
            while let Ok(news) = incoming.try_recv() {
                at_once |= matches!(news, News::Answer(..));
                dirty |= self.take(news);
            }
            if self.area != size() {
                self.area = size();
                self.screen.resize(self.area).context("resizing the terminal")?;
                (dirty, at_once) = (true, true);
            }
            if dirty && (at_once || painted.elapsed() >= PAINT_EVERY) {
                self.paint()?;
                painted = Stopwatch::start();
                (dirty, at_once) = (false, false);
            }
            if !event::poll(WAIT).context("reading the terminal")? {
                continue;
            }
            let Event::Key(event) = event::read().context("reading the terminal")? else { continue };
            let Some(key) = key_of(event) else { continue };
            (dirty, at_once) = (true, true);
            match press(&mut self.ui, self.daemon.view(), key) {
                Effect::Nothing => {}
                Effect::Leave => return Ok(()),
                Effect::Repaint => self.wipe()?,
                Effect::Ask(request) => self.requests.send(request).context("sending a request to the daemon")?,
            }
        }
        Ok(())
    }

    /// Processes answers of the daemon; true if the screen changes.
    fn take(&mut self, news: News) -> bool {
        let next = match news {
            News::Answer(asked, result) => {
                answered(&mut self.ui, &asked, result);
                return true;
            }
            News::View(Ok(view)) => Daemon::Up(settled(view)),
            News::View(Err(why)) => Daemon::Down(why),
        };
        let same = match (&self.daemon, &next) {
            (Daemon::Up(a), Daemon::Up(b)) => a == b,
            (Daemon::Down(a), Daemon::Down(b)) => a == b,
            _ => false,
        };
        self.daemon = next;
        !same
    }

    /// Redraws everything. `Terminal::clear` would query the position of the cursor, which a serial line without a terminal
    /// never answers.
    fn wipe(&mut self) -> Result<()> {
        self.screen.resize(self.area).context("clearing the terminal")
    }

    fn paint(&mut self) -> Result<()> {
        let minute = self.daemon.view().map_or(0, |v| v.clock);
        if minute != self.minute {
            // The kernel writes to the same terminal; a redraw once a minute removes its messages.
            self.minute = minute;
            self.wipe()?;
        }
        let scene = Scene { daemon: &self.daemon, socket: self.socket.as_str(), ui: &self.ui, look: self.look };
        self.screen.draw(|frame| render(&scene, frame.area(), frame.buffer_mut())).context("drawing the screen")?;
        Ok(())
    }
}

/// The key for the dialogues; None for keys that they do not use.
fn key_of(event: KeyEvent) -> Option<Key> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    let control = event.modifiers.contains(KeyModifiers::CONTROL);
    Some(match event.code {
        KeyCode::Char('c') if control => Key::Interrupt,
        KeyCode::Char('l') if control => Key::Repaint,
        // What serial terminals send for Backspace and Enter.
        KeyCode::Char('h') if control => Key::Backspace,
        KeyCode::Char('j') if control => Key::Enter,
        KeyCode::Char(c) if !event.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) => Key::Char(c),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Esc,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        _ => return None,
    })
}
