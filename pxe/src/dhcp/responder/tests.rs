mod odd_tests;

use std::sync::Mutex;

use super::*;
use crate::dhcp::loader::LoaderTable;
use crate::dhcp::network::NetworkConfig;
use crate::dhcp::pool::PoolRange;
use crate::dhcp::testing::{IPXE_EFI, IPXE_ROM, MAC, OVMF_HTTP, OVMF_PXE, UDHCPC, facts, packet, subnet};
use crate::dhcp::wire::Packet;
use crate::policy::BootDecision;
use crate::subnet::Subnet;

const NOW: u64 = 1_000_000;
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

struct Recorder {
    silent: bool,
    events: Mutex<Vec<BootEvent>>,
}

impl BootPolicy for Recorder {
    fn decide(&self, request: &BootRequest) -> BootDecision {
        if self.silent {
            BootDecision::Silent { cause: Cause::Other, why: "denied by the operator".into() }
        } else if request.takes_script() {
            BootDecision::Script { url: "http://10.0.0.1/boot/ipxe".into() }
        } else {
            BootDecision::Loader
        }
    }

    fn observe(&self, event: &BootEvent) {
        self.events.lock().unwrap().push(event.clone());
    }
}

/// Networks with pools of two addresses; the first is the interface's own.
fn with_networks(more: &[[u8; 4]]) -> (Responder, Arc<Recorder>) {
    let (mut r, policy) = responder(false);
    for [a, b, c, d] in more {
        let net = Subnet::new([*a, *b, *c, *d].into(), 24).unwrap();
        let range = PoolRange { first: [*a, *b, *c, 10].into(), last: [*a, *b, *c, 11].into() };
        let mut network = NetworkConfig::new(net, vec![range], 3600);
        network.router = Some([*a, *b, *c, 254].into());
        let table = LeaseTable::new(network.pool(SERVER, true), Vec::new());
        r.networks.push(Network { table, config: ReplyConfig { network, ..r.networks[0].config.clone() } });
    }
    r.networks[0].config.http_base = Some("http://10.0.0.1".into());
    (r, policy)
}

fn responder(silent: bool) -> (Responder, Arc<Recorder>) {
    let policy = Arc::new(Recorder { silent, events: Mutex::default() });
    let range = PoolRange { first: [10, 0, 0, 10].into(), last: [10, 0, 0, 10].into() };
    let network = NetworkConfig::new(subnet(), vec![range], 3600);
    let table = LeaseTable::new(network.pool(SERVER, true), Vec::new());
    let (http_base, loaders) = (None, LoaderTable::default());
    let config = ReplyConfig { server_ip: SERVER, next_server: SERVER, http_base, loaders, network };
    let responder = Responder {
        facts: facts(),
        networks: vec![Network { table, config }],
        relays: Vec::new(),
        serving: Serving::Addresses,
        probe: false,
        informs: INFORMS,
        policy: policy.clone(),
        counters: Arc::default(),
    };
    (responder, policy)
}

fn kinds(policy: &Recorder) -> Vec<BootEventKind> {
    policy.events.lock().unwrap().drain(..).map(|e| e.kind).collect()
}

fn ignored(why: Why) -> BootEventKind {
    BootEventKind::Ignored { why, cause: None, detail: None }
}

#[test]
fn a_machine_boots_through_rom_and_ipxe_with_one_address() {
    let (mut r, policy) = responder(false);
    let Outcome::Send(offer) = r.handle(&packet(OVMF_PXE), NOW) else { panic!("no offer") };
    // No broadcast flag: sent to the assigned address, which the client does not use yet.
    assert_eq!((offer.to, offer.hardware), (SocketAddrV4::new([10, 0, 0, 10].into(), 68), Some(MAC)));
    assert_eq!(offer.event.file.as_deref(), Some("snponly.efi"));
    assert_eq!(offer.event.ip, Some([10, 0, 0, 10].into()));

    let selecting = OVMF_PXE.replacen("350101", "350103 36040a000001 32040a00000a", 1);
    let Outcome::Commit { record, reply: Some(ack) } = r.handle(&packet(&selecting), NOW) else { panic!("no commit") };
    assert_eq!((record.mac, record.ip), (MAC, [10, 0, 0, 10].into()));
    assert_eq!(ack.event.kind, BootEventKind::Ack);
    assert_eq!(kinds(&policy), [BootEventKind::Discover, BootEventKind::Request]);

    let Outcome::Send(offer) = r.handle(&packet(IPXE_ROM), NOW) else { panic!("no offer") };
    assert_eq!(offer.event.file.as_deref(), Some("http://10.0.0.1/boot/ipxe"));
    assert_eq!(offer.event.ip, Some([10, 0, 0, 10].into()));
    assert!(offer.event.ipxe);
}

