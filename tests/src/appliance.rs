//! The seed on a medium: a machine boots it, a browser sets it up, and a blank machine joins; nothing else is needed.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::api::Client;
use crate::dirs::RunDirs;
use crate::fleet::PASSWORD;
use crate::member::Member;
use crate::rack::Rack;
use crate::say;
use crate::site::{PASSPHRASE, Template};
use crate::vm::{Accel, Firmware, First, Medium, Spec};

const NODE: &str = "first";

fn blank(firmware: Firmware) -> Vec<Spec> {
    vec![Spec { first: First::Network, ..Spec::new(NODE, 1, firmware) }]
}

/// As a USB stick under Secure Boot: set up, a node joins under Secure Boot too (from the network first, so its second start
/// is GRUB handing on to the disk), the power is cut, the stick is searched, the site is there again.
pub fn stick(dirs: &RunDirs, template: &Template, accel: Accel, pictures: &Path) -> Result<()> {
    let iso = template.seed_iso(dirs)?;
    let rack = Rack::new(dirs, "stick", accel)?;
    let file = rack.stick(&iso)?;
    let mut seed = rack.seed("stick", Firmware::OvmfSecure, Medium::Usb(file.clone()))?;
    seed.set_up(&rack, "site-a", PASSPHRASE, pictures)?;
    seed.vm.console.poll()?;
    ensure!(seed.vm.console.find(0, "Secure boot enabled").is_some(), "the kernel does not say that Secure Boot is on");
    let client = seed.enter(&rack, None)?;
    ensure!(!warned_of_memory(&rack, &client)?, "the state is in memory although the stick has free space");
    let members = rack.join(&mut seed, &client, blank(Firmware::OvmfSecure), false)?;
    for sign in ["secureboot: Secure boot enabled", "Kubedos: starting from the local disk"] {
        let seen = members.iter().all(|m| m.vm.console.find(0, sign).is_some());
        ensure!(seen, "the node's console never showed {sign:?}");
    }
    say::line("power cut of the seed");
    let off = seed.off();
    holds_no_secret(&file, &secrets_of(&members)?)?;
    let mut seed = rack.seed_again(off)?;
    let sealed = |screen: &str| screen.contains("SEALED").then_some(());
    seed.shown("the sealed site", sealed)?;
    let client = seed.enter(&rack, Some(PASSPHRASE))?;
    let machines = rack.operator.enter(|| client.machines())?;
    ensure!(machines.iter().any(|m| m.state() == "FabricReady" || m.state() == "Converged"), "the node is missing");
    rack.segment.must_be_quiet()
}

/// As a CD under SeaBIOS: the state cannot be stored, and the seed warns about that; a node joins anyway.
pub fn disc(dirs: &RunDirs, template: &Template, accel: Accel, pictures: &Path) -> Result<()> {
    let iso = template.seed_iso(dirs)?;
    let rack = Rack::new(dirs, "disc", accel)?;
    let mut seed = rack.seed("disc", Firmware::SeaBios, Medium::Cd(iso))?;
    let said = |screen: &str| screen.contains("memory").then_some(());
    seed.shown("the warning that the state is in memory", said)?;
    seed.set_up(&rack, "site-a", PASSPHRASE, pictures)?;
    let client = seed.enter(&rack, None)?;
    ensure!(warned_of_memory(&rack, &client)?, "no page says that the state is in memory");
    rack.join(&mut seed, &client, blank(Firmware::SeaBios), false)?;
    rack.segment.must_be_quiet()
}

fn warned_of_memory(rack: &Rack, client: &Client) -> Result<bool> {
    let status = rack.operator.enter(|| client.status())?;
    let warnings = status["warnings"].as_array().cloned().unwrap_or_default();
    Ok(warnings.iter().any(|w| w.as_str().is_some_and(|w| w.contains("memory"))))
}

/// The WireGuard keys that the seed issued to these nodes, read from the nodes' disks, in every encoding.
fn secrets_of(members: &[Member]) -> Result<Vec<Vec<u8>>> {
    let mut secrets = Vec::new();
    for member in members {
        let found = crate::secrets::wireguard_keys(&member.vm.disk)?;
        ensure!(!found.is_empty(), "{}'s disk has no WireGuard key to look for", member.name());
        secrets.extend(found);
    }
    Ok(secrets)
}

/// Searches the raw stick for secrets: none may be on it unencrypted.
fn holds_no_secret(stick: &Path, minted: &[Vec<u8>]) -> Result<()> {
    let typed: [(&str, &[u8]); 5] = [
        ("the passphrase", PASSPHRASE.as_bytes()),
        ("the administrator's password", PASSWORD.as_bytes()),
        ("an age identity", b"AGE-SECRET-KEY-1"),
        ("a private key in PEM", b"PRIVATE KEY-----"),
        ("an OpenSSH private key", b"openssh-key-v1\0"),
    ];
    let needles: Vec<&[u8]> = typed.iter().map(|(_, n)| *n).chain(minted.iter().map(Vec::as_slice)).collect();
    let found = crate::secrets::search(stick, &needles)?;
    let named: Vec<&str> = found.into_iter().map(|i| typed.get(i).map_or("a node's WireGuard key", |(name, _)| *name)).collect();
    ensure!(named.is_empty(), "unencrypted on the stick: {}", named.join(", "));
    say::line(&format!("none of {} passphrases, passwords and private keys is on the raw stick unencrypted", needles.len()));
    Ok(())
}
