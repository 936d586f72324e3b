//! `kubedos-node`: PID 1 of the RAM system, and the agent of an installed node.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};
use clap::{Parser, Subcommand};
use cluster_seed::agent::ReportBody;
use cluster_seed::join::SEED;
use cluster_seed::join::address::StaticAddress;
use cluster_seed::medium::{PARAMETER, maker_key};
use cluster_seed::seal::key_from_text;
use cluster_seed::site_key;
use host::tool::Tool;

use payload::cmdline::Cmdline;
use payload::console::Console;
use payload::http::Http;
use payload::init;
use payload::layout::{FLOW_AGENT, GAVE_UP, MODPROBE, RUN_DIR, STATE_DIR};
use payload::node::apply::Node;
use payload::node::converge::agent::Agent;
use payload::node::converge::checks::node::NodeChecks;
use payload::node::discover::{Places, Volume};
use payload::node::{address, converge, grow, join, lists, said, support, volume};
use payload::ram::key::wait_for_key;
use payload::ram::modules::Index;
use payload::ram::session::Session;
use payload::ram::{Outcome, Ram};
use payload::ram::{dhcp, rescue};
use payload::report::{LAST_WORDS, Reporter};
use payload::seed::boot as seed_boot;
use payload::state::{DISK_SEQ, NodeDir};

/// The agent of a Kubedos machine
///
/// In RAM it enrolls and installs the machine; on disk it joins the node to its planes and applies its role. systemd and
/// the initramfs run it; by hand `status`, `gate`, `flows`, `apply` and `converge --status` are useful.
#[derive(Parser)]
#[command(name = "kubedos-node", version, max_term_width = 110, after_long_help = AFTER)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const AFTER: &str = "\
Exit status:
  0  success
  1  failure
  2  wrong usage";

#[derive(Subcommand)]
enum Verb {
    /// In RAM: run as PID 1 (what /init does)
    Init,
    /// In RAM: load drivers, get an address, enroll and install
    Enroll {
        /// Base URL of the seed [default: kubedos.seed= on the kernel command line]
        #[arg(long)]
        seed: Option<String>,
    },
    /// In RAM: run a rescue shell on every console
    Rescue,
    /// In RAM: find and verify the seed medium and prepare its root file system
    BootSeed,
    /// In RAM: resume the installation of an approved enrollment
    Install,
    /// In the Debian installer: copy the agent's files into the new system
    LayDown {
        /// Base URL of the seed
        #[arg(long)]
        seed: String,
        /// Public key of the site, 64 hex digits
        #[arg(long)]
        site_key: String,
    },
    /// On a disk that was not installed from the network: find the seed, enroll and become a node
    ///
    /// Looks for the seed, the site key and a join token in this order: these options, the kernel command line (kubedos.seed=,
    /// kubedos.site=, kubedos.token=), the OEM strings of SMBIOS with the same words, QEMU's fw_cfg (opt/org.kubedos/seed, site,
    /// token), a NoCloud volume (label cidata), /var/lib/kubedos/join.json, DHCP. Waits until a seed is found and responds.
    Join {
        /// Base URL of the seed
        #[arg(long)]
        seed: Option<String>,
        /// Public key of the site, 64 hex digits
        #[arg(long)]
        site_key: Option<String>,
    },
    /// On disk: grow the root partition and its file system to the end of the disk
    Grow,
    /// On disk: apply a static address (ip= on the kernel command line, or a NoCloud volume)
    Network,
    /// On disk: bring up the planes, pass the fabric gate and apply the base role
    Apply {
        /// Only fetch and apply the signed peer list
        #[arg(long)]
        peers_only: bool,
    },
    /// On disk: get orders from the seed and run the plays of the role (what kubedos-converge.service does)
    ///
    /// Asks the seed over the control plane, runs the plays that the orders allow, checks their services, and reports.
    Converge {
        /// Show orders, barriers, the last run, certificates and checks, and exit
        #[arg(long)]
        status: bool,
    },
    /// On disk: show what crossed the planes in the last hour (where the role has the play `flow`)
    Flows {
        /// Print everything as JSON
        #[arg(long)]
        json: bool,
    },
    /// On disk: check the fabric once
    ///
    /// Exit status 0 if all checks pass, else 1.
    Gate,
    /// On disk: report a failed step to the seed
    Report {
        /// Name of the step
        step: String,
        /// Reason
        why: String,
    },
    /// On disk: show this node's name, role, site and planes (no secrets)
    Status,
    /// On disk: write one encrypted file with what others need to help, without secrets
    ///
    /// Contains what this node says about itself, its checks, and the output of programs: network, sockets, units, journal,
    /// packages, containers, etcd, Kubernetes. Parts in which a secret is found are left out and named. Unpack it with
    /// `age -d -i KEY FILE | zstd -d | tar x`.
    Support {
        /// File to write; - for standard output
        #[arg(long, value_name = "FILE")]
        out: Utf8PathBuf,
        /// age recipient of the reader [default: the operator's key, as this node's identity has it]
        #[arg(long, value_name = "RECIPIENT")]
        recipient: Option<String>,
    },
}

