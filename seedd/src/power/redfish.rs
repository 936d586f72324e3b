//! What an operator asked for, as requests to a Redfish service.

use anyhow::{Result, anyhow};
use cluster_seed::ids::Mac;
use serde_json::Value;
use site::hint::Hint as _;
use web::api::PowerAction;

use super::choose::{Ask, boot_once, eject, has_mac, insert, link, members, reset, takes_iso};
use super::net::https::Client;

/// Does it; what happened, in words. `medium` is the URL of the image for the virtual drive.
pub async fn act(client: &Client, mac: Mac, action: PowerAction, medium: Option<&str>) -> Result<String> {
    let root = client.get("/redfish/v1/").await?;
    let system = find(client, &root, mac).await?;
    let state = system.get("PowerState").and_then(Value::as_str).unwrap_or("unknown").to_lowercase();
    match action {
        PowerAction::Status => {
            Ok(format!("it is {}", state.chars().filter(char::is_ascii_alphanumeric).take(20).collect::<String>()))
        }
        PowerAction::On if state == "on" => Ok("it is on already".to_owned()),
        PowerAction::Off if state == "off" => Ok("it is off already".to_owned()),
        PowerAction::On | PowerAction::Off | PowerAction::Cycle => {
            let ask = reset(&system, action).map_err(anyhow::Error::msg)?;
            client.ask(&ask).await?;
            Ok(format!("the controller was told to do {}", ask.body["ResetType"].as_str().unwrap_or_default()))
        }
        PowerAction::NextBootPxe => {
            once(client, &system, "Pxe").await?;
            Ok("its next start is from the network".to_owned())
        }
        PowerAction::InsertMedia => {
            let url = medium
                .ok_or_else(|| anyhow!("this seed has no medium of its own"))
                .hint("`seedd image build --target seed-iso` builds one")?;
            let drive = drive(client, &system).await?;
            if drive.get("Inserted").and_then(Value::as_bool) == Some(true) {
                client.ask(&named(eject(&drive))?).await?;
            }
            client.ask(&named(insert(&drive, url))?).await?;
            once(client, &system, "Cd").await?;
            Ok(format!("{url} is in its virtual drive, and its next start is from there"))
        }
        PowerAction::EjectMedia => {
            client.ask(&named(eject(&drive(client, &system).await?))?).await?;
            Ok("its virtual drive is empty".to_owned())
        }
        PowerAction::Wake => Err(anyhow!("a magic packet is not sent by a controller")),
    }
}

fn named(ask: Option<Ask>) -> Result<Ask> {
    ask.ok_or_else(|| anyhow!("the controller's drive has no name"))
}

async fn once(client: &Client, system: &Value, source: &str) -> Result<()> {
    client.ask(&boot_once(system, source).map_err(anyhow::Error::msg)?).await
}

/// The system that this machine is: the only one, else the one with its MAC address.
async fn find(client: &Client, root: &Value, mac: Mac) -> Result<Value> {
    let systems = root.get("Systems").and_then(link).ok_or_else(|| anyhow!("the controller lists no systems"))?;
    let all = client.get(systems).await?;
    let paths = members(&all);
    if let [only] = paths.as_slice() {
        return client.get(only).await;
    }
    for path in &paths {
        let system = client.get(path).await?;
        let Some(interfaces) = system.get("EthernetInterfaces").and_then(link) else { continue };
        let list = client.get(interfaces).await?;
        for interface in members(&list) {
            if has_mac(&client.get(interface).await?, mac) {
                return Ok(system);
            }
        }
    }
    Err(anyhow!("none of the controller's {} systems has the MAC address {mac}", paths.len()))
        .hint("is this the controller of another machine or chassis?")
}

/// A virtual drive that takes an ISO image, of the system or of its manager.
async fn drive(client: &Client, system: &Value) -> Result<Value> {
    let none = || anyhow!("the controller has no virtual drive for an ISO image");
    let own = system.get("VirtualMedia").and_then(link).map(str::to_owned);
    let collection = match own {
        Some(path) => path,
        None => {
            let manager = system.pointer("/Links/ManagedBy/0").and_then(link).ok_or_else(none)?;
            client.get(manager).await?.get("VirtualMedia").and_then(link).ok_or_else(none)?.to_owned()
        }
    };
    let list = client.get(&collection).await?;
    for path in members(&list) {
        let drive = client.get(path).await?;
        if takes_iso(&drive) {
            return Ok(drive);
        }
    }
    Err(none()).hint("virtual media may need a licence of the maker")
}
