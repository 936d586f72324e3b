//! `seedd plane`

use anyhow::{Result, anyhow};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use site::hint::Hint as _;

use super::output::{Column, ListArgs, Shape, at, column, facts, table, wide};
use super::reach::SeedArgs;

#[derive(Subcommand)]
pub enum Plane {
    /// List the planes
    #[command(visible_alias = "ls")]
    List(List),
    /// Show one plane and its members
    Show(Show),
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

const COLUMNS: &[Column] = &[
    column("NAME", |r| at(r, "/name")),
    column("CIDR", |r| at(r, "/cidr")),
    column("PORT", |r| at(r, "/port")),
    column("SEED", |r| at(r, "/seed")),
    column("NODES", |r| at(r, "/nodes")),
    wide("PUBLIC-KEY", |r| at(r, "/publicKey")),
];

const MEMBERS: &[Column] = &[
    column("NAME", |r| at(r, "/hostname")),
    column("ADDRESS", |r| at(r, "/address")),
    column("STATE", |r| at(r, "/state")),
    column("PUBLIC-KEY", |r| at(r, "/publicKey")),
];

impl Plane {
    pub fn run(&self) -> Result<()> {
        match self {
            Plane::List(v) => {
                let remote = v.seed.connect()?;
                v.list.list("planes", COLUMNS, &|| remote.list("/api/v1/planes", "planes"))
            }
            Plane::Show(v) => v.run(),
        }
    }
}

impl Show {
    fn run(&self) -> Result<()> {
        let remote = self.seed.connect()?;
        let planes = remote.list("/api/v1/planes", "planes")?;
        let plane = planes.into_iter().find(|p| at(p, "/name") == self.plane);
        let mut plane = plane.ok_or_else(|| anyhow!("there is no plane {}", self.plane)).hint("`seedd plane list` lists them")?;
        let members = members(&remote.list("/api/v1/nodes", "nodes")?, &self.plane);
        let head = ["name", "cidr", "port", "seed", "publicKey"].map(|key| (key, at(&plane, &format!("/{key}"))));
        let text = format!("{}\n\n{}", facts(&head), table(MEMBERS, &members, true, true));
        plane["members"] = Value::Array(members);
        self.shape.show(&plane, &text)
    }
}

fn members(nodes: &[Value], plane: &str) -> Vec<Value> {
    let place = |node: &Value| {
        let place = node["planes"].as_array()?.iter().find(|p| at(p, "/plane") == plane)?;
        Some(json!({
            "hostname": node["hostname"], "state": node["state"], "address": place["address"], "publicKey": place["publicKey"],
        }))
    };
    nodes.iter().filter_map(place).collect()
}
