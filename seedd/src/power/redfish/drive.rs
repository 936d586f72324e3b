//! One virtual drive: how an image is put into it and taken out, and what can be read of it (DSP0268, VirtualMedia).

use anyhow::anyhow;
use serde_json::{Value, json};
use site::hint;

use super::fault::Fault;
use super::json::{Parameter, action, allowable, shown, text};
use super::service::{Look, Resource, Sent, Service};

/// A drive that may take an ISO image.
#[derive(Debug, Clone)]
pub struct Drive {
    pub resource: Resource,
    /// Targets of its actions; without one it is changed by PATCH (DSP0268 before 2017.1).
    pub insert: Option<String>,
    pub eject: Option<String>,
    /// The best has the lowest.
    pub rank: u8,
}

impl Drive {
    /// `None` for drives of other media.
    pub fn of(resource: Resource) -> Option<Self> {
        let kinds = resource.value.get("MediaTypes").and_then(Value::as_array).filter(|all| !all.is_empty());
        let is_optical = |k: &Value| k.as_str().is_some_and(|k| k.eq_ignore_ascii_case("CD") || k.eq_ignore_ascii_case("DVD"));
        if kinds.is_some_and(|all| !all.iter().any(is_optical)) {
            return None;
        }
        let of = |name| action(&resource.value, &resource.path, name);
        let (insert, eject) = (of("VirtualMedia.InsertMedia"), of("VirtualMedia.EjectMedia"));
        let name = resource.path.rsplit('/').next().unwrap_or_default().to_ascii_uppercase();
        let rank = match (insert.is_some(), kinds.is_some()) {
            (true, true) => 0,
            (true, false) => 1,
            // Lenovo's slots for files that were uploaded to the controller.
            (false, _) if name.starts_with("RDOC") => 4,
            (false, true) => 2,
            (false, false) => 3,
        };
        Some(Drive { resource, insert, eject, rank })
    }

    pub fn image(&self) -> Option<&str> {
        text(&self.resource.value, "Image")
    }

    pub fn is_full(&self) -> bool {
        self.image().is_some() || is_inserted(&self.resource.value)
    }
}

fn is_inserted(drive: &Value) -> bool {
    drive.get("Inserted").and_then(Value::as_bool) == Some(true)
}

/// Ways to ask for the image, each with its URL; the usual one first. `known`: what the action says it takes.
pub fn bodies(drive: &Drive, http: Option<&str>, https: Option<&str>, known: &[Parameter]) -> Vec<(String, Value)> {
    const PROTOCOL: &str = "TransferProtocolType";
    let listed = known.iter().find(|p| p.name == PROTOCOL).and_then(|p| p.values.clone());
    let in_action = drive.resource.value.pointer("/Actions/#VirtualMedia.InsertMedia");
    let protocols =
        listed.or_else(|| allowable(in_action, PROTOCOL)).or_else(|| allowable(Some(&drive.resource.value), PROTOCOL));
    let takes = |p: &str| protocols.as_ref().is_none_or(|all| all.iter().any(|a| a.eq_ignore_ascii_case(p)));
    let mut urls = vec![(http, "HTTP"), (https, "HTTPS")];
    if takes("HTTPS") && !takes("HTTP") {
        urls.reverse();
    }
    let mut all: Vec<(String, Value)> = Vec::new();
    for (url, protocol) in urls.into_iter().filter_map(|(url, p)| Some((url?, p))) {
        let full = json!({ "Image": url, "Inserted": true, "WriteProtected": true });
        let bare = json!({ "Image": url });
        let named = json!({ "Image": url, PROTOCOL: protocol });
        let most =
            json!({ "Image": url, "Inserted": true, "WriteProtected": true, PROTOCOL: protocol, "TransferMethod": "Stream" });
        let described = (!known.is_empty()).then(|| {
            let fits = |name: &str| name == "Image" || known.iter().any(|p| p.name == name && wants(p));
            most.as_object().map(|m| m.iter().filter(|(k, _)| fits(k)).map(|(k, v)| (k.clone(), v.clone())).collect())
        });
        let described = described.flatten().map(Value::Object);
        for body in described.into_iter().chain([full, bare, named, most]) {
            if !all.iter().any(|(_, known)| *known == body) {
                all.push((url.to_owned(), body));
            }
        }
    }
    all
}