const ROOT: &str = "/";
/// Longest wait for the flow agent.
const FLOW_LIMIT: Duration = Duration::from_secs(20);

fn wait(time: Duration) {
    std::thread::sleep(time);
}

#[allow(clippy::disallowed_methods, reason = "this is where the command line and the environment are read")]
fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let called = Utf8Path::new(args.first().map_or("", String::as_str)).file_name().unwrap_or_default().to_owned();
    let result = match called.as_str() {
        _ if std::process::id() == 1 => init::run(&exe(), &wait),
        MODPROBE => modprobe(args.last().map_or("", String::as_str)),
        dhcp::HOOK => {
            let get = |name: &str| std::env::var(name).ok();
            let event = args.get(1).map_or("", String::as_str);
            dhcp::hook(RUN_DIR.into(), event, &get).map(|()| ExitCode::SUCCESS).context("following udhcpc")
        }
        _ => {
            tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).without_time().init();
            run(Cli::parse().verb)
        }
    };
    result.unwrap_or_else(|e| {
        eprintln!("kubedos: error {e:#}");
        ExitCode::FAILURE
    })
}

fn exe() -> Utf8PathBuf {
    let exe = std::env::current_exe().ok().and_then(|p| Utf8PathBuf::from_path_buf(p).ok());
    exe.unwrap_or_else(|| "/init".into())
}

