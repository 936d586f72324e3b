//! The command line: one file per verb.

mod accept;
mod admin;
mod adopt;
mod appliance;
mod apply;
mod args;
mod capsule;
mod clock;
mod cluster;
mod console;
mod converge;
mod darksite;
mod doctor;
mod drill;
mod enrollment;
mod fleet;
mod hand_over;
mod hints;
pub(crate) mod image;
mod import;
mod init;
mod installer;
mod keys;
mod log;
mod metrics;
mod payload;
mod plan;
mod power;
mod prompt;
mod proxmox;
mod reference;
mod replace;
mod running;
mod sbom;
mod seal;
mod serve;
mod status;
mod support;
mod tail;
mod token;
mod unseal;
mod user;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use host::process;
use site::Site;

use crate::terminal;

/// The Kubedos seed node: netboot, darksite, enrollment, planes
///
/// One program builds a signed Debian snapshot, boots blank machines from it over the network, and turns each machine
/// that an operator approves into a node of a WireGuard-connected fleet. It needs no internet and no other server.
#[derive(Parser)]
#[command(name = "seedd", version, max_term_width = 110, after_long_help = AFTER)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const AFTER: &str = "\
First steps:
  seedd init --name site-a
  seedd darksite build
  seedd image build
  seedd user add ada --rights administrator
  seedd serve --iface eth0
  seedd unseal

Environment:
  KUBEDOS_CONTEXT  seed that is asked, as --context
  KUBEDOS_DATA     data directory, as --data
  KUBEDOS_LOG      log filter, for example debug or seedd=debug,info (default: info)

Exit status:
  0    success
  1    failure; one line says why, and often hint lines what to do
  2    wrong usage
  130  interrupted by SIGINT or SIGTERM";

