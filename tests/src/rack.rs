//! Seeds on virtual machines: a segment, an operator's machine on it, and machines booted from the medium.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::api::Client;
use crate::browser::Browser;
use crate::dirs::RunDirs;
use crate::fleet::{PASSWORD, USER, look};
use crate::member::{Member, Step};
use crate::netns::{Netns, PREFIX, SEED_IP};
use crate::say;
use crate::screen;
use crate::stop;
use crate::trust;
use crate::vm::{Accel, Firmware, Medium, Spec, Vm};

/// From power-on to the page, under emulation.
const BOOT_LIMIT: Duration = Duration::from_secs(20 * 60);
pub const FLOW_LIMIT: Duration = Duration::from_secs(40 * 60);
const ENTER_LIMIT: Duration = Duration::from_secs(300);
/// Time limit of a job started in the web interface.
const WORK_LIMIT: Duration = Duration::from_secs(20 * 60);
/// The operator's machine on the segment, outside of the seed's pool; it is on the second site's subnet too.
const OPERATOR: [&str; 2] = ["10.44.0.9/24", "10.45.0.9/24"];
/// Bytes of a stick beyond the image: room for the state.
const FREE: u64 = 2 << 30;

/// A segment with an operator's machine plugged in, and nobody else.
pub struct Rack {
    pub segment: Netns,
    pub operator: Netns,
    pub work: PathBuf,
    pub logs: PathBuf,
    pub accel: Accel,
}

impl Rack {
    pub fn new(dirs: &RunDirs, name: &str, accel: Accel) -> Result<Self> {
        let (work, logs) = dirs.part(name)?;
        let label = format!("{PREFIX}{}-{name}", std::process::id());
        let segment = Netns::segment(&label, &work, &[])?;
        let operator = Netns::empty(&format!("{label}-op"), &work)?;
        segment.cable("operator", &operator, "eth0", "52:54:00:6b:67:09")?;
        for address in OPERATOR {
            operator.ip(&["addr", "add", address, "dev", "eth0"])?;
        }
        Ok(Rack { segment, operator, work, logs, accel })
    }

    /// A copy of the medium as a stick with room for the state.
    pub fn stick(&self, iso: &Path) -> Result<PathBuf> {
        let file = self.work.join("medium.raw");
        std::fs::copy(iso, &file).context("writing the stick")?;
        let size = std::fs::metadata(&file).context("measuring the stick")?.len();
        std::fs::File::options().write(true).open(&file).and_then(|f| f.set_len(size + FREE)).context("sizing the stick")?;
        Ok(file)
    }

    /// Switches a seed on. Its own disk is too small for anything: the state belongs on the stick.
    pub fn seed(&self, name: &str, firmware: Firmware, medium: Medium) -> Result<Seed> {
        let mut spec = Spec::new(name, 100, firmware);
        spec.medium = Some(medium);
        spec.network_boot = false;
        spec.memory = 2048;
        spec.disk = 64 << 20;
        say::line(&format!("power on {}: {:?}, {:?}", spec.name, spec.firmware, spec.medium));
        let vm = Vm::start(&self.segment, spec, self.accel, &self.work, &self.logs)?;
        Ok(Seed { vm, address: SEED_IP.to_owned() })
    }

    /// A seed that was off, plugged into this segment.
    pub fn seed_again(&self, off: Off) -> Result<Seed> {
        let Off { spec, disk, address } = off;
        // It may have been in another rack.
        if !self.segment.has(&spec.name)? {
            self.segment.tap(&spec.name)?;
        }
        say::line(&format!("power on {} again", spec.name));
        let vm = Vm::power_on(&self.segment, spec, self.accel, disk, &self.work, &self.logs)?;
        Ok(Seed { vm, address })
    }

