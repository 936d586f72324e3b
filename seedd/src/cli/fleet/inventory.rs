//! `seedd inventory`: what Ansible calls a dynamic inventory.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use clap::Args;
use serde_json::{Value, json};
use site::hint::Hint as _;

use super::reach::SeedArgs;
use super::rows::{self, Node};
use crate::cli::args::say;

/// The group of all nodes.
const ALL: &str = "kubedos";

#[derive(Args)]
pub struct Inventory {
    /// Print all groups and the variables of all hosts
    #[arg(long, required_unless_present = "host", conflicts_with = "host")]
    list: bool,
    /// Print the variables of one host
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    #[command(flatten)]
    seed: SeedArgs,
}

impl Inventory {
    pub fn run(&self) -> Result<()> {
        let nodes = rows::nodes(&self.seed.connect()?)?;
        let shown = match self.host.as_ref().filter(|_| !self.list) {
            None => list(&nodes),
            Some(name) => {
                let found = nodes.iter().find(|n| n.hostname == *name || n.label() == name);
                variables(
                    found.ok_or_else(|| anyhow!("there is no node named {name}")).hint("`seedd node list` lists all nodes")?,
                )
            }
        };
        say(&format!("{shown:#}"))
    }
}

/// Groups, and `_meta` with every host's variables: then Ansible does not ask for each host.
fn list(nodes: &[Node]) -> Value {
    let mut groups: BTreeMap<String, Vec<&str>> = BTreeMap::from([(ALL.to_owned(), Vec::new())]);
    for node in nodes {
        let domain = node.failure_domain.as_ref().map(|d| format!("domain_{}", word(d)));
        let role = format!("role_{}", word(&node.role));
        let state = format!("state_{}", word(&node.state.to_ascii_lowercase()));
        for group in [Some(ALL.to_owned()), Some(role), Some(state), domain].into_iter().flatten() {
            groups.entry(group).or_default().push(&node.hostname);
        }
    }
    let mut shown: serde_json::Map<String, Value> =
        groups.into_iter().map(|(name, hosts)| (name, json!({ "hosts": hosts }))).collect();
    let hosts: serde_json::Map<String, Value> = nodes.iter().map(|n| (n.hostname.clone(), variables(n))).collect();
    shown.insert("_meta".to_owned(), json!({ "hostvars": hosts }));
    Value::Object(shown)
}

/// A part of a group's name: Ansible takes letters, digits and underscores.
fn word(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

fn variables(node: &Node) -> Value {
    let planes: serde_json::Map<String, Value> =
        node.planes.iter().map(|p| (p.plane.clone(), json!(p.address.to_string()))).collect();
    let mut all = json!({
        "ansible_user": "root",
        "kubedos_role": node.role,
        "kubedos_state": node.state,
        "kubedos_machine": node.machine,
        "kubedos_mac": node.mac,
        "kubedos_serial": node.serial,
        "kubedos_planes": planes,
    });
    let second = node.planes.iter().filter_map(|p| Some((p.plane.clone(), json!(p.address6?.to_string()))));
    let second: serde_json::Map<String, Value> = second.collect();
    if !second.is_empty() {
        all["kubedos_planes6"] = Value::Object(second);
    }
    // By IPv4, which every plane and every node has.
    if let Some(address) = node.address() {
        all["ansible_host"] = json!(address.to_string());
    }
    if let Some(domain) = &node.failure_domain {
        all["kubedos_failure_domain"] = json!(domain);
    }
    if !node.place.is_empty() {
        all["kubedos_place"] = json!(node.place);
    }
    // By key, so that a play can write kubedos_labels.rack; a label without a value has an empty one.
    let labels = node.labels.iter().map(|l| l.split_once('=').unwrap_or((l.as_str(), "")));
    let labels: serde_json::Map<String, Value> = labels.map(|(key, value)| (key.to_owned(), json!(value))).collect();
    if !labels.is_empty() {
        all["kubedos_labels"] = Value::Object(labels);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, role: &str, state: &str, domain: Option<&str>) -> Node {
        let planes = json!([{"plane": "wg1", "address": "10.78.0.2"}, {"plane": "wg2", "address": "10.79.0.2"}]);
        rows::read(json!({
            "hostname": name, "role": role, "state": state, "enrollment": "e", "machine": 1, "mac": "m", "serial": "SN1",
            "planes": planes, "failureDomain": domain,
            "place": if domain.is_some() { "hall 2" } else { "" },
            "labels": if domain.is_some() { json!(["gpu", "rack=r1"]) } else { json!([]) },
        }))
        .unwrap()
    }

    #[test]
    fn ipv6_addresses_are_beside_the_others_and_ansible_connects_by_ipv4() {
        let mut n1 = node("n1.lab.lan", "web", "Converged", None);
        assert_eq!(variables(&n1).get("kubedos_planes6"), None);
        let before = variables(&n1);
        n1.planes[1].address6 = Some("fd00:79::2".parse().unwrap());
        let mut after = variables(&n1);
        assert_eq!(after["kubedos_planes6"], json!({"wg2": "fd00:79::2"}), "and wg1 has none");
        after.as_object_mut().unwrap().remove("kubedos_planes6");
        assert_eq!(after, before);
    }

    #[test]
    fn nodes_are_in_groups_and_have_variables() {
        let nodes = [node("n1.lab.lan", "core-db", "Converged", Some("rack-a")), node("n2.lab.lan", "web", "FabricReady", None)];
        let shown = list(&nodes);
        for (group, hosts) in [
            ("kubedos", json!(["n1.lab.lan", "n2.lab.lan"])),
            ("role_core_db", json!(["n1.lab.lan"])),
            ("state_converged", json!(["n1.lab.lan"])),
            ("state_fabricready", json!(["n2.lab.lan"])),
            ("domain_rack_a", json!(["n1.lab.lan"])),
        ] {
            assert_eq!(shown[group]["hosts"], hosts, "{group}");
        }
        let vars = &shown["_meta"]["hostvars"]["n1.lab.lan"];
        assert_eq!((&vars["ansible_host"], &vars["ansible_user"]), (&json!("10.78.0.2"), &json!("root")));
        assert_eq!((&vars["kubedos_planes"]["wg2"], &vars["kubedos_failure_domain"]), (&json!("10.79.0.2"), &json!("rack-a")));
        assert_eq!((&vars["kubedos_labels"], &vars["kubedos_place"]), (&json!({"gpu": "", "rack": "r1"}), &json!("hall 2")));
        for absent in ["kubedos_failure_domain", "kubedos_labels", "kubedos_place"] {
            assert_eq!(shown["_meta"]["hostvars"]["n2.lab.lan"].get(absent), None, "{absent}");
        }
        assert_eq!(list(&[]), json!({"kubedos": {"hosts": []}, "_meta": {"hostvars": {}}}));
    }
}
