//! Machines and nodes as the API tells them, as far as verbs decide by it, and how they are found by what an operator types.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result, anyhow};
use cluster_seed::cluster::CONTROL_PLANE;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use site::hint::Hint as _;

use crate::remote::Remote;

/// A row of `/api/v1/machines`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    pub id: i64,
    pub mac: String,
    #[serde(default)]
    pub serial: Option<String>,
    pub enrollment: Option<Enrollment>,
}

/// An enrollment, in whatever answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Enrollment {
    pub id: String,
    pub state: String,
    pub hostname: Option<String>,
    pub reason: Option<String>,
}

/// A row of `/api/v1/nodes`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    pub hostname: String,
    pub role: String,
    pub state: String,
    pub enrollment: String,
    pub machine: i64,
    pub mac: String,
    #[serde(default)]
    pub serial: String,
    pub planes: Vec<Plane>,
    #[serde(default)]
    pub failure_domain: Option<String>,
    /// A word or `key=value`.
    #[serde(default)]
    pub labels: Vec<String>,
    #[serde(default)]
    pub place: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plane {
    pub plane: String,
    pub address: Ipv4Addr,
    /// On planes with IPv6. Earlier seeds do not say it.
    #[serde(default)]
    pub address6: Option<Ipv6Addr>,
}

/// The answer of `/api/v1/ssh`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ssh {
    pub authority: Option<String>,
    pub domain: String,
}

impl Node {
    pub fn label(&self) -> &str {
        self.hostname.split('.').next().unwrap_or(&self.hostname)
    }

    /// Its address on the control plane.
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.planes.iter().find(|p| p.plane == CONTROL_PLANE).map(|p| p.address)
    }

    /// Its IPv6 address there, if the control plane has IPv6.
    pub fn address6(&self) -> Option<Ipv6Addr> {
        self.planes.iter().find(|p| p.plane == CONTROL_PLANE)?.address6
    }

    fn is(&self, typed: &str) -> bool {
        self.hostname.eq_ignore_ascii_case(typed) || self.label().eq_ignore_ascii_case(typed)
    }
}

impl Machine {
    fn is(&self, typed: &str) -> bool {
        let name = self.enrollment.as_ref().and_then(|e| e.hostname.as_deref()).unwrap_or_default();
        let label = name.split('.').next().unwrap_or_default();
        let same = |text: &str| !text.is_empty() && text.eq_ignore_ascii_case(typed);
        self.id.to_string() == typed || same(&self.mac) || same(name) || same(label) || same(self.serial.as_deref().unwrap_or(""))
    }
}

/// A value of the API as one of the structs of this file.
pub fn read<T: DeserializeOwned>(value: Value) -> Result<T> {
    serde_json::from_value(value).context("reading the seed's answer")
}

pub fn nodes(remote: &Remote) -> Result<Vec<Node>> {
    remote.list("/api/v1/nodes", "nodes")?.into_iter().map(read).collect()
}

/// A node by its host name, with or without the site's domain.
pub fn node(remote: &Remote, typed: &str) -> Result<Node> {
    let found = nodes(remote)?.into_iter().find(|n| n.is(typed)).ok_or_else(|| anyhow!("there is no node named {typed}"));
    found.hint("`seedd node list` lists all nodes")
}

/// Most pages of machines that are read: no site has more.
const MAX_PAGES: u64 = 1_000;

/// Every machine, as JSON: the pages of the list have serial numbers, places and labels.
pub fn machines(remote: &Remote) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for page in 1..=MAX_PAGES {
        let mut answer = remote.get(&format!("/api/v1/machines?page={page}"))?;
        match answer.get_mut("machines").map(Value::take) {
            Some(Value::Array(rows)) => all.extend(rows),
            _ => return Err(anyhow!("the seed answers without machines")),
        }
        if answer.get("pages").and_then(Value::as_u64).unwrap_or(1) <= page {
            break;
        }
    }
    Ok(all)
}

/// A machine by its number, MAC address, host name or serial number.
pub fn machine(remote: &Remote, typed: &str) -> Result<Machine> {
    pick(machines(remote)?.into_iter().map(read).collect::<Result<_>>()?, typed)
}

fn pick(all: Vec<Machine>, typed: &str) -> Result<Machine> {
    let mut found: Vec<Machine> = all.into_iter().filter(|m| m.is(typed)).collect();
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        (Some(_), false) => Err(anyhow!("{typed} fits more than one machine")).hint("use the machine's number or MAC address"),
        (None, _) => Err(anyhow!("there is no machine {typed}")).hint("`seedd machine list` lists all machines"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn machines() -> Vec<Machine> {
        let row = |id: i64, name: Option<&str>, serial: &str| {
            let e = json!({"id": "e1", "state": "Pending", "hostname": name, "reason": null, "number": 12});
            read(json!({"id": id, "mac": format!("52:54:00:ab:00:0{id}"), "serial": serial, "enrollment": e, "new": 1})).unwrap()
        };
        vec![row(1, None, "SN1"), row(2, Some("web-1.lab.lan"), "SN2"), row(3, Some("3.lab.lan"), "SN2")]
    }

    #[test]
    fn machines_are_found_by_what_stands_on_them() {
        for (typed, id) in [
            ("1", Some(1)),
            ("52:54:00:AB:00:02", Some(2)),
            ("web-1", Some(2)),
            ("web-1.lab.lan", Some(2)),
            ("sn1", Some(1)),
            ("SN2", None),
            ("4", None),
            ("", None),
        ] {
            assert_eq!(pick(machines(), typed).ok().map(|m| m.id), id, "{typed}");
        }
        let bare: Machine = read(json!({"id": 9, "mac": "x", "enrollment": null})).unwrap();
        assert!(bare.is("9") && !bare.is(""));
    }

    #[test]
    fn nodes_are_found_by_name() {
        let planes = json!([{"plane": "wg2", "address": "10.79.0.2"}, {"plane": "wg1", "address": "10.78.0.2"}]);
        let node: Node = read(json!({
            "hostname": "n1.lab.lan", "role": "base", "state": "Converged", "enrollment": "e", "machine": 4, "mac": "m",
            "planes": planes,
        }))
        .unwrap();
        assert!(node.is("n1") && node.is("N1.lab.lan") && !node.is("n") && !node.is("1"));
        assert_eq!(node.address().unwrap().to_string(), "10.78.0.2");
    }
}