#[derive(Subcommand)]
enum Verb {
    /// Create a site: keys, database and a commented cluster.yaml
    ///
    /// The passphrase encrypts the site's private keys. It cannot be recovered: without it the site can serve, but never
    /// approve a machine again.
    #[command(after_long_help = "\
Examples:
  seedd init --name site-a
  seedd init --cluster ./cluster.yaml --passphrase-file /run/secrets/seed")]
    Init(init::Init),
    /// Check cluster.yaml, or override its boot network
    #[command(subcommand)]
    Cluster(cluster::Cluster),
    /// Build, check and manage signed Debian snapshots
    #[command(subcommand)]
    Darksite(darksite::Darksite),
    /// Build the netboot image, the artifact of each role, and seed media
    #[command(subcommand)]
    Image(image::Image),
    /// Build images: the same as `seedd image build`
    #[command(after_long_help = "\
Example:
  TARGET=image-only seedd build")]
    Build(Box<image::Build>),
    /// Create the nodes of cluster.yaml as virtual machines of Proxmox VE
    #[command(subcommand)]
    Proxmox(proxmox::Proxmox),
    /// Prepare the Debian installer, with the snapshot as its mirror
    #[command(subcommand)]
    Installer(installer::Installer),
    /// Import packages and images from a mounted seed medium
    ///
    /// Signatures are verified first. The site then links to the files on the medium, which must stay mounted at the same
    /// path.
    #[command(after_long_help = "\
Example:
  seedd adopt /mnt --pin 0123…cdef")]
    Adopt(adopt::Adopt),
    /// Commands run by the appliance's systemd units
    #[command(subcommand)]
    Appliance(appliance::Appliance),
    /// Serve DHCP, TFTP, HTTP, the web interface and the seed's planes
    ///
    /// Runs in the foreground until SIGINT or SIGTERM. The seed starts sealed: it boots machines and serves packages, but
    /// approves none until it is unsealed.
    #[command(after_long_help = "\
Example:
  seedd serve --iface eth0 --pages 0.0.0.0:443")]
    Serve(serve::Serve),
    /// Export the site as one signed, encrypted capsule for another seed
    ///
    /// A capsule holds the database, the keys and the packages and images that the site uses, encrypted to the other seed.
    /// If it is interrupted, run the same command again to resume.
    #[command(after_long_help = "\
Examples:
  seedd export --recipient age1… --out /mnt/site-a.capsule
  seedd export --recipient age1… --out /mnt/b.capsule --since /mnt/a.capsule --split-size 4G")]
    Export(capsule::Export),
    /// Import a capsule; this seed becomes a standby
    ///
    /// Everything is verified before anything is changed. A standby serves nothing to machines until `seedd promote`.
    #[command(after_long_help = "\
Example:
  seedd import /mnt/site-a.capsule --pin 0123…cdef")]
    Import(import::Import),
    /// Promote a standby seed to active
    ///
    /// Starts the next epoch, so that nodes no longer accept peer lists from the seed that was replaced. Make sure that
    /// it is gone for good: two active seeds would issue conflicting identities.
    Promote(import::Promote),
    /// Inspect or verify a capsule
    #[command(subcommand)]
    Capsule(capsule::Capsule),
    /// Unseal a running seed, so that it can approve machines
    Unseal(unseal::Unseal),
    /// Seal a running seed: it forgets the private keys until it is unsealed
    ///
    /// The seed continues to serve boot files and packages, but approves no machine. Running WireGuard interfaces keep their
    /// keys in the kernel; restart the daemon to remove them too.
    Seal(seal::Seal),
    /// Replace the seed's own keys
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Rebuild the site from its capsule in the lab, and measure how long it takes
    ///
    /// Runs the whole recovery in virtual machines: import, promotion, first node. The site itself is only read. The time is
    /// compared with acceptance.mttrTargetMinutes of cluster.yaml; the result is recorded in the event log.
    #[command(after_long_help = "\
Exit status:
  0  recovered within the target
  1  it failed, or took longer")]
    Drill(drill::Drill),
    /// Manage users, their rights and their API tokens
    #[command(subcommand)]
    User(user::Users),
    /// Manage administrators of the web interface: the older form of `seedd user`
    #[command(subcommand, hide = true)]
    Admin(admin::Admin),
    /// Show or set the seed's clock, which the nodes follow
    #[command(subcommand)]
    Clock(clock::Clock),
    /// Show the status of a running seed
    Status(status::Status),
    /// Write one encrypted file with what others need to help, without secrets
    ///
    /// Contains cluster.yaml, the event log, the machines, convergence, and how this host is. Parts with a key or a password hash in
    /// them are left out and named. Only the holder of the operator's key, or of --recipient, can read it.
    #[command(after_long_help = "\
Examples:
  seedd support --out /mnt/site-a.age
  seedd support --out site-a.age --recipient age1…")]
    Support(support::Support),
    /// Follow the event log: packets, decisions, enrollments
    ///
    /// One line per event: time (UTC), MAC address, kind, text. Ctrl-C ends it.
    #[command(after_long_help = "\
Examples:
  seedd tail --mac 52:54:00:ab:00:01
  seedd tail --kind dhcp. --kind tftp. -n 100 --once")]
    #[command(hide = true)]
    Tail(tail::Tail),
    /// Export packets kept by the flight recorder
    #[command(subcommand)]
    Recorder(tail::Recorder),
    /// Diagnose this seed, or boot simulated machines against it
    ///
    /// Checks the daemon, the netboot interface, ports, other DHCP servers, boot loaders, the snapshot, disk space, the
    /// database, the clock and the programs that the seed starts. Each problem comes with what to do about it.
    #[command(after_long_help = "\
Examples:
  seedd doctor
  seedd doctor --simulate 50
  seedd doctor --simulate 50 --iface eth0 --seed 10.44.0.1

Exit status:
  0  ready to serve (warnings included), or all simulated machines booted
  1  problems must be fixed, or a simulated machine did not boot")]
    Doctor(doctor::Doctor),
    #[command(flatten)]
    Fleet(fleet::Fleet),
    /// Check, publish and list what nodes run after the fabric gate
    #[command(subcommand)]
    Payload(payload::Payload),
    /// Show how far the nodes have converged; run, check, pause and resume
    #[command(subcommand)]
    Converge(converge::Converge),
    /// Check the whole site and sign the result
    ///
    /// The checks are named by acceptance.required in cluster.yaml. Each is evaluated from what every node reported last. A running seed
    /// signs the result with its own key while it is unsealed; otherwise the passphrase is needed.
    #[command(after_long_help = "\
Exit status:
  0  every check passed
  1  some did not")]
    Accept(accept::Accept),
    /// Create, list and revoke join tokens, with which machines enroll without an operator
    #[command(subcommand)]
    Token(token::JoinTokens),
    /// Check, keep and explain the plan of enrollment: which machine becomes which node
    #[command(subcommand)]
    Plan(plan::Plans),
    /// Export or verify the event log
    #[command(subcommand)]
    Log(log::Log),
    /// Control a machine's power: on, off, next boot, virtual media, Wake-on-LAN
    #[command(subcommand)]
    Power(power::Power),
    /// Show Prometheus metrics and manage the access token
    #[command(subcommand)]
    Metrics(metrics::Metrics),
    /// Run the text console of an appliance: addresses, set-up code, settings, unsealing
    Console(console::Console),
    /// Give the files of root in the data directory to its owner, the user that runs the seed
    ///
    /// Commands that root runs do this themselves when they end.
    #[command(hide = true)]
    HandOver(hand_over::HandOver),
    /// Write a man page per command
    #[command(after_long_help = "\
Example:
  seedd man --out /usr/local/share/man/man1")]
    Man(reference::Man),
    /// Write the command reference, man pages or shell completions
    #[command(subcommand, hide = true)]
    Reference(reference::Reference),
}