    /// Blank machines, approved with the codes on their consoles, up to FabricReady.
    pub fn join(&self, seed: &mut Seed, client: &Client, specs: Vec<Spec>, replaces: bool) -> Result<Vec<Member>> {
        let mut members = Vec::new();
        for spec in specs {
            say::line(&format!("power on {}: {:?}", spec.name, spec.firmware));
            let vm = Vm::start(&self.segment, spec, self.accel, &self.work, &self.logs)?;
            members.push(Member::new(vm).replacing(replaces));
        }
        let began = Instant::now();
        let names = members.iter().map(|m| m.name().to_owned()).collect::<Vec<_>>().join(" and ");
        stop::wait_for(&format!("{names} to be FabricReady"), FLOW_LIMIT, || {
            seed.vm.poll()?;
            self.operator.enter(|| look(&mut members, Some(client), false))?;
            say::progress(&members.iter().map(Member::phrase).collect::<Vec<_>>().join("; "));
            for member in &mut members {
                if let Some(code) = member.waiting_code() {
                    self.operator.enter(|| member.approve(client, &code))?;
                }
            }
            Ok(members.iter().all(|m| m.has(Step::FabricReady)).then_some(()))
        })?;
        say::line(&format!("{names}: FabricReady {} after power-on", say::seconds(began.elapsed())));
        Ok(members)
    }

    /// Waits for the end of a long work; its own words.
    pub fn work(&self, client: &Client, begun: Value) -> Result<String> {
        self.watch(client, begun, false)
    }

    /// The same of an import, whose end may not be seen: the pages then show the certificate of the imported site. Only that
    /// the seed cannot be asked is no failure; what became of the site is for the caller to see.
    pub fn work_to_another_site(&self, client: &Client, begun: Value) -> Result<String> {
        self.watch(client, begun, true)
    }

    fn watch(&self, client: &Client, begun: Value, may_leave: bool) -> Result<String> {
        let kind = begun["kind"].as_str().unwrap_or("work").to_owned();
        stop::wait_for(&format!("the {kind} to end"), WORK_LIMIT, || {
            let job = match self.operator.enter(|| client.site()) {
                Ok(site) => site["job"].clone(),
                Err(error) if may_leave => {
                    return Ok(Some(format!("the web interface now belongs to the imported site: {error:#}")));
                }
                Err(error) => return Err(error),
            };
            let text = job["text"].as_str().unwrap_or_default().to_owned();
            match job["state"].as_str() {
                Some("running") => {
                    say::progress(&format!("{kind}: {} {} of {}", job["step"].as_str().unwrap_or(""), job["done"], job["total"]));
                    Ok(None)
                }
                Some("done") => Ok(Some(text)),
                other => bail!("the {kind} ended as {other:?}: {text} {}", job["hint"]),
            }
        })
    }
}

/// A seed that is switched off; its media stay.
pub struct Off {
    pub spec: Spec,
    pub disk: PathBuf,
    pub address: String,
}

/// A machine that booted the medium.
pub struct Seed {
    pub vm: Vm,
    /// Where its pages are.
    pub address: String,
}

impl Seed {
    /// Cuts the power.
    pub fn off(self) -> Off {
        let spec = self.vm.spec.clone();
        Off { spec, disk: self.vm.power_off(), address: self.address }
    }

    /// Waits until the console shows what `read` finds on it.
    pub fn shown<T>(&mut self, what: &str, read: impl Fn(&str) -> Option<T>) -> Result<T> {
        let what = format!("{what} on the console of {} ({})", self.vm.spec.name, self.vm.console.path().display());
        stop::wait_for(&what, BOOT_LIMIT, || {
            self.vm.poll()?;
            say::progress(&format!("{}: {}", self.vm.spec.name, self.vm.console.lines.last().map_or("", |l| &l.text)));
            Ok(read(&screen::of(&self.vm.console)?))
        })
    }

    /// A client that believes the certificate whose fingerprint the console shows.
    pub fn client(&mut self, rack: &Rack) -> Result<Client> {
        let address: SocketAddr = format!("{}:443", self.address).parse().context("the seed's address")?;
        // The certificate changes when the seed is unsealed; the screen follows within a second or two.
        let what = "the pages with the certificate whose fingerprint the console shows";
        // It may have been switched on just now.
        let roots = stop::wait_for(what, BOOT_LIMIT, || {
            self.vm.poll()?;
            let print = screen::fingerprint(&screen::of(&self.vm.console)?);
            Ok(print.and_then(|print| rack.operator.enter(|| trust::pinned_with_ca(address, &print)).ok()))
        })?;
        let base = format!("https://{}", self.address);
        let client = Client::new(&base, &roots);
        // Unsealed, its name is checked too.
        let named = rack.operator.enter(|| client.get("/login")).is_ok();
        Ok(if named { client } else { Client::compared(&base) })
    }

