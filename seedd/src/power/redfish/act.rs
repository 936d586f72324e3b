//! What an operator asked for, as requests to a Redfish service.

use anyhow::anyhow;
use site::hint;
use web::api::PowerAction;

use super::boot;
use super::fault::Fault;
use super::find::{Who, system};
use super::media::{self, Image, Inserted};
use super::reset;
use super::service::{Resource, Service};

/// A machine, an action and what it needs.
pub struct Wish {
    pub who: Who,
    pub action: PowerAction,
    /// How the machine is known to boot.
    pub uefi: Option<bool>,
    pub image: Image,
    /// Basic authentication was refused before, and a session taken.
    pub session: bool,
}

/// Does it; what happened, in words. Success is what was read back; what was not confirmed says so.
pub async fn act(service: &Service<'_>, wish: &Wish) -> Result<String, Fault> {
    let root = service.root().await?;
    if wish.session {
        match service.log_in().await {
            Err(f) if f.status() == Some(401) => return Err(f),
            // Sessions are off now: basic authentication it is.
            _ => {}
        }
    }
    let (system, alone) = system(service, &root, &wish.who).await?;
    match wish.action {
        PowerAction::Status => Ok(format!("it is {}", reset::state(&system.value))),
        PowerAction::On | PowerAction::Off | PowerAction::Cycle => reset::reset(service, &system, wish.action).await,
        PowerAction::NextBootPxe => pxe(service, &system, wish).await,
        PowerAction::InsertMedia => insert(service, &root, &system, alone, wish).await,
        PowerAction::EjectMedia => {
            let drives = media::drives(service, &root, &system, alone).await?;
            media::eject(service, &drives).await
        }
        PowerAction::Wake => Err(Fault::Other(anyhow!("a magic packet is not sent by a controller"))),
    }
}

async fn pxe(service: &Service<'_>, system: &Resource, wish: &Wish) -> Result<String, Fault> {
    let wanted = boot::wanted(system.value.get("Boot"), &["Pxe"], wish.uefi).map_err(|why| Fault::Other(anyhow!(why)))?;
    Ok(match boot::once(service, system, &wanted).await? {
        None => format!("its next start is from the network{}", in_mode(&wanted)),
        Some(remark) => format!("network boot at the next start: {remark}"),
    })
}

fn in_mode(wanted: &boot::Override) -> String {
    wanted.mode.as_ref().map_or_else(String::new, |m| format!(", in the mode {m}"))
}

async fn insert(
    service: &Service<'_>,
    root: &serde_json::Value,
    system: &Resource,
    alone: bool,
    wish: &Wish,
) -> Result<String, Fault> {
    if wish.image.http.is_none() {
        let none = anyhow!("this seed has no medium of its own");
        return Err(Fault::Other(hint::with(none, "`seedd image build --target seed-iso` builds one")));
    }
    // Before anything is changed: a medium that the machine cannot start from is of no use.
    let supermicro = super::json::text(&system.value, "Manufacturer").is_some_and(|m| m.to_lowercase().contains("supermicro"));
    let sources: [&str; 2] = if supermicro { ["UsbCd", "Cd"] } else { ["Cd", "UsbCd"] };
    let boot = system.value.get("Boot");
    let wanted = boot::wanted(boot, &sources, wish.uefi).map_err(|why| Fault::Other(anyhow!(why)))?;
    let drives = media::drives(service, root, system, alone).await?;
    let inserted = media::insert(service, &drives, &wish.image).await?;
    let started = boot::once(service, system, &wanted).await.map_err(|f| {
        let error = anyhow::Error::from(f).context("the medium is in the virtual drive; selecting it for the next start");
        Fault::Other(error)
    })?;
    let Inserted { url, remark } = inserted;
    let remarks: Vec<String> = [remark, started].into_iter().flatten().collect();
    Ok(match remarks.is_empty() {
        true => format!("{url} is in its virtual drive, and its next start is from there{}", in_mode(&wanted)),
        false => format!("the next start from {url}: {}", remarks.join("; ")),
    })
}
