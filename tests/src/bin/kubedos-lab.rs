//! The lab's command line.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand};
use kubedos_tests::bench::{self, netboot};
use kubedos_tests::demo::{self, Options};
use kubedos_tests::dirs::{self, RunDirs};
use kubedos_tests::drill;
use kubedos_tests::parts::{self, Selection};
use kubedos_tests::{netns, say, simulated, stop};

/// Tests Kubedos end to end, with virtual machines in a network namespace
///
/// Requires root. `./dev` installs what it needs and runs it.
#[derive(Parser)]
#[command(name = "kubedos-lab", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Turn two blank virtual machines into members of a fleet, until Enter or Ctrl-C
    Demo {
        /// Approve through the API with the codes from the consoles instead of waiting for a person, and end by itself
        #[arg(long)]
        auto: bool,
        /// Port of the web interface on 127.0.0.1
        #[arg(long, default_value_t = 8443)]
        port: u16,
        /// Write the times as JSON to this file
        #[arg(long)]
        times: Option<PathBuf>,
        /// Start the machines from this output of `seedd image build` instead of the network
        #[arg(long, value_name = "TARGET", value_parser = PossibleValuesParser::new(demo::TARGETS))]
        target: Option<String>,
        /// Simulate so many machines too: programs that enroll and report, up to the installed node
        #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=i64::from(simulated::MAX)))]
        machines: u16,
        /// Start no virtual machines
        #[arg(long, requires = "machines", conflicts_with_all = ["target", "times"])]
        no_vms: bool,
    },
    /// Run the end-to-end tests
    Test {
        /// Run only this part
        #[arg(long, value_parser = PossibleValuesParser::new(parts::names()))]
        only: Option<String>,
        /// Run the long parts too
        #[arg(long, conflicts_with = "only")]
        all: bool,
        /// Directory for screenshots of the web interface
        #[arg(long)]
        pictures: Option<PathBuf>,
    },
    /// Rebuild a site from its capsule and measure the time (run by `seedd drill`)
    Drill {
        /// Data directory of the site, which is only read
        #[arg(long)]
        data: PathBuf,
        /// File with the passphrase of the site in its first line
        #[arg(long)]
        passphrase_file: PathBuf,
        /// Write the times as JSON to this file
        #[arg(long)]
        report: Option<PathBuf>,
    },
    /// Measure against other programs that do the same work
    #[command(subcommand)]
    Bench(Bench),
    /// Run one step that `bench` measures
    #[command(hide = true)]
    Step {
        /// Name of the step and its arguments
        args: Vec<String>,
    },
    /// Remove leftovers of earlier runs, and the cached site
    Clean,
}

#[derive(Subcommand)]
enum Bench {
    /// Files over HTTP, compared with nginx
    Http {
        /// Program to measure, a release build
        #[arg(long, default_value = "target/release/seedd")]
        seedd: PathBuf,
        /// Length of a round in seconds
        #[arg(long, default_value_t = 4)]
        seconds: u32,
        /// Write the table as JSON to this file
        #[arg(long)]
        report: Option<PathBuf>,
    },
    /// DHCP compared with Kea and dnsmasq, TFTP with dnsmasq, tftpd-hpa and atftpd, as far as they are installed
    Netboot {
        /// Measure only one of them
        #[arg(long)]
        only: Option<netboot::What>,
        /// Measure while another program keeps writing to the disk
        #[arg(long)]
        busy: bool,
        /// Write the tables as Markdown to this file
        #[arg(long)]
        report: Option<PathBuf>,
    },
    /// Snapshots, compared with aptly, reprepro and apt
    Darksite,
    /// Pages, lists and live pages of a seed with many machines and events
    Fleet {
        /// Program to measure, a release build
        #[arg(long, default_value = "target/release/seedd")]
        seedd: PathBuf,
        /// Machines of the site; most of them are nodes
        #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(200..=10_000))]
        machines: u32,
        /// Rows of its event log
        #[arg(long, default_value_t = 1_000_000)]
        events: u32,
        /// How often each page is requested
        #[arg(long, default_value_t = 10)]
        rounds: usize,
        /// Write the figures as JSON to this file
        #[arg(long)]
        report: Option<PathBuf>,
    },
    /// QCOW2 images built from an artifact, compared with qemu-img
    Formats {
        /// Program to measure, a release build
        #[arg(long, default_value = "target/release/seedd")]
        seedd: PathBuf,
    },
}

