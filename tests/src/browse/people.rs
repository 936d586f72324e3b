//! First set-up and passkeys.

use anyhow::{Result, ensure};

use super::bench::{Bench, WHO};
use super::hands::Hands;
use crate::fleet::Fleet;
use crate::site::PASSPHRASE;

/// The first administrator and the first unsealing, in the browser. A wrong set-up code is refused and nothing that was typed but
/// secrets is lost.
pub fn administrator(fleet: &Fleet, hands: &mut Hands<'_>) -> Result<()> {
    let (user, password) = WHO;
    hands.open("/")?;
    hands.sees("form[action='/setup'] input[name=code]")?;
    let code = fleet.daemon.setup_code()?;
    for (typed, good) in [("AAAA-AAAA", false), (code.as_str(), true)] {
        for (field, text) in [("code", typed), ("user", user), ("password", password), ("password2", password)] {
            hands.fill(&format!("input[name={field}]"), text)?;
        }
        hands.follow("#submit")?;
        ensure!(
            hands.browser.has("#refused") != good,
            "the set-up code {typed} was {}",
            if good { "refused" } else { "accepted" }
        );
        ensure!(good || hands.browser.field("input[name=user]")? == user, "the user's name was lost");
    }
    hands.open("/unseal")?;
    hands.fill("#passphrase", PASSPHRASE)?;
    hands.follow("#submit")?;
    ensure!(!hands.browser.has("#passphrase"), "the seed was not unsealed: {}", hands.browser.title()?);
    hands.effort();
    Ok(())
}

/// A passkey is made on the page of people, and is enough for the next login.
pub fn passkey(bench: &mut Bench<'_>) -> Result<()> {
    let hands = &mut bench.hands;
    hands.browser.authenticator()?;
    hands.open("/people")?;
    hands.fill("#passkey-name", "lab")?;
    hands.follow("#passkey-submit")?;
    hands.again(WHO.1)?;
    hands.sees("#passkey-create:not([hidden])")?;
    hands.follow("#passkey-create")?;
    ensure!(hands.browser.text("#passkeys")?.contains("lab"), "the passkey is not listed");
    hands.follow("#logout")?;
    hands.open("/login?next=/machines")?;
    hands.sees("#passkey-login:not([hidden])")?;
    hands.follow("#passkey-login")?;
    hands.until("the page after the login", |b| Ok(b.has("#logout")))?;
    let title = hands.browser.title()?;
    ensure!(title.contains("Machines"), "the login led to {title}, not to the page that was asked for");
    hands.effort();
    Ok(())
}
