//! `seedd unseal`

use anyhow::Result;
use appliance::control::{Request, ask};
use clap::Args;

use super::args::{PassphraseSource, SiteArgs};

#[derive(Args)]
pub struct Unseal {
    #[command(flatten)]
    passphrase: PassphraseSource,
    #[command(flatten)]
    args: SiteArgs,
}

impl Unseal {
    pub fn run(&self) -> Result<()> {
        let passphrase = self.passphrase.get("Passphrase")?.to_string();
        let value = ask(&self.args.site().control_socket(), &Request::Unseal { passphrase })?;
        self.args.show(&value, "unsealed: machines can be approved now")
    }
}
