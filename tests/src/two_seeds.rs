//! Two seeds that are machines: site A and its nodes are lost, a second machine from the same medium takes their place in
//! another subnet, and A comes back to be refused. Everything is done on the pages.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::api::{Client, Machine};
use crate::dirs::RunDirs;
use crate::member::Member;
use crate::netns::SECOND_SEED_IP;
use crate::rack::{Off, Rack, Seed};
use crate::say;
use crate::site::{PASSPHRASE, Template};
use crate::stop;
use crate::vm::{Accel, Firmware, Medium, Spec};

const NODES: [&str; 2] = ["alpha", "beta"];
const PASSPHRASE_B: &str = "the second site has its own";
const CAPSULE: &str = "from-a.capsule";
/// Time limit for a node to refuse an older seed.
const REFUSAL_LIMIT: Duration = Duration::from_secs(600);

/// `first` tells the machines of the two sites apart.
fn blank(first: u8) -> Vec<Spec> {
    let firmware = [Firmware::SeaBios, Firmware::Ovmf];
    NODES.iter().zip(firmware).zip(first..).map(|((name, firmware), n)| Spec::new(name, n, firmware)).collect()
}

/// Runs it; prints how long site B needed.
pub fn run(dirs: &RunDirs, template: &Template, accel: Accel, pictures: &Path) -> Result<()> {
    let iso = template.seed_iso(dirs)?;
    // B is prepared before A is lost, as in the runbook.
    let rack_b = Rack::new(dirs, "site-b", accel)?;
    let stick_b = rack_b.stick(&iso)?;
    let (off_b, recipient) = prepare_b(&rack_b, &stick_b, pictures)?;
    let rack_a = Rack::new(dirs, "site-a", accel)?;
    let (off_a, before, pin) = site_a(&rack_a, &iso, &recipient, pictures)?;
    say::line("site A is lost, with its nodes");
    let lost = Instant::now();
    let mut seed = rack_b.seed_again(off_b)?;
    let client = take_over(&rack_b, &mut seed, &rack_a.work.join(CAPSULE), &pin)?;
    let mut members = rack_b.join(&mut seed, &client, blank(31), true)?;
    let after = addresses(&rack_b, &client)?;
    ensure!(after == before, "the planes' addresses changed: {before:?} became {after:?}");
    say::line(&format!(
        "both nodes were restored {} after the loss, with their names and addresses",
        say::seconds(lost.elapsed())
    ));
    comes_back(&rack_b, off_a, seed, &mut members)?;
    for rack in [&rack_a, &rack_b] {
        rack.segment.must_be_quiet()?;
    }
    Ok(())
}

/// A second machine from the same medium, with a passphrase and a subnet of its own; its recipient.
fn prepare_b(rack: &Rack, stick: &Path, pictures: &Path) -> Result<(Off, String)> {
    let mut seed = rack.seed("seed-b", Firmware::SeaBios, Medium::Usb(stick.to_owned()))?;
    seed.set_up(rack, "site-b", PASSPHRASE_B, &pictures.join("b"))?;
    let client = seed.enter(rack, None)?;
    seed.move_to(rack, &client, SECOND_SEED_IP)?;
    let site = rack.operator.enter(|| client.site())?;
    let recipient = site["recipient"].as_str().context("B has no recipient")?.to_owned();
    Ok((seed.off(), recipient))
}

/// Site A with two nodes; its capsule for B is on the operator's machine at the end. Gives what tells A: its nodes'
/// addresses and its key.
fn site_a(rack: &Rack, iso: &Path, recipient: &str, pictures: &Path) -> Result<(Off, Addresses, String)> {
    let stick = rack.stick(iso)?;
    let mut seed = rack.seed("seed-a", Firmware::Ovmf, Medium::Usb(stick))?;
    seed.set_up(rack, "site-a", PASSPHRASE, &pictures.join("a"))?;
    let client = seed.enter(rack, None)?;
    // The nodes are lost with the site: they are switched off when these go out of scope.
    let members = rack.join(&mut seed, &client, blank(21), false)?;
    let before = addresses(rack, &client)?;
    let site = rack.operator.enter(|| client.site())?;
    let pin = site["siteKey"].as_str().context("A has no key")?.to_owned();
    let wish = json!({"recipient": recipient, "sameMedium": true, "passphrase": PASSPHRASE});
    let begun = rack.operator.enter(|| client.post("/api/v1/site/export", &wish)?.good("exporting site A"))?;
    say::line(&rack.work(&client, begun)?);
    let site = rack.operator.enter(|| client.site())?;
    let name = site["capsules"][0]["name"].as_str().context("A exported no capsule")?.to_owned();
    let size = rack.operator.enter(|| client.download(&name, &rack.work.join(CAPSULE)))?;
    say::line(&format!("capsule {name} saved, {}", say::megabytes(size)));
    drop(members);
    Ok((seed.off(), before, pin))
}

/// The live nodes' addresses by plane, by name.
type Addresses = Vec<(String, Vec<(String, String)>)>;

