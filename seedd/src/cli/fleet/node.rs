//! `seedd node`

use anyhow::{Result, bail};
use appliance::control::Client;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::complete;
use super::output::{Column, ListArgs, Shape, age, at, column, facts, wide};
use super::plane::rotate;
use super::reach::SeedArgs;
use super::rows;
use super::ssh::{Way, login};
use crate::cli::args::SiteArgs;
use crate::cli::replace::Replace;

#[derive(Subcommand)]
pub enum Node {
    /// List the nodes of this site
    #[command(
        visible_alias = "ls",
        after_long_help = "\
Examples:
  seedd node list --selector role=core,state=converged
  seedd node list --output wide --watch"
    )]
    List(List),
    /// Show one node: state, addresses, peer list
    Show(Show),
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
    /// Runs on the seed itself.
    #[command(after_long_help = "\
Example:
  seedd node replace etcd-2")]
    Replace(Replace),
    /// Replace the WireGuard keys of a node, without interrupting its planes
    ///
    /// The node makes the new keys itself. One plane is done after the other; each takes about two minutes. Needs an unsealed seed.
    #[command(after_long_help = "\
Examples:
  seedd node rotate n7
  seedd node rotate n7 --plane wg1
  seedd plane rotations --watch")]
    Rotate(Rotate),
    /// Log in to a node, or run a command there, by ssh
    ///
    /// Reaches the node by its address on the control plane, as root, and accepts the host key that the site has certified.
    /// From a machine that is not on the control plane, go through the seed with --jump.
    #[command(after_long_help = "\
Examples:
  seedd node ssh n7
  seedd node ssh n7 -- systemctl --failed
  seedd node ssh n7 --jump root@seed")]
    Ssh(Ssh),
    /// Show the journal of a node, by ssh
    #[command(after_long_help = "\
Examples:
  seedd node logs n7 --unit kubedos-converge --follow
  seedd node logs n7 -n 500")]
    Logs(Logs),
    /// Remove a machine that is not a node from the list: the same as `seedd machine forget`
    #[command(hide = true)]
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
    list: ListArgs,
    #[command(flatten)]
    seed: SeedArgs,
}

// One node.
#[derive(Args)]
struct Named {
    /// Host name, with or without the site's domain
    #[arg(add = complete::nodes())]
    hostname: String,
}

#[derive(Args)]
pub struct Show {
    #[command(flatten)]
    which: Named,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    seed: SeedArgs,
}

#[derive(Args)]
pub struct Revoke {
    #[command(flatten)]
    which: Named,
    /// Reason, for the event log
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    seed: SeedArgs,
}

#[derive(Args)]
pub struct Rotate {
    #[command(flatten)]
    which: Named,
    /// Only its key of this plane
    #[arg(long, value_name = "NAME")]
    plane: Option<String>,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    seed: SeedArgs,
}

#[derive(Args)]
pub struct Ssh {
    #[command(flatten)]
    which: Named,
    #[command(flatten)]
    way: Way,
    /// Command to run instead of a shell
    #[arg(last = true)]
    command: Vec<String>,
    #[command(flatten)]
    seed: SeedArgs,
}

#[derive(Args)]
pub struct Logs {
    #[command(flatten)]
    which: Named,
    /// Only this unit (repeatable)
    #[arg(short, long, value_name = "UNIT")]
    unit: Vec<String>,
    /// Go on with new lines until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Start with the last N lines
    #[arg(short = 'n', long, value_name = "N", default_value_t = 200)]
    lines: u32,
    #[command(flatten)]
    way: Way,
    #[command(flatten)]
    seed: SeedArgs,
}

#[derive(Args)]
pub struct Forget {
    /// MAC address of the machine
    mac: cluster_seed::ids::Mac,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    seed: SeedArgs,
}

fn plane(node: &Value, name: &str) -> String {
    let planes = node["planes"].as_array();
    let found = planes.and_then(|all| all.iter().find(|p| at(p, "/plane") == name));
    found.map(|p| at(p, "/address")).unwrap_or_default()
}

/// The version of the peer list that it holds, and of the seed's.
fn list(node: &Value) -> String {
    let (held, current) = (at(node, "/list/version"), at(node, "/list/current"));
    match (held.is_empty(), current.is_empty()) {
        (_, true) => String::new(),
        (true, false) => format!("none of {current}"),
        (false, false) => format!("{held} of {current}"),
    }
}

const COLUMNS: &[Column] = &[
    column("NAME", |r| at(r, "/hostname")),
    column("ROLE", |r| at(r, "/role")),
    column("STATE", |r| at(r, "/state")),
    column("ADDRESS", |r| plane(r, cluster_seed::cluster::CONTROL_PLANE)),
    column("SEEN", |r| age(r, "/lastSeen")),
    wide("DOMAIN", |r| at(r, "/failureDomain")),
    wide("ENDPOINT", |r| at(r, "/endpoint")),
    wide("PEERS", list),
    wide("MACHINE", |r| at(r, "/machine")),
    wide("MAC", |r| at(r, "/mac")),
    wide("SERIAL", |r| at(r, "/serial")),
    wide("MODEL", |r| at(r, "/model")),
];

