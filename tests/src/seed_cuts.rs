//! Power failures of a seed on a virtual machine: during set-up, the import of a capsule, and an approval. Each time it
//! restarts in a state that was acknowledged, and the interrupted work continues.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use crate::api::{Client, Decision};
use crate::dirs::RunDirs;
use crate::fake_agent::{FakeAgent, random};
use crate::fleet::{PASSWORD, USER};
use crate::rack::{Rack, Seed};
use crate::say;
use crate::screen;
use crate::seedd::Seedd;
use crate::site::{PASSPHRASE, Template};
use crate::stop;
use crate::vm::{Accel, Firmware, Medium};

const CAPSULE: &str = "from-afar.capsule";
const LIMIT: Duration = Duration::from_secs(300);
const DISK: u64 = 8 << 30;

/// One seed and how often its power was cut.
struct Cuts<'a> {
    rack: &'a Rack,
    seed: Option<Seed>,
    count: u32,
}

impl Cuts<'_> {
    fn seed(&mut self) -> Result<&mut Seed> {
        self.seed.as_mut().context("the seed is off")
    }

    fn cut(&mut self, when: &str) -> Result<()> {
        self.count += 1;
        say::line(&format!("power failure {} of the seed {when}", self.count));
        let off = self.seed.take().context("the seed is off")?.off();
        self.seed = Some(self.rack.seed_again(off)?);
        Ok(())
    }

    /// Cuts the power once the console shows `text`.
    fn cut_at(&mut self, text: &str) -> Result<()> {
        self.seed()?.vm.wait(0, text, LIMIT * 4)?;
        self.cut(&format!("at {text:?}"))
    }

    /// Sends the set-up form, without waiting for its answer for longer than `patience`.
    fn send_set_up(&mut self, patience: Duration) -> Result<()> {
        let rack = self.rack;
        let seed = self.seed()?;
        let code = seed.shown("the set-up code", screen::setup_code)?;
        let client = seed.client(rack)?;
        rack.operator.enter(|| {
            let page = client.page("/setup")?;
            let (_, options) = page.split_once("name=\"iface\"").context("the set-up page has no list of interfaces")?;
            let iface = options.split("value=\"").nth(1).and_then(|t| t.split('"').next()).context("no interface to choose")?;
            let form = [
                ("code", code.as_str()),
                ("site", "site-b"),
                ("passphrase", PASSPHRASE),
                ("passphrase2", PASSPHRASE),
                ("user", USER),
                ("password", PASSWORD),
                ("password2", PASSWORD),
                ("iface", iface),
            ];
            // Cut off on purpose: whether it was answered is not the question.
            let _ = client.form("/setup", &form, patience);
            Ok(())
        })
    }

    /// After a cut: the site is there wholly, or its set-up is asked for again.
    fn site_is_there(&mut self) -> Result<bool> {
        let read = |screen: &str| match (screen::setup_code(screen), screen.contains("SEALED")) {
            (Some(_), _) => Some(false),
            (None, true) => Some(true),
            _ => None,
        };
        self.seed()?.shown("either a site or its set-up", read)
    }

    fn enter(&mut self) -> Result<Client> {
        let rack = self.rack;
        self.seed()?.enter(rack, Some(PASSPHRASE))
    }
}

/// Runs all of them.
pub fn run(dirs: &RunDirs, template: &Template, accel: Accel) -> Result<()> {
    let iso = template.seed_iso(dirs)?;
    let rack = Rack::new(dirs, "seed-cuts", accel)?;
    let stick = rack.stick(&iso)?;
    let seed = Some(rack.seed("cut-seed", Firmware::SeaBios, Medium::Usb(stick))?);
    let mut cuts = Cuts { rack: &rack, seed, count: 0 };
    let made = first_set_up(&mut cuts)?;
    let client = taken_over(&mut cuts, template, made)?;
    approved(&mut cuts, client)?;
    say::line(&format!("the seed survived {} power failures", cuts.count));
    rack.segment.must_be_quiet()
}

/// Cuts from power-on to the first site. Gives a client of that site.
fn first_set_up(cuts: &mut Cuts<'_>) -> Result<Client> {
    cuts.cut_at("verifying the system 50%")?;
    cuts.cut_at("Starting")?;
    cuts.cut_at("kubedos-state.service")?;
    cuts.seed()?.shown("the set-up code", screen::setup_code)?;
    cuts.cut("while it is waiting for set-up")?;
    // The keys are opened by a slow function: the site is made during the seconds after the form was sent.
    for millis in [150u64, 2500, 6000, 12_000] {
        cuts.send_set_up(Duration::from_millis(millis))?;
        cuts.cut(&format!("{millis} ms after the set-up form was sent"))?;
        if cuts.site_is_there()? {
            say::line("the site was created");
            return cuts.enter();
        }
        say::line("no site was created; the set-up starts again");
    }
    cuts.send_set_up(LIMIT)?;
    cuts.cut("after the set-up was confirmed")?;
    ensure!(cuts.site_is_there()?, "a site whose set-up was confirmed is missing");
    cuts.enter()
}

