//! `seedd plane`

use anyhow::{Result, anyhow};
use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value, json};
use site::hint::Hint as _;

use super::output::{Column, ListArgs, Shape, age, at, column, facts, table, wide};
use super::reach::SeedArgs;

#[derive(Subcommand)]
pub enum Plane {
    /// List the planes
    #[command(visible_alias = "ls")]
    List(List),
    /// Show one plane, what it carries, and its members
    Show(Show),
    /// Replace the keys of the nodes on a plane, without interrupting it
    ///
    /// Each node makes its new key itself. The others get it before the node uses it. Up to eight nodes change over at once; a node
    /// takes about two minutes. The seed's own key is replaced by `seedd keys rotate`. Needs an unsealed seed.
    #[command(after_long_help = "\
Examples:
  seedd plane rotate wg1
  seedd plane rotate --all
  seedd plane rotations --watch")]
    Rotate(Rotate),
    /// List the keys of nodes that are being replaced
    Rotations(List),
}

#[derive(Args)]
pub struct List {
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    seed: SeedArgs,
}

#[derive(Args)]
pub struct Show {
    /// Name of the plane, for example wg1
    plane: String,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    seed: SeedArgs,
}

#[derive(Args)]
#[command(group = ArgGroup::new("which").required(true))]
pub struct Rotate {
    /// Name of the plane, for example wg1
    #[arg(group = "which")]
    plane: Option<String>,
    /// The nodes' keys of all planes, one plane after the other
    #[arg(long, group = "which")]
    all: bool,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    seed: SeedArgs,
}

fn joined(value: &Value) -> String {
    let words: Vec<&str> = value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    words.join(", ")
}

/// Who is a hub besides the seed is part of the topology.
fn topology(row: &Value) -> String {
    let (topology, hubs) = (at(row, "/topology"), joined(&row["hubs"]));
    if hubs.is_empty() { topology } else { format!("{topology} ({hubs})") }
}

fn allows(row: &Value) -> &[Value] {
    row["allows"].as_array().map_or(&[], Vec::as_slice)
}

const COLUMNS: &[Column] = &[
    column("NAME", |r| at(r, "/name")),
    column("CIDR", |r| at(r, "/cidr")),
    column("PORT", |r| at(r, "/port")),
    column("TOPOLOGY", topology),
    column("MTU", |r| at(r, "/mtu")),
    column("POLICY", |r| at(r, "/policy")),
    column("NODES", |r| at(r, "/nodes")),
    column("PURPOSE", |r| at(r, "/purpose")),
    wide("CIDR6", |r| at(r, "/cidr6")),
    wide("ALLOWS", |r| allows(r).len().to_string()),
    wide("SEED", |r| at(r, "/seed")),
    wide("PUBLIC-KEY", |r| at(r, "/publicKey")),
];

const ALLOWS: &[Column] = &[
    column("FROM", |r| at(r, "/from")),
    column("TO", |r| at(r, "/to")),
    column("PORTS", |r| joined(&r["ports"])),
    column("REASON", |r| at(r, "/why")),
];

const MEMBERS: &[Column] = &[
    column("NAME", |r| at(r, "/hostname")),
    column("ADDRESS", |r| at(r, "/address")),
    column("ADDRESS6", |r| at(r, "/address6")),
    column("STATE", |r| at(r, "/state")),
    column("PUBLIC-KEY", |r| at(r, "/publicKey")),
];

const ROTATIONS: &[Column] = &[
    column("NODE", |r| at(r, "/node")),
    column("PLANE", |r| at(r, "/plane")),
    column("STAGE", |r| at(r, "/stage")),
    column("AGE", |r| age(r, "/since")),
    wide("ACTOR", |r| at(r, "/actor")),
];

impl Plane {
    pub fn run(&self) -> Result<()> {
        match self {
            Plane::List(v) => {
                let remote = v.seed.connect()?;
                v.list.list("planes", COLUMNS, &|| remote.list("/api/v1/planes", "planes"))
            }
            Plane::Show(v) => v.run(),
            Plane::Rotate(v) => {
                let wish = if v.all { json!({ "all": true }) } else { json!({ "plane": v.plane }) };
                rotate(&v.seed, &v.shape, &wish)
            }
            Plane::Rotations(v) => {
                let remote = v.seed.connect()?;
                v.list.list("rotations", ROTATIONS, &|| remote.list("/api/v1/rotations", "rotations"))
            }
        }
    }
}

/// Asks for new keys, and shows all that are being replaced.
pub(super) fn rotate(seed: &SeedArgs, shape: &Shape, wish: &Value) -> Result<()> {
    let done = seed.connect()?.post("/api/v1/rotations", wish)?;
    let rows = done["rotations"].as_array().cloned().unwrap_or_default();
    shape.show(&done, table(ROTATIONS, &rows, false, true).trim_end())
}

impl Show {
    fn run(&self) -> Result<()> {
        let remote = self.seed.connect()?;
        let planes = remote.list("/api/v1/planes", "planes")?;
        let plane = planes.into_iter().find(|p| at(p, "/name") == self.plane);
        let mut plane = plane.ok_or_else(|| anyhow!("there is no plane {}", self.plane)).hint("`seedd plane list` lists them")?;
        let members = members(&remote.list("/api/v1/nodes", "nodes")?, &self.plane);
        let mut head = ["name", "purpose", "cidr", "cidr6", "port", "mtu", "policy", "seed", "seed6", "publicKey"]
            .map(|key| (key, at(&plane, &format!("/{key}"))))
            .to_vec();
        head.push(("topology", topology(&plane)));
        let mut parts = vec![facts(&head)];
        if !allows(&plane).is_empty() {
            parts.push(table(ALLOWS, allows(&plane), true, true));
        }
        parts.push(table(MEMBERS, &members, true, true));
        plane["members"] = Value::Array(members);
        self.shape.show(&plane, &parts.join("\n\n"))
    }
}

fn members(nodes: &[Value], plane: &str) -> Vec<Value> {
    let place = |node: &Value| {
        let place = node["planes"].as_array()?.iter().find(|p| at(p, "/plane") == plane)?;
        Some(json!({
            "hostname": node["hostname"], "state": node["state"], "publicKey": place["publicKey"],
            "address": place["address"], "address6": place["address6"],
        }))
    };
    nodes.iter().filter_map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plane_is_one_line_with_its_hubs() {
        let row = json!({
            "name": "wg4", "cidr": "10.81.0.0/16", "port": 51824, "topology": "hub", "hubs": ["store", "gate"], "mtu": null,
            "policy": "deny", "nodes": 3, "purpose": "backup", "allows": [{ "from": "any", "to": "store", "ports": ["tcp/1", "udp/2"] }],
        });
        let line = |columns: &[Column], row: &Value| table(columns, std::slice::from_ref(row), false, false);
        let words: Vec<String> = line(COLUMNS, &row).split_whitespace().map(str::to_owned).collect();
        assert_eq!(words.join(" "), "wg4 10.81.0.0/16 51824 hub (store, gate) - deny 3 backup");
        assert!(line(ALLOWS, &row["allows"][0]).contains("tcp/1, udp/2"));
    }
}
