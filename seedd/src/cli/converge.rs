//! `seedd converge`: how far the nodes are, and what an operator can do. Needs write access to the data directory, and no session.
//! A running daemon changes things itself ([`running`]).

use anyhow::Result;
use clap::{Args, Subcommand};
use cluster_seed::converge::stage::Stand;
use serde_json::json;
use site::Site;
use web::api::{ConvergeAct, ConvergeNode, ConvergeView, ConvergeWhat};

use super::args::SiteArgs;
use super::running;
use crate::app::App;

/// The actor in the event log.
const ACTOR: &str = "command line";

#[derive(Subcommand)]
pub enum Converge {
    /// Show stages, nodes, what they wait for, and the words of failed tasks
    #[command(after_long_help = "\
Exit status:
  0  every node has converged and is healthy
  1  some have not")]
    Status(Status),
    /// Run the plays again: of every node, of a role or of one node
    ///
    /// Needed after a failure. By stages, as any change.
    Run(Act),
    /// Let nodes report what a run would change, without changing anything
    Check(Act),
    /// Start no change and no first run; runs in progress finish
    Pause(OfRole),
    /// Start changes and first runs again
    Resume(OfRole),
}

#[derive(Args)]
pub struct Status {
    /// Only this role
    #[arg(long)]
    role: Option<String>,
    /// Only this node
    #[arg(long)]
    node: Option<String>,
    #[command(flatten)]
    args: SiteArgs,
}

#[derive(Args)]
pub struct Act {
    /// Only this role
    #[arg(long, conflicts_with = "node")]
    role: Option<String>,
    /// Only this node
    #[arg(long)]
    node: Option<String>,
    #[command(flatten)]
    args: SiteArgs,
}

#[derive(Args)]
pub struct OfRole {
    /// Only this role
    #[arg(long)]
    role: Option<String>,
    #[command(flatten)]
    args: SiteArgs,
}

/// The site without its servers: what is stored is all that is needed.
pub(super) fn open_at(site: &Site) -> Result<App> {
    App::open(site.clone(), std::net::SocketAddrV4::new(std::net::Ipv4Addr::UNSPECIFIED, 80))
}

fn open(args: &SiteArgs) -> Result<App> {
    open_at(&args.site())
}

impl Converge {
    pub fn run(&self) -> Result<()> {
        match self {
            Converge::Status(v) => v.run(),
            Converge::Run(v) => act(&v.args, ConvergeWhat::Run, v.role.as_ref(), v.node.as_ref()),
            Converge::Check(v) => act(&v.args, ConvergeWhat::Check, v.role.as_ref(), v.node.as_ref()),
            Converge::Pause(v) => act(&v.args, ConvergeWhat::Pause, v.role.as_ref(), None),
            Converge::Resume(v) => act(&v.args, ConvergeWhat::Resume, v.role.as_ref(), None),
        }
    }
}

fn act(args: &SiteArgs, what: ConvergeWhat, role: Option<&String>, node: Option<&String>) -> Result<()> {
    let act = ConvergeAct { what, role: role.cloned(), node: node.cloned() };
    match running::daemon(args)? {
        Some(daemon) => running::act_on_converge(&daemon, &act)?,
        None => open(args)?.act_on_converge(ACTOR, &act).map_err(crate::app::hinted)?,
    }
    let text = match what {
        ConvergeWhat::Run => "asked; nodes run their plays by stages",
        ConvergeWhat::Check => "asked; `seedd converge status` shows what would change",
        ConvergeWhat::Pause => "paused; runs in progress finish",
        ConvergeWhat::Resume => "resumed",
    };
    args.show(&json!({"ok": true}), text)
}

impl Status {
    fn run(&self) -> Result<()> {
        let mut view = open(&self.args)?.view_converge().map_err(crate::app::hinted)?;
        view.stages.retain(|s| self.role.as_ref().is_none_or(|only| *only == s.role));
        if let Some(only) = &self.node {
            let is = |n: &ConvergeNode| n.hostname == *only || n.hostname.split('.').next() == Some(only);
            view.stages.iter_mut().for_each(|s| s.nodes.retain(is));
            view.stages.retain(|s| !s.nodes.is_empty());
        }
        self.args.show(&view, &text(&view))?;
        let good = |n: &ConvergeNode| matches!(n.stand, Stand::Converged | Stand::Nothing);
        let left: Vec<&str> =
            view.stages.iter().flat_map(|s| &s.nodes).filter(|n| !good(n)).map(|n| n.hostname.as_str()).collect();
        match left.len() {
            0 => Ok(()),
            n => anyhow::bail!(
                "{n} of the nodes shown have not converged or are not healthy: {}",
                crate::app::lists::some_of(&left)
            ),
        }
    }
}

fn text(view: &ConvergeView) -> String {
    let mut lines = vec![match view.payload {
        Some(id) => format!("payload {}{}", id.short(), if view.paused { ", paused" } else { "" }),
        None => "no payload; publish one with `seedd payload publish`".to_owned(),
    }];
    for stage in &view.stages {
        let after = if stage.after.is_empty() { String::new() } else { format!(", after {}", stage.after.join(", ")) };
        let paused = if stage.paused { ", paused" } else { "" };
        lines.push(format!("{}: {}{after}{paused}", stage.role, stage.detail));
        for node in &stage.nodes {
            lines.push(format!("  {:<28} {}", node.hostname, words(node)));
            lines.extend(node.checks.iter().filter(|c| !c.ok).map(|c| format!("    check {}: {}", c.name, c.detail)));
            if let Some(check) = node.check.as_ref().filter(|c| !c.would.is_empty()) {
                lines.push(format!("    would change: {}", crate::app::lists::some_of(&check.would)));
            }
        }
    }
    lines.join("\n")
}

fn words(node: &ConvergeNode) -> String {
    let mut text = node.stand.as_str().to_owned();
    match (node.stand, &node.run) {
        (Stand::Failed, Some(run)) => text.push_str(&format!(": {}: {}: {}", run.play, run.task, run.why)),
        (Stand::Running, Some(run)) if !run.task.is_empty() => text.push_str(&format!(": {}: {}", run.play, run.task)),
        (Stand::Waiting | Stand::Outdated, _) => {
            let waits: Vec<&str> = node.waits.iter().map(|b| b.detail.as_str()).collect();
            text.push_str(&format!(
                ": {}",
                if waits.is_empty() { "starts with its next message".to_owned() } else { waits.join("; ") }
            ));
        }
        (Stand::Converged, Some(run)) => text.push_str(&format!(", {} ok, {} changed, {} s", run.ok, run.changed, run.seconds)),
        _ => {}
    }
    text
}