impl Node {
    pub fn run(&self) -> Result<()> {
        match self {
            Node::List(v) => {
                let remote = v.seed.connect()?;
                v.list.list("nodes", COLUMNS, &|| remote.list("/api/v1/nodes", "nodes"))
            }
            Node::Show(v) => v.run(),
            Node::Revoke(v) => v.run(),
            Node::Replace(v) => v.run(),
            Node::Rotate(v) => {
                rotate(&v.seed, &v.shape, &json!({ "node": v.which.hostname.trim().to_ascii_lowercase(), "plane": v.plane }))
            }
            Node::Ssh(v) => v.run(),
            Node::Logs(v) => v.run(),
            Node::Forget(v) => v.run(),
            Node::GrubPassword(v) => v.run(),
        }
    }
}

impl Show {
    fn run(&self) -> Result<()> {
        let remote = self.seed.connect()?;
        let wanted = rows::node(&remote, &self.which.hostname)?;
        let all = remote.list("/api/v1/nodes", "nodes")?;
        let shown = all.into_iter().find(|n| at(n, "/enrollment") == wanted.enrollment);
        let Some(shown) = shown else { bail!("{} was revoked in the meantime", wanted.hostname) };
        let mut pairs: Vec<(&str, String)> = [
            ("name", "/hostname"),
            ("role", "/role"),
            ("state", "/state"),
            ("domain", "/failureDomain"),
            ("machine", "/machine"),
            ("mac", "/mac"),
            ("serial", "/serial"),
            ("model", "/model"),
            ("endpoint", "/endpoint"),
            ("artifact", "/artifact"),
            ("enrollment", "/enrollment"),
        ]
        .map(|(name, pointer)| (name, at(&shown, pointer)))
        .into();
        pairs.push(("peers", list(&shown)));
        pairs.push(("seen", age(&shown, "/lastSeen")));
        let places = shown["planes"].as_array().into_iter().flatten();
        pairs.extend(places.map(|p| ("plane", place(p))));
        pairs.extend(wanted.address().map(|address| ("ssh", format!("ssh root@{address}"))));
        self.shape.show(&shown, &facts(&pairs))
    }
}

/// Name, addresses and key of a node on a plane.
fn place(row: &Value) -> String {
    let words = ["/plane", "/address", "/address6", "/publicKey"].map(|pointer| at(row, pointer));
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

impl Revoke {
    fn run(&self) -> Result<()> {
        let remote = self.seed.connect()?;
        let node = rows::node(&remote, &self.which.hostname)?;
        remote.post(&format!("/api/v1/enrollments/{}/revoke", node.enrollment), &json!({ "reason": self.reason }))?;
        let text = format!("{} revoked; the other nodes drop it with their next peer list", node.hostname);
        self.shape.show(&json!({ "revoked": node.hostname }), &text)
    }
}

impl Ssh {
    fn run(&self) -> Result<()> {
        login(&self.seed, &self.way, &self.which.hostname, &self.command)
    }
}

impl Logs {
    fn run(&self) -> Result<()> {
        login(&self.seed, &self.way, &self.which.hostname, &self.journalctl()?)
    }

    /// Words of the node's shell: none may mean anything else to it.
    fn journalctl(&self) -> Result<Vec<String>> {
        let mut words = vec!["journalctl".to_owned(), "--no-pager".to_owned(), "-n".to_owned(), self.lines.to_string()];
        words.extend(self.follow.then(|| "-f".to_owned()));
        for unit in &self.unit {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"@._:-".contains(&b);
            if unit.is_empty() || unit.starts_with('-') || !unit.bytes().all(plain) {
                bail!("{unit:?} is not the name of a unit");
            }
            words.extend(["-u".to_owned(), unit.clone()]);
        }
        Ok(words)
    }
}

impl Forget {
    fn run(&self) -> Result<()> {
        let remote = self.seed.connect()?;
        let machine = rows::machine(&remote, &self.mac.to_string())?;
        remote.delete(&format!("/api/v1/machines/{}", machine.id))?;
        self.shape.show(&json!({ "forgotten": self.mac }), &format!("{} forgotten", self.mac))
    }
}

impl GrubPassword {
    fn run(&self) -> Result<()> {
        let shown = Client::new(&self.args.site().control_socket()).grub_password()?;
        self.args.show(&shown, &format!("user      {}\npassword  {}", shown.user, shown.password))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_names_and_nothing_else() {
        let logs = |unit: &str| Logs {
            which: Named { hostname: "n1".into() },
            unit: vec![unit.to_owned()],
            follow: true,
            lines: 7,
            way: Way::default(),
            seed: SeedArgs::default(),
        };
        assert_eq!(logs("ssh.service").journalctl().unwrap().join(" "), "journalctl --no-pager -n 7 -f -u ssh.service");
        for bad in ["", "a;reboot", "$(x)", "a b", "-x", "a\nb", "`x`"] {
            assert!(logs(bad).journalctl().is_err(), "{bad:?}");
        }
    }
}
