//! The operator's pages in a real browser: logging in, approving a machine, pictures for the README.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::browser::Browser;
use crate::fleet::{Fleet, PASSWORD, USER};
use crate::stop;

const LOADING: Duration = Duration::from_secs(60);
/// A machine waits 10 seconds after a wrong code, and starts its pairing again.
const NEW_CODE: Duration = Duration::from_secs(180);

/// A logged-in browser and where its pictures go.
#[derive(Debug)]
pub struct Operator {
    browser: Browser,
    base: String,
    pictures: PathBuf,
}

impl Operator {
    /// Logs in through the form.
    pub fn log_in(fleet: &Fleet, pictures: &Path) -> Result<Self> {
        std::fs::create_dir_all(pictures).with_context(|| format!("making {}", pictures.display()))?;
        let browser = Browser::start(&fleet.work, &fleet.logs)?;
        let operator = Operator { browser, base: fleet.client.base.clone(), pictures: pictures.to_owned() };
        operator.browser.open(&format!("{}/", operator.base))?;
        ensure!(operator.browser.has("input[name=password]"), "the first page does not ask for a password");
        operator.picture("login")?;
        operator.browser.fill("input[name=user]", USER)?;
        operator.browser.fill("input[name=password]", PASSWORD)?;
        operator.browser.click("form [type=submit]")?;
        operator.until("the list of machines after the login", |b| Ok(!b.has("input[name=password]")))?;
        Ok(operator)
    }

    fn until(&self, what: &str, check: impl Fn(&Browser) -> Result<bool>) -> Result<()> {
        stop::wait_for(what, LOADING, || Ok(check(&self.browser)?.then_some(())))
    }

    pub fn picture(&self, name: &str) -> Result<()> {
        self.browser.picture(&self.pictures.join(format!("{name}.png")))
    }

    pub fn show_list(&self, name: &str) -> Result<()> {
        self.browser.open(&format!("{}/", self.base))?;
        self.picture(name)
    }

    pub fn show_machine(&self, id: i64, name: &str) -> Result<()> {
        self.browser.open(&format!("{}/machines/{id}", self.base))?;
        self.picture(name)
    }

    /// Enters the code in the form of a Pending machine and approves. With a wrong code first, the machine must find it out and
    /// show another one, which is entered then.
    pub fn approve(&self, fleet: &mut Fleet, index: usize, code: &str, wrong: Option<&str>) -> Result<()> {
        let (role, disk) = fleet.choice(index)?;
        let member = &fleet.members[index];
        let id = member.machine.as_ref().context("the machine is not known to the seed")?.id;
        let name = member.name().to_owned();
        let mut fresh = None;
        for (entered, good) in wrong.map(|w| (w, false)).into_iter().chain([(code, true)]) {
            self.show_machine(id, "pending")?;
            self.browser.fill("form input[name=code]", fresh.as_deref().unwrap_or(entered))?;
            self.browser.fill("form input[name=hostname]", &name)?;
            self.choose("role", &role)?;
            self.choose("disk", &disk)?;
            self.browser.click("form[action$='/approve'] [type=submit]")?;
            // The click may be over before the seed has the form.
            let (refused, state) = stop::wait_for(&format!("an answer to the form for {name}"), LOADING, || {
                let refused = self.browser.has("#refused");
                let body = fleet.client.get(&format!("/api/v1/machines/{id}"))?.good("asking for the machine")?;
                let state = body["row"]["enrollment"]["state"].as_str().unwrap_or("").to_owned();
                Ok((refused || state != "Pending").then_some((refused, state)))
            })?;
            ensure!(!good || !refused, "the right code for {name} was refused; the page: {}", self.browser.title()?);
            if !good {
                ensure!(["Confirming", "Denied"].contains(&state.as_str()), "a wrong code in the page made {name} {state}");
                fleet.members[index].over = fleet.members[index].enrollment().map(str::to_owned);
                fresh = Some(stop::wait_for(&format!("another code of {name} after a wrong one"), NEW_CODE, || {
                    fleet.tick(true)?;
                    // The seed may know of the new attempt before the console shows its code.
                    Ok(fleet.waiting_code(index).filter(|shown| shown != code))
                })?);
            }
        }
        fleet.members[index].approval_sent = true;
        Ok(())
    }

    /// Picks a value of a drop-down or of radio buttons; a single hidden field needs no choice.
    fn choose(&self, field: &str, value: &str) -> Result<()> {
        for css in
            [format!("select[name={field}] option[value='{value}']"), format!("input[type=radio][name={field}][value='{value}']")]
        {
            if self.browser.has(&css) {
                return self.browser.click(&css);
            }
        }
        ensure!(self.browser.has(&format!("[name={field}]")), "the form has no field {field}");
        Ok(())
    }
}
