use dhcproto::{Decodable, Decoder};

use super::*;
use crate::dhcp::boot_info::boot_info;
use crate::dhcp::loader::LoaderTable;
use crate::dhcp::network::{ExtraOption, NetworkConfig};
use crate::dhcp::testing::{IPXE_EFI, IPXE_ROM, MAC, OVMF_HTTP, OVMF_PXE, UDHCPC, boot, lease, packet, subnet};
use crate::policy::BootDecision;
use crate::subnet::Subnet;

fn config() -> ReplyConfig {
    ReplyConfig {
        server_ip: SERVER,
        next_server: SERVER,
        http_base: Some("http://10.0.0.1".into()),
        loaders: LoaderTable::default(),
        network: network(),
    }
}

fn network() -> NetworkConfig {
    NetworkConfig::new(subnet(), Vec::new(), 3600)
}

const IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

fn decode(bytes: &[u8]) -> Message {
    assert!(bytes.len() >= MIN_REPLY);
    Message::decode(&mut Decoder::new(bytes)).unwrap()
}

fn offer_to(options: &str, decision: &BootDecision, config: &ReplyConfig) -> Message {
    let request = boot(&packet(options));
    let info = boot_info(&request, decision, config, false).unwrap();
    decode(&positive(MessageType::Offer, &request.lease, Some((IP, 3600)), None, &info, config).unwrap())
}

/// The `file` field up to its NUL.
fn file(message: &Message) -> &[u8] {
    message.fname().unwrap().split(|b| *b == 0).next().unwrap()
}

fn option(message: &Message, code: u8) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    message.opts().get(OptionCode::from(code))?.encode(&mut Encoder::new(&mut bytes)).unwrap();
    Some(bytes[2..].to_vec())
}

#[test]
fn plain_offer() {
    let request = lease(&packet(UDHCPC));
    let message = decode(&positive(MessageType::Offer, &request, Some((IP, 3600)), None, &BootInfo::Nothing, &config()).unwrap());
    assert_eq!((message.opcode(), message.xid(), message.yiaddr()), (Opcode::BootReply, 0x1122_3344, IP));
    assert_eq!(message.chaddr(), MAC.0);
    assert_eq!(message.siaddr(), Ipv4Addr::UNSPECIFIED);
    for (code, want) in [
        (53, Some(vec![2])),
        (54, Some(SERVER.octets().to_vec())),
        (1, Some(vec![255, 255, 255, 0])),
        (28, Some(vec![10, 0, 0, 255])),
        (3, None),
        (6, Some(SERVER.octets().to_vec())),
        (51, Some(3600u32.to_be_bytes().to_vec())),
        (58, Some(1800u32.to_be_bytes().to_vec())),
        (59, Some(3150u32.to_be_bytes().to_vec())),
        (12, None),
        (15, None),
        (42, None),
        (43, None),
        (60, None),
        (26, None),
        (66, None),
        (121, None),
        (150, None),
        (67, None),
        (97, None),
        (119, None),
    ] {
        assert_eq!(option(&message, code), want, "option {code}");
    }
}

#[test]
fn options_that_are_set_are_sent() {
    let network = NetworkConfig {
        router: Some([10, 0, 0, 254].into()),
        dns: vec![[10, 0, 0, 2].into(), [10, 0, 0, 3].into()],
        domain: Some("lab.test".into()),
        search: vec!["a.test".into(), "b".into()],
        ntp: vec![[10, 0, 0, 9].into()],
        ..network()
    };
    let config = ReplyConfig { network, ..config() };
    let request = lease(&packet("350103 3d050012345678 5205 0103616263 ff"));
    let bytes = positive(MessageType::Ack, &request, Some((IP, 3600)), Some("node1"), &BootInfo::Nothing, &config).unwrap();
    let message = decode(&bytes);
    for (code, want) in [
        (53, vec![5]),
        (3, vec![10, 0, 0, 254]),
        (6, vec![10, 0, 0, 2, 10, 0, 0, 3]),
        (12, b"node1".to_vec()),
        (15, b"lab.test".to_vec()),
        (42, vec![10, 0, 0, 9]),
        (61, vec![0, 0x12, 0x34, 0x56, 0x78]),
        (119, b"\x01a\x04test\0\x01b\0".to_vec()),
    ] {
        assert_eq!(option(&message, code), Some(want), "option {code}");
    }
    let echoed = b"\x52\x05\x01\x03abc\xff";
    assert!(bytes.windows(echoed.len()).any(|w| w == echoed), "option 82 is echoed last");
}

