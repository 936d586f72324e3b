//! An agent that is killed in the middle of its plays, and the node with the virtual address that dies and is replaced.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::lab::{CHANGE_LIMIT, FLOW_LIMIT, Lab, NODES};
use super::prepare::VIP;
use super::shows::{self, ETCDCTL};
use crate::member::Step;
use crate::say;

/// Times that the agent is killed, each this many seconds later after its start: on an emulated machine, Ansible alone takes most
/// of a minute until its first task.
const KILLS: u64 = 10;
const LATER: u64 = 10;
/// Seconds for the agent to run again after it was killed: systemd ends its play first, for 20 s at most, and waits 5 s.
const BACK: u64 = 120;
/// For the first acknowledged write, in looks two seconds apart.
const LOOKS: u32 = 60;

/// Writes a counter through the virtual address every 100 ms, or as often as it is acknowledged, and notes each acknowledged value
/// and when that was. Over one connection: etcdctl, started for each value, takes the whole of an emulated processor.
const WRITER: &str = r#"import base64, http.client, json, os, ssl, time
pki = "/etc/kubedos/pki/etcd/"
tls = ssl.create_default_context(cafile=pki + "ca.pem")
tls.load_cert_chain(pki + "client.pem", pki + "client.key")
text = lambda t: base64.b64encode(t.encode()).decode()
n, etcd = 0, None
while not os.path.exists("/run/stop-writing"):
    n += 1
    began = time.time()
    try:
        etcd = etcd or http.client.HTTPSConnection("VIP", 2379, timeout=30, context=tls)
        etcd.request("POST", "/v3/kv/put", json.dumps({"key": text(f"/lab/writer/{n}"), "value": text(str(n))}))
        answer = etcd.getresponse()
        words = answer.read()
        if answer.status == 200:
            with open("/run/acknowledged", "a") as file:
                print(n, time.time(), file=file)
        else:
            print(n, answer.status, words[:200], flush=True)
    except (OSError, http.client.HTTPException) as error:
        print(n, error, flush=True)
        etcd = etcd and etcd.close()
    time.sleep(max(0, began + 0.1 - time.time()))
"#;

/// Notes when the virtual address accepts a connection, twice a second.
const PROBE: &str = r#"import os, socket, time
while not os.path.exists("/run/stop-writing"):
    try:
        socket.create_connection(("VIP", 2379), 1).close()
        print(time.time(), flush=True)
    except OSError:
        pass
    time.sleep(0.5)
"#;

/// kill -9 of the agent at ten moments of its plays: it starts again, and converges.
pub fn killed(lab: &mut Lab<'_>) -> Result<()> {
    let name = NODES[2];
    lab.fleet.seedd.say_plain(&["converge", "run", "--node", name])?;
    let began = Instant::now();
    for kill in 1..=KILLS {
        while !lab
            .status()?
            .iter()
            .any(|n| n["hostname"].as_str().is_some_and(|h| h.starts_with(name)) && n["state"] == "running")
        {
            lab.fleet.tick(false)?;
            ensure!(began.elapsed() < CHANGE_LIMIT, "the plays of {name} did not start again after {} kills", kill - 1);
            std::thread::sleep(Duration::from_secs(1));
        }
        lab.on(name, &kill_later(kill * LATER))?;
        say::progress(&format!("the agent of {name} was killed {kill} times"));
    }
    lab.until_all("converged", CHANGE_LIMIT)?;
    shows::etcd(lab)?;
    say::line(&format!("{name} converged although its agent was killed {KILLS} times"));
    Ok(())
}

/// kill -9 of the agent, `seconds` after it was seen to run: between a kill and the next start it has no process.
fn kill_later(seconds: u64) -> String {
    let runs = format!("timeout {BACK} sh -c 'until systemctl is-active --quiet kubedos-converge; do sleep 1; done'");
    format!("{runs} && sleep {seconds} && systemctl kill --signal=KILL --kill-whom=main kubedos-converge")
}

