//! The pages of a real seed in a real Chromium, with simulated machines and no virtual one: first set-up, passkeys, approvals by code,
//! many by keyboard alone, a plan, a revocation, the settings, the audit log; and every page in both themes and languages.

mod bench;
mod hands;
mod look;
mod people;
mod spki;
mod work;

use std::path::Path;

use anyhow::{Context, Result};

use crate::browser::Browser;
use crate::dirs::RunDirs;
use crate::fleet::Fleet;
use crate::netns::PREFIX;
use crate::say;
use crate::simulated::{self, Rack};
use crate::tool;
use crate::trust;

use bench::{Bench, MACHINES};
use hands::Hands;

/// The name under which the seed has passkeys.
const NAME: &str = "seed.kubedos.lan";

type Case = (&'static str, fn(&mut Bench<'_>) -> Result<()>);

const CASES: [Case; 10] = [
    ("log in with a passkey", people::passkey),
    ("the first node: one machine is approved by its code", work::first_node),
    ("a wrong code is refused, and the machine shows another one", work::wrong_code),
    ("a plan of 200 machines is checked and kept", work::plan),
    ("twenty planned machines are approved by their codes alone", work::twenty),
    ("50 machines are approved by the keyboard alone", work::by_keyboard),
    ("a stolen node is revoked by typing its name", work::revoke),
    ("cluster.yaml is edited: what changes is shown, and applied after a yes", work::settings),
    ("the audit log is exported", work::audit),
    ("every page in both themes and both languages, checked by axe, and on a telephone", |b| {
        look::at_every_page(&b.hands, &b.fleet.client, b.pictures)
    }),
];

/// Runs all cases; `note` takes each result. After a case that others build on has failed, they fail too.
pub fn run(dirs: &RunDirs, pictures: Option<&Path>, mut note: impl FnMut(&str, Result<()>) -> Result<()>) -> Result<()> {
    if tool::find("chromium").is_none() || tool::find("chromedriver").is_none() {
        return kubedos_skip::note("chromium", "chromium or chromedriver is not installed").map_err(anyhow::Error::msg);
    }
    let (work, logs) = dirs.part("browse")?;
    let seedd = simulated::site::make(&work)?;
    let mut fleet = Fleet::untouched(&format!("{PREFIX}{}-browse", std::process::id()), seedd, &work, &logs)?;
    let browser = {
        let address =
            fleet.daemon.address()?.trim_start_matches("https://").parse().context("reading the address of the pages")?;
        let leaf = trust::pinned(address, &fleet.daemon.fingerprint()?)?;
        Browser::trusting(&work, &logs, &spki::pin(leaf.der())?, NAME)?
    };
    let base = fleet.daemon.address()?.replace("127.0.0.1", NAME);
    let mut hands = Hands::new(&browser, &base);
    // The others need an administrator, whoever made it.
    let first = people::administrator(&fleet, &mut hands).context("making the first administrator in the browser");
    fleet.log_in()?;
    note("first set-up and unsealing in the browser", first)?;
    let rack = Rack::start(&fleet.ns, &work, MACHINES)?;
    let mut bench = Bench { fleet: &fleet, hands, rack: &rack, efforts: Vec::new(), pictures };
    for (name, case) in CASES {
        let done = case(&mut bench);
        if done.is_err() {
            let _ = browser.picture(&logs.join(format!("{}.png", name.replace([' ', ':', ',', '-'], "_"))));
        }
        note(name, done)?;
    }
    for (journey, effort) in &bench.efforts {
        say::plain(&format!("  {journey:<48}{effort}"));
    }
    drop(bench);
    note("nothing was addressed to the outside", fleet.ns.must_be_quiet())
}