#[test]
fn a_pxe_rom_gets_the_loader_of_its_architecture() {
    let message = offer_to(OVMF_PXE, &BootDecision::Loader, &config());
    assert_eq!(message.siaddr(), SERVER);
    assert_eq!(file(&message), b"snponly.efi");
    assert_eq!(option(&message, 66).unwrap(), b"10.0.0.1\0");
    assert_eq!(option(&message, 67).unwrap(), b"snponly.efi\0");
    assert_eq!(option(&message, 60).unwrap(), b"PXEClient");
    assert_eq!(option(&message, 43).unwrap(), [6, 1, 8, 255]);
    assert_eq!(option(&message, 97).unwrap().len(), 17);
}

#[test]
fn ipxe_gets_its_script_and_no_pxe_options() {
    let url = "http://10.0.0.1/boot/ipxe?mac=52-54-00-12-34-56&arch=bios";
    let message = offer_to(IPXE_ROM, &BootDecision::Script { url: url.into() }, &config());
    assert_eq!(file(&message), url.as_bytes());
    assert_eq!(option(&message, 67).unwrap(), [url.as_bytes(), b"\0"].concat());
    assert_eq!((option(&message, 60), option(&message, 43)), (None, None));
    assert_eq!(option(&message, 175).unwrap(), [176, 1, 1]);
}

#[test]
fn http_boot_gets_a_url_and_its_class() {
    let message = offer_to(OVMF_HTTP, &BootDecision::Loader, &config());
    assert_eq!(option(&message, 67).unwrap(), b"http://10.0.0.1/boot/snponly.efi\0");
    assert_eq!(option(&message, 60).unwrap(), b"HTTPClient");
    assert_eq!(option(&message, 43), None);
}

#[test]
fn script_url_limits() {
    let request = boot(&packet(IPXE_ROM));
    for (len, in_file, fits) in
        [(126, true, true), (127, true, true), (128, false, true), (254, false, true), (255, false, true), (256, false, false)]
    {
        let url = "u".repeat(len);
        let info = boot_info(&request, &BootDecision::Script { url: url.clone() }, &config(), false);
        assert_eq!(info.is_ok(), fits, "{len}");
        let Ok(info) = info else { continue };
        let message = decode(&positive(MessageType::Offer, &request.lease, Some((IP, 3600)), None, &info, &config()).unwrap());
        assert_eq!(message.fname().is_some(), in_file, "{len}");
        let nul: &[u8] = if len < 255 { b"\0" } else { b"" };
        assert_eq!(option(&message, 67).unwrap(), [url.as_bytes(), nul].concat(), "{len}");
    }
}

/// What a ROM reads that goes up to a NUL, whatever the length says.
fn read_to_the_nul(reply: &[u8], code: u8) -> Vec<u8> {
    let mut at = 240;
    while reply[at] != code {
        assert_ne!(reply[at], 255, "option {code} is missing");
        at += if reply[at] == 0 { 1 } else { 2 + usize::from(reply[at + 1]) };
    }
    reply[at + 2..].iter().copied().take_while(|b| *b != 0).collect()
}

#[test]
fn the_names_end_where_a_rom_stops_that_ignores_their_length() {
    let script = BootDecision::Script { url: "http://10.0.0.1/boot/ipxe?mac=52-54-00-12-34-56&arch=bios".into() };
    for (options, decision) in
        [(OVMF_PXE, &BootDecision::Loader), (OVMF_HTTP, &BootDecision::Loader), (IPXE_ROM, &script), (IPXE_EFI, &script)]
    {
        let request = boot(&packet(options));
        for proxy in [false, true] {
            let info = boot_info(&request, decision, &config(), proxy).unwrap();
            let name = info.file().unwrap().as_bytes();
            let whole = positive(MessageType::Offer, &request.lease, Some((IP, 3600)), None, &info, &config()).unwrap();
            let bare = boot_only(MessageType::Ack, &request.lease, &info, &config()).unwrap();
            for bytes in [whole, bare] {
                assert_eq!(read_to_the_nul(&bytes, 67), name, "{options}");
                assert_eq!(read_to_the_nul(&bytes, 66), b"10.0.0.1", "{options}");
            }
        }
    }
    // The operator's own, too, with a NUL already there or without.
    for name in [&b"other.efi"[..], b"other.efi\0"] {
        let extra = vec![ExtraOption::new(66, name.to_vec()).unwrap(), ExtraOption::new(67, name.to_vec()).unwrap()];
        let config = ReplyConfig { network: NetworkConfig { extra, ..network() }, ..config() };
        let request = lease(&packet(UDHCPC));
        let bytes = positive(MessageType::Offer, &request, Some((IP, 3600)), None, &BootInfo::Nothing, &config).unwrap();
        assert_eq!(
            (option(&decode(&bytes), 66).unwrap(), option(&decode(&bytes), 67).unwrap()),
            (b"other.efi\0".to_vec(), b"other.efi\0".to_vec())
        );
    }
}

