//! What JSON of a controller says: links, lists, allowed values, reasons. Pure.
//!
//! The service is a device of somebody else: links are followed only below `/redfish/v1/`, everything has limits, and
//! properties may be null or missing everywhere.

use cluster_seed::ids::Mac;
use serde_json::Value;

/// Longest link followed, in bytes.
const MAX_LINK: usize = 512;
const ROOT: &str = "/redfish/v1/";

/// Graphic ASCII without what could end a line or a header, and without a step upwards.
fn is_plain(path: &str) -> bool {
    let plain = path.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\<>#".contains(&b));
    plain && path.len() <= MAX_LINK && !path.contains("..") && !path.to_ascii_lowercase().contains("%2e")
}

/// The path of a resource; `None` for what leads elsewhere.
pub fn path(text: &str) -> Option<&str> {
    (text.starts_with(ROOT) && is_plain(text) && !text.contains('?')).then_some(text)
}

/// The link of a resource, without a slash at its end.
pub fn link(value: &Value) -> Option<&str> {
    path(value.get("@odata.id")?.as_str()?).map(|p| p.trim_end_matches('/'))
}

/// The links of a list or, as some services have it, of a single value.
pub fn links(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::Array(all)) => all.iter().filter_map(link).collect(),
        Some(one) => link(one).into_iter().collect(),
        None => Vec::new(),
    }
}

/// The link to the next part of a collection (DSP0266, 7.14.4): it may have a query.
pub fn next_part(collection: &Value) -> Option<&str> {
    let next = ["Members@odata.nextLink", "@odata.nextLink"].into_iter().find_map(|k| collection.get(k));
    let next = match next? {
        Value::String(text) => text.as_str(),
        other => other.get("@odata.id")?.as_str()?,
    };
    (next.starts_with(ROOT) && is_plain(next)).then_some(next)
}

/// Where a `Location` leads: a path below the root, of this service (`origins`). Task monitors may be anywhere on it.
pub fn location<'l>(text: &'l str, origins: &(String, String), monitor: bool) -> Option<&'l str> {
    let own =
        [&origins.0, &origins.1].into_iter().filter_map(|o| text.strip_prefix(o.as_str())).find(|rest| rest.starts_with('/'));
    let path = own.unwrap_or(text);
    let inside = path.starts_with(ROOT) || path == ROOT.trim_end_matches('/') || (monitor && is_absolute(path));
    (inside && is_plain(path)).then_some(path)
}

fn is_absolute(path: &str) -> bool {
    path.starts_with('/') && !path.starts_with("//")
}

/// A text property; `None` where it is null, empty or of another type.
pub fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key).and_then(Value::as_str).filter(|t| !t.is_empty())
}

/// An action's target: its own, else where the standard puts it. `None` where the resource at `of` does not have the action.
pub fn action(resource: &Value, of: &str, name: &str) -> Option<String> {
    let action = resource.get("Actions")?.get(format!("#{name}")).filter(|a| a.is_object())?;
    let own = text(action, "target").and_then(path).map(str::to_owned);
    Some(own.unwrap_or_else(|| usual_target(of, name)))
}

/// Where the standard puts an action (DSP0266, 7.6).
pub fn usual_target(of: &str, name: &str) -> String {
    format!("{}/Actions/{name}", of.trim_end_matches('/'))
}

/// The values that `key` may have, as the service writes them; `None` where it does not list any.
pub fn allowable(holder: Option<&Value>, key: &str) -> Option<Vec<String>> {
    strings(holder?.get(format!("{key}@Redfish.AllowableValues")))
}

fn strings(list: Option<&Value>) -> Option<Vec<String>> {
    let all: Vec<String> = list?.as_array()?.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    (!all.is_empty()).then_some(all)
}

/// A parameter that an ActionInfo names (DSP0266, 9.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    pub name: String,
    pub required: bool,
    pub values: Option<Vec<String>>,
}

pub fn parameters(info: &Value) -> Vec<Parameter> {
    let all = info.get("Parameters").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let read = |p: &Value| {
        let required = p.get("Required").and_then(Value::as_bool).unwrap_or(false);
        Some(Parameter { name: text(p, "Name")?.to_owned(), required, values: strings(p.get("AllowableValues")) })
    };
    all.iter().take(64).filter_map(read).collect()
}

/// Those of `wanted` that are allowed, in the service's own spelling; all of them where it does not say.
pub fn fitting(wanted: &[&str], allowed: Option<&[String]>) -> Vec<String> {
    match allowed {
        Some(all) => wanted.iter().filter_map(|w| all.iter().find(|a| a.eq_ignore_ascii_case(w)).cloned()).collect(),
        None => wanted.iter().map(|w| (*w).to_owned()).collect(),
    }
}

/// A MAC address with colons, hyphens, dots or nothing between its digits.
pub fn mac(text: &str) -> Option<Mac> {
    let digits: String = text.trim().chars().filter(|c| !matches!(c, ':' | '-' | '.' | ' ')).collect();
    let bytes: [u8; 6] = hex::decode(digits).ok()?.try_into().ok()?;
    Some(Mac(bytes))
}

/// The interface is the machine's. `Ethernet` is where a network device function has its addresses.
pub fn has_mac(interface: &Value, wanted: Mac) -> bool {
    let holders = [Some(interface), interface.get("Ethernet")].into_iter().flatten();
    let shown = holders.flat_map(|h| ["MACAddress", "PermanentMACAddress", "MacAddress"].into_iter().filter_map(|k| text(h, k)));
    shown.filter_map(mac).any(|m| m == wanted)
}

/// Two SMBIOS UUIDs are one, whichever end of the first three fields comes first (SMBIOS 7.2.1).
pub fn is_uuid(shown: &str, wanted: &str) -> bool {
    let bytes = |text: &str| {
        let digits: String = text.chars().filter(|c| !matches!(c, '-' | '{' | '}' | ' ')).collect();
        hex::decode(digits).ok().filter(|b| b.len() == 16)
    };
    let (Some(shown), Some(wanted)) = (bytes(shown), bytes(wanted)) else { return false };
    // All zeros and all ones mean "not set".
    if wanted.iter().all(|b| *b == 0) || wanted.iter().all(|b| *b == 0xff) {
        return false;
    }
    let mut turned = wanted.clone();
    [0..4, 4..6, 6..8].into_iter().for_each(|part| turned[part].reverse());
    shown == wanted || shown == turned
}

/// JSON of a controller: a byte order mark and bytes that are not UTF-8 do not make it unreadable.
pub fn parse(body: &[u8]) -> serde_json::Result<Value> {
    serde_json::from_str(String::from_utf8_lossy(body).trim_start_matches('\u{feff}'))
}

/// One line of what a service says about a failure, bounded and without control characters.
pub fn reason(body: &[u8]) -> String {
    let json = parse(body).unwrap_or_default();
    let holders = [json.get("error"), Some(&json)].into_iter().flatten();
    let extended = holders.filter_map(|h| h.get("@Message.ExtendedInfo").or_else(|| h.get("Messages"))).flat_map(|list| {
        let all: Vec<&Value> = list.as_array().map_or_else(|| vec![list], |all| all.iter().collect());
        all.into_iter().filter_map(|m| text(m, "Message"))
    });
    let general = json.pointer("/error/message").and_then(Value::as_str).filter(|t| !t.is_empty());
    shown(extended.into_iter().next().or(general).unwrap_or("no reason was given"))
}

/// A text of the controller for people: one line, bounded.
pub fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