/// Of the parameters that are known, these are sent unasked: they keep the medium as it is.
fn wants(parameter: &Parameter) -> bool {
    parameter.required || matches!(parameter.name.as_str(), "Inserted" | "WriteProtected")
}

/// What became of an image that was asked for; a remark where it is not confirmed.
pub async fn inserted(
    service: &Service<'_>,
    drive: &Drive,
    url: &str,
    sent: Result<Sent, Fault>,
) -> Result<Option<String>, Fault> {
    let file = url.rsplit('/').next().unwrap_or(url);
    let before = drive.image().map(str::to_owned);
    let mut other = None;
    let mut look = Look::start(service);
    while look.next().await {
        let Ok(now) = service.get(&drive.resource.path).await else { continue };
        let image = text(&now.value, "Image");
        match image {
            Some(image) if image == url || image.contains(file) => return Ok(None),
            None if is_inserted(&now.value) && !is_inserted(&drive.resource.value) => return Ok(None),
            Some(image) if before.as_deref() != Some(image) => other = Some(shown(image)),
            _ => {}
        }
    }
    let at = &drive.resource.path;
    match (other, sent) {
        (Some(image), _) => Err(Fault::Other(anyhow!("the controller accepted the medium, but {at} has {image}"))),
        (None, Err(lost)) => {
            let error = anyhow::Error::from(lost).context("waiting for the answer to InsertMedia; the virtual drive reads empty");
            Err(Fault::Other(hint::with(error, "the controller may still be fetching the image: repeat this after a minute")))
        }
        (None, Ok(Sent::Unfinished(state))) => Err(Fault::Other(hint::with(
            anyhow!("the controller has not finished inserting the medium ({state})"),
            "it may still be fetching the image: repeat this after a minute",
        ))),
        (None, Ok(Sent::Done)) => Ok(Some(format!("the controller accepted the medium but does not show it in {at}"))),
    }
}

/// Empties the drive. A remark where it is not confirmed.
pub async fn eject(service: &Service<'_>, drive: &Drive) -> Result<Option<String>, Fault> {
    let sent = take_out(service, drive).await;
    if let Err(Fault::Refused { status: 401 | 403, .. } | Fault::Other(_)) = &sent {
        return sent.map(|_| None);
    }
    let mut left = None;
    let mut look = Look::start(service);
    while look.next().await {
        let Ok(now) = service.get(&drive.resource.path).await else { continue };
        left = text(&now.value, "Image").map(shown);
        // Some say "inserted" of a drive without an image.
        if left.is_none() {
            return Ok(None);
        }
        if matches!(sent, Err(Fault::Refused { .. } | Fault::Task(_))) {
            break;
        }
    }
    sent?;
    Ok(Some(format!("the controller accepted this, but its virtual drive still shows {}", left.unwrap_or_default())))
}

async fn take_out(service: &Service<'_>, drive: &Drive) -> Result<Sent, Fault> {
    if let Some(at) = &drive.eject {
        return service.change("POST", at, &json!({}), None).await;
    }
    let mut refused = None;
    for body in [json!({ "Image": null, "Inserted": false }), json!({ "Image": null }), json!({ "Image": "" })] {
        match service.change("PATCH", &drive.resource.path, &body, drive.resource.etag.as_deref()).await {
            Err(f) if !f.is_final() => _ = refused.get_or_insert(f),
            other => return other,
        }
    }
    Err(refused.unwrap_or_else(|| Fault::Other(anyhow!("the virtual drive cannot be emptied"))))
}
