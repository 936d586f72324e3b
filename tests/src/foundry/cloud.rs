//! A machine from an image beside a NoCloud volume, as clouds and Proxmox give it: a token instead of a code, a static address
//! instead of DHCP.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::start::power_on;
use crate::fleet::Fleet;
use crate::member::Step;
use crate::netns::SEED_IP;
use crate::vm::{Firmware, Medium, Spec};
use crate::{checks, say, tool};

const FLOW_LIMIT: Duration = Duration::from_secs(40 * 60);
const NAME: &str = "cloud";
const NUMBER: u8 = 75;
/// Outside what the lab's seed leases.
const ADDRESS: &str = "10.44.0.9";

pub fn run(fleet: &mut Fleet, image: &Path, ssh_key: &Path) -> Result<()> {
    fleet.members.clear();
    let token = fleet.seedd.say_plain(&["token", "create", "--role", "base", "--name", NAME, "--json"])?;
    let token: Value = serde_json::from_str(&token).with_context(|| format!("reading {token:?}"))?;
    let usual = Spec::new(NAME, NUMBER, Firmware::Ovmf);
    let volume = volume(fleet, &usual.mac, token["token"].as_str().context("no token")?)?;
    power_on(fleet, Spec { medium: Some(Medium::Data(volume)), ..usual }, image, "raw")?;
    // Nobody types a code.
    fleet.until("the machine with a NoCloud volume to be Converged", FLOW_LIMIT, |fleet| Ok(fleet.all(Step::Converged)))?;
    checks::all(fleet, ssh_key)?;
    ensure!(!fleet.members[0].approval_sent, "a code was typed");
    let answers = fleet.ns.outcome(&["ping", "-c", "2", "-W", "5", ADDRESS])?;
    ensure!(answers.code == 0, "the node does not have the address of its NoCloud volume: {}", answers.stdout.trim());
    let tokens = fleet.seedd.say_plain(&["token", "list", "--json"])?;
    let tokens: Value = serde_json::from_str(&tokens).with_context(|| format!("reading {tokens:?}"))?;
    ensure!(tokens["tokens"][0]["used"] == 1, "the token was not counted: {tokens}");
    say::line(&format!("{NAME}: a node without a code, at {ADDRESS}, after {:?}", fleet.members[0].marks[5]));
    Ok(())
}

/// The volume: an ISO 9660 file system labelled `cidata`.
fn volume(fleet: &Fleet, mac: &str, token: &str) -> Result<PathBuf> {
    let files = fleet.work.join("cidata");
    std::fs::create_dir_all(&files).context("creating the volume's files")?;
    let key = fleet.seedd.public("site")?;
    let user = format!("#cloud-config\nkubedos:\n  seed: http://{SEED_IP}\n  siteKey: \"{key}\"\n  token: {token}\n");
    let network =
        format!("version: 2\nethernets:\n  all:\n    match: {{macaddress: \"{mac}\"}}\n    addresses: [{ADDRESS}/24]\n");
    for (name, text) in [("user-data", user), ("network-config", network), ("meta-data", "instance-id: lab\n".to_owned())] {
        std::fs::write(files.join(name), text).with_context(|| format!("writing {name}"))?;
    }
    let (files, iso) = (files.to_string_lossy().into_owned(), fleet.work.join("cidata.iso"));
    let image = iso.to_string_lossy().into_owned();
    tool::run(&["xorriso", "-as", "mkisofs", "-quiet", "-V", "cidata", "-J", "-r", "-o", &image, &files])?;
    Ok(iso)
}