#[test]
fn a_machine_without_an_answer_takes_no_address() {
    let (mut r, policy) = responder(true);
    let (cause, detail) = (Some(Cause::Other), Some("denied by the operator".into()));
    let want = BootEventKind::Ignored { why: Why::PolicySilent, cause, detail };
    assert!(matches!(r.handle(&packet(OVMF_PXE), NOW), Outcome::Nothing));
    assert_eq!(kinds(&policy), [BootEventKind::Discover, want.clone()]);
    let selecting = OVMF_PXE.replacen("350101", "350103 36040a000001 32040a00000a", 1);
    assert!(matches!(r.handle(&packet(&selecting), NOW), Outcome::Nothing));
    assert_eq!(kinds(&policy), [BootEventKind::Request, want]);
    // The policy does not apply to a plain client.
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
    assert_eq!(nak.event.kind, BootEventKind::Nak { why: Why::AddressTaken });
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

    let mut deaf = packet("350101 ff");
    deaf[10] = 0x80;
    let Outcome::Send(offer) = r.handle(&deaf, NOW) else { panic!("no offer") };
    assert_eq!((offer.to, offer.hardware), (SocketAddrV4::new(Ipv4Addr::BROADCAST, 68), None));

    let mut relayed = packet("350101 ff");
    relayed[24..28].copy_from_slice(&[10, 0, 0, 254]);
    let Outcome::Send(offer) = r.handle(&relayed, NOW) else { panic!("no offer") };
    assert_eq!(offer.to, SocketAddrV4::new([10, 0, 0, 254].into(), 67));

    let mut inform = packet("350108 ff");
    inform[12..16].copy_from_slice(&[10, 0, 0, 77]);
    let Outcome::Send(ack) = r.handle(&inform, NOW) else { panic!("no ACK") };
    assert_eq!(ack.to, SocketAddrV4::new([10, 0, 0, 77].into(), 68));
    // With an address outside this network, a stranger could make the server send packets anywhere.
    inform[12] = 11;
    assert!(matches!(r.handle(&inform, NOW), Outcome::Nothing));
    assert_eq!(r.counters.ignored(Why::WrongNetwork), 1);

    let mut release = packet("350107 ff");
    release[12..16].copy_from_slice(&[10, 0, 0, 10]);
    assert!(matches!(r.handle(&release, NOW), Outcome::Commit { reply: None, record } if record.expires_at == NOW));
}

fn relayed(options: &str, giaddr: [u8; 4]) -> Vec<u8> {
    let mut bytes = packet(options);
    bytes[24..28].copy_from_slice(&giaddr);
    bytes
}

fn sent(outcome: Outcome) -> Reply {
    match outcome {
        Outcome::Send(reply) | Outcome::Commit { reply: Some(reply), .. } => reply,
        other => panic!("nothing sent: {other:?}"),
    }
}

fn option(reply: &Reply, code: u8) -> Option<Vec<u8>> {
    Packet::read(&reply.bytes).unwrap().option(code).map(<[u8]>::to_vec)
}

