//! The machines, nodes and events of the mock site.

use cluster_seed::enrollment::EnrollmentState as S;
use cluster_seed::events::EventKind;
use cluster_seed::ids::{Digest, EnrollmentId, Mac};
use cluster_seed::machine::{Disk, Firmware, HardwareFacts, Nic};
use cluster_seed::proof::ProofState;
use cluster_seed::trouble::Trouble;

use super::suggestion::suggestion;
use crate::api::{
    BmcKind, BmcView, ClockView, DamagedView, EnrollmentView, EventView, ExtraView, Finding, HeldView, InstallProgress,
    ListsView, MachineDetail, MachineRow, OfferedView, Overview, PackagesView, PacketFacts, PowerView, ProvenRole, RoleView,
    SnapshotView, Tone, VotersView, Waiting,
};

pub const CLOCK: u64 = 1_795_377_600;
/// The machine that waits for approval, and its enrollment.
pub const PENDING: i64 = 2;

pub fn clock(clock_ms: u64) -> ClockView {
    let source = "system clock, not synchronised".to_owned();
    ClockView { clock_ms, source, synchronised: false, stratum: Some(8), offset: None, drift: Some(-3.25), doubt: None }
}

pub fn pending_id() -> EnrollmentId {
    EnrollmentId([2; 16])
}

pub fn overview(spice: &str) -> Overview {
    let role = |name: &str, about: &str, built: bool| RoleView {
        name: format!("{name}{spice}"),
        description: format!("{about}{spice}"),
        artifact: built.then(|| Digest::of(name.as_bytes())),
        min_disk: built.then_some(4 << 30),
        disk: cluster_seed::converge::role::DiskHint::Smallest,
    };
    Overview {
        site: format!("lab.lan{spice}"),
        version: "0.1.0".into(),
        setup_needed: false,
        mode: Default::default(),
        sealed: false,
        epoch: 1,
        snapshot: Some(Digest::of(b"snapshot")),
        proof: Some(ProofState::Unproven),
        roles: vec![role("base", "Hardened base system", true), role("worker", "Kubernetes worker", false)],
        clock: CLOCK,
        fingerprint: None,
        warnings: vec![format!("The role worker has no artifact; run seedd image build --role worker{spice}")],
        lasting: vec![format!("the state is in memory{spice}")],
        waiting: 1,
        aside: 1,
        lists: ListsView { version: 9, nodes: 2, behind: 1, unaware: 1, revoked: vec![format!("n9.lab.lan{spice}")] },
    }
}

fn facts(spice: &str) -> HardwareFacts {
    let text = |t: &str| format!("{t}{spice}");
    let disk = |name: &str, size, removable| Disk {
        name: text(name),
        size,
        model: text("Samsung SSD 980 PRO"),
        serial: text("S5GXNX0T123456"),
        rotational: false,
        removable,
        ..Disk::default()
    };
    let nic = |name: &str, n, up: bool| Nic {
        name: text(name),
        mac: Mac([0x52, 0x54, 0, 0xab, 0, n]),
        driver: text("igb"),
        link_up: up,
        speed: up.then_some(1000),
    };
    HardwareFacts {
        vendor: text("Supermicro"),
        product: text("SYS-5019D"),
        serial: text("A1B2C3"),
        uuid: text("00000000-0000-0000-0000-000000000000"),
        firmware: Firmware::Uefi,
        firmware_date: text("01/02/2020"),
        cpu: text("Intel Xeon D-2123IT"),
        cpus: 8,
        memory_mib: 32 << 10,
        disks: vec![disk("nvme0n1", 500_107_862_016, false), disk("sda", 8 << 30, true)],
        disks_left_out: 0,
        root_disk: None,
        nics: vec![nic("eno1", 1, true), nic("eno2", 2, false)],
        boot_mac: Some(Mac([0x52, 0x54, 0, 0xab, 0, 1])),
        kernel: text("6.12.48+deb13-amd64"),
        arch: cluster_seed::arch::Arch::Amd64,
    }
}

fn machine(id: u8, state: Option<S>, name: Option<&str>, spice: &str) -> MachineDetail {
    let installing = state == Some(S::Installing);
    let plane = |p: u8| (format!("wg{p}"), format!("10.{}.0.{id}", 77 + p));
    let enrollment = state.map(|state| EnrollmentView {
        id: EnrollmentId([id; 16]),
        state,
        since: CLOCK - 40 * u64::from(id),
        number: (state == S::Pending).then_some(12),
        hostname: name.map(|n| format!("{n}.lab.lan{spice}")),
        role: name.map(|_| format!("base{spice}")),
        addresses: name.map_or(vec![], |_| vec![plane(1), plane(2), plane(3)]),
        wrong_codes: u32::from(state == S::Pending),
        progress: installing.then_some(InstallProgress { written: 2_310_000_000, total: 4_294_967_296, rate: 61_400_000 }),
        reason: (state == S::Failed).then(|| format!("chunk 17 does not match its digest{spice}")),
        first_yes: None,
        trouble: (state == S::Failed).then_some(Trouble::Untrusted.into()),
    });
    let row = MachineRow {
        id: id.into(),
        mac: Mac([0x52, 0x54, 0, 0xab, 0, id]),
        ip: Some(std::net::Ipv4Addr::new(10, 44, 0, 100 + id).into()),
        model: format!("Supermicro SYS-5019D{spice}"),
        first_seen: CLOCK - 900,
        last_seen: CLOCK - 3 * u64::from(id),
        verdict: None,
        list: state.filter(|s| s.boots_from_disk()).map(|_| HeldView { version: Some(7), current: 9, behind: true }),
        enrollment,
    };
    let mut earlier = row.enrollment.clone().into_iter().collect::<Vec<_>>();
    earlier.iter_mut().for_each(|e| (e.state, e.reason) = (S::Expired, Some(format!("not approved in time{spice}"))));
    let known = row.enrollment.is_some();
    let finding = |tone, what: &str| Finding {
        rule: "mock",
        tone,
        what: format!("{what}{spice}"),
        advice: format!("check the switch port{spice}"),
    };
    let waits = row.enrollment.clone().filter(|e| e.state == S::Pending);
    let waiting = waits.into_iter().map(|enrollment| Waiting {
        enrollment,
        ip: std::net::Ipv4Addr::new(10, 44, 0, 100 + id).into(),
        facts: facts(spice),
        suggestion: Some(suggestion(spice)),
    });
    MachineDetail {
        waiting: waiting.collect(),
        row,
        facts: known.then(|| facts(spice)),
        earlier,
        timeline: events(spice),
        diagnosis: vec![
            finding(Tone::Bad, "It asked for an address and never fetched its loader."),
            finding(Tone::Good, "It works."),
        ],
        packets: 12,
        voters: Some(VotersView { healthy: 1, all: 3, majority: false }),
        place: format!("hall 2{spice}"),
        labels: vec![format!("rack=r1{spice}")],
    }
}

