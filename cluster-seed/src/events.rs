//! Vocabulary of the event log: event kinds, their display, and the causes of answers to packets.
//!
//! Words are stored and sent, so they never change. Rows of other versions are read too: an unknown kind has no [`EventKind`]
//! and is shown as its word, and an unknown cause is read as [`Cause::Other`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Display style of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Good,
    Idle,
    /// Needs attention.
    Wait,
    Bad,
}

impl Tone {
    /// The name of its style.
    pub fn as_str(self) -> &'static str {
        match self {
            Tone::Good => "good",
            Tone::Idle => "idle",
            Tone::Wait => "wait",
            Tone::Bad => "bad",
        }
    }
}

/// No event has this kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an event kind")]
pub struct UnknownKind(String);

macro_rules! kinds {
    ($($variant:ident $word:literal $tone:ident,)+) => {
        /// The kind of an event. The part of its word before the first dot is its family.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum EventKind { $($variant,)+ }

        impl EventKind {
            /// Every kind.
            pub const ALL: &'static [EventKind] = &[$(EventKind::$variant,)+];

            /// The word in the log and on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(EventKind::$variant => $word,)+ }
            }

            pub fn tone(self) -> Tone {
                match self { $(EventKind::$variant => Tone::$tone,)+ }
            }
        }
    };
}

kinds! {
    DhcpDiscover "dhcp.discover" Idle,
    DhcpOffer "dhcp.offer" Idle,
    DhcpRequest "dhcp.request" Idle,
    DhcpAck "dhcp.ack" Idle,
    DhcpNak "dhcp.nak" Wait,
    DhcpInform "dhcp.inform" Idle,
    DhcpRelease "dhcp.release" Idle,
    DhcpDecline "dhcp.decline" Wait,
    DhcpIgnored "dhcp.ignored" Idle,
    DhcpInUse "dhcp.in_use" Wait,
    DhcpMode "dhcp.mode" Idle,
    DhcpOther "dhcp.other" Wait,
    DhcpForeignOffer "dhcp.foreign.offer" Wait,
    DhcpForeignAck "dhcp.foreign.ack" Wait,
    DhcpForeignChosen "dhcp.foreign.chosen" Wait,
    TftpStarted "tftp.started" Idle,
    TftpDone "tftp.done" Good,
    TftpAborted "tftp.aborted" Idle,
    TftpError "tftp.error" Bad,
    HttpStarted "http.started" Idle,
    BootScript "boot.script" Idle,
    RecorderSuppressed "recorder.suppressed" Wait,
    EnrollmentHello "enrollment.hello" Idle,
    EnrollmentPending "enrollment.pending" Wait,
    EnrollmentConfirming "enrollment.confirming" Idle,
    EnrollmentWrongCode "enrollment.wrong_code" Bad,
    EnrollmentApproved "enrollment.approved" Idle,
    EnrollmentDenied "enrollment.denied" Bad,
    EnrollmentIssued "enrollment.issued" Idle,
    EnrollmentClaimRefused "enrollment.claim.refused" Bad,
    EnrollmentFailed "enrollment.failed" Bad,
    EnrollmentEnded "enrollment.ended" Bad,
    InstallBegan "install.began" Idle,
    InstallProgress "install.progress" Idle,
    InstallDone "install.done" Good,
    GateCheck "gate.check" Idle,
    GateCheckFailed "gate.check.failed" Bad,
    FabricReady "fabric.ready" Good,
    ApplyStep "apply.step" Idle,
    ApplyDone "apply.done" Good,
    NodeBooted "node.booted" Idle,
    NodeConverged "node.converged" Good,
    NodeRevoked "node.revoked" Bad,
    NodeReplacing "node.replacing" Wait,
    NodeReplaced "node.replaced" Good,
    ConvergeStarted "converge.started" Idle,
    ConvergeDone "converge.done" Good,
    ConvergeFailed "converge.failed" Bad,
    ConvergeDrift "converge.drift" Wait,
    ConvergeNoDrift "converge.no_drift" Idle,
    ConvergeAsked "converge.asked" Idle,
    ConvergePaused "converge.paused" Wait,
    ConvergeResumed "converge.resumed" Idle,
    ConvergeCertificates "converge.certificates" Idle,
    CheckPassed "check.passed" Good,
    CheckFailed "check.failed" Bad,
    PayloadPublished "payload.published" Idle,
    AcceptPassed "accept.passed" Good,
    AcceptFailed "accept.failed" Bad,
    PeersOvertaken "peers.overtaken" Bad,
    PeersForked "peers.forked" Bad,
    MachineForgotten "machine.forgotten" Idle,
    GrubPassword "grub.password" Idle,
    TokenCreated "token.created" Idle,
    TokenRevoked "token.revoked" Bad,
    TokenRefused "token.refused" Bad,
    PowerController "power.controller" Idle,
    PowerStatus "power.status" Idle,
    PowerOn "power.on" Idle,
    PowerOff "power.off" Idle,
    PowerCycle "power.cycle" Idle,
    PowerNextBoot "power.next_boot" Idle,
    PowerMedia "power.media" Idle,
    PowerWake "power.wake" Idle,
    PowerFailed "power.failed" Bad,
    SeedStarted "seed.started" Idle,
    SeedUnsealed "seed.unsealed" Idle,
    SeedSealed "seed.sealed" Idle,
    SeedUnsealRefused "seed.unseal.refused" Bad,
    SeedFenced "seed.fenced" Bad,
    KeysRotated "keys.rotated" Idle,
    NodeKeyAsked "node.key.asked" Wait,
    NodeKeyRotated "node.key.rotated" Good,
    SetupDone "setup.done" Good,
    SetupRefused "setup.refused" Bad,
    Login "login" Idle,
    LoginFailed "login.failed" Bad,
    AdminSet "admin.set" Idle,
    AdminRemoved "admin.removed" Idle,
    ClockSet "clock.set" Idle,
    TlsCertificate "tls.certificate" Idle,
    SiteCapsule "site.capsule" Idle,
    SiteCapsuleRemoved "site.capsule.removed" Idle,
    SiteExported "site.exported" Idle,
    SiteImported "site.imported" Idle,
    SiteMoved "site.moved" Idle,
    SiteInUse "site.in_use" Idle,
    ImageBuilt "image.built" Idle,
    SitePromoted "site.promoted" Idle,
    DrillPassed "drill.passed" Good,
    DrillSlow "drill.slow" Wait,
    DrillFailed "drill.failed" Bad,
    UserSet "user.set" Idle,
    UserRemoved "user.removed" Idle,
    SessionEnded "session.ended" Idle,
    ApiTokenCreated "api_token.created" Idle,
    ApiTokenRevoked "api_token.revoked" Bad,
    EnrollmentFirstYes "enrollment.first_yes" Wait,
    EnrollmentSecondYes "enrollment.second_yes" Idle,
    NodeSilent "node.silent" Wait,
    NodeBack "node.back" Good,
    MachineLabelled "machine.labelled" Idle,
    WebhookDead "webhook.dead" Bad,
    PlanChanged "plan.changed" Idle,
    EnrollmentOpened "enrollment.opened" Idle,
    EnrollmentClosed "enrollment.closed" Idle,
    MachineSetAside "machine.set_aside" Idle,
    MachineAllowed "machine.allowed" Idle,
    LogVerified "log.verified" Good,
    LogDamaged "log.damaged" Bad,
    LogSigned "log.signed" Idle,
    SettingsApplied "settings.applied" Idle,
    SupportBundle "support.bundle" Idle,
    EnrollmentConflict "enrollment.conflict" Bad,
    TokenAgreed "token.agreed" Idle,
    CountersignTaken "countersign.taken" Good,
    CountersignKey "countersign.key" Wait,
    CountersignRefused "countersign.refused" Bad,
    InventoryAnswered "inventory.answered" Idle,
    InventoryRefused "inventory.refused" Bad,
    InventoryFailed "inventory.failed" Bad,
}

