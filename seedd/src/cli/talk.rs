//! `seedd unseal` and `seedd status`: words to a running daemon over its control socket.

use anyhow::Result;
use clap::Args;

use super::{PassphraseSource, Where, show};
use appliance::control::{Request, ask};

#[derive(Args)]
pub struct Unseal {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

impl Unseal {
    pub fn run(&self) -> Result<()> {
        let passphrase = self.passphrase.get("Passphrase")?.to_string();
        let value = ask(&self.place.site().control_socket(), &Request::Unseal { passphrase })?;
        show(self.json, &value, "unsealed: machines can be approved now")
    }
}

#[derive(Args)]
pub struct Status {
    #[command(flatten)]
    place: Where,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    pub fn run(&self) -> Result<()> {
        let site = self.place.site();
        let mut value = ask(&site.control_socket(), &Request::Status)?;
        let public = site.keys().public()?;
        value["siteKey"] = public.site.as_str().into();
        value["operator"] = public.operator.as_str().into();
        let word = |k: &str| value[k].as_str().unwrap_or("none").to_owned();
        let sealed = if value["sealed"] == true { "sealed" } else { "unsealed" };
        let mut text = format!("site {} is {sealed}\n  snapshot  {}", word("site"), word("snapshot"));
        text.push_str(&format!("\n  site key  {}\n  recipient {}", public.site, public.operator));
        if let Some(fingerprint) = value["fingerprint"].as_str() {
            text.push_str(&format!("\n  pages     certificate sha256 {fingerprint}"));
        }
        for warning in value["warnings"].as_array().into_iter().flatten() {
            text.push_str(&format!("\n  warning   {}", warning.as_str().unwrap_or_default()));
        }
        show(self.json, &value, &text)
    }
}
