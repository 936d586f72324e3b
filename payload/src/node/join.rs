//! A machine that enrolls in place: it was installed by the Debian installer, or boots an artifact's image. It finds its seed,
//! enrolls with a code on its console or with a join token, and becomes a node. No disk is written.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use camino::Utf8Path;
use cluster_seed::agent::ReportBody;
use cluster_seed::join::JoinSpec;
use cluster_seed::machine::HardwareFacts;
use cluster_seed::seal::{VerifyingKey, key_text};

use super::address;
use super::discover::{Found, Places, discover, file};
use crate::assets;
use crate::cmdline::Cmdline;
use crate::console::Console;
use crate::http::{Http, chain};
use crate::layout::STATE_DIR;
use crate::ram::Ram;
use crate::ram::attempts::{Attempts, Failure};
use crate::ram::enroll::Enroller;
use crate::ram::session::Session;
use crate::ram::site;
use crate::report::{Reporter, UNTIL_HEARD};
use crate::state::{NodeDir, state_files, write_state_files};
use host::files::{PRIVATE, write_atomic};
use host::hardware;
use host::tool::Tool;

/// In the node's directory; exists once the machine is a node.
const IDENTITY: &str = "identity.json";
/// Pause before everything is read and tried again.
const PAUSE: Duration = Duration::from_secs(10);
/// Pauses after which the console repeats why the machine waits: once a minute.
const REPEAT: u32 = 6;

/// Writes the agent's units, its configuration and the seed's address below `root`. The agent itself is already there.
///
/// # Errors
/// If `seed` is not an address of a seed, or a file cannot be written.
pub fn lay_down(root: &Utf8Path, seed: &str, site: &VerifyingKey) -> anyhow::Result<()> {
    ensure!(!seed.contains(char::is_whitespace), "the seed's address {seed:?} contains a space");
    let seed = Cmdline::parse(&format!("kubedos.seed={seed}")).context("reading the seed's address")?.seed;
    for asset in assets::files() {
        let path = root.join(asset.path.trim_start_matches('/'));
        let folder = path.parent().unwrap_or(root);
        fs::create_dir_all(folder).with_context(|| format!("creating {folder}"))?;
        write_atomic(&path, asset.bytes, asset.mode)?;
    }
    let spec = JoinSpec { seed: Some(seed), site_key: key_text(site), token: None };
    let path = file(&root.join(STATE_DIR.trim_start_matches('/')));
    fs::create_dir_all(path.parent().unwrap_or(root)).with_context(|| format!("creating the directory of {path}"))?;
    write_atomic(&path, spec.to_secret()?.expose(), PRIVATE)?;
    Ok(())
}

/// Enables the units of the system below `root`, except those of network and disk, which the installer has configured. A missing
/// firewall package is an error only once the agent needs it.
pub fn enable(root: &Utf8Path) -> anyhow::Result<()> {
    let there = |unit: &str| root.join("usr/lib/systemd/system").join(unit).exists();
    let ours = |unit: &&&str| match **unit {
        assets::FIREWALL_UNIT => there(assets::FIREWALL_UNIT),
        assets::GROW_UNIT | assets::NETWORK_UNIT => false,
        unit => unit.starts_with("kubedos-"),
    };
    Tool::new("systemctl")
        .arg(format!("--root={root}"))
        .arg("enable")
        .args(assets::enabled_units().iter().filter(ours))
        .run()
        .context("enabling the units")?;
    Ok(())
}

/// Tells on the console why the machine waits, once a minute at most unless the reason changes.
struct Waiting<'a> {
    console: &'a Console,
    said: Vec<String>,
    pauses: u32,
}

impl Waiting<'_> {
    fn say(&mut self, lines: Vec<String>) {
        if self.said != lines || self.pauses >= REPEAT {
            lines.iter().for_each(|line| self.console.step(line));
            (self.said, self.pauses) = (lines, 0);
        }
        self.pauses += 1;
    }
}

/// Enrolls and becomes a node; returns at once if it is one.
///
/// # Errors
/// If the node's files cannot be written.
pub fn join(ram: &Ram<'_>, places: &Places<'_>) -> anyhow::Result<()> {
    let dir = places.dir;
    if dir.join(IDENTITY).exists() {
        return Ok(());
    }
    for folder in [ram.run, dir] {
        fs::create_dir_all(folder).with_context(|| format!("creating {folder}"))?;
    }
    let session = enroll(ram, places)?;
    let approved = session.open().context("opening what the seed issued")?;
    let (order, identity) = (approved.order(), approved.identity());
    let files = state_files(identity, session.node_key())?;
    let http = Http::new(session.seed());
    let sequence = NodeDir::new(ram.run).sequence(1);
    let reporter =
        Reporter::new(&http, session.node_key(), session.enrollment(), sequence, ram.wait).to_one_that(session.knows());
    // The seed expects these reports from a machine that is being installed; no disk is written here.
    let began = ReportBody::InstallBegan { artifact: order.artifact, disk: order.disk.clone(), total: order.disk_size };
    reporter.deliver(began, UNTIL_HEARD).context("reporting to the seed")?;
    write_state_files(dir, &files)?;
    ram.console.step("the identity is in place");
    if let Err(e) = reporter.deliver(ReportBody::InstallDone { seconds: 0 }, UNTIL_HEARD) {
        // It is a node now and reports that itself.
        ram.console.error(&chain(&e));
    }
    spend_token(dir);
    fs::remove_file(Session::path(ram.run)).context("deleting the session")?;
    Ok(())
}

