//! Virtual drives: which one takes an image by URL, and inserting it.

use std::collections::HashSet;

use anyhow::anyhow;
use serde_json::Value;
use site::hint;

use super::drive::{self, Drive};
use super::fault::Fault;
use super::find::readable_or_none;
use super::json::{link, links, parameters, path};
use super::service::{Resource, Service};

/// Drives tried.
const MAX_DRIVES: usize = 12;
/// Managers looked at.
const MAX_MANAGERS: usize = 8;

/// URLs of the image, and what to know where all were refused.
#[derive(Debug, Clone, Default)]
pub struct Image {
    pub http: Option<String>,
    /// Where the web interface is reachable by the controller.
    pub https: Option<String>,
}

/// The drives for an ISO image, of the system and of its managers, the best first. `alone`: it is the only system.
pub async fn drives(service: &Service<'_>, root: &Value, system: &Resource, alone: bool) -> Result<Vec<Drive>, Fault> {
    let mut collections: Vec<String> = system.value.get("VirtualMedia").and_then(link).map(str::to_owned).into_iter().collect();
    for manager in managers(service, root, system, alone).await? {
        collections.extend(manager.value.get("VirtualMedia").and_then(link).map(str::to_owned));
    }
    let (mut found, mut seen) = (Vec::new(), HashSet::new());
    for collection in collections {
        if !seen.insert(collection.clone()) {
            continue;
        }
        let all = readable_or_none(service, &collection).await?;
        found.extend(all.into_iter().filter(|d| seen.insert(d.path.clone())).filter_map(Drive::of));
    }
    found.sort_by_key(|d| d.rank);
    found.truncate(MAX_DRIVES);
    if found.is_empty() {
        let none = anyhow!("the controller has no virtual drive for an ISO image");
        return Err(Fault::Other(hint::with(none, "virtual media may need a licence of the vendor")));
    }
    Ok(found)
}

/// The managers of the system; one that also manages others, only where it names this system.
async fn managers(service: &Service<'_>, root: &Value, system: &Resource, alone: bool) -> Result<Vec<Resource>, Fault> {
    let mut found = Vec::new();
    for at in links(system.value.pointer("/Links/ManagedBy")).into_iter().take(MAX_MANAGERS) {
        match service.get(at).await {
            Ok(manager) => found.push(manager),
            Err(f) if f.is_local() => {}
            Err(f) => return Err(f),
        }
    }
    if !found.is_empty() {
        return Ok(found);
    }
    let Some(all) = root.get("Managers").and_then(link) else { return Ok(found) };
    let names = |manager: &Resource| {
        let served = links(manager.value.pointer("/Links/ManagerForServers"));
        if served.is_empty() { alone } else { served.contains(&system.path.as_str()) }
    };
    let mut all = readable_or_none(service, all).await?;
    all.retain(names);
    all.truncate(MAX_MANAGERS);
    Ok(all)
}

/// An image in a drive.
pub struct Inserted {
    pub url: String,
    /// What is not confirmed.
    pub remark: Option<String>,
}

/// Puts the image into the first drive that takes it.
pub async fn insert(service: &Service<'_>, drives: &[Drive], image: &Image) -> Result<Inserted, Fault> {
    let mut refused = None;
    for drive in drives {
        // One that cannot be emptied may take the image all the same.
        if drive.is_full() {
            drive::eject(service, drive).await.or_else(|f| if f.is_final() { Err(f) } else { Ok(None) })?;
        }
        match put(service, drive, image).await {
            Err(f) if !f.is_final() && !matches!(f, Fault::Task(_)) => _ = refused.get_or_insert(f),
            other => return other,
        }
    }
    let fault = refused.unwrap_or_else(|| Fault::Other(anyhow!("there is no medium to insert")));
    if image.https.is_some() || fault.status() == Some(403) {
        return Err(fault);
    }
    Err(Fault::Other(hint::with(
        anyhow::Error::from(fault),
        "some controllers take images by https only: let the web interface listen where they reach it (`seedd serve --pages`)",
    )))
}

async fn put(service: &Service<'_>, drive: &Drive, image: &Image) -> Result<Inserted, Fault> {
    let (at, known) = match &drive.insert {
        Some(at) => (at.as_str(), info(service, drive).await?),
        None => (drive.resource.path.as_str(), Vec::new()),
    };
    let method = if drive.insert.is_some() { "POST" } else { "PATCH" };
    let etag = if drive.insert.is_some() { None } else { drive.resource.etag.as_deref() };
    let (mut refused, mut failed) = (None, None);
    for (url, body) in drive::bodies(drive, image.http.as_deref(), image.https.as_deref(), &known) {
        // Another form of the request does not help where the image could not be fetched; another address may.
        if failed.as_ref() == Some(&url) {
            continue;
        }
        let sent = service.change(method, at, &body, etag).await;
        match sent {
            Err(f) if f.is_elsewhere() => return Err(refused.unwrap_or(f)),
            Err(f @ Fault::Task(_)) => {
                failed = Some(url);
                refused.get_or_insert(f);
            }
            Err(f) if !f.is_final() => _ = refused.get_or_insert(f),
            Err(f @ (Fault::Refused { .. } | Fault::Other(_))) => return Err(f),
            sent => {
                let remark = drive::inserted(service, drive, &url, sent).await?;
                return Ok(Inserted { url, remark });
            }
        }
    }
    Err(refused.unwrap_or_else(|| Fault::Other(anyhow!("this seed has no address for the image"))))
}

/// The parameters of InsertMedia, where the controller describes them.
async fn info(service: &Service<'_>, drive: &Drive) -> Result<Vec<super::json::Parameter>, Fault> {
    let info = drive.resource.value.pointer("/Actions/#VirtualMedia.InsertMedia/@Redfish.ActionInfo");
    let Some(info) = info.and_then(|i| i.as_str().and_then(path).or_else(|| link(i))) else { return Ok(Vec::new()) };
    match service.get(info).await {
        Ok(info) => Ok(parameters(&info.value)),
        Err(f) if f.is_local() => Ok(Vec::new()),
        Err(f) => Err(f),
    }
}

/// Empties the drive that has this seed's medium, else the one that has any.
pub async fn eject(service: &Service<'_>, drives: &[Drive]) -> Result<String, Fault> {
    let full = drives.iter().filter(|d| d.is_full());
    let is_ours = |url: &str| url.rsplit('/').next().is_some_and(|file| file.starts_with("seed-") && file.ends_with(".iso"));
    let ours = full.clone().find(|d| d.image().is_some_and(is_ours));
    let Some(drive) = ours.or_else(|| full.clone().next()).or_else(|| drives.first()) else {
        return Ok("its virtual drive is empty".to_owned());
    };
    let remark = drive::eject(service, drive).await?;
    Ok(remark.unwrap_or_else(|| "its virtual drive is empty".to_owned()))
}
