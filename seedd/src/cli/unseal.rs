//! `seedd unseal`

use anyhow::Result;
use appliance::control::Client;
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
        let passphrase = self.passphrase.get("Passphrase")?;
        let unsealed = Client::new(&self.args.site().control_socket()).unseal(&passphrase)?;
        self.args.show(&unsealed, "unsealed: machines can be approved now")
    }
}