fn addresses(rack: &Rack, client: &Client) -> Result<Addresses> {
    let machines: Vec<Machine> = rack.operator.enter(|| client.machines())?;
    let live = ["Installed", "FabricReady", "Converged"];
    let mut all: Addresses = machines
        .into_iter()
        .filter_map(|m| m.enrollment)
        .filter(|e| live.contains(&e.state.as_str()))
        .map(|e| (e.hostname.unwrap_or_default(), e.addresses))
        .collect();
    all.sort();
    ensure!(all.len() == NODES.len(), "there are {} live nodes", all.len());
    Ok(all)
}

/// Upload in pieces with a pause in between, a wrong pin, the import, the promotion.
fn take_over(rack: &Rack, seed: &mut Seed, capsule: &Path, pin: &str) -> Result<Client> {
    let client = seed.enter(rack, Some(PASSPHRASE_B))?;
    let content = std::fs::read(capsule).context("reading the capsule")?;
    rack.operator.enter(|| {
        let half = client.upload(CAPSULE, &content, 0, content.len() / 2)?;
        let held = client.get(&format!("/api/v1/capsules/{CAPSULE}"))?.good("asking how much is there")?;
        ensure!(held["size"] == json!(half), "the seed says {held} after {half} bytes");
        client.upload(CAPSULE, &content, half, content.len()).map(|_| ())
    })?;
    let wish = |pin: &str| json!({"file": CAPSULE, "pin": pin, "passphrase": PASSPHRASE_B});
    let import = |pin: &str| rack.operator.enter(|| client.post("/api/v1/site/import", &wish(pin))?.good("importing at site B"));
    let wrong = rack.work(&client, import(&wrong_key())?);
    ensure!(wrong.is_err(), "a capsule of another site was imported");
    say::line(&rack.work_to_another_site(&client, import(pin)?)?);
    // The site is another one now: another administrator's session, another CA.
    let site = stop::wait_for("the pages of the imported site", REFUSAL_LIMIT, || {
        let client = seed.enter(rack, None)?;
        // A login may still meet the site that was there before.
        Ok(rack.operator.enter(|| client.site()).ok().filter(|s| s["siteKey"] == json!(pin)))
    })?;
    let client = seed.enter(rack, None)?;
    ensure!(site["mode"] == json!("standby") && site["siteKey"] == json!(pin), "B is not the standby of A: {site}");
    ensure!(site["place"]["seed"] == json!(SECOND_SEED_IP), "B changed its underlay: {}", site["place"]);
    let promoted = |name: &str| rack.operator.enter(|| client.post("/api/v1/site/promote", &json!({"name": name})));
    ensure!(promoted("site-b")?.status == 400, "it was promoted under another name");
    let epoch = promoted("site-a")?.good("promoting site B")?["epoch"].clone();
    ensure!(epoch == json!(2), "the epoch after the promotion is {epoch}");
    let client = seed.enter(rack, None)?;
    stop::wait_for("B to serve", REFUSAL_LIMIT, || {
        seed.vm.poll()?;
        let status = rack.operator.enter(|| client.status())?;
        Ok((status["mode"] == json!("active") && status["sealed"] == json!(false)).then_some(()))
    })?;
    Ok(client)
}

/// A valid key of no site.
fn wrong_key() -> String {
    cluster_seed::seal::key_text(&cluster_seed::seal::SigningKey::from_bytes(&[9; 32]).verifying_key())
}

/// A is switched on in B's place, at B's address: the nodes refuse it and it falls silent. Then B goes on.
fn comes_back(rack: &Rack, off_a: Off, seed_b: Seed, members: &mut [Member]) -> Result<()> {
    say::line("site A comes back, on site B's segment, while B is off");
    let off_b = seed_b.off();
    let mut a = rack.seed_again(off_a)?;
    let client = a.enter(rack, Some(PASSPHRASE))?;
    a.move_to(rack, &client, SECOND_SEED_IP)?;
    let from: Vec<usize> = members.iter().map(|m| m.vm.console.lines.len()).collect();
    let client = a.enter(rack, None)?;
    stop::wait_for("site A to be fenced", REFUSAL_LIMIT, || {
        a.vm.poll()?;
        for member in members.iter_mut() {
            member.vm.poll()?;
        }
        // The listener is replaced when it is fenced.
        let mode = rack.operator.enter(|| client.status()).map(|s| s["mode"].clone()).unwrap_or_default();
        Ok((mode == json!("fenced")).then_some(()))
    })?;
    let refused = stop::wait_for("a node to refuse site A", REFUSAL_LIMIT, || {
        members.iter_mut().try_for_each(|m| m.vm.poll())?;
        Ok(members.iter().zip(&from).find_map(|(m, from)| {
            let line = m.vm.console.find(*from, "but this site has reached epoch 2")?;
            Some(format!("{}: {}", m.name(), line.text.trim()))
        }))
    })?;
    say::line(&format!("site A is fenced; {refused}"));
    let wish = json!({"recipient": "age1none", "passphrase": PASSPHRASE});
    ensure!(rack.operator.enter(|| client.post("/api/v1/site/export", &wish))?.status == 400, "an invalid epoch was accepted");
    drop(a);
    let mut b = rack.seed_again(off_b)?;
    let client = b.enter(rack, Some(PASSPHRASE_B))?;
    let site = rack.operator.enter(|| client.site())?;
    ensure!(site["mode"] == json!("active") && site["epoch"] == json!(2), "B did not stay active: {site}");
    addresses(rack, &client).map(|_| ())
}
