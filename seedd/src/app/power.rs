//! Power control of machines: who may use it, how often, and through which controller. Every change is recorded.

use cluster_seed::events::EventKind;
use cluster_seed::ids::Mac;
use cluster_seed::machine::Firmware;
use host::clock::{now_ms, steady};
use site::hint;
use site::store::events::NewEvent;
use site::store::machines::MachineRecord;
use web::api::{ApiError, BmcKind, BmcView, PowerAction, PowerDone, PowerView, SetPower};

use super::{App, unexpected};
use crate::power::controller::{Controller, SETTING};
use crate::power::net::https::Client;
use crate::power::net::wake::wake;
use crate::power::{redfish, tool};

fn key(mac: Mac) -> String {
    format!("{SETTING}{mac}")
}

/// A failure that the operator can act on.
fn failed(e: &anyhow::Error) -> ApiError {
    ApiError::BadRequest { why: format!("{e:#}"), hint: hint::of(e) }
}

/// The event kind, and the action as its text names it.
fn kind(action: PowerAction) -> (EventKind, &'static str) {
    match action {
        PowerAction::Status => (EventKind::PowerStatus, "reading the power state"),
        PowerAction::On => (EventKind::PowerOn, "power on"),
        PowerAction::Off => (EventKind::PowerOff, "power off"),
        PowerAction::Cycle => (EventKind::PowerCycle, "power cycle"),
        PowerAction::NextBootPxe => (EventKind::PowerNextBoot, "network boot at the next start"),
        PowerAction::InsertMedia => (EventKind::PowerMedia, "inserting the seed medium"),
        PowerAction::EjectMedia => (EventKind::PowerMedia, "ejecting the medium"),
        PowerAction::Wake => (EventKind::PowerWake, "Wake-on-LAN"),
    }
}

impl App {
    fn record_of(&self, id: i64) -> Result<MachineRecord, ApiError> {
        Ok(self.store.read(|tx| tx.machine(id))?)
    }

    fn controller_of(&self, mac: Mac) -> Result<Option<Controller>, ApiError> {
        let kept = self.store.setting(&key(mac))?;
        kept.map(|text| serde_json::from_str(&text)).transpose().map_err(unexpected)
    }

    /// File name of this seed's newest medium.
    pub fn medium(&self) -> Option<String> {
        let files = std::fs::read_dir(self.site.join("media")).ok()?;
        let named = files.filter_map(|e| {
            let entry = e.ok()?;
            let name = entry.file_name().into_string().ok()?;
            Some((entry.metadata().ok()?.modified().ok()?, name)).filter(|(_, name)| is_medium(name))
        });
        named.max().map(|(_, name)| name)
    }

    pub fn view_power(&self, id: i64) -> Result<PowerView, ApiError> {
        let controller = self.controller_of(self.record_of(id)?.mac)?.map(|c| BmcView {
            kind: c.kind,
            address: c.address(),
            user: c.user.clone(),
            pin: c.shown_pin(),
        });
        Ok(PowerView { controller, medium: self.medium() })
    }

    pub fn set_controller(&self, who: &str, id: i64, set: &SetPower) -> Result<PowerView, ApiError> {
        let machine = self.record_of(id)?;
        // Stored while the keys are held: the vault key must not change in between.
        self.with_keys(|keys| {
            let controller = Controller::new(set, &keys.vault.recipient()).map_err(|e| failed(&e))?;
            let text = format!("controller set to {}", controller.address());
            let json = serde_json::to_string(&controller).map_err(unexpected)?;
            self.write(|tx| {
                tx.set(&key(machine.mac), &json)?;
                let new = NewEvent::new(EventKind::PowerController, &text);
                tx.event(now_ms(), &NewEvent { machine: Some(machine.id), actor: Some(who), ..new })?;
                Ok(())
            })
        })?;
        self.view_power(id)
    }

    /// Stores the first certificate of a controller, unless the controller was changed or forgotten meanwhile.
    fn pin(&self, mac: Mac, seen: &Controller, pin: &str) -> Result<(), ApiError> {
        self.write(|tx| {
            let Some(text) = tx.setting(&key(mac))? else { return Ok(()) };
            let mut held: Controller = serde_json::from_str(&text).map_err(unexpected)?;
            if held.address() == seen.address() && held.pin.is_none() {
                held.pin = Some(pin.to_owned());
                tx.set(&key(mac), &serde_json::to_string(&held).map_err(unexpected)?)?;
            }
            Ok(())
        })
    }

