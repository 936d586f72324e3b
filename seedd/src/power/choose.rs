//! What to ask of a Redfish service, from what it says of itself. Pure: JSON in, requests out (DMTF DSP0266, DSP0268).
//!
//! The service is a device of somebody else: links are followed only below `/redfish/v1/`, lists have limits.

use cluster_seed::ids::Mac;
use serde_json::{Value, json};
use web::api::PowerAction;

/// Members of a collection looked at.
pub const MAX_MEMBERS: usize = 16;

/// The link of a resource; `None` for what leads elsewhere.
pub fn link(value: &Value) -> Option<&str> {
    let path = value.get("@odata.id")?.as_str()?;
    let plain = path.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\<>#?".contains(&b));
    (path.starts_with("/redfish/v1/") && plain && path.len() <= 512 && !path.contains("..")).then_some(path)
}

pub fn members(collection: &Value) -> Vec<&str> {
    let all = collection.get("Members").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    all.iter().take(MAX_MEMBERS).filter_map(link).collect()
}

/// The action's own target, else where the standard puts it.
fn target(resource: &Value, action: &str, usual: &str) -> Option<String> {
    let told = resource.pointer(&format!("/Actions/{action}/target")).and_then(Value::as_str);
    let told = told.and_then(|t| link(&json!({ "@odata.id": t })).map(str::to_owned));
    told.or_else(|| Some(format!("{}{usual}", link(resource)?)))
}

/// The first of `wanted` that the service allows; where it does not say, the first.
fn allowed<'w>(resource: &Value, list: &str, wanted: &[&'w str]) -> Option<&'w str> {
    match resource.pointer(list).and_then(Value::as_array) {
        Some(all) => wanted.iter().copied().find(|w| all.iter().any(|a| a == w)),
        None => wanted.first().copied(),
    }
}

/// A request to send: method, path, body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    pub method: &'static str,
    pub path: String,
    pub body: Value,
}

/// The reset that `action` asks for, by the system's state.
pub fn reset(system: &Value, action: PowerAction) -> Result<Ask, String> {
    let off = system.get("PowerState").and_then(Value::as_str) == Some("Off");
    let wanted: &[&str] = match action {
        PowerAction::On => &["On", "ForceOn"],
        PowerAction::Off => &["ForceOff"],
        // A machine that is off cannot be restarted.
        PowerAction::Cycle if off => &["On", "ForceOn"],
        PowerAction::Cycle => &["PowerCycle", "ForceRestart"],
        _ => return Err("this is not a change of power".to_owned()),
    };
    let list = "/Actions/#ComputerSystem.Reset/ResetType@Redfish.AllowableValues";
    let kind = allowed(system, list, wanted).ok_or_else(|| format!("the controller cannot do {}", wanted.join(" or ")))?;
    let path = target(system, "#ComputerSystem.Reset", "/Actions/ComputerSystem.Reset").ok_or("the system has no name")?;
    Ok(Ask { method: "POST", path, body: json!({ "ResetType": kind }) })
}

/// Once from `source` (`Pxe` or `Cd`), in the mode that the system boots in anyway.
pub fn boot_once(system: &Value, source: &str) -> Result<Ask, String> {
    let list = "/Boot/BootSourceOverrideTarget@Redfish.AllowableValues";
    let from = allowed(system, list, &[source]).ok_or_else(|| format!("the controller cannot start it from {source}"))?;
    let path = link(system).ok_or("the system has no name")?.to_owned();
    let body = json!({ "Boot": { "BootSourceOverrideTarget": from, "BootSourceOverrideEnabled": "Once" } });
    Ok(Ask { method: "PATCH", path, body })
}

/// True for a drive that takes an ISO image.
pub fn takes_iso(drive: &Value) -> bool {
    let kinds = drive.get("MediaTypes").and_then(Value::as_array);
    kinds.is_some_and(|all| all.iter().any(|k| k == "CD" || k == "DVD"))
}

pub fn insert(drive: &Value, url: &str) -> Option<Ask> {
    let path = target(drive, "#VirtualMedia.InsertMedia", "/Actions/VirtualMedia.InsertMedia")?;
    Some(Ask { method: "POST", path, body: json!({ "Image": url, "Inserted": true, "WriteProtected": true }) })
}

pub fn eject(drive: &Value) -> Option<Ask> {
    let path = target(drive, "#VirtualMedia.EjectMedia", "/Actions/VirtualMedia.EjectMedia")?;
    Some(Ask { method: "POST", path, body: json!({}) })
}