#[test]
fn a_relay_gets_addresses_of_its_network_or_of_the_one_it_names() {
    let (mut r, policy) = with_networks(&[[10, 1, 0, 0], [10, 2, 0, 0]]);
    let offer = sent(r.handle(&relayed("350101 ff", [10, 1, 0, 254]), NOW));
    assert_eq!((offer.event.ip, offer.to), (Some([10, 1, 0, 10].into()), SocketAddrV4::new([10, 1, 0, 254].into(), 67)));
    assert_eq!(option(&offer, 3), Some(vec![10, 1, 0, 254]));
    // RFC 3527: the address of the link is in option 82, the reply still goes to the relay.
    let named = relayed("350101 520c 0104deadbeef 05040a020001 ff", [10, 1, 0, 254]);
    let offer = sent(r.handle(&named, NOW));
    assert_eq!((offer.event.ip, offer.to.ip().octets()), (Some([10, 2, 0, 10].into()), [10, 1, 0, 254]));
    assert_eq!(option(&offer, 82).unwrap(), [1, 4, 0xde, 0xad, 0xbe, 0xef, 5, 4, 10, 2, 0, 1], "echoed");
    // RFC 3011's option 118 of a client on the interface's own link.
    assert_eq!(sent(r.handle(&packet("350101 76040a020000 ff"), NOW)).event.ip, Some([10, 0, 0, 10].into()));
    assert_eq!(sent(r.handle(&packet("350101 76040a020005 ff"), NOW)).event.ip, Some([10, 2, 0, 10].into()));
    kinds(&policy);
    for (giaddr, options) in [
        ([192, 168, 0, 1], "350101 ff"),
        ([192, 168, 0, 1], "350101 520605040a020001 ff"),
        ([10, 1, 0, 254], "350101 52060504c0a80001 ff"),
    ] {
        assert!(matches!(r.handle(&relayed(options, giaddr), NOW), Outcome::Nothing), "{giaddr:?} {options}");
        assert_eq!(kinds(&policy).last(), Some(&ignored(Why::UnknownRelay)));
    }
    r.relays.push([192, 168, 0, 1].into());
    let offer = sent(r.handle(&relayed("350101 520605040a020001 ff", [192, 168, 0, 1]), NOW));
    assert_eq!((offer.event.ip, offer.to.ip().octets()), (Some([10, 2, 0, 10].into()), [192, 168, 0, 1]));
}

#[test]
fn a_relayed_client_renews_directly_and_through_an_override() {
    let (mut r, _) = with_networks(&[[10, 1, 0, 0]]);
    // RFC 5107: the relay stands for the server in option 54, and is chosen by that address.
    let via = "5206 0b040a0100fe";
    let offer = sent(r.handle(&relayed(&format!("350101 {via} ff"), [10, 1, 0, 254]), NOW));
    assert_eq!(option(&offer, 54), Some(vec![10, 1, 0, 254]));
    let request = relayed(&format!("350103 36040a0100fe 32040a01000a {via} ff"), [10, 1, 0, 254]);
    assert_eq!(sent(r.handle(&request, NOW)).event.kind, BootEventKind::Ack);
    assert_eq!(option(&sent(r.handle(&packet("350101 ff"), NOW)), 54), Some(vec![10, 0, 0, 1]), "only the relay gets it");
    assert_eq!(sent(r.handle(&request, NOW)).event.kind, BootEventKind::Ack);
    let mut renew = packet("350103 ff");
    renew[12..16].copy_from_slice(&[10, 1, 0, 10]);
    let ack = sent(r.handle(&renew, NOW));
    assert_eq!((ack.to, option(&ack, 3)), (SocketAddrV4::new([10, 1, 0, 10].into(), 68), Some(vec![10, 1, 0, 254])));
}

#[test]
fn a_proxy_offers_only_boot_files() {
    let (mut r, policy) = with_networks(&[]);
    r.serving = Serving::Proxy;
    for (options, file, discovery) in [
        (OVMF_PXE, "snponly.efi", false),
        ("350101 5d020000 3c20505845436c69656e743a417263683a30303030303a554e44493a303032303031 ff", "undionly.kpxe", true),
        (IPXE_ROM, "http://10.0.0.1/boot/ipxe", true),
        (IPXE_EFI, "http://10.0.0.1/boot/ipxe", true),
    ] {
        let offer = sent(r.handle(&packet(options), NOW));
        assert_eq!(offer.event.file.as_deref(), Some(file));
        assert_eq!(offer.bytes[16..20], [0; 4], "no address");
        assert_eq!(option(&offer, 60).as_deref(), Some(&b"PXEClient"[..]), "{file}");
        assert_eq!(option(&offer, 43), discovery.then(|| vec![6, 1, 8, 255]), "{file}");
        assert_eq!((option(&offer, 51), option(&offer, 1)), (None, None));
        assert_eq!(offer.to, SocketAddrV4::new(Ipv4Addr::BROADCAST, 68));
    }
    let http = sent(r.handle(&packet(OVMF_HTTP), NOW));
    assert_eq!(option(&http, 60).as_deref(), Some(&b"HTTPClient"[..]));
    kinds(&policy);
    for (options, why) in [
        (UDHCPC, Why::ProxyPlain),
        ("350103 36040a000009 32040a000077 ff", Why::OtherServer),
        ("350103 32040a000077 ff", Why::ProxyPlain),
    ] {
        assert!(matches!(r.handle(&packet(options), NOW), Outcome::Nothing), "{options}");
        assert_eq!(kinds(&policy).last(), Some(&ignored(why)), "{options}");
    }
}

