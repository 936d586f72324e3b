//! What an operator does in a day.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::bench::{ANSWER, Bench, MANY, PLANNED, WHO};
use super::look;
use crate::protocol::wrong_code as another_code;
use crate::stop;

/// Rows of the plan, most of which no machine fits.
const ROWS: u16 = 200;

/// From the first page to the approval: type the code, fill in the form, approve.
pub fn first_node(bench: &mut Bench<'_>) -> Result<()> {
    let code = bench.code(1, "")?;
    bench.hands.open("/")?;
    bench.hands.effort();
    // The cursor is in the field.
    bench.hands.type_text(&code)?;
    bench.hands.enter()?;
    bench.hands.sees("#approve-submit")?;
    ensure!(bench.hands.browser.field("#approve-code")? == code, "the code was lost on the way to the form");
    bench.hands.fill("#approve-hostname", "first")?;
    bench.hands.pick("#approve-role", "base")?;
    bench.hands.pick("#approve-disk", "vda")?;
    bench.hands.follow("#approve-submit")?;
    bench.took("the first node, from the first page");
    bench.joins(1)
}

/// The seed cannot know that the code is wrong; the machine does, and shows another one.
pub fn wrong_code(bench: &mut Bench<'_>) -> Result<()> {
    let code = bench.code(2, "")?;
    let wrong = another_code(&code)?;
    for (typed, good) in [(wrong.as_str(), false), ("", true)] {
        let typed = if good { bench.code(2, &code)? } else { typed.to_owned() };
        bench.hands.open("/")?;
        bench.hands.type_text(&typed)?;
        bench.hands.enter()?;
        bench.hands.sees("#approve-submit")?;
        bench.hands.fill("#approve-hostname", "second")?;
        bench.hands.pick("#approve-role", "base")?;
        bench.hands.pick("#approve-disk", "vda")?;
        bench.hands.follow("#approve-submit")?;
        if !good {
            stop::wait_for("the machine to find the wrong code", ANSWER, || {
                Ok((bench.screen(2).state == "wrong code" || bench.screen(2).code.is_some_and(|now| now != code)).then_some(()))
            })?;
        }
    }
    bench.hands.effort();
    bench.joins(2)
}

/// 200 rows, of which the rack has 20.
pub fn plan(bench: &mut Bench<'_>) -> Result<()> {
    let rows = (0..ROWS).map(|n| format!("SIM{:05},p{n:03},base,only,\"rack {}\"\n", n + 3, n / 40));
    let csv: String = std::iter::once("serial,name,role,disk,place\n".to_owned()).chain(rows).collect();
    let hands = &mut bench.hands;
    hands.open("/plan")?;
    // A row that contradicts another one is named, and nothing is lost.
    hands.paste("#plan-text", &format!("{csv}SIM00003,p999,base,only,x\n"))?;
    hands.follow("#plan-check")?;
    ensure!(hands.browser.has("#problems"), "a serial number that is there twice was not found");
    ensure!(hands.browser.field("#plan-text")?.contains("p999"), "the text was lost");
    hands.open("/plan")?;
    hands.effort();
    hands.paste("#plan-text", &csv)?;
    hands.follow("#plan-check")?;
    ensure!(hands.browser.has("#dry-run") && !hands.browser.has("#problems"), "the plan has contradictions");
    hands.follow("#plan-set")?;
    hands.again(WHO.1)?;
    ensure!(hands.browser.text("#plan-rows")?.contains(&format!("{ROWS} rows")), "{}", hands.browser.text("#plan-rows")?);
    Ok(())
}

/// The codes one after the other, without the mouse. The plan's clicks and keys count too.
pub fn twenty(bench: &mut Bench<'_>) -> Result<()> {
    for number in 3..3 + PLANNED {
        bench.code(number, "")?;
    }
    bench.hands.open("/")?;
    for number in 3..3 + PLANNED {
        // It may have begun again meanwhile.
        let code = bench.code(number, "")?;
        bench.hands.type_text(&code)?;
        bench.hands.enter()?;
        let refused = if bench.hands.browser.has("#refused") { bench.hands.browser.text("#refused")? } else { String::new() };
        ensure!(refused.is_empty() && bench.hands.browser.has("#typed"), "the code of machine {number} was refused: {refused}");
    }
    bench.took("twenty nodes: the plan and their codes");
    (3..3 + PLANNED).try_for_each(|number| bench.joins(number))
}

