//! The command line: one file per verb.

mod admin;
mod adopt;
mod appliance;
mod capsule;
mod clock;
mod cluster;
mod console;
mod darksite;
mod darksite_extras;
mod darksite_life;
mod darksite_prove;
mod doctor;
mod drill;
mod image;
mod image_write;
mod import;
mod init;
mod installer;
mod metrics;
mod power;
mod sbom;
mod serve;
mod tail;
mod talk;

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow};
use camino::{Utf8Path, Utf8PathBuf};
use clap::{Args, Parser, Subcommand};
use zeroize::Zeroizing;

pub use darksite::upstream_sources;

use crate::terminal;
use host::files::read_limited;
use site::Site;
use site::hint::{self, Hint as _};

#[derive(Parser)]
#[command(name = "seedd", version, about = "The Kubedos seed node: netboot, darksite, enrollment, planes", max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make a site: keys, database and a commented cluster.yaml
    Init(init::Init),
    /// Read and check cluster.yaml
    #[command(subcommand)]
    Cluster(cluster::Cluster),
    /// Build and check the signed Debian snapshot
    #[command(subcommand)]
    Darksite(darksite::Darksite),
    /// Build the netboot image and the sealed artifact of each role
    #[command(subcommand)]
    Image(image::Image),
    /// Debian's installer, with the snapshot as its mirror
    #[command(subcommand)]
    Installer(installer::Installer),
    /// Take over packages and images from a mounted seed medium
    Adopt(adopt::Adopt),
    /// What the units of a seed that booted from its medium run
    #[command(subcommand)]
    Appliance(appliance::Appliance),
    /// Serve DHCP, TFTP, HTTP, the pages and the seed's planes
    Serve(serve::Serve),
    /// Write the whole site as one signed, encrypted file for another site
    Export(capsule::Export),
    /// Take a site over from such a file, into standby
    Import(import::Import),
    /// Make a standby the seed of its site
    Promote(import::Promote),
    /// Look at such a file, or check it
    #[command(subcommand)]
    Capsule(capsule::Capsule),
    /// Open the private keys of a running seed
    Unseal(talk::Unseal),
    /// Rebuild the site from its capsule in the lab, and measure how long that takes
    Drill(drill::Drill),
    /// Who may log in at the pages
    #[command(subcommand)]
    Admin(admin::Admin),
    /// The seed's clock, which the nodes follow
    #[command(subcommand)]
    Clock(clock::Clock),
    /// Ask a running seed how it is
    Status(talk::Status),
    /// Watch the event log as it grows: packets, decisions, enrollments
    Tail(tail::Tail),
    /// The packets that the flight recorder keeps of a machine
    #[command(subcommand)]
    Recorder(tail::Recorder),
    /// Look for what keeps this seed from serving, and what to do about it; or boot made-up machines against it
    Doctor(doctor::Doctor),
    /// Machines' power: on, off, next start, virtual medium, Wake-on-LAN
    #[command(subcommand)]
    Power(power::Power),
    /// Numbers for Prometheus, and who may read them
    #[command(subcommand)]
    Metrics(metrics::Metrics),
    /// The screen of an appliance: addresses, set-up code, settings, unsealing
    Console(console::Console),
}

const DEFAULT_DATA: &str = "/var/lib/kubedos-seed";

/// Which site.
#[derive(Args, Clone)]
struct Where {
    /// Data directory of the site
    #[arg(long, env = "KUBEDOS_DATA", default_value = DEFAULT_DATA, value_name = "DIR")]
    data: Utf8PathBuf,
}

impl Where {
    fn site(&self) -> Site {
        Site::new(&self.data)
    }
}

/// Where the passphrase comes from.
#[derive(Args, Clone)]
struct PassphraseSource {
    /// Read the passphrase from the first line of this file instead of asking
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<Utf8PathBuf>,
}

/// Largest passphrase file, in bytes.
const MAX_PASSPHRASE: u64 = 4096;

impl PassphraseSource {
    fn given(&self) -> Result<Option<Zeroizing<String>>> {
        self.passphrase_file.as_deref().map(passphrase_from).transpose()
    }

    fn get(&self, question: &str) -> Result<Zeroizing<String>> {
        match self.given()? {
            Some(passphrase) => Ok(passphrase),
            None => ask_secret(question),
        }
    }
}

fn passphrase_from(path: &Utf8Path) -> Result<Zeroizing<String>> {
    let bytes = Zeroizing::new(read_limited(path, MAX_PASSPHRASE)?);
    let text = std::str::from_utf8(&bytes).with_context(|| format!("reading {path} as UTF-8"))?;
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}

/// Asks on the terminal without showing what is typed.
fn ask_secret(question: &str) -> Result<Zeroizing<String>> {
    use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(anyhow!("there is no terminal to ask for the passphrase")).hint("give it with --passphrase-file");
    }
    eprint!("{question}: ");
    std::io::stderr().flush().ok();
    let before = tcgetattr(&stdin).context("reading the terminal's mode")?;
    let mut silent = before.clone();
    silent.local_flags.remove(LocalFlags::ECHO);
    tcsetattr(&stdin, SetArg::TCSANOW, &silent).context("hiding what is typed")?;
    let mut line = Zeroizing::new(String::new());
    let read = stdin.lock().read_line(&mut line);
    tcsetattr(&stdin, SetArg::TCSANOW, &before).context("restoring the terminal")?;
    eprintln!();
    read.context("reading the passphrase")?;
    Ok(Zeroizing::new(line.trim_end_matches(['\n', '\r']).to_owned()))
}

/// Prints JSON or text.
fn show(json: bool, value: &serde_json::Value, text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    if json { writeln!(out, "{value}") } else { writeln!(out, "{text}") }.context("writing the answer")
}

/// Parses the command line, runs the verb, prints an error chain and one hint line. 0, 1 (failed), 2 (usage) or 130.
pub fn main() -> ExitCode {
    if let Some(code) = appliance::as_hook() {
        return code;
    }
    let cli = Cli::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("KUBEDOS_LOG").unwrap_or_else(|_| "info".into());
    let colour = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).with_ansi(colour).init();
    let result = match cli.verb {
        Verb::Init(v) => v.run(),
        Verb::Cluster(v) => v.run(),
        Verb::Darksite(v) => v.run(),
        Verb::Image(v) => v.run(),
        Verb::Installer(v) => v.run(),
        Verb::Adopt(v) => v.run(),
        Verb::Appliance(v) => v.run(),
        Verb::Serve(v) => v.run(),
        Verb::Export(v) => v.run(),
        Verb::Import(v) => v.run(),
        Verb::Promote(v) => v.run(),
        Verb::Capsule(v) => v.run(),
        Verb::Unseal(v) => v.run(),
        Verb::Drill(v) => v.run(),
        Verb::Admin(v) => v.run(),
        Verb::Clock(v) => v.run(),
        Verb::Status(v) => v.run(),
        Verb::Tail(v) => v.run(),
        Verb::Recorder(v) => v.run(),
        Verb::Doctor(v) => return v.run().unwrap_or_else(|e| failed(&e)),
        Verb::Power(v) => v.run(),
        Verb::Metrics(v) => v.run(),
        Verb::Console(v) => v.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("seedd: {error:#}");
    if let Some(hint) = hint::of(error) {
        eprintln!("hint: {hint}");
    }
    if terminal::stop_asked() { ExitCode::from(130) } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