#[test]
fn leases_given_before_another_server_came_are_renewed() {
    let (mut r, _) = with_networks(&[]);
    assert!(matches!(r.handle(&packet("350103 36040a000001 32040a00000a ff"), NOW), Outcome::Commit { .. }));
    r.serving = Serving::Proxy;
    let mut renew = packet("350103 ff");
    renew[12..16].copy_from_slice(&[10, 0, 0, 10]);
    assert_eq!(sent(r.handle(&renew, NOW + 10)).event.kind, BootEventKind::Ack);
    assert!(matches!(r.handle(&renew, NOW + 4000), Outcome::Nothing), "once it has ended, the other server serves the client");
}

#[test]
fn the_boot_server_answers_clients_on_its_network() {
    let (mut r, policy) = with_networks(&[]);
    let rom = SocketAddrV4::new([10, 0, 0, 77].into(), 4011);
    let request = OVMF_PXE.replacen("350101", "350103 470400000000", 1);
    let mut bytes = packet(&request);
    bytes[12..16].copy_from_slice(&[10, 0, 0, 77]);
    let ack = sent(r.boot_server(&bytes, rom));
    assert_eq!((ack.to, ack.hardware), (rom, None));
    assert_eq!(option(&ack, 53), Some(vec![5]));
    assert_eq!(option(&ack, 67).as_deref(), Some(&b"snponly.efi\0"[..]));
    assert_eq!((ack.bytes[12..16].to_vec(), option(&ack, 51)), (vec![10, 0, 0, 77], None));
    for (bytes, from, why) in [
        (packet(UDHCPC), rom, Why::NotPxe),
        (packet(&OVMF_PXE.replacen("350101", "350107", 1)), rom, Why::NotPxe),
        (packet(&request), SocketAddrV4::new([10, 9, 0, 1].into(), 4011), Why::WrongNetwork),
        (packet(&request), SocketAddrV4::new([10, 0, 0, 7].into(), 0), Why::WrongNetwork),
    ] {
        assert!(matches!(r.boot_server(&bytes, from), Outcome::Nothing), "{why}");
        assert_eq!(kinds(&policy).last(), Some(&ignored(why)));
    }
}

#[test]
fn nothing_is_served_before_the_role_is_decided() {
    let (mut r, policy) = with_networks(&[]);
    r.serving = Serving::Undecided;
    for options in ["350101 ff", OVMF_PXE, "350103 32040a00000a ff"] {
        assert!(matches!(r.handle(&packet(options), NOW), Outcome::Nothing));
        assert_eq!(kinds(&policy).last(), Some(&ignored(Why::StillProbing)));
    }
}

#[test]
fn an_address_is_probed_before_it_is_offered() {
    let (mut r, policy) = with_networks(&[[10, 1, 0, 0]]);
    r.networks.remove(0);
    r.networks[0].config.server_ip = SERVER;
    r.probe = true;
    let ask = |outcome| match outcome {
        Outcome::Probe(pending) => *pending,
        other => panic!("{other:?}"),
    };
    let first = ask(r.handle(&packet("350101 ff"), NOW));
    assert_eq!(first.ip.octets(), [10, 1, 0, 10]);
    let other = Mac([2, 0, 0, 0, 0, 9]);
    let second = ask(r.after_probe(first, Probed::InUse(other), NOW));
    assert_eq!(second.ip.octets(), [10, 1, 0, 11]);
    assert!(kinds(&policy).contains(&BootEventKind::AddressInUse { by: other }));
    assert_eq!(sent(r.after_probe(second, Probed::Unused, NOW)).event.ip, Some([10, 1, 0, 11].into()));
    assert_eq!(sent(r.handle(&packet("350101 ff"), NOW + 1)).event.ip, Some([10, 1, 0, 11].into()), "probed a moment ago");
    // The machine itself may answer: it had the address in an earlier boot stage.
    let again = ask(r.handle(&packet("350101 ff"), NOW + 200));
    assert_eq!(sent(r.after_probe(again, Probed::InUse(MAC), NOW + 200)).event.ip, Some([10, 1, 0, 11].into()));
    // In a flood nothing is probed, and machines are served.
    let third = ask(r.handle(&packet("350101 ff"), NOW + 400));
    assert!(matches!(r.after_probe(third, Probed::NotAsked, NOW + 400), Outcome::Send(_)));
    // Behind a relay no probe would arrive.
    assert!(matches!(r.handle(&relayed("350101 ff", [10, 1, 0, 254]), NOW + 900), Outcome::Send(_)));
}
