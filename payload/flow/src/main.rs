//! The command line of the flow agent.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context as _;
use camino::Utf8PathBuf;
use clap::{Args, Parser, Subcommand};
use signal_hook::consts::{SIGINT, SIGTERM};

use kubedos_flow::interfaces::devices;
use kubedos_flow::kernel::attach::{How, remove};
use kubedos_flow::report::Report;
use kubedos_flow::serve::{self, Options, Source, kernel_btf};
use kubedos_flow::show;
use payload::layout::STATE_DIR;

/// Largest report that is read, in bytes.
const MAX_REPORT: u64 = 64 << 20;
/// Longest wait for a report.
const LIMIT: Duration = Duration::from_secs(10);

/// Count what crosses the planes of a node
///
/// Packets, bytes, connections, retransmits, round-trip times and drops, per plane, direction, peer, protocol and service port.
#[derive(Parser)]
#[command(name = "kubedos-flow", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Count, and export metrics on the metrics plane (what kubedos-flow.service does)
    Serve(Serve),
    /// Show the last hour
    Show {
        /// Print everything as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        socket: Socket,
    },
    /// Remove filters that a killed process left; only kernels before 6.6 keep them
    Detach,
}

#[derive(Args)]
struct Socket {
    /// Socket of the daemon
    #[arg(long, value_name = "PATH", default_value = "/run/kubedos/flow.sock")]
    socket: Utf8PathBuf,
}

#[derive(Args)]
struct Serve {
    /// Directory with the node's identity and peer list
    #[arg(long, value_name = "DIR", default_value = STATE_DIR)]
    state: Utf8PathBuf,
    /// File of settings; may be missing
    #[arg(long, value_name = "FILE", default_value = "/etc/kubedos-flow.json")]
    config: Utf8PathBuf,
    #[command(flatten)]
    socket: Socket,
    /// Seconds between two reads of the counters
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    every: u64,
    /// File with name and peers instead of --state; it is not verified
    #[arg(long, value_name = "FILE", hide = true)]
    unsigned: Option<Utf8PathBuf>,
    /// Attach by filters, as on kernels before 6.6
    #[arg(long, hide = true)]
    filters: bool,
    /// The kernel's type information
    #[arg(long, value_name = "FILE", hide = true, default_value_t = kernel_btf())]
    btf: Utf8PathBuf,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).without_time().init();
    match run(Cli::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("kubedos-flow: error {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Serve(options) => serve(options),
        Verb::Show { json, socket } => show(&socket.socket, json),
        Verb::Detach => {
            let found = devices().context("listing the interfaces")?.into_iter().filter(|d| remove(&d.name));
            found.for_each(|device| println!("removed from {}", device.name));
            Ok(())
        }
    }
}

fn serve(options: Serve) -> anyhow::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("listening for signals")?;
    }
    let options = Options {
        source: options.unsigned.map_or(Source::Node(options.state), Source::File),
        config: options.config,
        socket: options.socket.socket,
        every: Duration::from_secs(options.every),
        how: if options.filters { How::Filter } else { How::Best },
        btf: options.btf,
    };
    serve::run(&options, &stop)
}

fn show(socket: &Utf8PathBuf, json: bool) -> anyhow::Result<()> {
    let stream = UnixStream::connect(socket).with_context(|| format!("asking the daemon at {socket}; is it running?"))?;
    stream.set_read_timeout(Some(LIMIT)).context("setting a time limit")?;
    let mut text = String::new();
    stream.take(MAX_REPORT).read_to_string(&mut text).context("reading the report")?;
    if !json {
        text = show::text(&serde_json::from_str::<Report>(&text).context("understanding the report")?);
    }
    std::io::stdout().write_all(text.as_bytes()).context("printing")
}

#[cfg(test)]
#[path = "../../../tests/shared/golden.rs"]
mod golden;

#[cfg(test)]
#[path = "../../../tests/shared/help.rs"]
mod help;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_is_changed_on_purpose() {
        let command = <Cli as clap::CommandFactory>::command();
        command.clone().debug_assert();
        // golden.rs starts from the crate's parent.
        golden::check("../tests/golden/kubedos-flow.help", &help::all(command));
    }
}