/// The form for many, from the first page, with Tab and Enter.
pub fn by_keyboard(bench: &mut Bench<'_>) -> Result<()> {
    let first = 3 + PLANNED;
    bench.is_waiting_for(MANY.into())?;
    bench.hands.open("/machines?state=waiting")?;
    bench.hands.open("/machines/approve")?;
    let role = "return [...document.querySelectorAll('select[name^=role-]')].every((s) => s.value !== '')";
    bench.hands.effort();
    if bench.hands.browser.script(role, json!([]))? != true {
        // Backwards it is one field; forwards it is one of 200.
        bench.hands.tab_to("#all-role", false)?;
        bench.hands.type_text("base")?;
        bench.hands.tab_to("#fill", true)?;
        bench.hands.enter()?;
        bench.hands.tab_to("#next-code", true)?;
    }
    for number in first..first + MANY {
        let code = bench.code(number, "")?;
        bench.hands.type_text(&code)?;
        bench.hands.enter()?;
        ensure!(bench.hands.browser.has("#passed"), "machine {number} did not leave the form");
    }
    bench.took("50 nodes by the keyboard alone");
    (first..first + MANY).try_for_each(|number| bench.joins(number))
}

/// From the first page: find the node, revoke it, type its name.
pub fn revoke(bench: &mut Bench<'_>) -> Result<()> {
    bench.joins(1)?;
    let hands = &mut bench.hands;
    hands.open("/")?;
    hands.effort();
    hands.follow("nav a[href='/machines']")?;
    hands.fill("#search", "first")?;
    hands.enter()?;
    hands.follow("#machines tbody th a")?;
    hands.follow("#revoke")?;
    // Another name is refused.
    hands.type_text("second")?;
    hands.enter()?;
    hands.again(WHO.1)?;
    ensure!(hands.browser.has("#refused"), "another node's name was accepted");
    let typed = hands.effort();
    hands.fill("#word", "first")?;
    hands.follow("#confirm-submit")?;
    hands.again(WHO.1)?;
    let mut effort = hands.effort();
    // What was typed to be refused is no part of the journey.
    (effort.clicks, effort.keys) = (effort.clicks + typed.clicks - 1, effort.keys + typed.keys - "second".len() - 1);
    bench.efforts.push(("a stolen node is revoked, from the first page", effort));
    stop::wait_for("the node to learn that it is revoked", ANSWER, || {
        let screen = bench.screen(1);
        Ok((screen.state == "Revoked" || screen.code.is_some()).then_some(()))
    })
}

/// One line is changed, shown with its difference, and applied.
pub fn settings(bench: &mut Bench<'_>) -> Result<()> {
    let hands = &mut bench.hands;
    hands.open("/settings")?;
    let text = hands.browser.field("#text")?;
    let (old, new) = ("pendingMinutes: 1440", "pendingMinutes: 1441");
    ensure!(text.contains(old), "cluster.yaml has no {old}");
    hands.paste("#text", &text.replace(old, "pendingMinutes: many"))?;
    hands.follow("#check")?;
    ensure!(hands.browser.has("#problems"), "a number that is a word was accepted");
    hands.paste("#text", &text.replace(old, new))?;
    hands.follow("#check")?;
    let shown = hands.browser.text("#difference")?;
    ensure!(shown.contains(old) && shown.contains(new), "the difference is {shown}");
    hands.follow("#apply")?;
    hands.again(WHO.1)?;
    hands.effort();
    let changed = || -> Result<Option<()>> {
        let now = bench.fleet.client.get("/api/v1/settings")?.good("asking for the settings")?;
        Ok(now["text"].as_str().is_some_and(|t| t.contains(new)).then_some(()))
    };
    stop::wait_for("the new cluster.yaml", ANSWER, changed).context("the change was not applied")
}

/// JSON lines of the whole log, as the link on the page gives them.
pub fn audit(bench: &mut Bench<'_>) -> Result<()> {
    bench.hands.open("/audit")?;
    let lines = look::exported(bench.hands.browser, "a[href*='format=jsonl']")?;
    ensure!(lines.len() > 100, "only {} events were exported", lines.len());
    let of = |kind: &str| lines.iter().filter(|l| l["kind"] == kind).count();
    ensure!(of("node.revoked") == 1, "{} revocations in the export", of("node.revoked"));
    let approved = of("enrollment.approved");
    let wanted = usize::from(2 + PLANNED + MANY);
    ensure!(approved >= wanted, "{approved} approvals in the export, not {wanted}");
    bench.hands.follow("#verify")?;
    Ok(())
}