    pub fn forget_controller(&self, who: &str, id: i64) -> Result<PowerView, ApiError> {
        let machine = self.record_of(id)?;
        self.write(|tx| {
            if tx.unset(&key(machine.mac))? {
                let text = "controller and password deleted";
                let event = NewEvent { machine: Some(id), actor: Some(who), ..NewEvent::new(EventKind::PowerController, text) };
                tx.event(now_ms(), &event)?;
            }
            Ok(())
        })?;
        self.view_power(id)
    }

    /// Performs the action and records who asked for it, with the result.
    pub fn act_power(&self, who: &str, id: i64, action: PowerAction) -> Result<PowerDone, ApiError> {
        let machine = self.record_of(id)?;
        self.power.take(id, steady()).map_err(|seconds| ApiError::TooMany { seconds })?;
        let done = match action {
            PowerAction::Wake => self.wake(machine.mac),
            _ => self.by_controller(&machine, action),
        };
        let (kind, what) = kind(action);
        let (kind, text) = match &done {
            Ok(text) => (kind, format!("{what}: {text}")),
            // Nothing was attempted, so nothing is recorded.
            Err(ApiError::Sealed) => return Err(ApiError::Sealed),
            Err(e) => (EventKind::PowerFailed, format!("{what} failed: {e}")),
        };
        self.say(&NewEvent { machine: Some(id), actor: Some(who), ..NewEvent::new(kind, &text) });
        done.map(|text| PowerDone { text })
    }

    fn wake(&self, mac: Mac) -> Result<String, ApiError> {
        let iface = self.flight.iface();
        if iface.is_empty() {
            return Err(ApiError::Unavailable { why: "this seed does not serve machines".to_owned() });
        }
        wake(iface, mac).map_err(|e| failed(&e))?;
        Ok(format!("Wake-on-LAN packet for {mac} sent on {iface}"))
    }

    fn by_controller(&self, machine: &MachineRecord, action: PowerAction) -> Result<String, ApiError> {
        let unknown = || ApiError::Conflict {
            why: "no management controller is configured for this machine".to_owned(),
            hint: Some("save its address, user and password first (Power page, or `seedd power controller`)".to_owned()),
        };
        self.controller_of(machine.mac)?.ok_or_else(unknown)?;
        // Read again while the keys are held: the vault key must not change in between.
        let (controller, password) = self.with_keys(|keys| {
            let controller = self.controller_of(machine.mac)?.ok_or_else(unknown)?;
            let password = controller.password(&keys.vault).map_err(unexpected)?;
            Ok((controller, password))
        })?;
        if controller.kind == BmcKind::Ipmi {
            let uefi = machine.facts.as_ref().is_none_or(|f| f.firmware == Firmware::Uefi);
            return tool::act(&controller, password.expose(), action, uefi).map_err(|e| failed(&e));
        }
        let client = Client::new(&controller, password.expose()).map_err(unexpected)?;
        let medium = self.medium().map(|name| format!("{}/media/{name}", self.seed_url()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(unexpected)?;
        let done = runtime.block_on(redfish::act(&client, machine.mac, action, medium.as_deref()));
        // Pin the first certificate as soon as the controller accepted the login.
        if let (None, Some(pin), Ok(_)) = (&controller.pin, client.seen(), &done) {
            self.pin(machine.mac, &controller, &pin)?;
        }
        done.map_err(|e| failed(&e))
    }
}

/// File names made by `seedd image build --target seed-iso`.
pub fn is_medium(name: &str) -> bool {
    let id = name.strip_prefix("seed-").and_then(|n| n.strip_suffix(".iso"));
    id.is_some_and(|id| !id.is_empty() && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_seed_media_are_offered() {
        for (name, good) in
            [("seed-ab12.iso", true), ("seed-.iso", false), ("seed-../x.iso", false), ("seed.iso", false), ("x.iso", false)]
        {
            assert_eq!(is_medium(name), good, "{name}");
        }
    }
}