fn clean_stale() -> Result<()> {
    for name in netns::clean_stale()? {
        say::line(&format!("removed namespace {name} of an earlier run"));
    }
    dirs::clean_stale();
    Ok(())
}

fn run(verb: Verb) -> Result<()> {
    stop::install()?;
    match verb {
        Verb::Clean => {
            clean_stale()?;
            let cache = dirs::cache();
            for part in ["site", "logs", "run"] {
                let _ = std::fs::remove_dir_all(cache.join(part));
            }
            say::line(&format!("{}: site, logs and runs removed", cache.display()));
            Ok(())
        }
        Verb::Bench(Bench::Http { seedd, seconds, report }) => {
            clean_stale()?;
            let dirs = RunDirs::new()?;
            let seedd = seedd.canonicalize().with_context(|| format!("finding {}", seedd.display()))?;
            bench::http::run(&dirs, &bench::http::Options { seedd, seconds, report })
        }
        Verb::Demo { auto, port, times, target, machines, no_vms } => {
            demo::check_host()?;
            clean_stale()?;
            let dirs = RunDirs::new()?;
            say::line(&format!("logs: {}", dirs.logs.display()));
            let port = if auto { 0 } else { port };
            demo::run(&dirs, &Options { auto, port, times, target, machines, no_vms })
        }
        Verb::Bench(Bench::Netboot { only, busy, report }) => {
            clean_stale()?;
            let dirs = RunDirs::new()?;
            say::line(&format!("logs: {}", dirs.logs.display()));
            netboot::run(&dirs, only, busy, report.as_deref())
        }
        Verb::Drill { data, passphrase_file, report } => {
            demo::check_host()?;
            clean_stale()?;
            let dirs = RunDirs::new()?;
            say::line(&format!("logs: {}", dirs.logs.display()));
            drill::run(&dirs, &drill::Options { data, passphrase_file, report })
        }
        Verb::Bench(Bench::Darksite) => bench::darksite::run(&RunDirs::new()?),
        Verb::Bench(Bench::Fleet { seedd, machines, events, rounds, report }) => {
            clean_stale()?;
            let seedd = seedd.canonicalize().with_context(|| format!("finding {}", seedd.display()))?;
            let options = bench::fleet::Options { seedd, machines, events, rounds, report };
            bench::fleet::run(&RunDirs::new()?, &options)
        }
        Verb::Bench(Bench::Formats { seedd }) => {
            clean_stale()?;
            let seedd = seedd.canonicalize().with_context(|| format!("finding {}", seedd.display()))?;
            bench::formats::run(&RunDirs::new()?, &seedd)
        }
        Verb::Step { args } => bench::step(&args),
        Verb::Test { only, all, pictures } => {
            demo::check_host()?;
            clean_stale()?;
            let dirs = RunDirs::new()?;
            say::line(&format!("logs: {}", dirs.logs.display()));
            parts::run(&dirs, &Selection { only, all }, pictures.as_deref())
        }
    }
}

fn main() -> ExitCode {
    match run(Cli::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::plain(&format!("failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
#[path = "../../shared/golden.rs"]
mod golden;

#[cfg(test)]
#[path = "../../shared/help.rs"]
mod help;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_is_changed_on_purpose() {
        let command = <Cli as clap::CommandFactory>::command();
        command.clone().debug_assert();
        golden::check("tests/golden/kubedos-lab.help", &help::all(command));
    }
}
