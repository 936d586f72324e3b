//! What the simulated controller is: its resources, and the habits of real controllers that public reports name.

use std::collections::BTreeMap;

use base64::Engine as _;
use serde_json::{Value, json};

use super::{Request, Response};

pub const MAC: &str = "52:54:00:ab:00:01";
pub const UUID: &str = "33221100-5544-7766-8899-aabbccddeeff";
pub const USER: &str = "admin";
pub const PASSWORD: &str = "bmc-s3cret-1";
const V: &str = "/redfish/v1";
const VM: &str = "/redfish/v1/Managers/m/VirtualMedia";

macro_rules! quirks {
    ($($name:ident),* $(,)?) => {
        /// One habit.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Quirk { $($name),* }
        impl Quirk {
            pub const ALL: &[Quirk] = &[$(Quirk::$name),*];
        }
    };
}

quirks! {
    // Preconditions of changes.
    IfMatch, NoIfMatch, WeakEtag, StaleEtag, ActionWantsIfMatch,
    // InsertMedia.
    ImageAlone, NeedProtocol, HttpsOnly, DescribedInsert, OnlyHttpsListed, ProxyFirst, RdocFirst, PatchedDrive, NullMediaTypes,
    SaysInserted, MediaOfSystem, MediaOfManager, NoManagedBy, SharedManager, NoDrive, LicenceNeeded,
    // The boot override.
    ModeFallsBack, ModeNotWritable, Settings, BareSettings, OnlyContinuous, SetsContinuous, UsbCd, NoCd,
    // Resets.
    ResetInfo, ResetInfoGone, NoPowerCycle, OtherCase, NoForceOff,
    // Systems and interfaces.
    Baseboard, NullFields, Gone, Broken, Blades, Pages, LoopingPages, PlainMac, OnlyUuid, CardsOnly, OtherMachines,
    // HTTP.
    SlashRedirect, AbsoluteRedirect, ForeignRedirect, TrailingSlashes, RootWithoutSlash, ByteOrderMark, SessionsOnly, WrongPassword,
    Busy, EvilLinks,
    // What becomes of changes.
    Tasks, TasksInBody, TasksForgotten, TasksFail, TasksStay, LostAnswers, LostRestarts, Ignores,
}

/// The controller and its machine.
pub struct Machine {
    quirks: Vec<Quirk>,
    origin: String,
    pub power: String,
    /// Target, enabled, mode.
    pub boot: [String; 3],
    /// The path that the override was written to.
    pub boot_at: String,
    pub media: BTreeMap<String, String>,
    pub resets: Vec<String>,
    pub log: Vec<String>,
    /// Sessions that were opened and not closed.
    pub sessions: usize,
    etag: u32,
    busy: usize,
    /// Looks at the running task, and what it does at its end.
    task: Option<(usize, String, Value)>,
}

fn link(path: &str) -> Value {
    json!({ "@odata.id": path })
}

fn list(paths: &[String]) -> Value {
    json!({ "Members": paths.iter().map(|p| link(p)).collect::<Vec<_>>(), "Members@odata.count": paths.len() })
}

fn say(status: u16, body: &Value) -> Response {
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    Response { status, headers: Vec::new(), body }
}

fn refuse(status: u16, why: &str) -> Response {
    say(
        status,
        &json!({ "error": { "code": "Base.1.8.GeneralError", "message": why, "@Message.ExtendedInfo": [{ "Message": why }] } }),
    )
}

impl Machine {
    pub fn new(quirks: &[Quirk], origin: &str) -> Self {
        Machine {
            quirks: quirks.to_vec(),
            origin: origin.to_owned(),
            power: "On".to_owned(),
            boot: ["None", "Disabled", "UEFI"].map(str::to_owned),
            boot_at: String::new(),
            media: BTreeMap::new(),
            resets: Vec::new(),
            log: Vec::new(),
            sessions: 0,
            etag: 1,
            busy: 2,
            task: None,
        }
    }

