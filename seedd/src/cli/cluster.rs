//! `seedd cluster`

use anyhow::Result;
use camino::Utf8PathBuf;
use clap::{Args, Subcommand};

use super::{Where, show};
use site::read_spec;

#[derive(Subcommand)]
pub enum Cluster {
    /// Check a cluster.yaml and say what it describes
    Check(Check),
    /// Give the site another underlay (subnet, seed, pool, router, dns) at this place; takes effect at the next start
    Overlay(Overlay),
}

#[derive(Args)]
pub struct Overlay {
    #[command(flatten)]
    place: Where,
    /// The overlay: `underlay:` with the fields it has in cluster.yaml
    #[arg(required_unless_present = "remove", conflicts_with = "remove")]
    file: Option<Utf8PathBuf>,
    /// Go back to the underlay of cluster.yaml
    #[arg(long)]
    remove: bool,
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

impl Overlay {
    fn run(&self) -> Result<()> {
        let site = self.place.site();
        site.open_store()?;
        let changes = site.set_overlay(self.file.as_deref(), self.dry_run)?;
        let kept = !changes.is_empty() && !self.dry_run;
        let mut text = String::new();
        for change in &changes {
            text.push_str(&format!("  {}\n    - {}\n    + {}\n", change.field, change.from, change.to));
        }
        text.push_str(match (changes.is_empty(), self.dry_run) {
            (true, _) => "nothing changes",
            (_, true) => "nothing was written (--dry-run)",
            _ => "kept; it takes effect at the next start of the seed",
        });
        show(self.json, &serde_json::json!({"changes": changes, "kept": kept}), &text)
    }
}

#[derive(Args)]
pub struct Check {
    #[command(flatten)]
    place: Where,
    /// The file; without it, the site's own
    file: Option<Utf8PathBuf>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

impl Cluster {
    pub fn run(&self) -> Result<()> {
        let check = match self {
            Cluster::Check(check) => check,
            Cluster::Overlay(overlay) => return overlay.run(),
        };
        let site = check.place.site();
        let (path, spec) = match &check.file {
            Some(file) => (file.clone(), read_spec(file)?),
            None => (site.cluster_file(), site.spec()?),
        };
        let n = &spec.spec.networking;
        let planes: Vec<String> = n.planes.iter().map(|(name, p)| format!("{name} {}", p.value.cidr)).collect();
        let roles: Vec<&String> = spec.spec.roles.keys().collect();
        let value = serde_json::json!({
            "file": path, "site": spec.metadata.name, "subnet": n.underlay.subnet, "planes": planes, "roles": roles,
        });
        let roles: Vec<&str> = roles.iter().map(|r| r.as_str()).collect();
        let text = format!(
            "{path} is good\n  site    {}\n  subnet  {}\n  planes  {}\n  roles   {}",
            spec.metadata.name,
            n.underlay.subnet,
            planes.join(", "),
            roles.join(", ")
        );
        show(check.json, &value, &text)
    }
}
