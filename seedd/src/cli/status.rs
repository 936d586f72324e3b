//! `seedd status`

use anyhow::Result;
use appliance::control::Client;
use appliance::control::answer::Status as Told;
use clap::Args;
use serde::Serialize;

use super::args::SiteArgs;

#[derive(Args)]
pub struct Status {
    #[command(flatten)]
    args: SiteArgs,
}

/// What the daemon says of itself, and the public keys of its site.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    #[serde(flatten)]
    told: Told,
    site_key: String,
    operator: String,
}

impl Status {
    pub fn run(&self) -> Result<()> {
        let site = self.args.site();
        let told = Client::new(&site.control_socket()).status()?;
        let public = site.keys().public()?;
        let later = match &told {
            Told::Site(s) if !s.sealed => s.sealed_fingerprint.as_deref(),
            _ => None,
        };
        let (name, snapshot, fingerprint, sealed, warnings) = match &told {
            Told::Site(s) => (Some(s.site.as_str()), s.snapshot, s.fingerprint.as_deref(), s.sealed, &s.warnings),
            Told::SetUp(s) => (None, None, None, s.sealed, &s.warnings),
        };
        let sealed = if sealed { "sealed" } else { "unsealed" };
        let snapshot = snapshot.map_or_else(|| "none".to_owned(), |id| id.to_string());
        let mut text = format!("site {} is {sealed}\n  snapshot  {snapshot}", name.unwrap_or("none"));
        text.push_str(&format!("\n  site key  {}\n  recipient {}", public.site, public.operator));
        if let Some(fingerprint) = fingerprint {
            text.push_str(&format!("\n  web       certificate sha256 {fingerprint}"));
        }
        if let Some(fingerprint) = later {
            text.push_str(&format!("\n  sealed    certificate sha256 {fingerprint}"));
        }
        for warning in warnings {
            text.push_str(&format!("\n  warning   {warning}"));
        }
        let (site_key, operator) = (public.site.to_string(), public.operator.to_string());
        self.args.show(&Shown { told, site_key, operator }, &text)
    }
}
