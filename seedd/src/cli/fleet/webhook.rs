//! `seedd webhook`

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::output::{Column, ListArgs, Shape, age, at, column, wide};
use super::reach::SeedArgs;

#[derive(Subcommand)]
pub enum Webhook {
    /// List the webhooks and how far they are
    #[command(visible_alias = "ls")]
    List(List),
    /// List the events that a receiver did not take in the end
    Dead(List),
    /// Send a test message to a receiver and wait for its answer
    #[command(after_long_help = "\
Example:
  seedd webhook test https://hooks.lan/kubedos")]
    Test(Test),
}

#[derive(Args)]
pub struct List {
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    seed: SeedArgs,
}

#[derive(Args)]
pub struct Test {
    /// URL of the receiver, as in cluster.yaml
    url: String,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    seed: SeedArgs,
}

fn events(row: &Value) -> String {
    let all: Vec<&str> = row["events"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if all.is_empty() { "all".to_owned() } else { all.join(",") }
}

const COLUMNS: &[Column] = &[
    column("URL", |r| at(r, "/url")),
    column("EVENTS", events),
    column("BEHIND", |r| at(r, "/behind")),
    column("ATTEMPTS", |r| at(r, "/attempts")),
    column("DEAD", |r| at(r, "/dead")),
    column("ERROR", |r| at(r, "/why")),
    wide("TOLD", |r| at(r, "/told")),
];

const DEAD: &[Column] = &[
    column("EVENT", |r| at(r, "/event")),
    column("KIND", |r| at(r, "/kind")),
    column("URL", |r| at(r, "/url")),
    column("AGE", |r| age(r, "/at")),
    column("ATTEMPTS", |r| at(r, "/attempts")),
    column("ERROR", |r| at(r, "/why")),
    wide("TEXT", |r| at(r, "/text")),
];

impl Webhook {
    pub fn run(&self) -> Result<()> {
        match self {
            Webhook::List(v) => {
                let remote = v.seed.connect()?;
                v.list.list("webhooks", COLUMNS, &|| remote.list("/api/v1/webhooks", "webhooks"))
            }
            Webhook::Dead(v) => {
                let remote = v.seed.connect()?;
                v.list.list("dead", DEAD, &|| remote.list("/api/v1/webhooks/dead", "dead"))
            }
            Webhook::Test(v) => {
                let done = v.seed.connect()?.post("/api/v1/webhooks/test", &json!({ "url": v.url }))?;
                let text = format!("taken with status {} after {} ms", at(&done, "/status"), at(&done, "/milliseconds"));
                v.shape.show(&done, &text)
            }
        }
    }
}
