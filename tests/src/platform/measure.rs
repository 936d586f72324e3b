//! What convergence costs: times and bytes, beside ansible-pull run by hand on the same node.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::lab::{CHANGE_LIMIT, Lab, NODES};
use crate::say;

/// The same playbook with the same variables from a repository on the node itself: what is left out is the network.
const BY_HAND: &str = r#"set -e
payload=$(ls -td /var/cache/kubedos/payload/*/ansible | head -n 1)
rm -rf /run/by-hand && mkdir /run/by-hand && cp -r "$payload" /run/by-hand/repo && cd /run/by-hand/repo
git init -q . && git add -A && git -c user.name=lab -c user.email=lab@localhost commit -qm lab
cd /run/by-hand
export ANSIBLE_ROLES_PATH=/run/by-hand/checkout/roles ANSIBLE_LIBRARY=/run/by-hand/checkout/library ANSIBLE_PIPELINING=True
export ANSIBLE_TRANSFORM_INVALID_GROUP_CHARS=ignore LC_ALL=C.UTF-8 HOME=/root
began=$(date +%s.%N)
ansible-pull -U /run/by-hand/repo -d /run/by-hand/checkout -i RUN/inventory -e @VARS kubedos-site.yml >/run/by-hand/log 2>&1
ended=$(date +%s.%N)
python3 -c "print($ended - $began)"
"#;

/// A run that changes nothing, by the agent and by hand.
pub fn beside_ansible_pull(lab: &mut Lab<'_>) -> Result<()> {
    let name = NODES[2];
    let before = attempt(&lab.status()?, name);
    lab.fleet.seedd.say_plain(&["converge", "run", "--node", name])?;
    let began = Instant::now();
    let run = loop {
        lab.fleet.tick(false)?;
        let nodes = lab.status()?;
        if attempt(&nodes, name) > before && of(&nodes, name)["state"] == "converged" {
            break of(&nodes, name)["run"].clone();
        }
        ensure!(began.elapsed() < CHANGE_LIMIT, "{name} did not run its plays again: {nodes:?}");
        std::thread::sleep(std::time::Duration::from_secs(1));
    };
    let by_agent = run["seconds"].as_f64().context("the run has no duration")?;
    let (run_dir, vars) = ("/run/kubedos/converge", "/run/kubedos/converge/vars.json");
    let out = lab.on(name, &BY_HAND.replace("RUN", run_dir).replace("VARS", vars))?;
    let by_hand: f64 = out.trim().parse().with_context(|| format!("reading {out:?}"))?;
    say::line(&format!(
        "a run without a change: {by_agent:.0} s by the agent ({} tasks), {by_hand:.0} s by ansible-pull: {:.2} of it",
        run["ok"],
        by_agent / by_hand
    ));
    Ok(())
}

/// What every node exchanged with the seed on the control plane, and what it fetched.
pub fn bytes(lab: &Lab<'_>) -> Result<()> {
    for node in lab.status()? {
        let name = node["hostname"].as_str().and_then(|h| h.split('.').next()).unwrap_or_default().to_owned();
        let transfer = lab.on(&name, "wg show wg1 transfer; wg show wg1 allowed-ips")?;
        let seed = transfer.lines().find(|l| l.contains("10.78.0.1/32")).and_then(|l| l.split_whitespace().next());
        let line = seed.and_then(|key| transfer.lines().find(|l| l.starts_with(key)));
        let numbers: Vec<u64> =
            line.into_iter().flat_map(|l| l.split_whitespace().skip(1)).filter_map(|n| n.parse().ok()).collect();
        say::line(&format!(
            "{name}: {} kB from the seed and {} kB to it on wg1, {} bytes of payload fetched",
            numbers.first().unwrap_or(&0) / 1000,
            numbers.get(1).unwrap_or(&0) / 1000,
            node["fetched"]
        ));
    }
    Ok(())
}

fn of<'n>(nodes: &'n [Value], name: &str) -> &'n Value {
    nodes.iter().find(|n| n["hostname"].as_str().is_some_and(|h| h.split('.').next() == Some(name))).unwrap_or(&Value::Null)
}

/// The number of the newest finished run, 0 for none.
fn attempt(nodes: &[Value], name: &str) -> u64 {
    of(nodes, name)["run"]["attempt"].as_u64().unwrap_or(0)
}
