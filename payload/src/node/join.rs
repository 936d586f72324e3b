//! A machine installed by the Debian installer: the agent's files are added to the new system, and at its first boot it
//! enrolls like any other machine, with a code on its console. No disk is written, since the system is installed already.

use std::fs;

use anyhow::{Context as _, ensure};
use camino::Utf8Path;
use cluster_seed::agent::ReportBody;
use cluster_seed::seal::{VerifyingKey, key_text};

use crate::assets;
use crate::cmdline::Cmdline;
use crate::http::Http;
use crate::ram::session::Session;
use crate::ram::{Drivers, Ram};
use crate::report::{Reporter, UNTIL_HEARD};
use crate::state::{NodeDir, state_files, write_state_files};
use host::files::{PUBLIC, write_atomic};
use host::tool::Tool;

const UNIT: &str = "kubedos-join.service";
const UNIT_TEXT: &[u8] = include_bytes!("../../assets/installer/kubedos-join.service");
/// The unit's environment: both values are public.
const ENVIRONMENT: &str = "etc/kubedos/join.env";
/// In the node's directory; exists once the machine is a node.
const IDENTITY: &str = "identity.json";

/// Writes the agent's units, its configuration and the seed's address below `root`. The agent itself is already there.
///
/// # Errors
/// If `seed` is not an address of a seed, or a file cannot be written.
pub fn lay_down(root: &Utf8Path, seed: &str, site: &VerifyingKey) -> anyhow::Result<()> {
    ensure!(!seed.contains(char::is_whitespace), "the seed's address {seed:?} contains a space");
    let seed = Cmdline::parse(&format!("kubedos.seed={seed}")).context("reading the seed's address")?.seed;
    let unit = assets::Asset { path: "/usr/lib/systemd/system/kubedos-join.service", mode: 0o644, bytes: UNIT_TEXT };
    for asset in assets::files().into_iter().chain([unit]) {
        let path = root.join(asset.path.trim_start_matches('/'));
        let folder = path.parent().unwrap_or(root);
        fs::create_dir_all(folder).with_context(|| format!("creating {folder}"))?;
        write_atomic(&path, asset.bytes, asset.mode)?;
    }
    let environment = format!("KUBEDOS_SEED={seed}\nKUBEDOS_SITE_KEY={}\n", key_text(site));
    let path = root.join(ENVIRONMENT);
    fs::create_dir_all(path.parent().unwrap_or(root)).with_context(|| format!("creating the directory of {path}"))?;
    write_atomic(&path, environment.as_bytes(), PUBLIC)?;
    Ok(())
}

/// Enables the units of the system below `root`, except the network unit: the installer has configured the network. A missing
/// firewall package is an error only once the agent needs it.
pub fn enable(root: &Utf8Path) -> anyhow::Result<()> {
    let there = |unit: &str| root.join("usr/lib/systemd/system").join(unit).exists();
    let ours = |unit: &&&str| unit.starts_with("kubedos-") || (**unit == assets::FIREWALL_UNIT && there(assets::FIREWALL_UNIT));
    Tool::new("systemctl")
        .arg(format!("--root={root}"))
        .arg("enable")
        .args(assets::enabled_units().iter().filter(ours))
        .arg(UNIT)
        .run()
        .context("enabling the units")?;
    Ok(())
}

/// Enrolls and becomes a node; returns at once if it is one. `dir` is the directory of the node's files.
///
/// # Errors
/// If a site key given to this machine cannot be read, or the node's files cannot be written.
pub fn join(ram: &Ram<'_>, seed: &str, site: &VerifyingKey, dir: &Utf8Path) -> anyhow::Result<()> {
    if dir.join(IDENTITY).exists() {
        return Ok(());
    }
    for folder in [ram.run, dir] {
        fs::create_dir_all(folder).with_context(|| format!("creating {folder}"))?;
    }
    let cmdline = Cmdline::parse(&format!("kubedos.seed={seed}")).context("reading the seed's address")?;
    // Nothing is sent to a seed of another site than the preseed file names.
    let cmdline = Cmdline { site: Some(*site), ..cmdline };
    let session = ram.enroll(&cmdline, &mut Drivers::default())?;
    let approved = session.open().context("opening what the seed issued")?;
    let (order, identity) = (approved.order(), approved.identity());
    let files = state_files(identity, session.node_key())?;
    let http = Http::new(session.seed());
    let reporter = Reporter::new(&http, session.node_key(), session.enrollment(), NodeDir::new(ram.run).sequence(1), ram.wait);
    // The seed expects these reports from a machine that is being installed; no disk is written here.
    let began = ReportBody::InstallBegan { artifact: order.artifact, disk: order.disk.clone(), total: order.disk_size };
    reporter.deliver(began, UNTIL_HEARD).context("reporting to the seed")?;
    write_state_files(dir, &files)?;
    ram.console.step("the identity is in place");
    if let Err(e) = reporter.deliver(ReportBody::InstallDone { seconds: 0 }, UNTIL_HEARD) {
        // It is a node now and reports that itself.
        ram.console.error(&crate::http::chain(&e));
    }
    fs::remove_file(Session::path(ram.run)).context("deleting the session")?;
    Ok(())
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
        let text = fs::read_to_string(root.join(ENVIRONMENT)).unwrap();
        assert_eq!(text, format!("KUBEDOS_SEED=http://10.44.0.1:80\nKUBEDOS_SITE_KEY={}\n", key_text(&key)));
        let unit = fs::read_to_string(root.join("usr/lib/systemd/system").join(UNIT)).unwrap();
        assert!(unit.contains(&format!("ExecStart={} join ", assets::AGENT_PATH)) && unit.contains("[Install]"));
    }
}
