//! Converts the data of the web interface to the types of the control socket.

use appliance::control::answer::{self, Controller, ControllerKind, OfferedCertificate, Privilege, Role, SiteStatus};
use web::api::{BmcKind, BmcView, ClockView, IpmiPrivilege, Overview, PowerAction, PowerView, RoleView, SeedMode};

pub fn status(o: Overview, sealed_fingerprint: Option<String>) -> SiteStatus {
    let role = |r: RoleView| Role { name: r.name, description: r.description, artifact: r.artifact, min_disk: r.min_disk };
    SiteStatus {
        site: o.site,
        version: o.version,
        setup_needed: o.setup_needed,
        sealed: o.sealed,
        mode: match o.mode {
            SeedMode::Active => answer::SeedMode::Active,
            SeedMode::Standby => answer::SeedMode::Standby,
            SeedMode::Fenced => answer::SeedMode::Fenced,
        },
        epoch: o.epoch,
        snapshot: o.snapshot,
        proof: o.proof,
        roles: o.roles.into_iter().map(role).collect(),
        clock: o.clock,
        fingerprint: o.fingerprint,
        sealed_fingerprint,
        warnings: o.warnings,
        lasting: o.lasting,
    }
}

pub fn clock(c: ClockView) -> answer::Clock {
    let ClockView { clock_ms, source, synchronised, stratum, offset, drift, doubt } = c;
    answer::Clock { clock_ms, source, synchronised, stratum, offset, drift, doubt }
}

pub fn power(p: PowerView) -> answer::Power {
    let controller = |c: BmcView| Controller {
        kind: match c.kind {
            BmcKind::Redfish => ControllerKind::Redfish,
            BmcKind::Ipmi => ControllerKind::Ipmi,
        },
        address: c.address,
        user: c.user,
        tls: c.tls,
        pin: c.pin,
        weakness: c.weakness,
        offered: c.offered.map(|o| OfferedCertificate { fingerprint: o.fingerprint, weakness: o.weakness }),
        cipher_suite: c.cipher_suite,
        privilege: c.privilege.map(|p| match p {
            IpmiPrivilege::User => Privilege::User,
            IpmiPrivilege::Operator => Privilege::Operator,
            IpmiPrivilege::Administrator => Privilege::Administrator,
        }),
    };
    answer::Power { controller: p.controller.map(controller), medium: p.medium }
}

pub fn kind_of(kind: ControllerKind) -> BmcKind {
    match kind {
        ControllerKind::Redfish => BmcKind::Redfish,
        ControllerKind::Ipmi => BmcKind::Ipmi,
    }
}

pub fn privilege_of(privilege: Privilege) -> IpmiPrivilege {
    match privilege {
        Privilege::User => IpmiPrivilege::User,
        Privilege::Operator => IpmiPrivilege::Operator,
        Privilege::Administrator => IpmiPrivilege::Administrator,
    }
}

pub fn action_of(action: answer::PowerAction) -> PowerAction {
    match action {
        answer::PowerAction::Status => PowerAction::Status,
        answer::PowerAction::On => PowerAction::On,
        answer::PowerAction::Off => PowerAction::Off,
        answer::PowerAction::Cycle => PowerAction::Cycle,
        answer::PowerAction::NextBootPxe => PowerAction::NextBootPxe,
        answer::PowerAction::InsertMedia => PowerAction::InsertMedia,
        answer::PowerAction::EjectMedia => PowerAction::EjectMedia,
        answer::PowerAction::Wake => PowerAction::Wake,
    }
}
