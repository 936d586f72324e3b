//! What has to be true of a platform that has converged.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::lab::{Lab, NODES, WATCH};
use super::prepare::{IMAGE, TAG, VIP};
use crate::say;
use crate::stop;

const PATIENCE: Duration = Duration::from_secs(600);
/// etcdctl with the certificates of a node.
pub const ETCDCTL: &str = "ETCDCTL_API=3 etcdctl --cacert /etc/kubedos/pki/etcd/ca.pem --cert /etc/kubedos/pki/etcd/client.pem \
                           --key /etc/kubedos/pki/etcd/client.key --command-timeout 30s --dial-timeout 20s";

/// The operator's own role ran.
pub fn greeted(lab: &Lab<'_>) -> Result<()> {
    for name in NODES {
        ensure!(lab.on(name, "cat /etc/greeting")?.trim() == format!("hello {name}"), "the operator's own play ran on {name}");
    }
    say::line("the operator's own play ran on every node");
    Ok(())
}

/// Every member is healthy, by TLS.
pub fn etcd(lab: &Lab<'_>) -> Result<()> {
    let out = patiently("etcd to be healthy", || {
        let out = lab.on(NODES[0], &format!("{ETCDCTL} endpoint health --cluster -w json 2>/dev/null"))?;
        let all: Value = serde_json::from_str(out.trim()).with_context(|| format!("reading {out:?}"))?;
        let good = all.as_array().is_some_and(|a| a.len() == 3 && a.iter().all(|m| m["health"] == true));
        Ok(good.then_some(out))
    })?;
    say::line(&format!("etcdctl endpoint health: {}", out.trim()));
    Ok(())
}

/// The virtual address answers with TLS from every node.
pub fn vip(lab: &Lab<'_>) -> Result<()> {
    for name in NODES {
        patiently(&format!("the virtual address from {name}"), || {
            let out = lab.on(name, &format!("{ETCDCTL} --endpoints https://{VIP}:2379 endpoint health 2>&1"))?;
            Ok(out.contains("is healthy").then_some(()))
        })?;
    }
    say::line(&format!("the virtual address {VIP} answers on every node"));
    Ok(())
}

/// Prometheus has every target up, all on the metrics plane; no exporter listens elsewhere.
pub fn metrics(lab: &Lab<'_>) -> Result<()> {
    let own = lab.address(WATCH, "wg2")?;
    let ask = format!(
        "python3 -c 'import urllib.request as u; print(u.urlopen(\"http://{own}:9090/api/v1/targets?state=active\", timeout=30).read().decode())'"
    );
    let mut seen = String::new();
    let targets = patiently("every target to be up", || {
        let out = lab.on(WATCH, &ask)?;
        let said: Value = serde_json::from_str(out.trim()).with_context(|| format!("reading {out:?}"))?;
        let all = said["data"]["activeTargets"].as_array().cloned().unwrap_or_default();
        seen =
            all.iter().map(|t| format!("{} {} {}", t["scrapeUrl"], t["health"], t["lastError"])).collect::<Vec<_>>().join("\n");
        // Several services of each node, and the seed.
        Ok((all.len() > 3 * 4 && all.iter().all(|t| t["health"] == "up")).then_some(all))
    })
    .with_context(|| format!("the targets of Prometheus:\n{seen}"))?;
    let elsewhere = targets.iter().filter(|t| !t["scrapeUrl"].as_str().is_some_and(|u| u.starts_with("http://10.79."))).count();
    let charts = lab.fleet.client.get("/api/v1/charts")?.good("asking for charts")?;
    ensure!(charts["charts"].as_array().is_some_and(|c| c.len() >= 6), "the seed draws no charts: {charts}");
    ensure!(elsewhere == 0, "{elsewhere} targets are not on the metrics plane:\n{seen}");
    for name in NODES {
        let wg2 = lab.address(name, "wg2")?;
        let open = lab.on(
            name,
            "ss -Hltn '( sport = 9100 or sport = 9090 or sport = 9093 or sport = 2381 or sport = 8404 or sport = 1338 )'",
        )?;
        let bad: Vec<&str> = open.lines().filter(|l| !l.contains(&format!("{wg2}:"))).collect();
        ensure!(bad.is_empty(), "{name} has exporters outside of the metrics plane: {bad:?}");
    }
    say::line(&format!("Prometheus: {} targets, all up, all on the metrics plane", targets.len()));
    Ok(())
}

