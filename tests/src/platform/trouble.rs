//! A change that goes round while the seed is off in the middle, and a payload that breaks.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::lab::{CHANGE_LIMIT, Lab, NODES};
use super::prepare;
use crate::say;
use crate::stop;
use crate::tool;

/// For the pages to answer after the seed has read cluster.yaml again.
const RELOADING: Duration = Duration::from_secs(60);

/// A correct payload and a change of variables reach one node after the other, although the seed is killed in the middle.
pub fn change(lab: &mut Lab<'_>) -> Result<()> {
    prepare::greeting(&lab.fleet.seedd)?;
    // Payload and variables are one change: without a pause, the node that failed would first run the payload with the old ones.
    lab.fleet.seedd.say_plain(&["converge", "pause"])?;
    lab.fleet.seedd.say(&["payload", "publish"])?;
    let file = lab.fleet.seedd.cluster_file();
    let text = std::fs::read_to_string(&file).context("reading cluster.yaml")?;
    std::fs::write(&file, text.replace("greeting_words: hello", "greeting_words: goodbye")).context("writing cluster.yaml")?;
    let before = started(lab);
    lab.fleet.seedd.say_plain(&["cluster", "apply", "--yes"])?;
    // Its servers begin anew, and connections end.
    stop::wait_for("the seed to have read cluster.yaml", RELOADING, || Ok(started(lab).filter(|id| Some(*id) > before)))?;
    lab.fleet.seedd.say_plain(&["converge", "resume"])?;
    let began = Instant::now();
    let mut cut = false;
    loop {
        lab.fleet.tick(false)?;
        let nodes = lab.status()?;
        let running = nodes.iter().filter(|n| n["state"] == "running").count();
        ensure!(running <= 1, "{running} nodes changed at once");
        if running == 1 && !cut {
            cut = true;
            lab.fleet.power_cut("in the middle of a roll-out")?;
        }
        if cut && nodes.iter().all(|n| n["state"] == "converged") && lab.on(NODES[2], "cat /etc/greeting")?.starts_with("goodbye")
        {
            break;
        }
        ensure!(began.elapsed() < CHANGE_LIMIT, "the change did not go round: {nodes:?}");
        std::thread::sleep(Duration::from_secs(1));
    }
    for name in NODES {
        ensure!(lab.on(name, "cat /etc/greeting")?.trim() == format!("goodbye {name}"), "the change reached {name}");
    }
    say::line(&format!(
        "a change went round one node at a time, with the seed killed in the middle, in {}",
        say::seconds(began.elapsed())
    ));
    Ok(())
}

/// The newest start of the seed in its log; `None` while it does not answer.
fn started(lab: &Lab<'_>) -> Option<i64> {
    let events = lab.fleet.client.events().ok()?;
    events.iter().filter(|e| e.kind == "seed.started").map(|e| e.id).max()
}

/// What is no YAML is refused before it is published; a failing task stops at the first node, and stays so.
pub fn broken(lab: &mut Lab<'_>) -> Result<()> {
    let seedd = &lab.fleet.seedd;
    prepare::payload(seedd, "- name: [unclosed\n")?;
    let refused = tool::outcome(&seedd.argv(&["payload", "check"]))?;
    ensure!(refused.code == 1 && refused.stdout.contains("greeting/tasks/main.yml"), "{refused:?}");
    prepare::payload(
        seedd,
        "- name: fails on purpose\n  ansible.builtin.command: /bin/sh -c 'echo words of the failure >&2; exit 3'\n",
    )?;
    seedd.say(&["payload", "publish"])?;
    let began = Instant::now();
    loop {
        lab.fleet.tick(false)?;
        let nodes = lab.status()?;
        let failed: Vec<_> = nodes.iter().filter(|n| n["state"] == "failed").collect();
        ensure!(failed.len() <= 1, "the failure spread: {nodes:?}");
        if let [one] = failed[..] {
            let why = one["run"]["why"].as_str().unwrap_or_default();
            ensure!(why.contains("words of the failure"), "{one}");
            let others = nodes.iter().filter(|n| n["state"] == "outdated").count();
            ensure!(others == 2, "{nodes:?}");
            say::line(&format!("a failing task stopped the roll-out at {}: {why}", one["hostname"]));
            break;
        }
        ensure!(began.elapsed() < CHANGE_LIMIT, "the broken payload did not fail: {nodes:?}");
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}
