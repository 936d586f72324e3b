//! `seedd cluster`

use anyhow::Result;
use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use converge::fleet::Scene;
use converge::plan::plan;
use host::clock::now;
use site::{payloads, read_spec};

use super::apply::Apply;
use super::args::SiteArgs;

#[derive(Subcommand)]
pub enum Cluster {
    /// Check a cluster.yaml and summarise it
    #[command(after_long_help = "\
Example:
  seedd cluster check ./cluster.yaml")]
    Check(Check),
    /// Show what follows from cluster.yaml: stages, nodes, addresses, certificates, packages, and what would change
    ///
    /// Changes nothing. A contradiction in the file is an error with line and column.
    #[command(after_long_help = "\
Examples:
  seedd cluster plan
  seedd cluster plan ./cluster.yaml")]
    Plan(PlanOf),
    /// Apply a changed cluster.yaml: show the plan, ask, and have the running seed read the file
    ///
    /// The seed stays unsealed. Nodes follow role by role, as `seedd converge status` shows. Refused if a node has a role or
    /// an address that the file no longer has. A file that is replaced is kept as cluster.yaml.former.
    #[command(after_long_help = "\
Examples:
  seedd cluster apply
  seedd cluster apply ./cluster.yaml --dry-run
  seedd cluster apply ./cluster.yaml --yes")]
    Apply(Apply),
    /// Override the boot network of cluster.yaml at this location
    ///
    /// The overlay replaces networking.underlay (subnet, seed, pool, router, dns, …), for example where a standby seed is
    /// connected to another network. It takes effect the next time the seed starts.
    #[command(after_long_help = "\
Examples:
  seedd cluster overlay ./overlay.yaml --dry-run
  seedd cluster overlay --remove")]
    Overlay(Overlay),
}

#[derive(Args)]
pub struct Overlay {
    #[command(flatten)]
    args: SiteArgs,
    /// YAML file with `underlay:`, in the form it has in cluster.yaml
    #[arg(required_unless_present = "remove", conflicts_with = "remove")]
    file: Option<Utf8PathBuf>,
    /// Remove the overlay, and use the underlay of cluster.yaml
    #[arg(long)]
    remove: bool,
    /// Show what would change without changing it
    #[arg(long)]
    dry_run: bool,
}

impl Overlay {
    fn run(&self) -> Result<()> {
        let site = self.args.site();
        site.open_store()?;
        let changes = site.set_overlay(self.file.as_deref(), self.dry_run)?;
        let kept = !changes.is_empty() && !self.dry_run;
        let mut text = String::new();
        for change in &changes {
            text.push_str(&format!("  {}\n    - {}\n    + {}\n", change.field, change.from, change.to));
        }
        text.push_str(match (changes.is_empty(), self.dry_run) {
            (true, _) => "no changes",
            (_, true) => "nothing written (--dry-run)",
            _ => "saved; takes effect the next time the seed starts",
        });
        self.args.show(&serde_json::json!({"changes": changes, "kept": kept}), &text)
    }
}

#[derive(Args)]
pub struct PlanOf {
    #[command(flatten)]
    args: SiteArgs,
    /// Another file than the site's cluster.yaml
    file: Option<Utf8PathBuf>,
}

impl PlanOf {
    fn run(&self) -> Result<()> {
        let site = self.args.site();
        let store = site.open_store()?;
        let spec = match &self.file {
            Some(file) => read_spec(file)?,
            None => site.spec()?,
        };
        let payload = payloads::current(&site, &store)?.map(|p| (p.id, p.size));
        let scene = store.read(|tx| Scene::read(tx, &spec, payload, now()))?;
        let plan = plan(&scene, &spec);
        self.args.show(&plan, &plan.text())
    }
}

#[derive(Args)]
pub struct Check {
    #[command(flatten)]
    args: SiteArgs,
    /// File to check [default: the site's cluster.yaml]
    file: Option<Utf8PathBuf>,
}

impl Cluster {
    pub fn run(&self) -> Result<()> {
        let check = match self {
            Cluster::Check(check) => check,
            Cluster::Overlay(overlay) => return overlay.run(),
            Cluster::Plan(plan) => return plan.run(),
            Cluster::Apply(apply) => return apply.run(),
        };
        let site = check.args.site();
        let (path, spec) = match &check.file {
            Some(file) => (file.clone(), read_spec(file)?),
            None => (site.cluster_file(), site.spec()?),
        };
        let n = &spec.spec.networking;
        let second = |range: Option<ipnet::Ipv6Net>| range.map(|range| format!(" {range}")).unwrap_or_default();
        let planes = n.planes.iter().map(|(name, p)| format!("{name} {}{}", p.value.cidr, second(p.value.range6())));
        let planes: Vec<String> = planes.collect();
        let roles: Vec<&String> = spec.spec.roles.keys().collect();
        let value = serde_json::json!({
            "file": path, "site": spec.metadata.name, "subnet": n.underlay.subnet, "planes": planes, "roles": roles,
        });
        let roles: Vec<&str> = roles.iter().map(|r| r.as_str()).collect();
        let text = format!(
            "{path} is valid\n  site    {}\n  subnet  {}\n  planes  {}\n  roles   {}",
            spec.metadata.name,
            n.underlay.subnet,
            planes.join(", "),
            roles.join(", ")
        );
        check.args.show(&value, &text)
    }
}