/// Families of kinds: the part of the word before the first dot.
pub mod family {
    pub const DHCP: &str = "dhcp";
    pub const TFTP: &str = "tftp";
    pub const ENROLLMENT: &str = "enrollment";
    pub const INSTALL: &str = "install";
    pub const NODE: &str = "node";
    pub const DRILL: &str = "drill";

    /// What people do with accounts and settings: only for those who may read the audit log. The words of a failed login hold what was
    /// typed as a name.
    pub const OF_PEOPLE: [&str; 8] = ["admin", "api_token", "login", "session", "settings", "setup", "support", "user"];

    /// The family of a kind's word, even if the kind is unknown.
    pub fn of(word: &str) -> &str {
        word.split('.').next().unwrap_or(word)
    }
}

impl EventKind {
    /// So frequent that only the newest of several in a row is shown.
    pub fn is_chatty(self) -> bool {
        matches!(self, EventKind::InstallProgress)
    }

    /// Belongs on the first page: a decision, an end or a fault, not a step on the way.
    pub fn matters(self) -> bool {
        use EventKind as K;
        let family = family::of(self.as_str());
        let step = matches!(
            self,
            K::EnrollmentHello
                | K::EnrollmentConfirming
                | K::EnrollmentIssued
                | K::InstallBegan
                | K::InstallProgress
                | K::NodeBooted
                | K::ApplyStep
                | K::ApplyDone
                | K::ConvergeStarted
                | K::ConvergeNoDrift
                | K::ConvergeAsked
                | K::ConvergeCertificates
                | K::CheckPassed
                | K::PowerStatus
                | K::Login
                | K::TlsCertificate
                | K::MachineLabelled
        );
        let other = matches!(self, K::DhcpOther | K::DhcpMode | K::DhcpForeignChosen);
        other || !(step || matches!(family, "dhcp" | "tftp" | "http" | "boot" | "recorder" | "gate"))
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EventKind {
    type Err = UnknownKind;

    fn from_str(word: &str) -> Result<Self, UnknownKind> {
        let found = EventKind::ALL.iter().find(|kind| kind.as_str() == word);
        found.copied().ok_or_else(|| UnknownKind(word.chars().take(64).collect()))
    }
}

/// So that rows which keep the word can be compared with a kind.
impl PartialEq<EventKind> for String {
    fn eq(&self, kind: &EventKind) -> bool {
        self == kind.as_str()
    }
}

impl Serialize for EventKind {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for EventKind {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a machine got this answer or none, for code. The accompanying sentence is for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// There is no boot loader for this kind of firmware.
    NoLoader,
    /// The firmware boots by HTTP, but the seed has no HTTP address for it.
    NoHttpBoot,
    /// A script was chosen for firmware, which only iPXE understands.
    ScriptWithoutIpxe,
    /// The script's URL does not fit its DHCP option.
    UrlTooLong,
    /// The script boots the agent.
    BootsAgent,
    /// The script boots the local disk.
    BootsLocalDisk,
    /// The script waits: there is no netboot image yet.
    NoNetbootImage,
    /// TFTP serves no file of this name.
    NoSuchFile,
    /// TFTP does not serve such a request: one to write, in another mode than octet, from another network, or none at all.
    Refused,
    /// The TFTP client stopped answering.
    ClientSilent,
    /// The transfer did not end in time.
    TooSlow,
    /// The client started another transfer from the same port.
    Replaced,
    /// The client ended the transfer with an ERROR packet.
    ClientAborted,
    /// The operating system's socket failed.
    Socket,
    /// A cause that this version does not know.
    #[serde(other)]
    Other,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_word_round_trips_and_is_its_own() {
        let words: BTreeSet<_> = EventKind::ALL.iter().map(|k| k.as_str()).collect();
        assert_eq!(words.len(), EventKind::ALL.len());
        for kind in EventKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
            let json = serde_json::to_string(kind).unwrap();
            assert_eq!(json, format!("\"{kind}\""));
            assert_eq!(serde_json::from_str::<EventKind>(&json).unwrap(), *kind);
            assert!(kind.as_str().bytes().all(|b| b.is_ascii_lowercase() || matches!(b, b'.' | b'_')), "{kind}");
            assert!(kind.as_str().to_owned() == *kind);
        }
        for unknown in ["", "dhcp", "dhcp.", "dhcp.discover ", "DHCP.discover", "enrollment.converged"] {
            assert_eq!(unknown.parse::<EventKind>(), Err(UnknownKind(unknown.to_owned())));
        }
    }

    #[test]
    fn steps_on_the_way_do_not_push_out_what_matters() {
        for kind in
            [EventKind::GateCheck, EventKind::GateCheckFailed, EventKind::DhcpAck, EventKind::HttpStarted, EventKind::Login]
        {
            assert!(!kind.matters(), "{kind}");
        }
        let ends = |k: &&EventKind| {
            ["failed", "revoked", "denied", "converged", "silent", "back"].iter().any(|w| k.as_str().ends_with(w))
        };
        for kind in EventKind::ALL.iter().filter(ends).filter(|k| **k != EventKind::GateCheckFailed) {
            assert!(kind.matters(), "{kind}");
        }
    }

    #[test]
    fn failures_are_not_shown_as_idle() {
        for kind in EventKind::ALL.iter().filter(|k| {
            let ends = |words: &[&str]| words.iter().any(|w| k.as_str().ends_with(w));
            ends(&["failed", "wrong_code", "denied", "revoked", "refused", "error"])
        }) {
            assert_eq!(kind.tone(), Tone::Bad, "{kind}");
        }
        for kind in [EventKind::DhcpNak, EventKind::DhcpDecline, EventKind::TftpError] {
            assert_ne!(kind.tone(), Tone::Idle, "{kind}");
        }
    }

    #[test]
    fn causes_have_stable_words_and_unknown_ones_are_read() {
        for (cause, word) in [
            (Cause::NoLoader, "no_loader"),
            (Cause::NoHttpBoot, "no_http_boot"),
            (Cause::ScriptWithoutIpxe, "script_without_ipxe"),
            (Cause::UrlTooLong, "url_too_long"),
            (Cause::BootsAgent, "boots_agent"),
            (Cause::BootsLocalDisk, "boots_local_disk"),
            (Cause::NoNetbootImage, "no_netboot_image"),
            (Cause::NoSuchFile, "no_such_file"),
            (Cause::ClientSilent, "client_silent"),
            (Cause::TooSlow, "too_slow"),
            (Cause::Replaced, "replaced"),
            (Cause::ClientAborted, "client_aborted"),
            (Cause::Socket, "socket"),
            (Cause::Other, "other"),
        ] {
            let json = format!("\"{word}\"");
            assert_eq!(serde_json::to_string(&cause).unwrap(), json);
            assert_eq!(serde_json::from_str::<Cause>(&json).unwrap(), cause);
        }
        assert_eq!(serde_json::from_str::<Cause>("\"of_next_year\"").unwrap(), Cause::Other);
    }
}