/// The kernel passes a module's alias or name as the last argument.
fn modprobe(wanted: &str) -> anyhow::Result<ExitCode> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").context("reading the kernel's release")?;
    let index = Index::read(&Utf8Path::new("/lib/modules").join(release.trim())).context("reading the module list")?;
    for module in index.resolve(wanted) {
        index.load(&module).with_context(|| format!("loading module {module}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Init => anyhow::bail!("init runs only as PID 1 of the RAM system"),
        Verb::Enroll { seed } => enroll(seed),
        Verb::Rescue => ram(&Console::open(), &wait_for_key, |ram| rescue::run(ram).map(|()| ExitCode::SUCCESS)),
        Verb::BootSeed => boot_seed(),
        Verb::Install => ram(&Console::open(), &wait_for_key, |ram| install(ram, &Session::load(RUN_DIR.into())?)),
        Verb::LayDown { seed, site_key } => {
            join::lay_down(ROOT.into(), &seed, &key_from_text(&site_key).context("reading --site-key")?)?;
            join::enable(ROOT.into())?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Join { seed, site_key } => {
            let word = |name: &str, value: Option<String>| value.map(|v| format!("{name}={v}"));
            let words: Vec<_> = [word(SEED, seed), word(site_key::PARAMETER, site_key)].into_iter().flatten().collect();
            // Login prompts read the keys of its consoles.
            ram(&Console::open(), &|| false, |ram| join::join(ram, &places(&words)).map(|()| ExitCode::SUCCESS))
        }
        Verb::Grow => grow::grow(ROOT.into()).map(|()| ExitCode::SUCCESS).context("growing the root file system"),
        Verb::Network => address::settle(&places(&[])).map(|()| ExitCode::SUCCESS).context("applying the static address"),
        Verb::Apply { peers_only } => with_node(|node| if peers_only { node.refresh_peers() } else { node.apply() }),
        Verb::Converge { status: true } => converge_status(),
        Verb::Converge { status: false } => converge(),
        Verb::Flows { json } => flows(json),
        Verb::Gate => gate_once(),
        Verb::Report { step, why } => with_node(|node| {
            node.reporter.deliver(ReportBody::Failed { step, why, cause: None }, LAST_WORDS).context("reporting")?;
            Ok(())
        }),
        Verb::Status => status(),
        Verb::Support { out, recipient } => write_support(&out, recipient),
    }
}

fn places(words: &[String]) -> Places<'_> {
    let volume: Volume<'_> = &|name| volume::read(&Utf8Path::new(RUN_DIR).join("cidata"), name);
    Places { root: ROOT.into(), dir: STATE_DIR.into(), volume, words }
}

fn ram(
    console: &Console,
    key: &dyn Fn() -> bool,
    f: impl FnOnce(&Ram<'_>) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    let random = |bytes: &mut [u8]| getrandom::fill(bytes).map_err(|e| anyhow::anyhow!("reading random bytes: {e}"));
    f(&Ram { root: ROOT.into(), run: RUN_DIR.into(), console, wait: &wait, random: &random, key })
}

fn enroll(seed: Option<String>) -> anyhow::Result<ExitCode> {
    let text = std::fs::read_to_string("/proc/cmdline").context("reading the kernel command line")?;
    let text = seed.map_or(text.clone(), |s| format!("{text} kubedos.seed={s}"));
    ram(&Console::open(), &wait_for_key, |ram| {
        let mut cmdline = Cmdline::parse(&text)?;
        let mut drivers = ram.drivers();
        let _lease = match StaticAddress::of_cmdline(&text).context("reading ip= of the kernel command line")? {
            Some(address) => ram.fixed(&mut cmdline, &address, &mut drivers).map(|()| None)?,
            None => Some(ram.network(&mut cmdline, &exe(), &mut drivers)),
        };
        let token = ram.token(&text)?;
        let session = ram.enroll(&cmdline, token.as_ref(), &mut drivers)?;
        install(ram, &session)
    })
}

fn boot_seed() -> anyhow::Result<ExitCode> {
    let text = std::fs::read_to_string("/proc/cmdline").context("reading the kernel command line")?;
    ram(&Console::open(), &wait_for_key, |ram| {
        let key = maker_key(&text).context("the kernel command line has no maker key")?;
        let key = key.inspect_err(|e| ram.console.error(&format!("THE SEED REFUSES TO START: {PARAMETER}= is {e}")));
        let done = key.map_err(anyhow::Error::from).and_then(|key| seed_boot::run(ram, &key));
        // Every console shows the reason; the next attempt follows a restart.
        Ok(done.map_or(ExitCode::from(GAVE_UP), |()| ExitCode::SUCCESS))
    })
}

fn install(ram: &Ram<'_>, session: &Session) -> anyhow::Result<ExitCode> {
    Ok(match ram.install(session)? {
        Outcome::Installed => ExitCode::SUCCESS,
        Outcome::GaveUp => ExitCode::from(GAVE_UP),
        Outcome::Again => ExitCode::FAILURE,
    })
}

fn nodedir() -> NodeDir {
    NodeDir::new(STATE_DIR.into())
}

fn with_node(f: impl FnOnce(&Node<'_>) -> anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    let dir = nodedir();
    let identity = dir.identity().context("reading this node's identity")?;
    let key = dir.node_key().context("reading this node's key")?;
    let http = Http::new(&identity.info.seed_url);
    let console = Console::open();
    let reporter = Reporter::new(&http, &key, identity.info.enrollment, dir.sequence(DISK_SEQ), &wait);
    let (root, identity) = (ROOT.into(), &identity);
    let node = Node {
        root,
        dir: &dir,
        identity,
        key: &key,
        http: &http,
        console: &console,
        reporter: &reporter,
        wait: &wait,
        now: &host::clock::now,
    };
    f(&node).inspect_err(|e| console.error(&format!("{e:#}")))?;
    Ok(ExitCode::SUCCESS)
}

fn converge() -> anyhow::Result<ExitCode> {
    let dir = nodedir();
    let identity = dir.identity().context("reading this node's identity")?;
    let key = dir.node_key().context("reading this node's key")?;
    let console = Console::open();
    let checks = NodeChecks::new(ROOT.into(), &identity.info, &host::clock::now);
    let places = converge::places::Places { root: ROOT.into() };
    let _only = converge::agent::lock(places).context("starting to converge")?;
    let agent = Agent {
        places,
        dir: &dir,
        identity: &identity,
        key: &key,
        console: &console,
        seed: &|peers| lists::plane_url(ROOT.into(), &identity, peers),
        machine: &|peers, run| checks.look(peers, run),
        wait: &wait,
        stop: &|| false,
    };
    agent.run()?;
    Ok(ExitCode::SUCCESS)
}

fn converge_status() -> anyhow::Result<ExitCode> {
    print!("{}", said::converge(&nodedir())?);
    Ok(ExitCode::SUCCESS)
}

fn flows(json: bool) -> anyhow::Result<ExitCode> {
    let json: &[&str] = if json { &["--json"] } else { &[] };
    let shown = Tool::new(FLOW_AGENT).arg("show").args(json).timeout(FLOW_LIMIT).run().context("asking the flow agent")?;
    println!("{}", shown.text());
    Ok(ExitCode::SUCCESS)
}

fn gate_once() -> anyhow::Result<ExitCode> {
    let (text, passed) = said::gate(&nodedir())?;
    print!("{text}");
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn status() -> anyhow::Result<ExitCode> {
    print!("{}", said::status(&nodedir())?);
    Ok(ExitCode::SUCCESS)
}

fn write_support(out: &Utf8Path, recipient: Option<String>) -> anyhow::Result<ExitCode> {
    let dir = nodedir();
    let known = dir.identity().ok().and_then(|i| i.info.operator);
    let recipient = recipient.or(known).context("this node's identity names no operator: give --recipient age1…")?;
    let own: [(&str, anyhow::Result<String>); 3] = [
        ("node/status.txt", said::status(&dir)),
        ("node/converge.txt", said::converge(&dir)),
        ("node/gate.txt", said::gate(&dir).map(|(t, _)| t)),
    ];
    support::must_be_new(out)?;
    let bundle = support::bundle(&recipient, own, host::clock::now())?;
    support::write(out, &bundle.bytes)?;
    eprintln!("{out}: {} files, {} bytes, encrypted to {recipient}", bundle.parts, bundle.bytes.len());
    bundle.left_out.iter().for_each(|why| eprintln!("left out {why}"));
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
#[path = "../../tests/shared/golden.rs"]
mod golden;

#[cfg(test)]
#[path = "../../tests/shared/help.rs"]
mod help;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_is_changed_on_purpose() {
        let command = <Cli as clap::CommandFactory>::command();
        command.clone().debug_assert();
        golden::check("tests/golden/kubedos-node.help", &help::all(command));
    }
}