    /// The set-up page, filled in by a browser on the operator's machine.
    pub fn set_up(&mut self, rack: &Rack, site: &str, passphrase: &str, pictures: &Path) -> Result<()> {
        std::fs::create_dir_all(pictures).with_context(|| format!("making {}", pictures.display()))?;
        let code = self.shown("the set-up code", screen::setup_code)?;
        self.client(rack)?;
        let since = self.vm.powered_on.elapsed();
        say::line(&format!("{}: page ready {} after power-on, set-up code {code}", self.vm.spec.name, say::seconds(since)));
        let url = format!("https://{}/", self.address);
        rack.operator.enter(|| {
            let browser = Browser::start(&rack.work, &rack.logs)?;
            browser.open(&url)?;
            for (field, text) in [("code", "AAAA-AAAA"), ("site", site), ("user", USER)] {
                browser.fill(&format!("input[name={field}]"), text)?;
            }
            let secrets = |browser: &Browser| -> Result<()> {
                for (field, text) in [("passphrase", passphrase), ("password", PASSWORD)] {
                    browser.fill(&format!("input[name={field}]"), text)?;
                    browser.fill(&format!("input[name={field}2]"), text)?;
                }
                browser.click("#submit")
            };
            secrets(&browser)?;
            let refused = || Ok(browser.has("#refused").then_some(()));
            stop::wait_for("the refusal of a wrong set-up code", Duration::from_secs(120), refused)?;
            browser.picture(&pictures.join("first-setup.png"))?;
            browser.fill("input[name=code]", &code)?;
            secrets(&browser)?;
            stop::wait_for("the pages of the new site", Duration::from_secs(300), || {
                // The listener changes hands: a moment without an answer is expected.
                let _ = browser.open(&url);
                Ok((!browser.has("input[name=passphrase]") && browser.source()?.contains(site)).then_some(()))
            })?;
            browser.picture(&pictures.join("appliance.png"))
        })
    }

    /// A client that is logged in; it unseals with `passphrase` if there is one.
    pub fn enter(&mut self, rack: &Rack, passphrase: Option<&str>) -> Result<Client> {
        // The listener may change hands between the two: after an import, a promotion, a move.
        let client = stop::wait_for("the seed to accept a login", ENTER_LIMIT, || {
            let mut client = self.client(rack)?;
            match rack.operator.enter(|| client.try_login(USER, PASSWORD)) {
                Ok(answer) => {
                    client.keep_token(&answer.good("logging in")?)?;
                    Ok(Some(client))
                }
                Err(_) => Ok(None),
            }
        })?;
        let Some(passphrase) = passphrase else { return Ok(client) };
        rack.operator.enter(|| client.unseal(passphrase)?.good("unsealing").map(|_| ()))?;
        // The certificate is another one from now on.
        let token = client.token.clone();
        let mut client = self.client(rack)?;
        client.token = token;
        Ok(client)
    }

    /// Moves the seed to the second site's subnet, on its page of the site.
    pub fn move_to(&mut self, rack: &Rack, client: &Client, address: &str) -> Result<()> {
        let net = address.rsplit_once('.').map_or("", |(net, _)| net);
        let place = json!({
            "subnet": format!("{net}.0/24"), "seed": address, "first": format!("{net}.100"), "last": format!("{net}.199"),
        });
        rack.operator.enter(|| client.put("/api/v1/site/place", &place)?.good("moving the underlay").map(|_| ()))?;
        // Its old address stays until it is switched off; from here on it is asked at the new one.
        self.address = address.to_owned();
        let client = self.enter(rack, None)?;
        ensure!(rack.operator.enter(|| client.site())?["overlaid"] == json!(true), "the seed lost its new underlay");
        Ok(())
    }
}