#[test]
fn a_nak_has_no_addresses() {
    let mut bytes = packet("350103 32040a000005 ff");
    let message = decode(&nak(&lease(&bytes), "wrong_network", &config()).unwrap());
    assert_eq!((message.yiaddr(), message.siaddr()), (Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED));
    assert_eq!(option(&message, 53).unwrap(), [6]);
    assert_eq!(option(&message, 56).unwrap(), b"wrong_network");
    assert_eq!((option(&message, 1), option(&message, 51)), (None, None));
    assert_eq!(u16::from(message.flags()) & 0x8000, 0);
    bytes[24..28].copy_from_slice(&[10, 0, 0, 254]);
    let relayed = decode(&nak(&lease(&bytes), "x", &config()).unwrap());
    assert_eq!(u16::from(relayed.flags()) & 0x8000, 0x8000);
}

#[test]
fn routes_mtu_and_the_operators_own_options() {
    let net = |a: u8, b: u8, prefix| Subnet::new([a, b, 0, 0].into(), prefix).unwrap();
    let network = NetworkConfig {
        router: Some([10, 0, 0, 254].into()),
        mtu: Some(9000),
        routes: vec![Route { to: net(10, 9, 16), via: [10, 0, 0, 7].into() }, Route { to: net(172, 16, 12), via: SERVER }],
        extra: vec![ExtraOption::new(252, b"http://x/".to_vec()).unwrap(), ExtraOption::new(6, vec![10, 0, 0, 5]).unwrap()],
        ..network()
    };
    let config = ReplyConfig { network, ..config() };
    let request = boot(&packet(OVMF_PXE));
    let info = boot_info(&request, &BootDecision::Loader, &config, false).unwrap();
    let message = decode(&positive(MessageType::Ack, &request.lease, Some((IP, 3600)), None, &info, &config).unwrap());
    assert_eq!(option(&message, 26), Some(9000u16.to_be_bytes().to_vec()));
    let routes = [&[16, 10, 9, 10, 0, 0, 7][..], &[12, 172, 16, 10, 0, 0, 1], &[0, 10, 0, 0, 254]].concat();
    assert_eq!(option(&message, 121), Some(routes), "RFC 3442: the default route is among them");
    assert_eq!(option(&message, 252).as_deref(), Some(&b"http://x/"[..]));
    assert_eq!(option(&message, 6), Some(vec![10, 0, 0, 5]), "the operator's option wins");
    assert_eq!(option(&message, 150), Some(SERVER.octets().to_vec()));
}

#[test]
fn a_client_that_asks_for_the_seeds_option_is_told_its_url_and_no_other_is() {
    let config = ReplyConfig { http_base: Some("http://10.0.0.1:8000".into()), ..config() };
    let told = |config: &ReplyConfig, options: &str| {
        let reply = positive(MessageType::Ack, &lease(&packet(options)), Some((IP, 3600)), None, &BootInfo::Nothing, config);
        option(&decode(&reply.unwrap()), OPTION)
    };
    assert_eq!(told(&config, "350103 370301e006 ff").unwrap(), b"kubedos.seed=http://10.0.0.1:8000");
    assert_eq!(told(&config, "350103 37020106 ff"), None);
    assert_eq!(told(&config, "350103 ff"), None);
    let own = NetworkConfig { extra: vec![ExtraOption::new(OPTION, b"another use".to_vec()).unwrap()], ..network() };
    let config = ReplyConfig { network: own, ..config };
    assert_eq!(told(&config, "350103 3701e0 ff").unwrap(), b"another use", "the operator's option wins");
}

#[test]
fn a_client_with_a_small_maximum_size_gets_the_important_options() {
    let extra = (224..230).map(|code| ExtraOption::new(code, vec![b'x'; 100]).unwrap()).collect();
    let network = NetworkConfig { extra, search: vec!["a.test".into()], domain: Some("lab.test".into()), ..network() };
    let config = ReplyConfig { network, ..config() };
    let long = |options: &str| {
        positive(MessageType::Ack, &lease(&packet(options)), Some((IP, 3600)), None, &BootInfo::Nothing, &config).unwrap()
    };
    let small = long("350103 ff");
    assert!(small.len() <= 548, "{}", small.len());
    let message = decode(&small);
    assert!(option(&message, 224).is_some() && option(&message, 229).is_none());
    assert_eq!(option(&message, 51).unwrap().len(), 4);
    let large = long("350103 390205c0 ff");
    assert!(large.len() > 548 && option(&decode(&large), 229).is_some());
    assert!(long("350103 39020000 ff").len() <= 548, "a size below the minimum is ignored");
}