    pub fn has(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }

    /// The systems, the machine's last.
    fn names(&self) -> Vec<String> {
        let others = if self.has(Quirk::Blades) || self.has(Quirk::Pages) {
            (1..20).map(|n| format!("Blade{n}")).collect()
        } else if self.has(Quirk::Baseboard) {
            vec!["HGX_Baseboard_0".to_owned()]
        } else if self.has(Quirk::Gone) {
            vec!["Gone".to_owned()]
        } else if self.has(Quirk::Broken) {
            vec!["Broken".to_owned(), "Other".to_owned()]
        } else {
            let many = [
                Quirk::NullFields,
                Quirk::PlainMac,
                Quirk::OnlyUuid,
                Quirk::CardsOnly,
                Quirk::OtherMachines,
                Quirk::LoopingPages,
            ];
            let many = many.iter().chain(&[Quirk::SharedManager]).any(|q| self.has(*q));
            if many { vec!["Other".to_owned()] } else { vec![] }
        };
        others.into_iter().chain(["1".to_owned()]).collect()
    }

    fn system(&self, name: &str) -> Value {
        use Quirk as Q;
        let at = format!("{V}/Systems/{name}");
        let slash = if self.has(Q::TrailingSlashes) { "/" } else { "" };
        let mut resets = json!(["On", "ForceOff", "GracefulShutdown", "ForceRestart", "PowerCycle"]);
        if self.has(Q::NoPowerCycle) {
            resets = json!(["On", "ForceOff"]);
        } else if self.has(Q::OtherCase) {
            resets = json!(["on", "forceoff", "forcerestart"]);
        } else if self.has(Q::NoForceOff) {
            resets = json!(["On", "GracefulShutdown", "ForceRestart"]);
        }
        let targets = match (self.has(Q::OtherCase), self.has(Q::UsbCd), self.has(Q::NoCd)) {
            (true, ..) => json!(["none", "pxe", "cd"]),
            (_, true, _) => json!(["None", "Pxe", "UsbCd", "Hdd"]),
            (.., true) => json!(["None", "Pxe", "Hdd"]),
            _ => json!(["None", "Pxe", "Cd", "Hdd", "UsbCd"]),
        };
        let [target, enabled, mode] = &self.boot;
        let mut system = json!({
            "@odata.id": format!("{at}{slash}"), "@odata.etag": self.tag(), "PowerState": self.power, "UUID": UUID,
            "Links": { "ManagedBy": [link(&format!("{V}/Managers/m{slash}"))] },
            "EthernetInterfaces": link(&format!("{at}/EthernetInterfaces{slash}")),
            "Boot": { "BootSourceOverrideTarget": target, "BootSourceOverrideEnabled": enabled, "BootSourceOverrideMode": mode,
                      "BootSourceOverrideTarget@Redfish.AllowableValues": targets },
            "Actions": { "#ComputerSystem.Reset": { "target": format!("{at}/Actions/ComputerSystem.Reset"),
                                                    "ResetType@Redfish.AllowableValues": resets } },
        });
        if !self.has(Q::LostRestarts) {
            system["LastResetTime"] = json!(format!("2026-11-29T00:00:{:02}Z", self.resets.len()));
        }
        self.bend(&mut system, name, &at);
        system
    }

