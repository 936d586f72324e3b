//! A change that goes round while the seed is off in the middle; a payload that breaks; a member that dies and is replaced.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::lab::{CHANGE_LIMIT, FLOW_LIMIT, Lab, NODES};
use super::prepare::{self, VIP};
use super::shows::ETCDCTL;
use crate::fleet::Fleet;
use crate::member::Step;
use crate::say;
use crate::tool;

/// Writes a counter through the virtual address every 100 ms, each value acknowledged before it is noted.
const WRITER: &str = r#"#!/bin/sh
n=0
while [ ! -e /run/stop-writing ]; do
    n=$((n + 1))
    if CTL --endpoints https://VIP:2379 put /lab/writer/$n $n >/dev/null 2>&1; then
        echo "$n $(date +%s.%N)" >>/run/acknowledged
    fi
    sleep 0.1
done
"#;

/// A change of variables reaches one node after the other, although the seed is killed in the middle.
pub fn change(lab: &mut Lab<'_>) -> Result<()> {
    let file = lab.fleet.seedd.cluster_file();
    let text = std::fs::read_to_string(&file).context("reading cluster.yaml")?;
    std::fs::write(&file, text.replace("greeting_words: hello", "greeting_words: goodbye")).context("writing cluster.yaml")?;
    // The daemon reads cluster.yaml when it starts.
    lab.fleet.power_cut("after a change of cluster.yaml")?;
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

/// A secret is refused before it is published; a failing task stops at the first node.
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
    prepare::greeting(&lab.fleet.seedd)?;
    lab.fleet.seedd.say(&["payload", "publish"])?;
    lab.until_all("converged", CHANGE_LIMIT)
}

/// A member is switched off for good and installed again under its name, while a writer writes through the virtual address.
pub fn replaced(lab: &mut Lab<'_>) -> Result<()> {
    let script = WRITER.replace("CTL", &format!("env {ETCDCTL}")).replace("VIP", VIP);
    let at = NODES[0];
    lab.on(at, &format!("cat >/run/writer <<'END'\n{script}END\nchmod +x /run/writer; rm -f /run/stop-writing /run/acknowledged; nohup /run/writer >/dev/null 2>&1 </dev/null & sleep 5; test -s /run/acknowledged"))?;
    let index = lab.fleet.members.iter().position(|m| m.name() == NODES[1]).context("no such member")?;
    say::line(&format!("{} is switched off for good", NODES[1]));
    replace(&mut lab.fleet, index)?;
    lab.fleet.approve_until(Step::FabricReady, "the replaced machine to be FabricReady", FLOW_LIMIT)?;
    lab.until_all("converged", FLOW_LIMIT)?;
    super::shows::etcd(lab)?;
    lab.on(at, "touch /run/stop-writing; sleep 3")?;
    let lines = lab.on(at, "cat /run/acknowledged")?;
    let noted: Vec<(u64, f64)> =
        lines.lines().filter_map(|l| Some((l.split(' ').next()?.parse().ok()?, l.split(' ').nth(1)?.parse().ok()?))).collect();
    let keys = lab.on(at, &format!("{ETCDCTL} --endpoints https://{VIP}:2379 get --prefix --keys-only /lab/writer/"))?;
    let held: std::collections::BTreeSet<u64> = keys.lines().filter_map(|l| l.rsplit('/').next()?.parse().ok()).collect();
    let lost: Vec<u64> = noted.iter().map(|(n, _)| *n).filter(|n| !held.contains(n)).collect();
    ensure!(lost.is_empty(), "{} acknowledged writes are lost: {lost:?}", lost.len());
    let gap = noted.windows(2).map(|w| w[1].1 - w[0].1).fold(0.0f64, f64::max);
    say::line(&format!(
        "{} acknowledged writes while {} was replaced, none lost, longest pause {gap:.1} s",
        noted.len(),
        NODES[1]
    ));
    if noted.len() < 20 {
        bail!("the writer hardly wrote: {}", noted.len());
    }
    Ok(())
}

/// The same name on a blank disk.
fn replace(fleet: &mut Fleet, index: usize) -> Result<()> {
    fleet.blank(index)
}
