//! `seedd power`

use anyhow::Result;
use camino::Utf8PathBuf;
use clap::{Args, Subcommand, ValueEnum};
use cluster_seed::ids::Mac;
use web::api::{BmcKind, PowerAction};

use super::{Where, ask_secret, passphrase_from, show};
use appliance::control::SiteRequest;
use appliance::control::{Request, ask};

#[derive(Subcommand)]
pub enum Power {
    /// Ask the controller how the machine is
    Status(One),
    /// Switch it on
    On(One),
    /// Switch it off at once, as if the plug were pulled
    Off(One),
    /// Switch it off and on at once
    Cycle(One),
    /// Start it from the network next time
    Pxe(One),
    /// Put the seed's medium in its virtual drive, and start it from there next time (Redfish)
    InsertMedia(One),
    /// Take the medium out again
    EjectMedia(One),
    /// Send it a Wake-on-LAN packet; needs no controller
    Wake(One),
    /// Which controller is known, and its certificate
    Show(One),
    /// Keep a controller's address, user and password; the password is sealed to the vault
    Controller(Controller),
    /// Forget the controller and its password
    Forget(One),
}

#[derive(Args)]
pub struct One {
    #[command(flatten)]
    place: Where,
    /// The machine's MAC address
    mac: Mac,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
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
    #[arg(long, value_enum)]
    kind: Kind,
    /// https://10.44.9.1 for Redfish, 10.44.9.1 for IPMI
    #[arg(long)]
    address: String,
    #[arg(long)]
    user: String,
    /// Read the password from the first line of this file instead of asking
    #[arg(long, value_name = "FILE")]
    password_file: Option<Utf8PathBuf>,
}

impl Power {
    pub fn run(&self) -> Result<()> {
        let act = |one, action| run(one, SiteRequest::Act { mac: of(one), action }, done);
        match self {
            Power::Status(one) => act(one, PowerAction::Status),
            Power::On(one) => act(one, PowerAction::On),
            Power::Off(one) => act(one, PowerAction::Off),
            Power::Cycle(one) => act(one, PowerAction::Cycle),
            Power::Pxe(one) => act(one, PowerAction::NextBootPxe),
            Power::InsertMedia(one) => act(one, PowerAction::InsertMedia),
            Power::EjectMedia(one) => act(one, PowerAction::EjectMedia),
            Power::Wake(one) => act(one, PowerAction::Wake),
            Power::Show(one) => run(one, SiteRequest::Power { mac: one.mac }, controller),
            Power::Forget(one) => run(one, SiteRequest::ForgetController { mac: one.mac }, controller),
            Power::Controller(v) => v.keep(),
        }
    }
}

fn of(one: &One) -> Mac {
    one.mac
}

impl Controller {
    fn keep(&self) -> Result<()> {
        let password = match &self.password_file {
            Some(path) => passphrase_from(path)?,
            None => ask_secret("Password of the controller")?,
        };
        let kind = match self.kind {
            Kind::Redfish => BmcKind::Redfish,
            Kind::Ipmi => BmcKind::Ipmi,
        };
        let (address, user, password) = (self.address.clone(), self.user.clone(), password.to_string());
        run(&self.one, SiteRequest::Controller { mac: self.one.mac, kind, address, user, password }, controller)
    }
}

fn run(one: &One, ask_for: SiteRequest, text: fn(&serde_json::Value) -> String) -> Result<()> {
    let value = ask(&one.place.site().control_socket(), &Request::Site { ask: ask_for })?;
    show(one.json, &value, &text(&value))
}

fn done(value: &serde_json::Value) -> String {
    value["text"].as_str().unwrap_or_default().to_owned()
}

fn controller(value: &serde_json::Value) -> String {
    let c = &value["controller"];
    let word = |name: &str| c[name].as_str().unwrap_or("none").to_owned();
    if c.is_null() {
        return "no controller is known".to_owned();
    }
    let pin = c["pin"].as_str().unwrap_or("none yet: the one it shows next counts");
    format!("{} at {}, user {}\n  certificate sha256 {pin}", word("kind"), word("address"), word("user"))
}
