use std::collections::BTreeMap;
use std::sync::Mutex;

use super::*;
use crate::leases::PoolConfig;
use crate::loader::LoaderTable;
use crate::policy::BootDecision;
use crate::testing::{IPXE_ROM, MAC, OVMF_PXE, UDHCPC, facts, packet, subnet};

const NOW: u64 = 1_000_000;
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

struct Recorder {
    silent: bool,
    events: Mutex<Vec<BootEvent>>,
}

impl BootPolicy for Recorder {
    fn decide(&self, request: &BootRequest) -> BootDecision {
        if self.silent {
            BootDecision::Silent { why: "denied by the operator".into() }
        } else if request.ipxe {
            BootDecision::Script { url: "http://10.0.0.1/boot/ipxe".into() }
        } else {
            BootDecision::Loader
        }
    }

    fn observe(&self, event: &BootEvent) {
        self.events.lock().unwrap().push(event.clone());
    }
}

fn responder(silent: bool) -> (Responder, Arc<Recorder>) {
    let policy = Arc::new(Recorder { silent, events: Mutex::default() });
    let pool = PoolConfig {
        subnet: subnet(),
        first: [10, 0, 0, 10].into(),
        last: [10, 0, 0, 10].into(),
        server_ip: SERVER,
        router: None,
        lease_secs: 3600,
        reservations: BTreeMap::new(),
    };
    let config = ReplyConfig {
        server_ip: SERVER,
        subnet: subnet(),
        router: None,
        dns: Vec::new(),
        domain: None,
        search: Vec::new(),
        ntp: Vec::new(),
        lease_secs: 3600,
        next_server: SERVER,
        http_base: None,
        loaders: LoaderTable::default(),
    };
    let table = LeaseTable::new(pool, Vec::new()).unwrap();
    let responder = Responder { facts: facts(), config, table, policy: policy.clone(), counters: Arc::default() };
    (responder, policy)
}

fn kinds(policy: &Recorder) -> Vec<EventKind> {
    policy.events.lock().unwrap().drain(..).map(|e| e.kind).collect()
}

fn ignored(why: Why) -> EventKind {
    EventKind::Ignored { why, detail: None }
}

#[test]
fn a_machine_boots_through_rom_and_ipxe_with_one_address() {
    let (mut r, policy) = responder(false);
    let Outcome::Send(offer) = r.handle(&packet(OVMF_PXE), NOW) else { panic!("no offer") };
    assert_eq!(offer.to, SocketAddrV4::new(Ipv4Addr::BROADCAST, 68));
    assert_eq!(offer.event.file.as_deref(), Some("snponly.efi"));
    assert_eq!(offer.event.ip, Some([10, 0, 0, 10].into()));

    let selecting = OVMF_PXE.replacen("350101", "350103 36040a000001 32040a00000a", 1);
    let Outcome::Commit { record, reply: Some(ack) } = r.handle(&packet(&selecting), NOW) else { panic!("no commit") };
    assert_eq!((record.mac, record.ip), (MAC, [10, 0, 0, 10].into()));
    assert_eq!(ack.event.kind, EventKind::Ack);
    assert_eq!(kinds(&policy), [EventKind::Discover, EventKind::Request]);

    let Outcome::Send(offer) = r.handle(&packet(IPXE_ROM), NOW) else { panic!("no offer") };
    assert_eq!(offer.event.file.as_deref(), Some("http://10.0.0.1/boot/ipxe"));
    assert_eq!(offer.event.ip, Some([10, 0, 0, 10].into()));
    assert!(offer.event.ipxe);
}

#[test]
fn silence_of_the_policy_takes_no_address() {
    let (mut r, policy) = responder(true);
    let want = EventKind::Ignored { why: Why::PolicySilent, detail: Some("denied by the operator".into()) };
    assert!(matches!(r.handle(&packet(OVMF_PXE), NOW), Outcome::Nothing));
    assert_eq!(kinds(&policy), [EventKind::Discover, want.clone()]);
    let selecting = OVMF_PXE.replacen("350101", "350103 36040a000001 32040a00000a", 1);
    assert!(matches!(r.handle(&packet(&selecting), NOW), Outcome::Nothing));
    assert_eq!(kinds(&policy), [EventKind::Request, want]);
    // A plain client is none of the policy's business.
    assert!(matches!(r.handle(&packet(UDHCPC), NOW), Outcome::Send(_)));
    assert_eq!(r.counters.ignored(Why::PolicySilent), 2);
}

#[test]
fn reasons_of_the_lease_table_are_recorded() {
    let (mut r, policy) = responder(false);
    let mut other = packet("350103 36040a000001 32040a00000a ff");
    other[33] ^= 1;
    assert!(matches!(r.handle(&other, NOW), Outcome::Commit { .. }));
    kinds(&policy);
    for (options, why) in [
        ("350101 ff", Why::PoolExhausted),
        ("350103 36040a000002 32040a00000a ff", Why::OtherServer),
        ("350103 ff", Why::NoAddressAsked),
        ("350104 ff", Why::NoAddressAsked),
        ("350104 32040a00000a ff", Why::NotTheHolder),
        ("350107 ff", Why::NotTheHolder),
        ("350108 ff", Why::NoAddressAsked),
        ("3501", Why::BrokenOptions),
    ] {
        assert!(matches!(r.handle(&packet(options), NOW), Outcome::Nothing), "{options}");
        assert_eq!(kinds(&policy).last(), Some(&ignored(why)), "{options}");
    }
    let Outcome::Send(nak) = r.handle(&packet("350103 32040a00000a ff"), NOW) else { panic!("no NAK") };
    assert_eq!(nak.event.kind, EventKind::Nak { why: Why::AddressTaken });
    assert_eq!(nak.to, SocketAddrV4::new(Ipv4Addr::BROADCAST, 68));
}

#[test]
fn where_replies_go() {
    let (mut r, _) = responder(false);
    assert!(matches!(r.handle(&packet("350103 36040a000001 32040a00000a ff"), NOW), Outcome::Commit { .. }));
    let mut renew = packet("350103 ff");
    renew[12..16].copy_from_slice(&[10, 0, 0, 10]);
    let Outcome::Commit { reply: Some(ack), .. } = r.handle(&renew, NOW) else { panic!("no ACK") };
    assert_eq!(ack.to, SocketAddrV4::new([10, 0, 0, 10].into(), 68));

    let mut relayed = packet("350101 ff");
    relayed[24..28].copy_from_slice(&[10, 0, 0, 254]);
    let Outcome::Send(offer) = r.handle(&relayed, NOW) else { panic!("no offer") };
    assert_eq!(offer.to, SocketAddrV4::new([10, 0, 0, 254].into(), 67));

    let mut inform = packet("350108 ff");
    inform[12..16].copy_from_slice(&[10, 0, 0, 77]);
    let Outcome::Send(ack) = r.handle(&inform, NOW) else { panic!("no ACK") };
    assert_eq!(ack.to, SocketAddrV4::new([10, 0, 0, 77].into(), 68));
    // An address off this network would make the server send packets wherever a stranger points.
    inform[12] = 11;
    assert!(matches!(r.handle(&inform, NOW), Outcome::Nothing));
    assert_eq!(r.counters.ignored(Why::WrongNetwork), 1);

    let mut release = packet("350107 ff");
    release[12..16].copy_from_slice(&[10, 0, 0, 10]);
    assert!(matches!(r.handle(&release, NOW), Outcome::Commit { reply: None, record } if record.expires_at == NOW));
}
