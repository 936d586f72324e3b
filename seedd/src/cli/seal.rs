//! `seedd seal`

use anyhow::Result;
use appliance::control::Client;
use clap::Args;

use super::args::SiteArgs;

#[derive(Args)]
pub struct Seal {
    #[command(flatten)]
    args: SiteArgs,
}

impl Seal {
    pub fn run(&self) -> Result<()> {
        let sealed = Client::new(&self.args.site().control_socket()).seal()?;
        self.args.show(&sealed, "sealed: the keys are no longer in memory; `seedd unseal` opens them again")
    }
}
