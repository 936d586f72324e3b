//! `seedd power`

use std::io::IsTerminal as _;

use anyhow::{Result, anyhow};
use appliance::control::answer::{self, ControllerKind, PowerAction, Privilege};
use appliance::control::{Client, SetController};
use camino::Utf8PathBuf;
use clap::{Args, Subcommand, ValueEnum};
use cluster_seed::ids::Mac;
use site::hint::Hint as _;

use super::args::SiteArgs;
use super::prompt::{ask_secret, confirm, passphrase_from};

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
  seedd power controller 52:54:00:ab:00:01 --kind ipmi --address 10.44.9.1 --user admin
  seedd power controller 52:54:00:ab:00:01 --kind ipmi --address 10.44.9.1 --user ops --cipher-suite 3 --privilege operator")]
    Controller(Controller),
    /// Confirm the certificate of a Redfish controller
    ///
    /// Reads the certificate, shows its SHA-256 fingerprint and asks for confirmation. Until then no password is sent to
    /// the controller; a certificate that changes has to be confirmed again.
    #[command(after_long_help = "\
Examples:
  seedd power trust 52:54:00:ab:00:01
  seedd power trust 52:54:00:ab:00:01 --fingerprint 5D:0A:...:7F")]
    Trust(Trust),
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

#[derive(Clone, Copy, ValueEnum)]
enum Level {
    User,
    Operator,
    Administrator,
}

#[derive(Args)]
pub struct Trust {
    #[command(flatten)]
    one: One,
    /// SHA-256 fingerprint of the certificate, as the controller's own page shows it; without it you are asked
    #[arg(long, value_name = "SHA256")]
    fingerprint: Option<String>,
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
    /// Cipher suite of IPMI: 3, 8, 12 or 17 [default: ipmitool's choice]
    #[arg(long, value_name = "N")]
    cipher_suite: Option<u8>,
    /// Privilege level of IPMI [default: administrator]
    #[arg(long, value_enum)]
    privilege: Option<Level>,
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
            Power::Trust(v) => v.run(),
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
        let privilege = self.privilege.map(|level| match level {
            Level::User => Privilege::User,
            Level::Operator => Privilege::Operator,
            Level::Administrator => Privilege::Administrator,
        });
        let (address, user, password) = (self.address.clone(), self.user.clone(), password.to_string());
        let cipher_suite = self.cipher_suite;
        let set = SetController { mac: self.one.mac, kind, address, user, password, cipher_suite, privilege };
        show(&self.one, &self.one.daemon().set_controller(set)?)
    }
}

fn act(one: &One, action: PowerAction) -> Result<()> {
    let done = one.daemon().act(one.mac, action)?;
    one.args.show(&done, &done.text)
}

impl Trust {
    fn run(&self) -> Result<()> {
        let (daemon, mac) = (self.one.daemon(), self.one.mac);
        let fingerprint = match &self.fingerprint {
            Some(given) => given.clone(),
            None => {
                let power = daemon.certificate(mac)?;
                let Some(offered) = power.controller.as_ref().and_then(|c| c.offered.clone()) else {
                    return show(&self.one, &power);
                };
                let weak = offered.weakness.as_ref().map_or_else(String::new, |w| format!("\n  warning: {w}"));
                let shown = format!("The controller shows a certificate with\n  sha256 {}{weak}", offered.fingerprint);
                if !std::io::stdin().is_terminal() {
                    eprintln!("{shown}");
                    return Err(anyhow!("the certificate is not confirmed: standard input is not a terminal"))
                        .hint(format!("confirm it with --fingerprint {}", offered.fingerprint));
                }
                confirm(&format!("{shown}\nCompare it with the controller's own page or console."), "yes")?;
                offered.fingerprint
            }
        };
        show(&self.one, &daemon.trust(mac, &fingerprint)?)
    }
}

fn show(one: &One, power: &answer::Power) -> Result<()> {
    let text = match &power.controller {
        None => "no controller configured".to_owned(),
        Some(c) => format!("{} at {}, user {}{}", c.kind.as_str(), c.address, c.user, details(one.mac, c)),
    };
    one.args.show(power, &text)
}

/// The lines below a controller's address.
fn details(mac: Mac, c: &answer::Controller) -> String {
    let mut text = String::new();
    if let Some(suite) = c.cipher_suite {
        text += &format!("\n  cipher suite {suite}");
    }
    if let Some(privilege) = c.privilege {
        text += &format!("\n  privilege {}", format!("{privilege:?}").to_lowercase());
    }
    if !c.tls {
        return text;
    }
    text += &match &c.pin {
        Some(pin) => format!("\n  certificate sha256 {pin}, confirmed"),
        None => format!("\n  certificate not confirmed yet: run `seedd power trust {mac}`"),
    };
    if let Some(weakness) = &c.weakness {
        text += &format!("\n  warning: {weakness}");
    }
    if let Some(offered) = &c.offered {
        text += &format!("\n  it now shows sha256 {}, which is not confirmed", offered.fingerprint);
        if let Some(weakness) = &offered.weakness {
            text += &format!("\n  warning: {weakness}");
        }
    }
    text
}
