//! What has to be true of a Kubernetes that has converged, and after a worker was replaced.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::prepare::VIP;
use crate::member::Step;
use crate::platform::lab::{FLOW_LIMIT, Lab};
use crate::platform::shows::patiently;
use crate::say;

const CONTROL: &str = "control-1";
const WORKERS: [&str; 2] = ["node-1", "node-2"];
const KUBECTL: &str = "kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=120s";
const CONVERGE_LIMIT: Duration = Duration::from_secs(80 * 60);
/// Two replicas that never share a node, behind a service.
const DEPLOYMENT: &str = r#"apiVersion: apps/v1
kind: Deployment
metadata: {name: echo}
spec:
  replicas: 2
  selector: {matchLabels: {app: echo}}
  template:
    metadata: {labels: {app: echo}}
    spec:
      affinity:
        podAntiAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            - {labelSelector: {matchLabels: {app: echo}}, topologyKey: kubernetes.io/hostname}
      containers:
        - name: echo
          image: registry.example.org/lab/echo:1
          ports: [{containerPort: 8080}]
          readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 5, timeoutSeconds: 5}
---
apiVersion: v1
kind: Service
metadata: {name: echo}
spec:
  selector: {app: echo}
  ports: [{port: 80, targetPort: 8080}]
"#;

fn kubectl(lab: &Lab<'_>, words: &str) -> Result<String> {
    lab.on(CONTROL, &format!("{KUBECTL} {words}"))
}

fn json(lab: &Lab<'_>, words: &str) -> Result<Value> {
    let out = kubectl(lab, &format!("{words} -o json"))?;
    serde_json::from_str(out.trim()).with_context(|| format!("reading {out:?}"))
}

fn is(thing: &Value, kind: &str) -> bool {
    thing["status"]["conditions"].as_array().into_iter().flatten().any(|c| c["type"] == kind && c["status"] == "True")
}

fn list(lab: &Lab<'_>, words: &str) -> Result<Vec<Value>> {
    Ok(json(lab, words)?["items"].as_array().cloned().unwrap_or_default())
}

/// Every node is Ready, with the address and the range of pods that its number gives.
pub fn nodes(lab: &Lab<'_>, count: usize) -> Result<()> {
    patiently("every node to be Ready", || {
        let nodes = list(lab, "get nodes")?;
        Ok((nodes.len() == count && nodes.iter().all(|n| is(n, "Ready"))).then_some(()))
    })?;
    for node in list(lab, "get nodes")? {
        let name = node["metadata"]["name"].as_str().context("a node without a name")?;
        let wg3 = lab.address(name, "wg3")?;
        let number = wg3.rsplit('.').next().unwrap_or_default();
        let at: BTreeSet<&str> = node["status"]["addresses"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|a| a["type"] == "InternalIP")
            .filter_map(|a| a["address"].as_str())
            .collect();
        ensure!(at == BTreeSet::from([wg3.as_str()]), "{name} is at {at:?}, and not at {wg3}");
        let range = format!("10.244.{number}.0/24");
        ensure!(node["spec"]["podCIDR"] == range.as_str(), "{name} has the range {}, and not {range}", node["spec"]["podCIDR"]);
    }
    say::line(&format!("kubectl get nodes:\n{}", kubectl(lab, "get nodes -o wide")?.trim_end()));
    let tokens = list(lab, "-n kube-system get secrets --field-selector type=bootstrap.kubernetes.io/token")?;
    ensure!(tokens.is_empty(), "there is a bootstrap token: {tokens:?}");
    Ok(())
}

/// Name and address of the pods of the Deployment, by node.
fn pods(lab: &Lab<'_>) -> Result<Vec<(String, String, String)>> {
    let pods = list(lab, "get pods -l app=echo")?;
    let word = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let ready = pods.iter().filter(|p| is(p, "Ready") && p["metadata"]["deletionTimestamp"].is_null());
    Ok(ready.map(|p| (word(&p["spec"]["nodeName"]), word(&p["metadata"]["name"]), word(&p["status"]["podIP"]))).collect())
}

