//! The seed on a medium: a machine boots it, a browser sets it up, a blank machine joins; nothing else is there.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::api::Client;
use crate::browser::Browser;
use crate::dirs::RunDirs;
use crate::fleet::{PASSWORD, USER, look};
use crate::member::{Member, Step};
use crate::netns::{Netns, PREFIX, SEED_IP};
use crate::say;
use crate::screen;
use crate::site::{PASSPHRASE, Template};
use crate::stop;
use crate::trust;
use crate::vm::{Accel, Firmware, Medium, Spec, Vm};

/// From power-on to the page, under emulation.
const BOOT_LIMIT: Duration = Duration::from_secs(20 * 60);
const FLOW_LIMIT: Duration = Duration::from_secs(30 * 60);
/// The operator's machine on the segment, outside of the seed's pool.
const OPERATOR: &str = "10.44.0.9/24";
/// Bytes of the stick beyond the image: room for the state.
const FREE: u64 = 1 << 30;
const NODE: &str = "first";

/// A segment with an operator's machine plugged in, and nobody else.
struct Rack {
    segment: Netns,
    operator: Netns,
    work: PathBuf,
    logs: PathBuf,
    accel: Accel,
}

impl Rack {
    fn new(dirs: &RunDirs, name: &str, accel: Accel) -> Result<Self> {
        let (work, logs) = dirs.part(name)?;
        let label = format!("{PREFIX}{}-{name}", std::process::id());
        let segment = Netns::segment(&label, &work, &[])?;
        let operator = Netns::empty(&format!("{label}-op"), &work)?;
        segment.cable("operator", &operator, "eth0", "52:54:00:6b:67:09")?;
        operator.ip(&["addr", "add", OPERATOR, "dev", "eth0"])?;
        Ok(Rack { segment, operator, work, logs, accel })
    }

    fn seed(&self, name: &str, firmware: Firmware, medium: Medium) -> Result<Seed> {
        let mut spec = Spec::new(name, 100, firmware);
        spec.medium = Some(medium);
        spec.network_boot = false;
        spec.memory = 2048;
        spec.disk = 64 << 20;
        self.plug_in(spec)
    }

    fn plug_in(&self, spec: Spec) -> Result<Seed> {
        say::line(&format!("power on {}: {:?}, {:?}", spec.name, spec.firmware, spec.medium));
        Ok(Seed { vm: Vm::start(&self.segment, spec, self.accel, &self.work, &self.logs)? })
    }
}

/// A machine that booted the medium.
struct Seed {
    vm: Vm,
}

impl Seed {
    /// Waits until the console shows what `read` finds on it.
    fn shown<T>(&mut self, what: &str, read: impl Fn(&str) -> Option<T>) -> Result<T> {
        let what = format!("{what} on the console of {} ({})", self.vm.spec.name, self.vm.console.path().display());
        stop::wait_for(&what, BOOT_LIMIT, || {
            self.vm.poll()?;
            say::progress(&format!("{}: {}", self.vm.spec.name, self.vm.console.lines.last().map_or("", |l| &l.text)));
            Ok(read(&screen::of(&self.vm.console)?))
        })
    }

    /// A client that believes the certificate whose fingerprint the console shows.
    fn client(&mut self, rack: &Rack) -> Result<Client> {
        let address: SocketAddr = format!("{SEED_IP}:443").parse().context("the seed's address")?;
        // The certificate changes when the seed is unsealed; the screen follows within a second or two.
        let what = "the pages with the certificate whose fingerprint the console shows";
        let root = stop::wait_for(what, Duration::from_secs(120), || {
            self.vm.poll()?;
            let print = screen::fingerprint(&screen::of(&self.vm.console)?);
            Ok(print.and_then(|print| rack.operator.enter(|| trust::pinned(address, &print)).ok()))
        })?;
        Ok(Client::new(&format!("https://{SEED_IP}"), &[root]))
    }

    /// The set-up page, filled in by a browser on the operator's machine.
    fn set_up(&mut self, rack: &Rack, pictures: &Path) -> Result<()> {
        let code = self.shown("the set-up code", screen::setup_code)?;
        self.client(rack)?;
        let since = self.vm.powered_on.elapsed();
        say::line(&format!("{}: page ready {} after power-on, set-up code {code}", self.vm.spec.name, say::seconds(since)));
        rack.operator.enter(|| {
            let browser = Browser::start(&rack.work, &rack.logs)?;
            browser.open(&format!("https://{SEED_IP}/"))?;
            for (field, text) in [("code", "AAAA-AAAA"), ("site", "site-a"), ("user", USER)] {
                browser.fill(&format!("input[name={field}]"), text)?;
            }
            let secrets = |browser: &Browser| -> Result<()> {
                for (field, text) in [("passphrase", PASSPHRASE), ("password", PASSWORD)] {
                    browser.fill(&format!("input[name={field}]"), text)?;
                    browser.fill(&format!("input[name={field}2]"), text)?;
                }
                browser.click("#submit")
            };
            secrets(&browser)?;
            ensure!(browser.has("input[name=passphrase]"), "a wrong set-up code was taken");
            browser.picture(&pictures.join("first-setup.png"))?;
            browser.fill("input[name=code]", &code)?;
            secrets(&browser)?;
            stop::wait_for("the pages of the new site", Duration::from_secs(180), || {
                if browser.has("input[name=passphrase]") {
                    bail!("the set-up was refused: {}", browser.source()?);
                }
                // The listener changes hands: a moment without an answer is expected.
                let _ = browser.open(&format!("https://{SEED_IP}/"));
                Ok(browser.source()?.contains("site-a").then_some(()))
            })?;
            browser.picture(&pictures.join("appliance.png"))
        })
    }
}

