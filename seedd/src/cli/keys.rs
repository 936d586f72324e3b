//! `seedd keys`

use std::io::Write as _;

use anyhow::{Context as _, Result};
use appliance::control::answer::KeysRotated;
use appliance::control::{Client, RotateKeys, listen};
use clap::{ArgGroup, Args, Subcommand};
use host::clock::now_ms;
use site::rotate::{Choice, Rotation};
use site::store::{Store, StoreError};
use site::{Site, snapshots};

use super::args::{PassphraseSource, SiteArgs};
use super::prompt::confirm;

/// The actor in the event log.
const ACTOR: &str = "command line";

#[derive(Subcommand)]
pub enum Keys {
    /// Replace the keys of planes, the vault key or the release key
    ///
    /// For when a key may have leaked, or on a schedule. Asks for the passphrase, says what will happen and what is left to do,
    /// and asks for confirmation. A running seed is unsealed afterwards. The change is made wholly or not at all, even if the
    /// power fails. The site key and the passphrase cannot be changed.
    #[command(after_long_help = "\
Examples:
  seedd keys rotate --plane wg1
  seedd keys rotate --planes --vault --release --yes --passphrase-file /run/secrets/seed")]
    Rotate(Rotate),
}

#[derive(Args)]
#[command(group = ArgGroup::new("which").required(true).multiple(true))]
pub struct Rotate {
    /// Replace the seed's WireGuard key of this plane; can be given more than once
    #[arg(long, value_name = "NAME", group = "which")]
    plane: Vec<String>,
    /// Replace the seed's WireGuard keys of all planes
    #[arg(long, group = "which", conflicts_with = "plane")]
    planes: bool,
    /// Replace the key that identities and passwords in the database are encrypted with
    #[arg(long, group = "which")]
    vault: bool,
    /// Replace the key that snapshots and extras are signed with
    #[arg(long, group = "which")]
    release: bool,
    /// Skip the confirmation prompt
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    passphrase: PassphraseSource,
    #[command(flatten)]
    args: SiteArgs,
}

impl Keys {
    pub fn run(&self) -> Result<()> {
        match self {
            Keys::Rotate(v) => v.run(),
        }
    }
}

impl Rotate {
    fn run(&self) -> Result<()> {
        let site = self.args.site();
        let store = site.open_store()?;
        let choice = Choice { planes: self.chosen_planes(&site)?, vault: self.vault, release: self.release };
        let daemon = Client::new(&site.control_socket());
        let serving = daemon.answers();
        say_plan(&before(&site, &store, &choice, serving)?)?;
        if !self.yes {
            confirm("The old keys cannot be restored.", site.spec()?.metadata.name.as_str())?;
        }
        let passphrase = self.passphrase.get("Passphrase")?;
        let done = match serving {
            true => daemon.rotate_keys(RotateKeys {
                passphrase: passphrase.to_string(),
                planes: choice.planes.iter().cloned().collect(),
                vault: choice.vault,
                release: choice.release,
            })?,
            false => offline(&site, &store, &passphrase, &choice)?,
        };
        self.args.show(&done, &after(&done, serving))
    }

    fn chosen_planes(&self, site: &Site) -> Result<std::collections::BTreeSet<String>> {
        if self.planes {
            return Ok(site.keys().public()?.planes.into_keys().collect());
        }
        Ok(self.plane.iter().cloned().collect())
    }
}

/// Without a daemon. Its socket is held meanwhile, so that none starts with the old keys.
fn offline(site: &Site, store: &Store, passphrase: &str, choice: &Choice) -> Result<KeysRotated> {
    let operator = site.keys().operator(passphrase)?;
    let socket = listen(&site.control_socket())?;
    let rotation = Rotation { site, store, operator: &operator, choice, now_ms: now_ms(), actor: ACTOR };
    let done = rotation.run(&mut |step| {
        tracing::debug!(step, "changing keys");
        Ok(())
    });
    // An interrupted change that was committed is finished here, and by everybody else who opens the site.
    let settled = site::rotate::settle(site, store);
    std::fs::remove_file(site.control_socket()).context("removing the control socket")?;
    drop(socket);
    let done = done?;
    settled?;
    Ok(done.into())
}

fn say_plan(lines: &[String]) -> Result<()> {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::io::stderr().lock().write_all(text.as_bytes()).context("writing to standard error")
}

/// What will happen.
fn before(site: &Site, store: &Store, choice: &Choice, serving: bool) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let (nodes, secrets) = store.read(|tx| Ok::<_, StoreError>((tx.count_live_nodes()?, tx.vaulted()?.len())))?;
    if !choice.planes.is_empty() {
        let names = choice.planes.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        lines.push(format!(
            "planes {names}: the seed gets new keys. Its {nodes} nodes do not reach it there until they have fetched the new peer \
             list over the boot network, within about a minute; nodes still reach each other."
        ));
    }
    if choice.vault {
        lines.push(format!("vault: {secrets} identities and passwords are encrypted again, with a new key."));
    }
    if choice.release {
        let held = snapshots::all(site, store)?.0.iter().filter(|s| s.maker.is_none()).count();
        lines.push(format!(
            "release: a new key signs what is built from now on. {held} snapshots stay signed with the old key, and nodes trust it \
             as long as such a snapshot is in use."
        ));
    }
    lines.push(match serving {
        true => "The running seed reloads the site and is unsealed afterwards.".to_owned(),
        false => "No seed is running on this site; the peer list is signed again when it is unsealed.".to_owned(),
    });
    Ok(lines)
}

/// What was done, and what is left to do.
fn after(done: &KeysRotated, serving: bool) -> String {
    let mut lines = Vec::new();
    for (plane, key) in &done.planes {
        lines.push(format!("plane {plane}: new key {}", key.new));
    }
    if let Some(vault) = &done.vault {
        let (identities, passwords) = (vault.identities, vault.passwords);
        lines.push(format!("vault: new key {}; encrypted again: {identities} identities, {passwords} passwords", vault.key.new));
    }
    if let Some(release) = &done.release {
        lines.push(format!("release: new key {}; {} snapshots keep an earlier one", release.key.new, release.snapshots.len()));
    }
    if !done.planes.is_empty() {
        let how = if serving { "" } else { "start and unseal the seed, then " };
        lines.push(format!("  next      {how}check with `seedd status` that every node has received the new peer list"));
    }
    if done.vault.is_some() {
        lines.push(
            "  next      if the old key leaked together with a database or a backup, change the passwords of controllers"
                .to_owned(),
        );
        lines.push("            (`seedd power controller`) and install the nodes again: who has both can read them".to_owned());
    }
    if done.release.is_some() {
        lines.push(
            "  next      build a new snapshot (`seedd darksite build`), the extras and the images; nodes get the new".to_owned(),
        );
        lines.push(
            "            certificate with their next peer list, and drop the old one once the new snapshot is in use".to_owned(),
        );
    }
    lines.push("  next      export a new capsule for each standby; earlier ones restore the old keys".to_owned());
    lines.join("\n")
}
