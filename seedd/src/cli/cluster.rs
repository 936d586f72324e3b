//! `seedd cluster`

use anyhow::Result;
use camino::Utf8PathBuf;
use clap::{Args, Subcommand};

use super::{Where, show};
use crate::site::read_spec;

#[derive(Subcommand)]
pub enum Cluster {
    /// Check a cluster.yaml and say what it describes
    Check(Check),
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
        let Cluster::Check(check) = self;
        let path = check.file.clone().unwrap_or_else(|| check.place.site().cluster_file());
        let spec = read_spec(&path)?;
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
