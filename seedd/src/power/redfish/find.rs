//! The system that is the machine, among those that a controller lists.

use std::collections::HashSet;

use anyhow::anyhow;
use cluster_seed::ids::Mac;
use serde_json::Value;
use site::hint;

use super::fault::Fault;
use super::json::{has_mac, is_uuid, link, links, next_part, text};
use super::service::{Resource, Service};

/// Members of a collection looked at, and parts that it may come in. A chassis of blades lists dozens.
pub const MAX_MEMBERS: usize = 256;
const MAX_PARTS: usize = 64;
/// Interfaces of one system looked at.
const MAX_INTERFACES: usize = 64;

/// How the machine is known.
#[derive(Debug, Clone)]
pub struct Who {
    pub mac: Mac,
    /// SMBIOS UUID, where the machine reported one.
    pub uuid: Option<String>,
}

/// The links of a collection's members, all of its parts.
pub async fn members(service: &Service<'_>, at: &str) -> Result<Vec<String>, Fault> {
    let (mut found, mut seen) = (Vec::<String>::new(), HashSet::new());
    let mut next = Some(at.to_owned());
    while let Some(at) = next.take() {
        if seen.len() >= MAX_PARTS || found.len() >= MAX_MEMBERS || !seen.insert(at.clone()) {
            break;
        }
        let part = service.get(&at).await?;
        let listed = links(part.value.get("Members")).into_iter().map(str::to_owned);
        found.extend(listed.filter(|l| !found.contains(l)).collect::<Vec<_>>());
        next = next_part(&part.value).map(str::to_owned);
    }
    found.truncate(MAX_MEMBERS);
    Ok(found)
}

/// The resources of a collection that can be read. A member may be gone, or fail on its own.
pub async fn readable(service: &Service<'_>, at: &str) -> Result<Vec<Resource>, Fault> {
    let mut found = Vec::new();
    for member in members(service, at).await? {
        match service.get(&member).await {
            Ok(resource) => found.push(resource),
            Err(f) if f.is_local() => {}
            Err(f) => return Err(f),
        }
    }
    Ok(found)
}

/// The only system, else the one with the machine's MAC address, else the one with its UUID. Also whether it is the only one.
pub async fn system(service: &Service<'_>, root: &Value, who: &Who) -> Result<(Resource, bool), Fault> {
    let none = || Fault::Other(anyhow!("the controller lists no systems"));
    let collection = root.get("Systems").and_then(link).unwrap_or("/redfish/v1/Systems");
    let listed = members(service, collection).await?;
    let (mut unread, mut others) = (None, Vec::new());
    let mut gone = 0;
    for path in &listed {
        let system = match service.get(path).await {
            Ok(system) => system,
            Err(f) if f.is_absent() && listed.len() > 1 => {
                gone += 1;
                continue;
            }
            Err(f) if f.is_local() && listed.len() > 1 => {
                unread.get_or_insert(f);
                continue;
            }
            Err(f) => return Err(f),
        };
        if listed.len() == 1 {
            return Ok((system, true));
        }
        if shows_mac(service, &system.value, who.mac).await? {
            return Ok((system, false));
        }
        others.push(system);
    }
    if let Some(by_uuid) = who.uuid.as_ref().and_then(|u| only(&others, |s| text(s, "UUID").is_some_and(|t| is_uuid(t, u)))) {
        return Ok((by_uuid, false));
    }
    // Trays without a node answer 404: what is left is the only system.
    if let ([_], None) = (others.as_slice(), &unread) {
        return others.pop().map(|s| (s, true)).ok_or_else(none);
    }
    match unread {
        _ if listed.is_empty() || gone == listed.len() => Err(none()),
        Some(f) if others.is_empty() => Err(f),
        _ => Err(Fault::Other(hint::with(
            anyhow!("none of the controller's {} systems has the MAC address {}", listed.len(), who.mac),
            "check that this is the controller of this machine, not of another machine or chassis",
        ))),
    }
}

fn only(all: &[Resource], fits: impl Fn(&Value) -> bool) -> Option<Resource> {
    let mut fitting = all.iter().filter(|s| fits(&s.value));
    let first = fitting.next()?;
    fitting.next().is_none().then(|| first.clone())
}

/// Looks at the system's interfaces, and where it has none at the functions of its network cards.
async fn shows_mac(service: &Service<'_>, system: &Value, mac: Mac) -> Result<bool, Fault> {
    let mut collections: Vec<String> = system.get("EthernetInterfaces").and_then(link).map(str::to_owned).into_iter().collect();
    if collections.is_empty() {
        let Some(cards) = system.get("NetworkInterfaces").and_then(link) else { return Ok(false) };
        let cards = readable_or_none(service, cards).await?;
        collections = cards.iter().filter_map(|c| link(c.value.get("NetworkDeviceFunctions")?).map(str::to_owned)).collect();
    }
    let mut left = MAX_INTERFACES;
    for collection in collections {
        let paths = match members(service, &collection).await {
            Ok(paths) => paths,
            Err(f) if f.is_local() => continue,
            Err(f) => return Err(f),
        };
        for path in paths.iter().take(left) {
            left -= 1;
            match service.get(path).await {
                Ok(interface) if has_mac(&interface.value, mac) => return Ok(true),
                Ok(_) => {}
                Err(f) if f.is_local() => {}
                Err(f) => return Err(f),
            }
        }
    }
    Ok(false)
}

/// Like [`readable`]; a collection that cannot be read is empty.
pub async fn readable_or_none(service: &Service<'_>, at: &str) -> Result<Vec<Resource>, Fault> {
    match readable(service, at).await {
        Err(f) if f.is_local() => Ok(Vec::new()),
        other => other,
    }
}