/// The interface is the machine's.
pub fn has_mac(interface: &Value, mac: Mac) -> bool {
    let told = ["MACAddress", "PermanentMACAddress"].into_iter().filter_map(|k| interface.get(k)?.as_str());
    told.filter_map(|t| t.parse::<Mac>().ok()).any(|m| m == mac)
}

/// One line of what a service says about a failure, bounded and without control characters.
pub fn reason(body: &[u8]) -> String {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let extended = json.pointer("/error/@Message.ExtendedInfo/0/Message").and_then(Value::as_str);
    let text = extended.or_else(|| json.pointer("/error/message").and_then(Value::as_str)).unwrap_or("no reason was given");
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(state: &str, resets: &[&str]) -> Value {
        json!({
            "@odata.id": "/redfish/v1/Systems/1",
            "PowerState": state,
            "Boot": { "BootSourceOverrideTarget@Redfish.AllowableValues": ["Pxe", "Hdd"] },
            "Actions": { "#ComputerSystem.Reset": {
                "target": "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset",
                "ResetType@Redfish.AllowableValues": resets,
            }},
        })
    }

    #[test]
    fn the_reset_fits_the_state_and_the_controller() {
        use PowerAction::{Cycle, Off, On, Status};
        let all = ["On", "ForceOff", "ForceRestart", "PowerCycle"];
        for (state, resets, action, kind) in [
            ("Off", &all[..], On, Some("On")),
            ("Off", &["ForceOn"], On, Some("ForceOn")),
            ("On", &all, Off, Some("ForceOff")),
            ("On", &all, Cycle, Some("PowerCycle")),
            ("On", &["ForceRestart"], Cycle, Some("ForceRestart")),
            ("Off", &all, Cycle, Some("On")),
            ("On", &["GracefulShutdown"], Off, None),
            ("On", &all, Status, None),
        ] {
            let asked = reset(&system(state, resets), action).ok();
            assert_eq!(asked.as_ref().map(|a| a.body["ResetType"].as_str().unwrap()), kind, "{state} {resets:?} {action:?}");
        }
        let bare = json!({ "@odata.id": "/redfish/v1/Systems/1" });
        assert_eq!(reset(&bare, On).unwrap().path, "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset");
    }

    #[test]
    fn links_lead_nowhere_else() {
        for (path, good) in [
            ("/redfish/v1/Systems/1", true),
            ("/redfish/v1/Systems/a%20b", true),
            ("https://evil/redfish/v1/Systems/1", false),
            ("//evil/redfish/v1/", false),
            ("/redfish/v1/../../admin", false),
            ("/redfish/v1/a b", false),
            ("/redfish/v1/a\r\nHost: evil", false),
            ("/admin", false),
        ] {
            assert_eq!(link(&json!({ "@odata.id": path })).is_some(), good, "{path:?}");
        }
        let mut evil = system("On", &["ForceOff"]);
        evil["Actions"]["#ComputerSystem.Reset"]["target"] = json!("http://evil/");
        assert_eq!(reset(&evil, PowerAction::Off).unwrap().path, "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset");
        let many = json!({ "Members": vec![json!({ "@odata.id": "/redfish/v1/Systems/1" }); 1000] });
        assert_eq!(members(&many).len(), MAX_MEMBERS);
        assert!(members(&json!({ "Members": 7 })).is_empty());
    }

    #[test]
    fn next_boot_media_and_interfaces() {
        assert!(boot_once(&system("On", &[]), "Pxe").is_ok());
        assert!(boot_once(&system("On", &[]), "Cd").is_err());
        assert!(takes_iso(&json!({ "MediaTypes": ["CD", "DVD"] })) && !takes_iso(&json!({ "MediaTypes": ["Floppy"] })));
        let drive = json!({ "@odata.id": "/redfish/v1/Systems/1/VirtualMedia/Cd" });
        assert_eq!(insert(&drive, "http://10.44.0.1/media/seed-1.iso").unwrap().body["WriteProtected"], true);
        assert!(eject(&drive).unwrap().path.ends_with("/Cd/Actions/VirtualMedia.EjectMedia"));
        let mac = Mac([0x52, 0x54, 0, 0xab, 0, 1]);
        assert!(has_mac(&json!({ "MACAddress": "52:54:00:AB:00:01" }), mac));
        assert!(!has_mac(&json!({ "MACAddress": "52:54:00:AB:00:02" }), mac) && !has_mac(&json!({}), mac));
        assert_eq!(reason(br#"{"error":{"message":"no\nsuch thing"}}"#), "no such thing");
        assert_eq!(reason(b"<html>"), "no reason was given");
    }
}