/// Names that a server says in ten answers.
fn answers(lab: &Lab<'_>, on: &str, address: &str, port: u16, inside: bool) -> Result<BTreeSet<String>> {
    let ask = format!(
        "python3 -c 'import urllib.request as u\nfor n in range(10): print(u.urlopen(\"http://{address}:{port}/\", timeout=20).read().decode().strip())'"
    );
    // The network of a pod, entered by the process of its container.
    let enter = "pid=$(pgrep -x echo | head -1) && nsenter -t $pid -n ";
    let out = lab.on(on, &if inside { format!("{enter}{ask}") } else { ask })?;
    Ok(out.lines().map(str::to_owned).collect())
}

/// Two replicas on two nodes answer each other and through a service, from every node and from inside of pods.
pub fn deployed(lab: &Lab<'_>) -> Result<()> {
    let apply = format!("cat >/run/echo.yaml <<'END'\n{DEPLOYMENT}END\n{KUBECTL} apply -f /run/echo.yaml");
    patiently("the Deployment to be taken", || lab.on(CONTROL, &apply).map(Some))?;
    let found = reached(lab)?;
    let places: Vec<String> = found.iter().map(|(node, _, at)| format!("{at} on {node}")).collect();
    say::line(&format!("two replicas reach each other and answer through their service: {}", places.join(", ")));
    Ok(())
}

fn reached(lab: &Lab<'_>) -> Result<Vec<(String, String, String)>> {
    let found = patiently("two pods on two nodes", || Ok(Some(pods(lab)?).filter(|p| p.len() == 2)))?;
    let on: BTreeSet<&str> = found.iter().map(|(node, ..)| node.as_str()).collect();
    ensure!(on == BTreeSet::from(WORKERS), "the pods are on {on:?}");
    let service =
        json(lab, "get service echo")?["spec"]["clusterIP"].as_str().context("a service without an address")?.to_owned();
    let both: BTreeSet<String> = found.iter().map(|(_, name, _)| name.clone()).collect();
    for (node, own, _) in &found {
        let (_, other, at) = found.iter().find(|(n, ..)| n != node).context("one pod only")?;
        patiently(&format!("{other} from {own}"), || Ok(answers(lab, node, at, 8080, true)?.contains(other).then_some(())))?;
    }
    for (place, inside) in [(CONTROL, false), (WORKERS[0], false), (WORKERS[1], false), (WORKERS[0], true), (WORKERS[1], true)] {
        patiently(&format!("the service from {place}"), || {
            let said = answers(lab, place, &service, 80, inside)?;
            ensure!(said.is_subset(&both), "the service answers {said:?}, and the pods are {both:?}");
            Ok((said == both).then_some(()))
        })?;
    }
    Ok(found)
}

/// The address of the API is the virtual one on a worker.
pub fn endpoint(lab: &Lab<'_>) -> Result<()> {
    let config = lab.on(WORKERS[0], "cat /etc/kubernetes/kubelet.conf")?;
    ensure!(config.contains(&format!("https://{VIP}:6443")), "{config}");
    Ok(())
}

/// A worker is switched off for good and installed again under its name; its pods come back.
pub fn replaced(lab: &mut Lab<'_>, name: &str) -> Result<()> {
    let began = Instant::now();
    let index = lab.fleet.members.iter().position(|m| m.name() == name).context("no such member")?;
    let before = json(lab, &format!("get node {name}"))?["status"]["nodeInfo"]["bootID"].clone();
    say::line(&format!("{name} is switched off for good"));
    lab.fleet.blank(index)?;
    lab.fleet.approve_until(Step::FabricReady, "the replaced machine to be FabricReady", FLOW_LIMIT)?;
    lab.until_all("converged", CONVERGE_LIMIT)?;
    nodes(lab, WORKERS.len() + 1)?;
    let after = json(lab, &format!("get node {name}"))?["status"]["nodeInfo"]["bootID"].clone();
    if before == after {
        bail!("{name} is still the machine that it was");
    }
    reached(lab)?;
    say::line(&format!("{name} was replaced under its name and runs its pod again after {}", say::seconds(began.elapsed())));
    Ok(())
}
