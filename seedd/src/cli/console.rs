//! `seedd console`

use std::io::IsTerminal as _;

use anyhow::Result;
use appliance::console::render::Look;
use appliance::console::screen;
use appliance::control::SOCKET;
use camino::{Utf8Path, Utf8PathBuf};
use clap::{Args, ValueEnum};

use super::args::{DEFAULT_DATA, DataDir};

#[derive(Args)]
pub struct Console {
    #[command(flatten)]
    args: DataDir,
    /// Control socket of the daemon [default: the one in the data directory]
    #[arg(long, value_name = "PATH", conflicts_with = "data")]
    socket: Option<Utf8PathBuf>,
    /// Rendering mode; auto uses $TERM
    #[arg(long, value_enum, default_value = "auto")]
    look: Painting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Painting {
    /// Detect the terminal from $TERM
    Auto,
    /// Colours, line drawing and half blocks, for a PC's screen
    Full,
    /// ASCII without colours, for a VT100 on a serial line
    Ascii,
    /// A block of lines at each change; no keyboard
    Plain,
}

impl Console {
    #[allow(clippy::disallowed_methods, reason = "a command reads the environment of its terminal")]
    pub fn run(&self) -> Result<()> {
        let socket = self.socket.clone().unwrap_or_else(|| socket_of(&self.args, Utf8Path::new(RUN)));
        let term = std::env::var("TERM").unwrap_or_default();
        let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        let painting = if self.look == Painting::Auto { painting_for(&term, terminal) } else { self.look };
        match painting {
            Painting::Plain => screen::run_plain(&socket),
            Painting::Ascii => screen::run(&socket, Look { colour: false, unicode: false }),
            Painting::Full | Painting::Auto => screen::run(&socket, Look { colour: true, unicode: true }),
        }
    }
}

/// Run directory of an appliance, whose daemon has a control socket before there is a site.
const RUN: &str = "/run/kubedos";

fn socket_of(dir: &DataDir, run: &Utf8Path) -> Utf8PathBuf {
    if dir.data == DEFAULT_DATA && run.is_dir() {
        return run.join(SOCKET);
    }
    dir.site().control_socket()
}

/// Terminals known to support colours and Unicode; any other is treated as a VT100.
const RICH: &[&str] = &["linux", "xterm", "screen", "tmux", "rxvt", "alacritty", "kitty", "foot", "konsole", "gnome", "st-"];

fn painting_for(term: &str, terminal: bool) -> Painting {
    match term {
        _ if !terminal => Painting::Plain,
        "" | "dumb" | "unknown" => Painting::Plain,
        term if RICH.iter().any(|r| term.starts_with(r)) => Painting::Full,
        _ => Painting::Ascii,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_appliance_has_its_socket_elsewhere() {
        let run = tempfile::tempdir().unwrap();
        let run = Utf8Path::from_path(run.path()).unwrap();
        let socket = |data: &str, run: &Utf8Path| socket_of(&DataDir { data: data.into() }, run);
        assert_eq!(socket(DEFAULT_DATA, run), run.join(SOCKET));
        assert_eq!(socket(DEFAULT_DATA, &run.join("none")), Utf8Path::new(DEFAULT_DATA).join(SOCKET));
        assert_eq!(socket("/srv/a", run), "/srv/a/seedd.sock");
    }

    #[test]
    fn the_terminal_decides() {
        for (term, terminal, painting) in [
            ("linux", true, Painting::Full),
            ("xterm-256color", true, Painting::Full),
            ("tmux-256color", true, Painting::Full),
            ("vt100", true, Painting::Ascii),
            ("vt220", true, Painting::Ascii),
            ("ansi", true, Painting::Ascii),
            ("dumb", true, Painting::Plain),
            ("", true, Painting::Plain),
            ("linux", false, Painting::Plain),
        ] {
            assert_eq!(painting_for(term, terminal), painting, "{term}");
        }
    }
}