/// Tries until the machine is approved. Every source is read again before each attempt, since the seed, the volume or the lease
/// may appear later.
fn enroll(ram: &Ram<'_>, places: &Places<'_>) -> anyhow::Result<Session> {
    let (mut attempts, mut waiting) = (Attempts::default(), Waiting { console: ram.console, said: vec![], pauses: 0 });
    let mut told = Vec::new();
    loop {
        if let Some(session) = ram.approved_before() {
            return Ok(session);
        }
        let mut lines = address::settle(places).err().map(|e| chain(&e)).into_iter().collect::<Vec<_>>();
        match discover(places) {
            Err(e) => lines.push(chain(&e)),
            Ok(found) => {
                if found.lines() != told {
                    told = found.lines();
                    told.iter().for_each(|line| ram.console.step(line));
                }
                match once(ram, places, &found)? {
                    Attempt::Done(session) => return Ok(*session),
                    Attempt::Waits(why) => lines.push(why),
                    Attempt::Failed(failed) => {
                        ram.pause(&failed, &mut attempts);
                        continue;
                    }
                }
            }
        }
        waiting.say(lines);
        (ram.wait)(PAUSE);
    }
}

enum Attempt {
    Done(Box<Session>),
    /// Nothing was shown or used up yet.
    Waits(String),
    Failed(crate::ram::enroll::Failed),
}

fn once(ram: &Ram<'_>, places: &Places<'_>, found: &Found) -> anyhow::Result<Attempt> {
    let Some((_, seed)) = &found.seed else {
        return Ok(Attempt::Waits("waiting: no source gives the address of the seed".to_owned()));
    };
    let sites = match site::known(places.root, found.site) {
        Ok(sites) => sites,
        Err(e) => return Ok(Attempt::Waits(chain(&e))),
    };
    let (http, token) = (Http::new(seed), found.token.as_ref().map(|(_, token)| token));
    let (console, wait, dir) = (ram.console, ram.wait, ram.run);
    let enroller = Enroller { http: &http, console, wait, dir, sites: &sites, token, tries: 1, may_tell: false };
    Ok(match ram.attempt(&enroller, &facts(places.root))? {
        Ok(session) => Attempt::Done(Box::new(session)),
        Err(failed) if failed.failure == Failure::BeforeTheCode => {
            Attempt::Waits(format!("waiting for the seed: {}", chain(&failed)))
        }
        Err(failed) => Attempt::Failed(failed),
    })
}

/// The hardware, the disk that this system runs from, and a card to know the machine by: the first one with a link.
fn facts(root: &Utf8Path) -> HardwareFacts {
    let facts = hardware::gather(root, None);
    let boot_mac = facts.nics.iter().find(|n| n.link_up).or(facts.nics.first()).map(|n| n.mac);
    let device = fs::metadata(root).map(|m| std::os::unix::fs::MetadataExt::dev(&m));
    let root_disk = device.ok().and_then(|device| hardware::place_of(root, device)).map(|place| place.disk);
    HardwareFacts { root_disk, boot_mac, ..facts }
}

/// A token is of no use to a node; whoever gets its disk must not find one. The rest of the file stays.
fn spend_token(dir: &Utf8Path) {
    let path = file(dir);
    let Ok(bytes) = host::files::read_limited(&path, cluster_seed::join::MAX_BYTES as u64) else { return };
    let spent = JoinSpec::parse(&bytes).and_then(|spec| JoinSpec { token: None, ..spec }.to_secret());
    let done = match &spent {
        Ok(bytes) => write_atomic(&path, bytes.expose(), PRIVATE).map_err(|e| chain(&e)),
        Err(e) => Err(chain(e)),
    };
    if let Err(error) = done {
        tracing::warn!(error, %path, "the join token was not removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster_seed::seal::SigningKey;

    #[test]
    fn files_are_installed_below_the_root_and_bad_addresses_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        let key = SigningKey::from_bytes(&[7; 32]).verifying_key();
        for bad in ["", "https://x", "http://x y", "http://x/;reboot", "ftp://x"] {
            assert!(lay_down(root, bad, &key).is_err(), "{bad}");
        }
        assert!(fs::read_dir(root).unwrap().next().is_none());
        for _ in 0..2 {
            lay_down(root, "http://10.44.0.1:80/", &key).unwrap();
        }
        for asset in assets::files() {
            assert_eq!(fs::read(root.join(asset.path.trim_start_matches('/'))).unwrap(), asset.bytes, "{}", asset.path);
        }
        let spec = JoinSpec::parse(&fs::read(root.join("var/lib/kubedos/join.json")).unwrap()).unwrap();
        assert_eq!((spec.seed.as_deref(), spec.key().unwrap()), (Some("http://10.44.0.1:80"), key));
        let unit = fs::read_to_string(root.join("usr/lib/systemd/system/kubedos-join.service")).unwrap();
        assert!(unit.contains(&format!("ExecStart={} join\n", assets::AGENT_PATH)) && unit.contains("[Install]"));
    }

    #[test]
    fn a_node_keeps_the_seed_and_not_the_token() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        let site_key = key_text(&SigningKey::from_bytes(&[7; 32]).verifying_key());
        let token = Some("kjt-0a1b2c3d-000102030405060708090a0b0c0d0e0f".parse().unwrap());
        let spec = JoinSpec { seed: Some("http://a".into()), site_key: site_key.clone(), token };
        spend_token(dir);
        write_atomic(&file(dir), spec.to_secret().unwrap().expose(), PRIVATE).unwrap();
        spend_token(dir);
        let left = fs::read_to_string(file(dir)).unwrap();
        assert_eq!(left, format!(r#"{{"seed":"http://a","siteKey":"{site_key}"}}"#));
    }
}