/// containerd runs, and podman runs an image of the extras, pulled from the seed.
pub fn containers(lab: &Lab<'_>) -> Result<()> {
    for name in NODES {
        lab.on(name, "ctr version").with_context(|| format!("asking containerd on {name}"))?;
    }
    let out = lab.on(NODES[1], &format!("podman run --rm --network none {IMAGE}:{TAG} 2>&1"))?;
    ensure!(out.contains("kubedos-flow"), "podman said {out}");
    say::line(&format!("podman ran {IMAGE}:{TAG} from the extras: {}", out.lines().last().unwrap_or_default()));
    Ok(())
}

/// A directory of one node, mounted by another over the Kubernetes plane.
pub fn storage(lab: &Lab<'_>) -> Result<()> {
    let server = lab.address(NODES[0], "wg3")?;
    let disk = lab.on(NODES[0], "findmnt --noheadings --output SOURCE,FSTYPE,LABEL /srv/kubedos")?;
    ensure!(disk.contains("/dev/vdb") && disk.contains("kubedos-data"), "the data disk is {disk:?}");
    lab.on(NODES[0], "mkdir -p -m 1777 /srv/kubedos/lab")?;
    let mount = format!("mkdir -p /mnt/lab && mount -t nfs4 {server}:/srv/kubedos/lab /mnt/lab && echo words >/mnt/lab/file");
    lab.on(NODES[1], &mount)?;
    ensure!(lab.on(NODES[0], "cat /srv/kubedos/lab/file")?.trim() == "words", "the file did not arrive");
    lab.on(NODES[1], "umount /mnt/lab")?;
    say::line(&format!("{} wrote a file to {} by NFS over wg3", NODES[1], NODES[0]));
    Ok(())
}

/// A node writes its support bundle, for the operator alone.
pub fn support(lab: &Lab<'_>) -> Result<()> {
    let out = lab.on(
        NODES[0],
        "kubedos-node support --out /run/bundle.age 2>&1 && head -c 21 /run/bundle.age && stat -c ' %a' /run/bundle.age",
    )?;
    ensure!(out.contains("age-encryption.org/v1") && out.trim_end().ends_with(" 600"), "the bundle: {out}");
    let about = out.lines().next().unwrap_or_default();
    ensure!(!out.contains("it contains"), "something with a secret was collected: {out}");
    say::line(&format!("support bundle of {}: {about}", NODES[0]));
    Ok(())
}

/// The site is accepted: the planes, the baseline of security, the services, the clocks, no packet to the outside.
pub fn accepted(lab: &Lab<'_>) -> Result<()> {
    let said = patiently("the site to be accepted", || {
        let argv = lab.fleet.seedd.with_passphrase(&["accept"]);
        let out = crate::tool::outcome(&argv)?;
        ensure!(out.code == 0, "{}{}", out.stdout, out.stderr);
        Ok(Some(out.stdout))
    })?;
    said.lines().for_each(say::line);
    Ok(())
}

pub fn patiently<T>(what: &str, mut check: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    say::progress(&format!("waiting for {what}"));
    let mut last = String::new();
    let found = stop::wait_for(what, PATIENCE, || match check() {
        Ok(found) => Ok(found),
        Err(error) => {
            last = format!("{error:#}");
            std::thread::sleep(Duration::from_secs(2));
            Ok(None)
        }
    });
    found.with_context(|| last.clone())
}
