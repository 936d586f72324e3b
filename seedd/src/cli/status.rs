//! `seedd status`

use anyhow::Result;
use appliance::control::{Request, ask};
use clap::Args;

use super::args::SiteArgs;

#[derive(Args)]
pub struct Status {
    #[command(flatten)]
    args: SiteArgs,
}

impl Status {
    pub fn run(&self) -> Result<()> {
        let site = self.args.site();
        let mut value = ask(&site.control_socket(), &Request::Status)?;
        let public = site.keys().public()?;
        value["siteKey"] = public.site.as_str().into();
        value["operator"] = public.operator.as_str().into();
        let word = |k: &str| value[k].as_str().unwrap_or("none").to_owned();
        let sealed = if value["sealed"] == true { "sealed" } else { "unsealed" };
        let mut text = format!("site {} is {sealed}\n  snapshot  {}", word("site"), word("snapshot"));
        text.push_str(&format!("\n  site key  {}\n  recipient {}", public.site, public.operator));
        if let Some(fingerprint) = value["fingerprint"].as_str() {
            text.push_str(&format!("\n  web       certificate sha256 {fingerprint}"));
        }
        for warning in value["warnings"].as_array().into_iter().flatten() {
            text.push_str(&format!("\n  warning   {}", warning.as_str().unwrap_or_default()));
        }
        self.args.show(&value, &text)
    }
}
