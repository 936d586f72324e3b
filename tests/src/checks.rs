//! Step 9: checks the fleet. Pings on every plane, handshakes, apt from the darksite only.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::fleet::Fleet;
use crate::say;
use crate::stop;
use crate::tool;

const PLANES: [&str; 3] = ["wg1", "wg2", "wg3"];
/// In the darksite (the default cluster.yaml asks for it), but in no image.
const EXTRA: &str = "tree";
/// Peers are refreshed by a timer on the nodes; emulated machines are slow.
const PATIENCE: Duration = Duration::from_secs(300);

/// Runs every check; one line for each that passed.
pub fn all(fleet: &Fleet, ssh_key: &Path) -> Result<Vec<String>> {
    let mut passed = Vec::new();
    let mut nodes = Vec::new();
    for member in &fleet.members {
        let planes = member.machine.as_ref().context("a member without a machine")?.planes();
        nodes.push((member.name().to_owned(), planes));
    }
    for (name, planes) in &nodes {
        for plane in PLANES {
            let address = planes.get(plane).with_context(|| format!("{name} has no address on {plane}"))?;
            patiently(&format!("{name} on {plane} ({address}) from the seed"), || ping_from_seed(fleet, address))?;
        }
    }
    passed.push(format!("the seed pings {} nodes on {}", nodes.len(), PLANES.join(", ")));
    for (name, planes) in &nodes {
        let ssh = Ssh { fleet, key: ssh_key, address: &planes["wg1"] };
        for (other, addresses) in nodes.iter().filter(|(other, _)| other != name) {
            for plane in PLANES {
                let address = &addresses[plane];
                patiently(&format!("{other} on {plane} ({address}) from {name}"), || {
                    Ok(ssh.outcome(&format!("ping -c 2 -W 5 {address}"))?.code == 0)
                })?;
            }
        }
        handshakes(&ssh, name, nodes.len())?;
        darksite_only(&ssh, name)?;
    }
    passed.push("the nodes ping each other on every plane, and wg show has a handshake for every peer".to_owned());
    passed.push("apt on every node uses only the darksite, and installs from it".to_owned());
    Ok(passed)
}

fn patiently(what: &str, mut check: impl FnMut() -> Result<bool>) -> Result<()> {
    say::progress(&format!("checking {what}"));
    stop::wait_for(what, PATIENCE, || Ok(check()?.then_some(())))
}

fn ping_from_seed(fleet: &Fleet, address: &str) -> Result<bool> {
    Ok(fleet.ns.outcome(&["ping", "-c", "2", "-W", "5", address])?.code == 0)
}

/// Root on a node, over the control plane.
pub struct Ssh<'a> {
    pub fleet: &'a Fleet,
    pub key: &'a Path,
    pub address: &'a str,
}

impl Ssh<'_> {
    fn outcome(&self, command: &str) -> Result<tool::Outcome> {
        let key = self.key.to_string_lossy();
        let to = format!("root@{}", self.address);
        let mut argv = vec!["ssh", "-i", &key, "-o", "BatchMode=yes", "-o", "ConnectTimeout=30", "-o", "LogLevel=ERROR"];
        // A session over a plane that does not come back ends after five minutes.
        argv.extend(["-o", "ServerAliveInterval=30", "-o", "ServerAliveCountMax=10"]);
        argv.extend(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", &to, command]);
        self.fleet.ns.outcome(&argv)
    }

    pub fn run(&self, command: &str) -> Result<String> {
        let out = self.outcome(command)?;
        if out.code != 0 {
            bail!("ssh {} {command}: {} {}{}", self.address, out.code, out.stdout, out.stderr);
        }
        Ok(out.stdout)
    }
}

fn handshakes(ssh: &Ssh<'_>, name: &str, peers: usize) -> Result<()> {
    patiently(&format!("handshakes of {name}"), || {
        Ok(PLANES.iter().all(|p| shaken(&ssh.run(&format!("wg show {p} latest-handshakes")).unwrap_or_default()) >= peers))
    })
}

/// Peers with a handshake in the output of `wg show IFACE latest-handshakes`: key, tab, Unix time (0: never).
fn shaken(text: &str) -> usize {
    text.lines()
        .filter(|l| l.split_whitespace().last().is_some_and(|t| t != "0" && t.bytes().all(|b| b.is_ascii_digit())))
        .count()
}

fn darksite_only(ssh: &Ssh<'_>, name: &str) -> Result<()> {
    say::progress(&format!("checking apt on {name}"));
    let uris = ssh.run("apt-get indextargets --format '$(REPO_URI)'")?;
    let strangers: Vec<&str> = uris.lines().filter(|u| !u.contains(&ssh.fleet.seedd.address)).collect();
    if uris.trim().is_empty() || !strangers.is_empty() {
        bail!("apt on {name} uses {}", if strangers.is_empty() { "no repository".to_owned() } else { strangers.join(", ") });
    }
    let update = ssh.run("apt-get update 2>&1")?;
    if update.contains("NO_PUBKEY") || update.contains("W: ") || update.contains("E: ") {
        bail!("apt-get update on {name} failed: {update}");
    }
    // From an empty cache, to see where it comes from.
    let from = ssh.run(&format!("apt-get clean && apt-get -y --print-uris --reinstall install {EXTRA} 2>&1"))?;
    if !from.lines().any(|l| l.contains(&format!("//{}", ssh.fleet.seedd.address)) && l.contains(EXTRA)) {
        bail!("apt-get install on {name} would not fetch {EXTRA} from the darksite: {from}");
    }
    ssh.run(&format!("DEBIAN_FRONTEND=noninteractive apt-get install -y --reinstall {EXTRA} 2>&1"))?;
    ssh.run(&format!("{EXTRA} --version")).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_are_counted() {
        assert_eq!(shaken("AAAA=\t1700000000\nBBBB=\t0\nCCCC=\t1700000001\n"), 2);
        assert_eq!(shaken(""), 0);
        assert_eq!(shaken("Unable to access interface: No such device\n"), 0);
    }
}