/// The parser, for the generated reference and for tests.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses the command line, runs the verb, prints an error chain and its hints. 0, 1 (failed), 2 (usage) or 130.
pub fn main() -> ExitCode {
    if let Some(code) = appliance::as_hook() {
        return code;
    }
    if let Some(code) = fleet::answer_shell(command, std::env::args_os()) {
        return code;
    }
    let line = command().get_matches();
    let cli = Cli::from_arg_matches(&line).unwrap_or_else(|e| e.exit());
    let filter = tracing_subscriber::EnvFilter::try_from_env("KUBEDOS_LOG").unwrap_or_else(|_| "info".into());
    let colour = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).with_ansi(colour).init();
    if let Err(error) = keep_private(&cli.verb) {
        return failed(&error);
    }
    let site = site_of(&cli.verb, &line);
    let result = run(cli.verb);
    // Also after a failure: what is done is kept.
    let given = site.map_or(Ok(0), |site| site.hand_over());
    result.and_then(|code| given.map(|_| code)).unwrap_or_else(|e| failed(&e))
}

/// The site that a verb may have written to. The others ask a daemon, only read, or have no site; the units of an appliance prepare
/// its state for the daemon themselves.
fn site_of(verb: &Verb, line: &clap::ArgMatches) -> Option<Site> {
    match verb {
        Verb::Appliance(_) | Verb::Doctor(_) | Verb::Fleet(_) | Verb::HandOver(_) | Verb::Man(_) | Verb::Recorder(_) => None,
        Verb::Reference(_) | Verb::Seal(_) | Verb::Status(_) | Verb::Tail(_) | Verb::Unseal(_) => None,
        _ => hand_over::data_of(line).map(|data| Site::new(&data)),
    }
}

fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    let done = match verb {
        Verb::Init(v) => v.run(),
        Verb::Cluster(v) => v.run(),
        Verb::Darksite(v) => v.run(),
        Verb::Image(v) => v.run(),
        Verb::Build(v) => v.run(),
        Verb::Proxmox(v) => v.run(),
        Verb::Installer(v) => v.run(),
        Verb::Adopt(v) => v.run(),
        Verb::Appliance(v) => v.run(),
        Verb::Serve(v) => v.run(),
        Verb::Export(v) => v.run(),
        Verb::Import(v) => v.run(),
        Verb::Promote(v) => v.run(),
        Verb::Capsule(v) => v.run(),
        Verb::Unseal(v) => v.run(),
        Verb::Seal(v) => v.run(),
        Verb::Keys(v) => v.run(),
        Verb::Drill(v) => v.run(),
        Verb::User(v) => v.run(),
        Verb::Admin(v) => v.run(),
        Verb::Clock(v) => v.run(),
        Verb::Status(v) => v.run(),
        Verb::Support(v) => v.run(),
        Verb::Tail(v) => v.run(),
        Verb::Recorder(v) => v.run(),
        Verb::Doctor(v) => return v.run(),
        Verb::Fleet(v) => v.run(),
        Verb::Payload(v) => v.run(),
        Verb::Plan(v) => v.run(),
        Verb::Converge(v) => v.run(),
        Verb::Accept(v) => v.run(),
        Verb::Token(v) => v.run(),
        Verb::Log(v) => v.run(),
        Verb::Power(v) => v.run(),
        Verb::Metrics(v) => v.run(),
        Verb::Console(v) => v.run(),
        Verb::HandOver(v) => v.run(),
        Verb::Man(v) => v.run(command()),
        Verb::Reference(v) => v.run(command()),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// Secrets pass through nearly every verb. Those that build trees for other machines set the permissions in them and must
/// give the same bytes under any umask, and the appliance's units have theirs; all of them write below a closed data directory.
fn keep_private(verb: &Verb) -> anyhow::Result<()> {
    process::keep_memory_private().context("protecting the memory of this process")?;
    match verb {
        Verb::Image(_)
        | Verb::Build(_)
        | Verb::Darksite(_)
        | Verb::Installer(_)
        | Verb::Appliance(_)
        | Verb::Reference(_)
        | Verb::Man(_) => {}
        _ => process::keep_files_private(),
    }
    Ok(())
}

fn failed(error: &anyhow::Error) -> ExitCode {
    if error.is::<args::OutputClosed>() {
        return ExitCode::SUCCESS;
    }
    eprintln!("seedd: {error:#}");
    for hint in hints::of(error) {
        eprintln!("hint: {hint}");
    }
    if terminal::stop_asked() { ExitCode::from(130) } else { ExitCode::FAILURE }
}