pub fn power(spice: &str) -> PowerView {
    let pin = Some(format!("AB:CD{spice}"));
    let (address, user) = (format!("https://10.44.9.1{spice}"), format!("admin{spice}"));
    PowerView {
        controller: Some(BmcView {
            kind: BmcKind::Redfish,
            address,
            user,
            tls: true,
            pin,
            weakness: Some(format!("weak{spice}")),
            offered: Some(OfferedView { fingerprint: format!("EF:01{spice}"), weakness: Some(format!("short{spice}")) }),
            cipher_suite: None,
            privilege: None,
        }),
        medium: Some(format!("seed.iso{spice}")),
    }
}

pub fn machines(spice: &str) -> Vec<MachineDetail> {
    vec![
        machine(1, None, None, spice),
        machine(2, Some(S::Pending), None, spice),
        machine(3, Some(S::Installing), Some("web-1"), spice),
        machine(4, Some(S::Converged), Some("db-1"), spice),
        machine(5, Some(S::Failed), Some("db-2"), spice),
        machine(6, Some(S::FabricReady), Some("web-2"), spice),
        machine(7, Some(S::Converged), Some("db-3"), spice),
    ]
}

pub fn events(spice: &str) -> Vec<EventView> {
    let story = [
        (0, EventKind::DhcpDiscover, "DISCOVER from 52:54:00:ab:00:04, UEFI x64"),
        (400, EventKind::TftpDone, "sent ipxe.efi, 268 KiB"),
        (6_100, EventKind::BootScript, "sent the boot script of the agent"),
        (31_000, EventKind::EnrollmentHello, "the agent has started"),
        (32_500, EventKind::EnrollmentPending, "waiting for approval; the console shows the code"),
        (75_000, EventKind::EnrollmentWrongCode, "wrong code"),
        (92_000, EventKind::EnrollmentApproved, "approved as db-1.lab.lan, role base, disk nvme0n1"),
        (94_000, EventKind::EnrollmentIssued, "the sealed identity was issued"),
        (95_000, EventKind::InstallProgress, "12 % at 58 MB/s"),
        (99_000, EventKind::InstallProgress, "64 % at 61 MB/s"),
        (103_000, EventKind::InstallDone, "4.00 GiB written and verified in 9 s"),
        (141_000, EventKind::FabricReady, "links, handshakes and SSH are up"),
        (3_752_000, EventKind::NodeConverged, "24 steps, 11 changed"),
    ];
    let begin = (CLOCK - 3_800) * 1000;
    story
        .iter()
        .zip(1..)
        .map(|((at, kind, text), id)| EventView {
            id,
            at: begin + at,
            kind: format!("{kind}{spice}"),
            text: format!("{text}{spice}"),
            machine: Some(4),
            actor: (*kind == EventKind::EnrollmentApproved).then(|| format!("ada{spice}")),
            facts: (*kind == EventKind::DhcpDiscover).then(|| PacketFacts {
                xid: Some("1a2b3c4d".into()),
                hostname: Some(format!("localhost{spice}")),
                vendor_class: Some(format!("PXEClient:Arch:00007{spice}")),
                repeats: Some(3),
                ..PacketFacts::default()
            }),
        })
        .collect()
}

/// The snapshot in use, one that failed its proof, one that is damaged, and one of the extras.
pub fn packages(id: Digest, proof: ProofState, spice: &str) -> PackagesView {
    let text = |t: &str| format!("{t}{spice}");
    let role = |name: &str, packages: Option<u32>, why: Option<String>| ProvenRole { role: text(name), packages, why };
    let one = |id, in_use, proof| SnapshotView {
        id,
        suite: text("trixie"),
        packages: 3,
        bytes: 9,
        in_use,
        maker: None,
        proof,
        proven_at: None,
        roles: Vec::new(),
    };
    let failed = SnapshotView {
        maker: Some(text("5e170364ffab")),
        proven_at: Some(CLOCK - 60),
        roles: vec![role("base", Some(184), None), role("worker", None, Some(text("E: no")))],
        ..one(Digest::of(b"failed"), false, ProofState::Failed)
    };
    let image = ExtraView {
        kind: text("image"),
        name: text("registry.k8s.io/pause"),
        version: text("3.10"),
        bytes: 7,
        sha256: Digest::of(b"image"),
        signed_by: Some(text("B49279BE")),
    };
    PackagesView {
        snapshots: vec![one(id, true, proof), failed],
        damaged: vec![DamagedView { id: Digest::of(b"damaged"), why: text("reading snapshot.json") }],
        extras: vec![image],
    }
}