    fn bend(&self, system: &mut Value, name: &str, at: &str) {
        use Quirk as Q;
        if self.has(Q::ResetInfo) || self.has(Q::ResetInfoGone) {
            system["Actions"]["#ComputerSystem.Reset"] = json!({ "target": format!("{at}/Actions/ComputerSystem.Reset"), "@Redfish.ActionInfo": format!("{at}/ResetActionInfo") });
        }
        if self.has(Q::Settings) || self.has(Q::BareSettings) {
            system["@Redfish.Settings"] = json!({ "SettingsObject": link(&format!("{at}/SD")) });
        }
        if self.has(Q::OnlyContinuous) {
            system["Boot"]["BootSourceOverrideEnabled@Redfish.AllowableValues"] = json!(["Disabled", "Continuous"]);
        }
        if self.has(Q::MediaOfSystem) || self.has(Q::MediaOfManager) {
            system["VirtualMedia"] = link(&format!("{at}/VirtualMedia"));
        }
        if self.has(Q::NoManagedBy) || self.has(Q::SharedManager) {
            system["Links"] = Value::Null;
        }
        if name == "HGX_Baseboard_0" || self.has(Q::OnlyUuid) || self.has(Q::CardsOnly) {
            system["EthernetInterfaces"] = Value::Null;
        }
        if self.has(Q::CardsOnly) {
            system["NetworkInterfaces"] = link(&format!("{at}/NetworkInterfaces"));
        }
        if name != "1" || self.has(Q::NullFields) || self.has(Q::OtherMachines) {
            system["UUID"] = Value::Null;
        }
        if self.has(Q::EvilLinks) {
            system["Actions"]["#ComputerSystem.Reset"]["target"] = json!("http://evil/redfish/v1/x");
        }
    }

    fn drives(&self) -> &'static [&'static str] {
        match () {
            () if self.has(Quirk::NoDrive) => &["Floppy"],
            () if self.has(Quirk::ProxyFirst) => &["Slot_0", "Slot_1"],
            () if self.has(Quirk::RdocFirst) => &["RDOC1", "RDOC2", "EXT1", "Remote1"],
            () => &["Floppy", "CD1"],
        }
    }

    /// The drive that takes an image.
    pub fn right_drive(&self) -> &'static str {
        match () {
            () if self.has(Quirk::ProxyFirst) => "Slot_1",
            () if self.has(Quirk::RdocFirst) => "EXT1",
            () => "CD1",
        }
    }

    fn acts(&self, name: &str) -> bool {
        !self.has(Quirk::RdocFirst) && !self.has(Quirk::PatchedDrive) && name != "Slot_0"
    }

    fn drive(&self, at: &str) -> Value {
        let name = at.rsplit('/').next().unwrap();
        let image = self.media.get(name);
        let kinds = if name == "Floppy" { json!(["Floppy", "USBStick"]) } else { json!(["CD", "DVD"]) };
        let odd = self.has(Quirk::SaysInserted);
        let mut drive = json!({
            "@odata.id": at, "@odata.etag": self.tag(), "MediaTypes": kinds, "Inserted": image.is_some() || odd,
            "Image": image.map_or_else(|| if odd { json!("") } else { Value::Null }, |i| json!(i)),
        });
        if self.has(Quirk::NullMediaTypes) && name != "Floppy" {
            drive["MediaTypes"] = Value::Null;
        }
        if self.acts(name) {
            let target = |what: &str| json!({ "target": format!("{at}/Actions/VirtualMedia.{what}Media") });
            drive["Actions"] =
                json!({ "#VirtualMedia.InsertMedia": target("Insert"), "#VirtualMedia.EjectMedia": target("Eject") });
            if self.has(Quirk::DescribedInsert) {
                drive["Actions"]["#VirtualMedia.InsertMedia"]["@Redfish.ActionInfo"] = json!(format!("{at}/InsertInfo"));
            }
            if self.has(Quirk::OnlyHttpsListed) {
                drive["Actions"]["#VirtualMedia.InsertMedia"]["TransferProtocolType@Redfish.AllowableValues"] =
                    json!(["CIFS", "HTTPS"]);
            }
        }
        drive
    }

    fn tag(&self) -> String {
        let weak = if self.has(Quirk::WeakEtag) { "W/" } else { "" };
        format!("{weak}\"e{}\"", self.etag)
    }
}

/// What is asked and done.
#[path = "habits.rs"]
mod habits;
