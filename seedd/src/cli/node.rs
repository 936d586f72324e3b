//! `seedd node`

use anyhow::Result;
use appliance::control::Client;
use clap::{Args, Subcommand};
use cluster_seed::ids::Mac;
use serde_json::json;
use site::store::StoreError;

use super::args::SiteArgs;
use super::replace::{Replace, full_name};

#[derive(Subcommand)]
pub enum Node {
    /// List the nodes of this site
    List(List),
    /// Revoke a node: its keys leave the peer list at once
    ///
    /// The other nodes stop communicating with it as soon as they have the new list. The machine can be installed again from
    /// the network, with new keys. Needs an unsealed seed.
    #[command(after_long_help = "\
Example:
  seedd node revoke n7 --reason stolen")]
    Revoke(Revoke),
    /// Replace a node: install it again, or another machine under its name
    ///
    /// Refuses if the cluster that it votes in would lose its majority. Restarts the machine from the network if its power controller
    /// is known, then follows the new one until it is healthy, and records how long each step took. Ctrl-C ends the waiting only.
    #[command(after_long_help = "\
Example:
  seedd node replace etcd-2")]
    Replace(Replace),
    /// Remove a machine that is not a node from the list, with its unapproved enrollments
    ///
    /// It returns to the list when it is seen on the network again.
    Forget(Forget),
    /// Show the user and password that unlock GRUB on the nodes
    ///
    /// A node's GRUB starts the node without asking. To edit its entry or to use its command line, press `e` or `c` and give
    /// both. They are the same on every node of the site. Needs an unsealed seed; the event log records that they were shown.
    GrubPassword(GrubPassword),
}

#[derive(Args)]
pub struct GrubPassword {
    #[command(flatten)]
    args: SiteArgs,
}

#[derive(Args)]
pub struct List {
    #[command(flatten)]
    args: SiteArgs,
}

#[derive(Args)]
pub struct Revoke {
    /// Host name, with or without the site's domain
    hostname: String,
    /// Reason, for the event log
    #[arg(long, default_value = "", value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    args: SiteArgs,
}

#[derive(Args)]
pub struct Forget {
    /// MAC address of the machine
    mac: Mac,
    #[command(flatten)]
    args: SiteArgs,
}

impl Node {
    pub fn run(&self) -> Result<()> {
        match self {
            Node::List(v) => v.run(),
            Node::Revoke(v) => v.run(),
            Node::Replace(v) => v.run(),
            Node::Forget(v) => v.run(),
            Node::GrubPassword(v) => v.run(),
        }
    }
}

impl List {
    fn run(&self) -> Result<()> {
        let store = self.args.site().open_store()?;
        let nodes = store.read(|tx| {
            let mut rows = Vec::new();
            for node in tx.live_nodes()? {
                rows.push((tx.enrollment(node.enrollment)?.state, node));
            }
            Ok::<_, StoreError>(rows)
        })?;
        let mut text = Vec::new();
        let mut values = Vec::new();
        for (state, node) in nodes {
            let address = node.planes.values().next().map(|(ip, _)| ip.to_string()).unwrap_or_default();
            text.push(format!("{:<32} {:<12} {:<12} {address}", node.hostname.as_str(), node.role, state.as_str()));
            let planes: Vec<_> = node.planes.iter().map(|(plane, (ip, _))| json!({"plane": plane, "address": ip})).collect();
            values.push(json!({
                "hostname": node.hostname, "role": node.role, "state": state, "endpoint": node.endpoint, "planes": planes,
            }));
        }
        let text = if text.is_empty() { "no nodes yet".to_owned() } else { text.join("\n") };
        self.args.show(&json!({ "nodes": values }), &text)
    }
}

impl Revoke {
    fn run(&self) -> Result<()> {
        let site = self.args.site();
        let hostname = full_name(&self.hostname, &site.spec()?)?;
        Client::new(&site.control_socket()).revoke(hostname.clone(), &self.reason)?;
        self.args.show(
            &json!({ "revoked": hostname }),
            &format!("{hostname} revoked; the other nodes drop it with their next peer list"),
        )
    }
}

impl Forget {
    fn run(&self) -> Result<()> {
        Client::new(&self.args.site().control_socket()).forget(self.mac)?;
        self.args.show(&json!({ "forgotten": self.mac }), &format!("{} forgotten", self.mac))
    }
}

impl GrubPassword {
    fn run(&self) -> Result<()> {
        let shown = Client::new(&self.args.site().control_socket()).grub_password()?;
        self.args.show(&shown, &format!("user      {}\npassword  {}", shown.user, shown.password))
    }
}
