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
use kubedos_tests::{netns, say, stop};

#[derive(Parser)]
#[command(about = "Drives Kubedos end to end in a network of its own", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Two blank machines become members of a fleet
    Demo {
        /// Approve by the API with the codes from the consoles, instead of waiting for a person
        #[arg(long)]
        auto: bool,
        /// Port of the pages on 127.0.0.1
        #[arg(long, default_value_t = 8443)]
        port: u16,
        /// Also write the times as JSON
        #[arg(long)]
        times: Option<PathBuf>,
    },
    /// The end-to-end run with its variations
    Test {
        /// Only this part
        #[arg(long, value_parser = PossibleValuesParser::new(parts::names()))]
        only: Option<String>,
        /// The long parts too
        #[arg(long, conflicts_with = "only")]
        all: bool,
        /// Where pictures of the pages go
        #[arg(long)]
        pictures: Option<PathBuf>,
    },
    /// A site is rebuilt from its capsule, and the time is measured (what `seedd drill` runs)
    Drill {
        /// Data directory of the site; it is only read
        #[arg(long)]
        data: PathBuf,
        #[arg(long)]
        passphrase_file: PathBuf,
        /// Write the times as JSON
        #[arg(long)]
        report: Option<PathBuf>,
    },
    /// Measures against the programs that do the same work
    #[command(subcommand)]
    Bench(Bench),
    /// A piece of work that `bench` measures
    #[command(hide = true)]
    Step { args: Vec<String> },
    /// Removes what labs left behind, and the cached site
    Clean,
}

#[derive(Subcommand)]
enum Bench {
    /// Files by HTTP against nginx
    Http {
        /// The program to measure; a release build
        #[arg(long, default_value = "target/release/seedd")]
        seedd: PathBuf,
        /// Seconds of one round
        #[arg(long, default_value_t = 4)]
        seconds: u32,
        /// Write the table as JSON
        #[arg(long)]
        report: Option<PathBuf>,
    },
    /// DHCP beside Kea and dnsmasq, TFTP beside dnsmasq, tftpd-hpa and atftpd; whoever is installed
    Netboot {
        /// Only one of them
        #[arg(long)]
        only: Option<netboot::What>,
        /// Beside a program that writes and syncs files all the time
        #[arg(long)]
        busy: bool,
        /// Also write the tables as Markdown
        #[arg(long)]
        report: Option<PathBuf>,
    },
    /// Snapshots beside aptly, reprepro and apt
    Darksite,
}

fn clean_stale() -> Result<()> {
    for name in netns::clean_stale()? {
        say::line(&format!("removed namespace {name} of a lab that is gone"));
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
            say::line(&format!("{} holds no site, logs or runs any more", cache.display()));
            Ok(())
        }
        Verb::Bench(Bench::Http { seedd, seconds, report }) => {
            clean_stale()?;
            let dirs = RunDirs::new()?;
            let seedd = seedd.canonicalize().with_context(|| format!("finding {}", seedd.display()))?;
            bench::http::run(&dirs, &bench::http::Options { seedd, seconds, report })
        }
        Verb::Demo { auto, port, times } => {
            demo::check_host()?;
            clean_stale()?;
            let dirs = RunDirs::new()?;
            say::line(&format!("logs: {}", dirs.logs.display()));
            demo::run(&dirs, &Options { auto, port: if auto { 0 } else { port }, times })
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
