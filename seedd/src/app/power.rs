//! Power control of machines: who may use it, how often, and through which controller. Every change is recorded.

use std::net::{IpAddr, SocketAddr};

use camino::Utf8PathBuf;
use cluster_seed::events::EventKind;
use cluster_seed::ids::Mac;
use cluster_seed::machine::Firmware;
use host::clock::{now_ms, steady};
use site::hint;
use site::store::events::NewEvent;
use site::store::machines::MachineRecord;
use web::api::{ApiError, BmcKind, BmcView, OfferedView, PowerAction, PowerDone, PowerView, SetPower};

use super::{App, unexpected};
use crate::power::contact;
use crate::power::controller::{Controller, SETTING};
use crate::power::net::certificate;
use crate::power::net::pin::Shown;
use crate::power::net::wake::wake;
use crate::power::redfish::act::Wish;
use crate::power::redfish::find::Who;
use crate::power::redfish::media::Image;
use crate::power::throttle::Busy;
use crate::power::tool::Ipmi;

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

    pub fn path_of_medium(&self, name: &str) -> Option<Utf8PathBuf> {
        is_medium(name).then(|| self.site.join("media").join(name))
    }

    pub fn view_power(&self, id: i64) -> Result<PowerView, ApiError> {
        let controller = self.controller_of(self.record_of(id)?.mac)?.map(|c| BmcView {
            kind: c.kind,
            address: c.address(),
            tls: c.has_certificate(),
            pin: c.shown_pin(),
            weakness: c.weakness.clone(),
            offered: c.offered.map(|o| OfferedView { fingerprint: certificate::shown(&o.sha256), weakness: o.weakness }),
            cipher_suite: c.cipher_suite,
            privilege: c.privilege,
            user: c.user,
        });
        Ok(PowerView { controller, medium: self.medium() })
    }

    pub fn set_controller(&self, who: &str, id: i64, set: &SetPower) -> Result<PowerView, ApiError> {
        let machine = self.record_of(id)?;
        // Stored while the keys are held: the vault key must not change in between.
        self.with_keys(|keys| {
            let mut controller = Controller::new(set, &keys.vault.recipient()).map_err(|e| failed(&e))?;
            if let Some(earlier) = self.controller_of(machine.mac)? {
                controller.succeeds(earlier);
            }
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

    /// Changes what is stored, unless it is another controller by now. Read again within the transaction: while a controller was
    /// waited for, its password may have been encrypted to another vault key. `told` is an event's text and the actor.
    fn change(
        &self,
        machine: &MachineRecord,
        seen: &Controller,
        told: Option<(&str, &str)>,
        apply: impl FnOnce(&mut Controller),
    ) -> Result<(), ApiError> {
        self.write(|tx| {
            let Some(text) = tx.setting(&key(machine.mac))? else { return Ok(()) };
            let mut held: Controller = serde_json::from_str(&text).map_err(unexpected)?;
            if held.address() != seen.address() {
                return Ok(());
            }
            apply(&mut held);
            tx.set(&key(machine.mac), &serde_json::to_string(&held).map_err(unexpected)?)?;
            if let Some((text, who)) = told {
                let new = NewEvent::new(EventKind::PowerController, text);
                tx.event(now_ms(), &NewEvent { machine: Some(machine.id), actor: Some(who), ..new })?;
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
        self.power.ended(id, steady());
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
        self.controller_of(machine.mac)?.ok_or_else(no_controller)?;
        // Read again while the keys are held: the vault key must not change in between.
        let (controller, password) = self.with_keys(|keys| {
            let controller = self.controller_of(machine.mac)?.ok_or_else(no_controller)?;
            let password = controller.password(&keys.vault).map_err(unexpected)?;
            Ok((controller, password))
        })?;
        let _turn = self.power.begin(machine.id).map_err(busy)?;
        let uefi = machine.facts.as_ref().map(|f| f.firmware == Firmware::Uefi);
        if controller.kind == BmcKind::Ipmi {
            let ipmi = Ipmi::new(&controller, password.expose()).map_err(unexpected)?;
            return ipmi.act(action, uefi.unwrap_or(true)).map_err(|e| failed(&e));
        }
        if controller.has_certificate() && controller.pin.is_none() {
            let shown = contact::certificate(&controller).map_err(|e| failed(&e))?;
            return Err(self.offer(machine, &controller, shown)?);
        }
        let wish = Wish {
            who: Who { mac: machine.mac, uuid: machine.facts.as_ref().map(|f| f.uuid.clone()) },
            action,
            uefi,
            image: self.image_for(&controller),
            session: controller.session,
        };
        let contact = contact::act(&controller, password.expose(), &wish).map_err(unexpected)?;
        if let Some(shown) = contact.other {
            return Err(self.offer(machine, &controller, shown)?);
        }
        if contact.done.is_ok() && contact.session != controller.session {
            self.change(machine, &controller, None, |held| held.session = contact.session)?;
        }
        contact.done.map_err(|e| failed(&e))
    }

    /// Keeps a certificate for the operator to confirm; the error that says so, and how.
    fn offer(&self, machine: &MachineRecord, controller: &Controller, shown: Shown) -> Result<ApiError, ApiError> {
        let fingerprint = certificate::shown(&shown.sha256);
        let state = if controller.pin.is_some() { "is not the confirmed one" } else { "is not confirmed" };
        let weak = shown.weakness.as_ref().map_or_else(String::new, |w| format!(" (warning: {w})"));
        let why = format!("the certificate of {} {state}: sha256 {fingerprint}{weak}", controller.address());
        self.change(machine, controller, None, |held| held.offered = Some(shown.into()))?;
        let hint = format!(
            "no password was sent; compare the fingerprint with the controller's own page or console, then run `seedd power \
             trust {} --fingerprint {fingerprint}`, or confirm it on the Power page",
            machine.mac
        );
        Ok(ApiError::Conflict { why, hint: Some(hint) })
    }

    /// Reads the controller's certificate and keeps it for the operator to confirm. Sends no credentials.
    pub fn read_certificate(&self, id: i64) -> Result<PowerView, ApiError> {
        let (machine, controller) = self.with_certificate(id)?;
        let shown = self.shown_by(&machine, &controller)?;
        self.change(&machine, &controller, None, |held| {
            held.offered = (held.pin.as_ref() != Some(&shown.sha256)).then(|| shown.into());
        })?;
        self.view_power(id)
    }

    /// Confirms the certificate that the controller shows, if its sha256 is `fingerprint`.
    pub fn trust_certificate(&self, who: &str, id: i64, fingerprint: &str) -> Result<PowerView, ApiError> {
        let (machine, controller) = self.with_certificate(id)?;
        let wanted = certificate::fingerprint(fingerprint)
            .ok_or_else(|| ApiError::bad("this is not a SHA-256 fingerprint", "it has 64 hex digits, with or without colons"))?;
        let shown = self.shown_by(&machine, &controller)?;
        if shown.sha256 != wanted {
            let why = format!("the controller shows another certificate: sha256 {}", certificate::shown(&shown.sha256));
            return Err(ApiError::conflict(why, "confirm it only if the controller's own page shows the same"));
        }
        let text = format!("certificate of the controller confirmed: sha256 {}", certificate::shown(&wanted));
        self.change(&machine, &controller, Some((&text, who)), |held| held.trust(shown))?;
        self.view_power(id)
    }

    fn with_certificate(&self, id: i64) -> Result<(MachineRecord, Controller), ApiError> {
        let machine = self.record_of(id)?;
        let controller = self.controller_of(machine.mac)?.ok_or_else(no_controller)?;
        if !controller.has_certificate() {
            return Err(ApiError::conflict("this controller has no certificate", "only Redfish over https has one"));
        }
        Ok((machine, controller))
    }

    fn shown_by(&self, machine: &MachineRecord, controller: &Controller) -> Result<Shown, ApiError> {
        let _turn = self.power.begin(machine.id).map_err(busy)?;
        contact::certificate(controller).map_err(|e| failed(&e))
    }

    /// Where the controller finds the seed's medium.
    fn image_for(&self, controller: &Controller) -> Image {
        let Some(name) = self.medium() else { return Image::default() };
        let secure = self.pages.get().filter(|(scheme, _)| *scheme == "https").and_then(|(_, at)| {
            let own = IpAddr::from(*self.http.ip());
            match at.ip() {
                ip if ip.is_unspecified() => Some(SocketAddr::new(own, at.port())),
                ip if ip.is_loopback() && !controller.host.is_loopback() => None,
                _ => Some(*at),
            }
        });
        Image {
            http: Some(format!("{}/media/{name}", self.seed_url())),
            https: secure.map(|at| format!("https://{at}/medium/{name}")),
        }
    }
}

fn no_controller() -> ApiError {
    ApiError::conflict(
        "no management controller is configured for this machine",
        "save its address, user and password first (Power page, or `seedd power controller`)",
    )
}

fn busy(why: Busy) -> ApiError {
    match why {
        Busy::Machine => ApiError::conflict("the seed is still waiting for this controller", "try again after a minute"),
        Busy::All => ApiError::Unavailable { why: "the seed is waiting for too many controllers; try again later".to_owned() },
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
