//! A machine that Debian's installer made: the agent's files are laid down in the new system, and at its first start it
//! enrolls as any other machine does, with a code on its console. No disk is written: the system is there already.

use std::fs;

use anyhow::{Context as _, bail, ensure};
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
/// What the unit tells the agent. Both are public.
const ENVIRONMENT: &str = "etc/kubedos/join.env";
/// In the node's folder; there once it is a node.
const IDENTITY: &str = "identity.json";

/// Writes the agent's units, configuration and play below `root`, and where to enroll. The agent itself is there: it runs.
///
/// # Errors
/// When `seed` is no address of a seed, or a file cannot be written.
pub fn lay_down(root: &Utf8Path, seed: &str, site: &VerifyingKey) -> anyhow::Result<()> {
    ensure!(!seed.contains(char::is_whitespace), "the seed's address {seed:?} has a space in it");
    let seed = Cmdline::parse(&format!("kubedos.seed={seed}")).context("reading the seed's address")?.seed;
    let unit = assets::Asset { path: "/usr/lib/systemd/system/kubedos-join.service", mode: 0o644, bytes: UNIT_TEXT };
    for asset in assets::files().into_iter().chain([unit]) {
        let path = root.join(asset.path.trim_start_matches('/'));
        let folder = path.parent().unwrap_or(root);
        fs::create_dir_all(folder).with_context(|| format!("making {folder}"))?;
        write_atomic(&path, asset.bytes, asset.mode)?;
    }
    let environment = format!("KUBEDOS_SEED={seed}\nKUBEDOS_SITE_KEY={}\n", key_text(site));
    let path = root.join(ENVIRONMENT);
    fs::create_dir_all(path.parent().unwrap_or(root)).with_context(|| format!("making the folder of {path}"))?;
    write_atomic(&path, environment.as_bytes(), PUBLIC)?;
    Ok(())
}

/// Enables the units below `root`, to start at its next boot. The network is the installer's, so ours stays off; so does the
/// firewall, if its package is missing, until the agent reports that.
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

/// Enrolls and becomes a node; returns at once if it is one. `dir` is where the node's files go.
///
/// # Errors
/// When the seed is of another site than the installer was told, or the node's files cannot be written.
pub fn join(ram: &Ram<'_>, seed: &str, site: &VerifyingKey, dir: &Utf8Path) -> anyhow::Result<()> {
    if dir.join(IDENTITY).exists() {
        return Ok(());
    }
    for folder in [ram.run, dir] {
        fs::create_dir_all(folder).with_context(|| format!("making {folder}"))?;
    }
    let cmdline = Cmdline::parse(&format!("kubedos.seed={seed}")).context("reading the seed's address")?;
    let session = ram.enroll(&cmdline, &mut Drivers::default())?;
    if session.site_key != *site {
        fs::remove_file(Session::path(ram.run)).context("dropping the session")?;
        bail!("the seed is of site key {}, the installer was told {}", key_text(&session.site_key), key_text(site));
    }
    let (order, identity) = session.open().context("opening what the seed issued")?;
    let files = state_files(&identity, &session.node_key)?;
    let http = Http::new(&session.seed);
    let reporter = Reporter::new(&http, &session.node_key, session.enrollment, NodeDir::new(ram.run).sequence(1), ram.wait);
    // The seed's words for a machine that gets its system: nothing of it is written here.
    let began = ReportBody::InstallBegan { artifact: order.artifact, disk: order.disk, total: order.disk_size };
    reporter.deliver(began, UNTIL_HEARD).context("telling the seed")?;
    write_state_files(dir, &files)?;
    ram.console.step("the identity is in place");
    if let Err(e) = reporter.deliver(ReportBody::InstallDone { seconds: 0 }, UNTIL_HEARD) {
        // It is a node now, and will tell so itself.
        ram.console.error(&crate::http::chain(&e));
    }
    fs::remove_file(Session::path(ram.run)).context("dropping the session")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster_seed::seal::SigningKey;

    #[test]
    fn files_are_laid_down_below_the_root_and_nothing_else_is_believed() {
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