/// A capsule of the medium's maker, for the site of `client`.
fn capsule(cuts: &Cuts<'_>, template: &Template, client: &Client) -> Result<(Vec<u8>, String)> {
    let maker: Seedd = template.copy(&cuts.rack.work.join("maker"))?;
    let site = cuts.rack.operator.enter(|| client.site())?;
    let recipient = site["recipient"].as_str().context("no recipient")?.to_owned();
    let file = cuts.rack.work.join(CAPSULE);
    maker.say(&["export", "--recipient", &recipient, "--out", &file.to_string_lossy()]).context("exporting the maker's site")?;
    Ok((std::fs::read(&file).context("reading the capsule")?, maker.public("site")?))
}

/// Cuts in the middle of an upload, at the begin, in the middle and at the end of an import, and after the promotion.
fn taken_over(cuts: &mut Cuts<'_>, template: &Template, client: Client) -> Result<Client> {
    let (content, pin) = capsule(cuts, template, &client)?;
    let rack = cuts.rack;
    rack.operator.enter(|| client.upload(CAPSULE, &content, 0, content.len() / 2))?;
    cuts.cut("in the middle of an upload")?;
    let mut client = cuts.enter()?;
    let held = rack.operator.enter(|| Ok(client.get(&format!("/api/v1/capsules/{CAPSULE}"))?.body["size"].as_u64()))?;
    let held = usize::try_from(held.unwrap_or(0)).unwrap_or(0);
    ensure!(held >= content.len() / 4, "only {held} bytes of half a capsule survived the power failure");
    say::line(&format!("{} of {} uploaded", say::megabytes(held as u64), say::megabytes(content.len() as u64)));
    rack.operator.enter(|| client.upload(CAPSULE, &content, held, content.len()))?;
    let wish = json!({"file": CAPSULE, "pin": pin, "passphrase": PASSPHRASE});
    for percent in [1, 60, 100] {
        rack.operator.enter(|| client.post("/api/v1/site/import", &wish)?.good("importing"))?;
        at_percent(rack, &client, percent)?;
        cuts.cut(&format!("at {percent} % of an import"))?;
        client = cuts.enter()?;
        let site = rack.operator.enter(|| client.site())?;
        // Either the site of before, or the other one in standby: nothing in between can be entered at all.
        let (own, theirs) = (site["mode"] == json!("active"), site["mode"] == json!("standby"));
        ensure!(own != theirs && (theirs == (site["siteKey"] == json!(pin))), "the import is incomplete: {site}");
    }
    let begun = rack.operator.enter(|| client.post("/api/v1/site/import", &wish)?.good("importing"))?;
    say::line(&rack.work(&client, begun)?);
    let client = cuts.seed()?.enter(rack, None)?;
    let name = rack.operator.enter(|| client.status())?["site"].as_str().context("a site without a name")?.to_owned();
    rack.operator.enter(|| client.post("/api/v1/site/promote", &json!({"name": name}))?.good("promoting"))?;
    cuts.cut("right after the promotion")?;
    let client = cuts.enter()?;
    let site = rack.operator.enter(|| client.site())?;
    ensure!(site["mode"] == json!("active") && site["epoch"] == json!(2), "the promotion was lost: {site}");
    Ok(client)
}

/// Waits until the import is that far, or over.
fn at_percent(rack: &Rack, client: &Client, percent: u64) -> Result<()> {
    stop::wait_for(&format!("{percent} % of the import"), LIMIT * 4, || {
        let Ok(site) = rack.operator.enter(|| client.site()) else { return Ok(Some(())) };
        let job = &site["job"];
        let read = job["step"].as_str().is_some_and(|s| s.contains("reading the capsule"));
        let far = match (job["done"].as_u64(), job["total"].as_u64()) {
            (Some(done), Some(total)) if read && total > 0 => done * 100 / total >= percent,
            _ => !read && job["step"].as_str().is_some_and(|s| s.contains("placing")),
        };
        if job["state"] == json!("failed") {
            bail!("the import failed: {}", job["text"]);
        }
        Ok((far || job["state"] != json!("running")).then_some(()))
    })
}

/// Cuts around an approval: what was answered is kept, what was not may be asked again.
fn approved(cuts: &mut Cuts<'_>, client: Client) -> Result<()> {
    let rack = cuts.rack;
    let mut agent = FakeAgent::new(&rack.operator, 77, DISK)?;
    let code = agent.enroll()?;
    drop(client);
    cuts.cut("while a machine is waiting for approval")?;
    let client = cuts.enter()?;
    let decision = Decision { code: &code, role: "base", hostname: "cut-node", disk: "vda", replace: false };
    let id = agent.enrollment()?;
    rack.operator.enter(|| client.approve(&id, &decision)?.good("approving").map(|_| ()))?;
    ensure!(agent.confirm()?, "the machine did not confirm its code");
    cuts.cut("right after a confirmation was acknowledged")?;
    cuts.enter()?;
    ensure!(agent.status()?.state.as_str() == "Approved", "an acknowledged approval was lost");
    let claim = agent.claim(random()?)?;
    let first = agent.open(agent.send_claim(&claim)?)?;
    cuts.cut("right after an identity was issued")?;
    cuts.enter()?;
    ensure!(agent.open(agent.send_claim(&claim)?)? == first, "the same claim got a different answer");
    let another = agent.send_claim(&agent.claim(random()?)?)?;
    ensure!(another.status == 409, "a different claim was answered with {}", another.status);
    Ok(())
}
