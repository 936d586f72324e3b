//! `seedd power`

use anyhow::Result;
use appliance::control::answer::{self, ControllerKind, PowerAction};
use appliance::control::{Client, SetController};
use camino::Utf8PathBuf;
use clap::{Args, Subcommand, ValueEnum};
use cluster_seed::ids::Mac;

use super::args::SiteArgs;
use super::prompt::{ask_secret, passphrase_from};

#[derive(Subcommand)]
pub enum Power {
    /// Show the machine's power state
    Status(One),
    /// Power on
    On(One),
    /// Power off immediately, without a shutdown
    Off(One),
    /// Power off and on immediately, without a shutdown
    Cycle(One),
    /// Boot from the network next time
    Pxe(One),
    /// Insert the seed medium into the virtual drive and boot from it next time (Redfish)
    InsertMedia(One),
    /// Eject the medium from the virtual drive
    EjectMedia(One),
    /// Send a Wake-on-LAN packet; needs no controller
    Wake(One),
    /// Show the machine's controller and its certificate
    Show(One),
    /// Save a controller's address, user and password
    ///
    /// The password is encrypted to the site's vault, so the seed must be unsealed to use it.
    #[command(after_long_help = "\
Examples:
  seedd power controller 52:54:00:ab:00:01 --kind redfish --address https://10.44.9.1 --user admin
  seedd power controller 52:54:00:ab:00:01 --kind ipmi --address 10.44.9.1 --user admin")]
    Controller(Controller),
    /// Delete the controller and its password
    Forget(One),
}

#[derive(Args)]
pub struct One {
    #[command(flatten)]
    args: SiteArgs,
    /// MAC address of the machine
    mac: Mac,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Redfish,
    Ipmi,
}

#[derive(Args)]
pub struct Controller {
    #[command(flatten)]
    one: One,
    /// Protocol of the controller
    #[arg(long, value_enum)]
    kind: Kind,
    /// Address, for example https://10.44.9.1 (Redfish) or 10.44.9.1 (IPMI)
    #[arg(long)]
    address: String,
    /// User name on the controller
    #[arg(long)]
    user: String,
    /// Read the password from the first line of this file instead of prompting
    #[arg(long, value_name = "FILE")]
    password_file: Option<Utf8PathBuf>,
}

impl Power {
    pub fn run(&self) -> Result<()> {
        match self {
            Power::Status(one) => act(one, PowerAction::Status),
            Power::On(one) => act(one, PowerAction::On),
            Power::Off(one) => act(one, PowerAction::Off),
            Power::Cycle(one) => act(one, PowerAction::Cycle),
            Power::Pxe(one) => act(one, PowerAction::NextBootPxe),
            Power::InsertMedia(one) => act(one, PowerAction::InsertMedia),
            Power::EjectMedia(one) => act(one, PowerAction::EjectMedia),
            Power::Wake(one) => act(one, PowerAction::Wake),
            Power::Show(one) => show(one, &one.daemon().power(one.mac)?),
            Power::Forget(one) => show(one, &one.daemon().forget_controller(one.mac)?),
            Power::Controller(v) => v.save(),
        }
    }
}

impl One {
    fn daemon(&self) -> Client {
        Client::new(&self.args.site().control_socket())
    }
}

impl Controller {
    fn save(&self) -> Result<()> {
        let password = match &self.password_file {
            Some(path) => passphrase_from(path)?,
            None => ask_secret("Password of the controller")?,
        };
        let kind = match self.kind {
            Kind::Redfish => ControllerKind::Redfish,
            Kind::Ipmi => ControllerKind::Ipmi,
        };
        let (address, user, password) = (self.address.clone(), self.user.clone(), password.to_string());
        let set = SetController { mac: self.one.mac, kind, address, user, password };
        show(&self.one, &self.one.daemon().set_controller(set)?)
    }
}

fn act(one: &One, action: PowerAction) -> Result<()> {
    let done = one.daemon().act(one.mac, action)?;
    one.args.show(&done, &done.text)
}

fn show(one: &One, power: &answer::Power) -> Result<()> {
    let text = match &power.controller {
        None => "no controller configured".to_owned(),
        Some(c) => {
            let pin = c.pin.as_deref().unwrap_or("none yet; the next one seen is trusted");
            format!("{} at {}, user {}\n  certificate sha256 {pin}", c.kind.as_str(), c.address, c.user)
        }
    };
    one.args.show(power, &text)
}