/// Boots the medium as a USB stick under Secure Boot, sets it up, lets a blank machine join, cuts the power and looks at
/// the stick; then boots it as a CD under SeaBIOS up to its page.
pub fn run(dirs: &RunDirs, template: &Template, accel: Accel, pictures: &Path) -> Result<()> {
    std::fs::create_dir_all(pictures).with_context(|| format!("making {}", pictures.display()))?;
    let iso = template.seed_iso(dirs)?;
    stick(dirs, &iso, accel, pictures).context("as a USB stick under Secure Boot")?;
    disc(dirs, &iso, accel).context("as a CD under SeaBIOS")
}

fn stick(dirs: &RunDirs, iso: &Path, accel: Accel, pictures: &Path) -> Result<()> {
    let rack = Rack::new(dirs, "stick", accel)?;
    let file = rack.work.join("medium.raw");
    std::fs::copy(iso, &file).context("writing the stick")?;
    let size = std::fs::metadata(&file).context("measuring the stick")?.len();
    std::fs::File::options().write(true).open(&file).and_then(|f| f.set_len(size + FREE)).context("sizing the stick")?;
    let mut seed = rack.seed("stick", Firmware::OvmfSecure, Medium::Usb(file.clone()))?;
    seed.set_up(&rack, pictures)?;
    let mut client = seed.client(&rack)?;
    rack.operator.enter(|| client.login(USER, PASSWORD))?;
    ensure!(!warned_of_memory(&rack, &client)?, "the state is in memory although the stick has room");
    join(&rack, &mut seed, &client)?;
    say::line("power cut of the seed");
    let Seed { vm } = seed;
    let spec = vm.spec.clone();
    let disk = vm.power_off();
    holds_no_secret(&file)?;
    let vm = Vm::power_on(&rack.segment, spec, accel, disk, &rack.work, &rack.logs)?;
    let mut seed = Seed { vm };
    let sealed = |screen: &str| screen.contains("SEALED").then_some(());
    seed.shown("the sealed site", sealed)?;
    let mut client = seed.client(&rack)?;
    rack.operator.enter(|| {
        client.login(USER, PASSWORD)?;
        client.unseal(PASSPHRASE)?.good("unsealing after the power cut").map(|_| ())
    })?;
    let client = {
        let mut c = seed.client(&rack)?;
        rack.operator.enter(|| c.login(USER, PASSWORD))?;
        c
    };
    let machines = rack.operator.enter(|| client.machines())?;
    ensure!(machines.iter().any(|m| m.state() == "FabricReady" || m.state() == "Converged"), "the node was forgotten");
    rack.segment.must_be_quiet()
}

/// A blank machine, approved with the code on its console.
fn join(rack: &Rack, seed: &mut Seed, client: &Client) -> Result<()> {
    let vm = Vm::start(&rack.segment, Spec::new(NODE, 1, Firmware::SeaBios), rack.accel, &rack.work, &rack.logs)?;
    let mut members = [Member::new(vm)];
    let began = Instant::now();
    stop::wait_for("the blank machine to be FabricReady", FLOW_LIMIT, || {
        seed.vm.poll()?;
        rack.operator.enter(|| look(&mut members, Some(client), false))?;
        say::progress(&members[0].phrase());
        if let Some(code) = members[0].waiting_code() {
            rack.operator.enter(|| members[0].approve(client, &code))?;
        }
        Ok(members[0].has(Step::FabricReady).then_some(()))
    })?;
    say::line(&format!("a blank machine is FabricReady {} after its power-on", say::seconds(began.elapsed())));
    Ok(())
}

fn warned_of_memory(rack: &Rack, client: &Client) -> Result<bool> {
    let status = rack.operator.enter(|| client.status())?;
    let warnings = status["warnings"].as_array().cloned().unwrap_or_default();
    Ok(warnings.iter().any(|w| w.as_str().is_some_and(|w| w.contains("memory"))))
}

/// Searches the raw stick for what was typed and made: nothing of it may be there in clear.
fn holds_no_secret(stick: &Path) -> Result<()> {
    let needles: [(&str, &[u8]); 5] = [
        ("the passphrase", PASSPHRASE.as_bytes()),
        ("the administrator's password", PASSWORD.as_bytes()),
        ("an age identity", b"AGE-SECRET-KEY-1"),
        ("a private key in PEM", b"PRIVATE KEY-----"),
        ("an OpenSSH private key", b"openssh-key-v1\0"),
    ];
    let found = crate::tool::search(stick, &needles.map(|(_, n)| n))?;
    let named: Vec<&str> = found.into_iter().map(|i| needles[i].0).collect();
    ensure!(named.is_empty(), "the stick holds in clear: {}", named.join(", "));
    say::line("the raw stick holds no passphrase, password or private key in clear");
    Ok(())
}

fn disc(dirs: &RunDirs, iso: &Path, accel: Accel) -> Result<()> {
    let rack = Rack::new(dirs, "disc", accel)?;
    let mut seed = rack.seed("disc", Firmware::SeaBios, Medium::Cd(iso.to_owned()))?;
    seed.shown("the set-up code", screen::setup_code)?;
    seed.client(&rack)?;
    let since = seed.vm.powered_on.elapsed();
    say::line(&format!("disc: page ready {} after power-on", say::seconds(since)));
    let memory = screen::of(&seed.vm.console)?;
    ensure!(memory.contains("memory"), "a seed without a place for its state does not say so:\n{memory}");
    rack.segment.must_be_quiet()
}