/// The node with the virtual address is switched off for good and installed again under its name, while a writer writes through
/// that address.
pub fn replaced(lab: &mut Lab<'_>) -> Result<()> {
    let holder = holder(lab)?;
    let at = *NODES.iter().find(|n| **n != holder).context("no other node")?;
    lab.on(at, "rm -f /run/stop-writing /run/acknowledged")?;
    start(lab, at, "writer", &WRITER.replace("VIP", VIP))?;
    start(lab, at, "probe", &PROBE.replace("VIP", VIP))?;
    let both = "test -s /run/acknowledged && test -s /run/probe.log";
    lab.on(at, &format!("for look in $(seq {LOOKS}); do {both} && exit; sleep 2; done; cat /run/writer.log; exit 1"))
        .context("waiting for the first write through the virtual address")?;
    let index = lab.fleet.members.iter().position(|m| m.name() == holder).context("no such member")?;
    say::line(&format!("{holder}, which has {VIP}, is switched off for good"));
    let began = Instant::now();
    lab.fleet.blank(index)?;
    lab.fleet.approve_until(Step::FabricReady, "the replaced machine to be FabricReady", FLOW_LIMIT)?;
    lab.until_all("converged", FLOW_LIMIT)?;
    say::line(&format!("{holder} was replaced under its name in {}", say::seconds(began.elapsed())));
    shows::etcd(lab)?;
    lab.on(at, "touch /run/stop-writing; sleep 3")?;
    let probes = times(&lab.on(at, "cat /run/probe.log")?);
    say::line(&format!("the virtual address was away for {:.1} s", gap(&probes)));
    written(lab, at, &holder)
}

/// No acknowledged write is lost.
fn written(lab: &Lab<'_>, at: &str, replaced: &str) -> Result<()> {
    let lines = lab.on(at, "cat /run/acknowledged")?;
    let noted: BTreeSet<u64> = lines.lines().filter_map(|l| l.split(' ').next()?.parse().ok()).collect();
    let keys = lab.on(at, &format!("{ETCDCTL} --endpoints https://{VIP}:2379 get --prefix --keys-only /lab/writer/"))?;
    let held: BTreeSet<u64> = keys.lines().filter_map(|l| l.rsplit('/').next()?.parse().ok()).collect();
    let lost: Vec<_> = noted.difference(&held).collect();
    ensure!(lost.is_empty(), "{} acknowledged writes are lost: {lost:?}", lost.len());
    ensure!(noted.len() >= 20, "the writer hardly wrote: {}", noted.len());
    let moments: Vec<f64> = lines.lines().filter_map(|l| l.split(' ').nth(1)?.parse().ok()).collect();
    say::line(&format!(
        "{} acknowledged writes while {replaced} was replaced, none lost, longest pause {:.1} s",
        noted.len(),
        gap(&moments)
    ));
    Ok(())
}

/// The node that has the virtual address.
fn holder(lab: &Lab<'_>) -> Result<String> {
    for name in NODES {
        if lab.on(name, "ip -br address")?.contains(&format!("{VIP}/")) {
            return Ok(name.to_owned());
        }
    }
    anyhow::bail!("no node has {VIP}")
}

fn start(lab: &Lab<'_>, at: &str, name: &str, script: &str) -> Result<()> {
    let command =
        format!("cat >/run/{name} <<'END'\n{script}END\nnohup nice python3 /run/{name} >/run/{name}.log 2>&1 </dev/null &");
    lab.on(at, &command).map(drop)
}

fn times(text: &str) -> Vec<f64> {
    text.lines().filter_map(|l| l.trim().parse().ok()).collect()
}

/// The longest time between two moments, in seconds.
fn gap(moments: &[f64]) -> f64 {
    moments.windows(2).map(|w| w[1] - w[0]).fold(0.0, f64::max)
}
