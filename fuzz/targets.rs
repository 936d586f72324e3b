// The bodies of the fuzz targets, and the replay test's (tests/tests/fuzz_corpus.rs): one function per parser.
// None of them may panic, whatever the bytes.

#[path = "repository.rs"]
mod repository;

pub use repository::{deb822, inrelease, keyring, lock, netrc, packages, relations, release};

/// Name and body of a target.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: &[Target] = &[
    ("dhcp", dhcp),
    ("tftp", tftp),
    ("cluster_yaml", cluster_yaml),
    ("sealed", sealed),
    ("capsule", capsule),
    ("archive", archive),
    ("oci", oci),
    ("packages", packages),
    ("deb822", deb822),
    ("relations", relations),
    ("release", release),
    ("lock", lock),
    ("inrelease", inrelease),
    ("keyring", keyring),
    ("netrc", netrc),
    ("medium", medium),
    ("frame", frame),
    ("dhcp_reply", dhcp_reply),
    ("http_head", http_head),
    ("pairing", pairing),
    ("agent", agent),
    ("site_key", site_key),
    ("join", join),
    ("plan", plan),
];

/// What machines boot, for the responder below.
struct Policy;

impl pxe::BootPolicy for Policy {
    fn decide(&self, request: &pxe::BootRequest) -> pxe::BootDecision {
        match request.takes_script() {
            true => pxe::BootDecision::Script { url: "http://10.44.0.1/boot/ipxe".into() },
            false => pxe::BootDecision::Loader,
        }
    }

    fn observe(&self, event: &pxe::BootEvent) {
        let texts = [&event.hostname, &event.vendor_class, &event.file];
        assert!(texts.into_iter().flatten().all(|t| t.len() <= 255 && t.bytes().all(|b| (0x20..0x7f).contains(&b))));
    }
}

fn responder(serving: pxe::dhcp::mode::Serving) -> Option<pxe::dhcp::responder::Responder> {
    use pxe::dhcp::{leases::LeaseTable, network::ReplyConfig, responder::Network};
    let server_ip = std::net::Ipv4Addr::new(10, 44, 0, 1);
    let network = |third: u8| {
        let ip = |last| std::net::Ipv4Addr::new(10, 44, third, last);
        let subnet = pxe::Subnet::new(ip(0), 24).ok()?;
        let network = pxe::NetworkConfig {
            router: Some(ip(254)),
            domain: Some("lab.test".into()),
            search: vec!["a.test".into()],
            ntp: vec![server_ip],
            mtu: Some(1500),
            ..pxe::NetworkConfig::new(subnet, vec![pxe::PoolRange { first: ip(10), last: ip(12) }], 600)
        };
        let table = LeaseTable::new(network.pool(server_ip, true), Vec::new());
        let (http_base, loaders) = (Some("http://10.44.0.1".into()), pxe::LoaderTable::default());
        Some(Network { table, config: ReplyConfig { server_ip, next_server: server_ip, http_base, loaders, network } })
    };
    let networks = vec![network(0)?, network(1)?];
    let facts = pxe::Facts { iface: "br0".into(), subnet: networks[0].config.network.subnet };
    let (policy, counters) = (std::sync::Arc::new(Policy), std::sync::Arc::default());
    let informs = pxe::dhcp::responder::INFORMS;
    Some(pxe::dhcp::responder::Responder {
        facts,
        networks,
        relays: Vec::new(),
        serving,
        probe: false,
        informs,
        policy,
        counters,
    })
}

/// The whole way from a datagram to its answer, in both roles, and what is read on port 68 and from the journal.
pub fn dhcp(data: &[u8]) {
    use pxe::dhcp::{mode::Serving, responder::Outcome};
    for serving in [Serving::Addresses, Serving::Proxy] {
        let Some(mut responder) = responder(serving) else { return };
        let from = std::net::SocketAddrV4::new([10, 44, 0, 77].into(), 4011);
        let outcomes =
            [responder.handle(data, 1_000), responder.boot_server(data, from), responder.handle_from(data, from, 1_001)];
        for outcome in outcomes {
            if let Outcome::Send(reply) | Outcome::Commit { reply: Some(reply), .. } = outcome {
                assert!((300..=1_472).contains(&reply.bytes.len()) && reply.bytes[0] == 2);
                assert!(pxe::dhcp::wire::Packet::read(&reply.bytes).is_ok_and(|p| p.option(53).is_some_and(|v| v.len() == 1)));
            }
        }
    }
    let Ok(subnet) = pxe::Subnet::new([10, 44, 0, 0].into(), 24) else { return };
    let mac = cluster_seed::ids::Mac([2; 6]);
    let mut watch = pxe::dhcp::watch::Watch::new(pxe::DhcpMode::Auto, [10, 44, 0, 1].into(), subnet, mac, 7);
    watch.tick(0);
    let _ = watch.heard(data, 0);
    let _ = pxe::dhcp::lease_line::read_line(data);
}

/// A packet by itself, and as a client's word in a transfer that runs.
pub fn tftp(data: &[u8]) {
    use pxe::tftp::limits::Limits;
    use pxe::tftp::transfer::{Send, Transfer};
    let parsed = pxe::tftp::packet::parse(data);
    let shown = pxe::tftp::packet::shown_name(data);
    assert!(shown.len() <= pxe::tftp::packet::MAX_NAME && shown.bytes().all(|b| (0x20..0x7f).contains(&b)));
    let table = pxe::FileTable::new([("a/b".to_owned(), std::sync::Arc::from(&b"x"[..]))]);
    assert!(table.find(&shown).is_none() || shown.to_ascii_lowercase().ends_with('b'));
    let request = match parsed {
        Ok(pxe::tftp::packet::Packet::Read(request)) => request,
        _ => pxe::tftp::packet::ReadRequest { name: "f".into(), options: vec![("windowsize".into(), "4".into())] },
    };
    let file: std::sync::Arc<[u8]> = vec![7u8; 5_000].into();
    let now = std::time::Duration::from_secs(1);
    let mut transfer = Transfer::new(file, &request, Limits::default());
    let steps =
        [transfer.start(now), transfer.on_packet(&[0, 4, 0, 0], now), transfer.on_packet(data, now), transfer.on_timeout(now)];
    for step in steps {
        if let Send::Blocks(blocks) = step.send {
            assert!(blocks.clone().count() <= 64 && blocks.map(|b| transfer.data(b).len()).max() <= Some(1_468));
        }
    }
    assert!(transfer.acked_bytes() <= 5_000);
}

pub fn frame(data: &[u8]) {
    let (own, seed) = (cluster_seed::ids::Mac([2, 0, 0, 0, 0, 1]), std::net::Ipv4Addr::new(10, 44, 0, 1));
    if let Some(seen) = flight::recorder::frame::read(data, own, seed) {
        assert!(seen.mac.0 != [0; 6] && seen.mac.0[0] & 1 == 0, "a packet belongs to one machine");
    }
}

pub fn dhcp_reply(data: &[u8]) {
    if let Some(reply) = seedd::doctor::dhcp::reply(data) {
        assert!(reply.prefix <= 32 && reply.file.is_none_or(|f| !f.contains(|c: char| c.is_control())));
    }
}

pub fn http_head(data: &[u8]) {
    if let Some((head, body)) = web::read_head(data) {
        assert!(head <= data.len() && body <= web::limits::MAX_AGENT_BODY);
        // The length of a body is never a question.
        let text = String::from_utf8_lossy(&data[..head]).to_ascii_lowercase();
        assert!(!text.contains("\ntransfer-encoding:"), "{text}");
    }
}

pub fn cluster_yaml(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = cluster_seed::cluster::ClusterSpec::parse(text);
    }
}

pub fn sealed(data: &[u8]) {
    use cluster_seed::manifest::ArtifactManifest;
    use cluster_seed::peers::PeersFile;
    use cluster_seed::seal::{Sealed, SigningKey};
    let key = SigningKey::from_bytes(&[7; 32]).verifying_key();
    if let Ok(sealed) = serde_json::from_slice::<Sealed<ArtifactManifest>>(data) {
        assert!(sealed.open(&key).is_err(), "nobody signed this");
    }
    if let Ok(manifest) = serde_json::from_slice::<ArtifactManifest>(data) {
        let _ = manifest.check();
        let _ = manifest.stored_size();
    }
    let _ = serde_json::from_slice::<PeersFile>(data);
}

pub fn medium(data: &[u8]) {
    use cluster_seed::medium::{MediumManifest, Volume, maker_key};
    if let Some(volume) = Volume::parse(data) {
        assert!(volume.id.len() <= 32 && !volume.id.contains(|c: char| c.is_control()));
        assert!(!volume.is_seed() || data[40..47] == *b"KUBEDOS");
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = maker_key(text);
    }
    if let Ok(manifest) = serde_json::from_slice::<MediumManifest>(data)
        && manifest.check().is_ok()
    {
        let inside = |name: &str| !name.starts_with('/') && !name.split('/').any(|part| part == "..");
        assert!(manifest.files.iter().all(|f| inside(&f.name) && manifest.file(&f.name) == Some(f)));
    }
}

pub fn capsule(data: &[u8]) {
    use cluster_seed::capsule::{CapsuleHeader, CapsuleManifest, FileRow, KeyRow, PREFIX, TextRow, frame_len, header_len};
    use cluster_seed::seal::{Sealed, SigningKey};
    let key = SigningKey::from_bytes(&[7; 32]).verifying_key();
    if let Some((prefix, rest)) = data.split_first_chunk::<PREFIX>()
        && let Ok(length) = header_len(prefix)
        && let Some(json) = rest.get(..length)
        && let Ok(sealed) = serde_json::from_slice::<Sealed<CapsuleHeader>>(json)
    {
        assert!(CapsuleHeader::open(&sealed, &key).is_err(), "nobody signed this");
        if let Some((field, _)) = rest[length..].split_first_chunk::<4>() {
            let _ = frame_len(0, *field);
            let _ = frame_len(1, *field);
        }
    }
    if let Ok(manifest) = serde_json::from_slice::<CapsuleManifest>(data)
        && let Ok(bytes) = manifest.check()
    {
        let sum: u64 = manifest.entries.iter().map(|e| e.size()).sum();
        assert_eq!(bytes, sum);
    }
    for line in String::from_utf8_lossy(data).lines() {
        if let Ok(row) = FileRow::parse(line) {
            let plain = |c: std::path::Component<'_>| matches!(c, std::path::Component::Normal(_));
            assert!(std::path::Path::new(&row.path).components().all(plain), "{:?} leaves its folder", row.path);
        }
        for name in [TextRow::parse(line).map(|r| r.0), KeyRow::parse(line).map(|r| r.0.to_owned())].into_iter().flatten() {
            assert!(!name.contains('/') && !name.starts_with('.'), "{name:?}");
        }
    }
}

pub fn archive(data: &[u8]) {
    use cluster_seed::archive::{ArchiveHeader, ArchiveList, MAGIC};
    use cluster_seed::capsule::{PREFIX, framed_len};
    use cluster_seed::seal::{Sealed, SigningKey};
    let key = SigningKey::from_bytes(&[7; 32]).verifying_key();
    if let Some((prefix, rest)) = data.split_first_chunk::<PREFIX>()
        && let Some(Ok(length)) = framed_len(MAGIC, prefix)
        && let Some(json) = rest.get(..length)
        && let Ok(sealed) = serde_json::from_slice(json)
    {
        let sealed: Sealed<ArchiveHeader> = sealed;
        assert!(ArchiveHeader::open(&sealed, &key).is_err(), "nobody signed this");
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(list) = ArchiveList::parse(text)
    {
        assert!(list.render().is_ok_and(|again| again == text), "a list that was read is not written so");
        let plain = |c: std::path::Component<'_>| matches!(c, std::path::Component::Normal(_));
        for file in &list.files {
            assert!(std::path::Path::new(&file.path).components().all(plain), "{:?} leaves its folder", file.path);
            assert!(list.blobs.iter().chain(&list.held).any(|p| (p.size, p.sha256) == (file.size, file.sha256)));
        }
    }
}

pub fn oci(data: &[u8]) {
    if let Ok(document) = darksite::extras::oci::document(data, "") {
        assert!(document.media_type.contains('/') && !document.media_type.contains(char::is_whitespace));
    }
    let _ = darksite::lint::secrets(data);
    let _ = darksite::lint::bytes("x", data);
}

/// What an operator types.
pub fn pairing(data: &[u8]) {
    use cluster_seed::pairing::PairingCode;
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(code) = text.parse::<PairingCode>() {
        let shown = code.secret.shown(code.number);
        let again: PairingCode = shown.parse().expect("what is shown can be typed");
        assert_eq!(again.secret.shown(again.number), shown);
        assert!((1..=999).contains(&code.number.get()));
    }
}

/// The messages of an enrollment, as each side reads what the other sent.
pub fn agent(data: &[u8]) {
    use cluster_seed::agent::{Confirm, Hello, HelloReply, Mismatch, Reveal, StatusReply};
    use cluster_seed::ids::{Digest, EnrollmentId};
    use cluster_seed::pairing::{Number, PairingSecret};
    use cluster_seed::pake::{Decision, MachineSide, Parties};
    use cluster_seed::seal::{Sealed, SigningKey};
    let _ = serde_json::from_slice::<Hello>(data);
    let _ = serde_json::from_slice::<HelloReply>(data);
    let _ = serde_json::from_slice::<Reveal>(data);
    let key = SigningKey::from_bytes(&[7; 32]).verifying_key();
    if let Ok(sealed) = serde_json::from_slice::<Sealed<Confirm>>(data) {
        assert!(sealed.open(&key).is_err(), "nobody signed this");
    }
    if let Ok(sealed) = serde_json::from_slice::<Sealed<Mismatch>>(data) {
        assert!(sealed.open(&key).is_err(), "nobody signed this");
    }
    let Some(offer) = serde_json::from_slice::<StatusReply>(data).ok().and_then(|s| s.offer) else { return };
    let secret = PairingSecret::from_random(&[3; 32]).expect("not above the largest multiple");
    let side = MachineSide::start(&secret, &key, &key, &[5; 64]).expect("a side");
    let parties = Parties {
        enrollment: EnrollmentId([1; 16]),
        number: Number::new(1).expect("a number"),
        site_key: &key,
        node_key: &key,
        recipient: "age1",
        facts: Digest([2; 32]),
    };
    let decision = Decision { order: &offer.order, hostname: &offer.hostname, role: &offer.role };
    if let Ok(both) = side.finish(&parties, &decision, &offer.pake) {
        assert!(!both.of_seed.matches(&offer.confirmation), "nobody knew the secret");
    }
}

/// A site key from a file or from firmware.
pub fn site_key(data: &[u8]) {
    use cluster_seed::seal::key_text;
    use cluster_seed::site_key::{from_text, from_variable};
    for key in [from_text(data), from_variable(data)].into_iter().flatten() {
        assert!(!key.is_weak());
        assert_eq!(from_text(key_text(&key).as_bytes()).expect("what is written is read"), key);
    }
}

/// What images, hypervisors and networks tell a machine about its seed.
pub fn join(data: &[u8]) {
    use cluster_seed::join::{JoinSpec, address::StaticAddress, lease, nocloud, pattern::NamePattern, smbios};
    if let Ok(spec) = JoinSpec::parse(data) {
        let again = spec.to_secret().expect("what was read can be written");
        assert!(JoinSpec::parse(again.expose()).is_ok());
    }
    let plain = |url: &str| url.starts_with("http://") && !url.contains(char::is_whitespace) && url.len() <= 256;
    let given = [nocloud::user_data(data), smbios::given(data)].into_iter().flatten();
    assert!(given.filter_map(|g| g.seed).all(|url| plain(&url)));
    let text = String::from_utf8_lossy(data);
    assert!(lease::given(&text).seed.is_none_or(|url| plain(&url)));
    let addresses = [nocloud::network_config(data).ok().flatten(), StaticAddress::of_cmdline(&text).ok().flatten()];
    for address in addresses.into_iter().flatten() {
        let file = address.networkd(cluster_seed::ids::Mac([2; 6]));
        assert!(file.lines().count() <= 14 && !file.contains(|c: char| c.is_control() && c != '\n'), "{file}");
    }
    if let Ok(pattern) = text.parse::<NamePattern>() {
        assert!(pattern.labels().next().is_some_and(|l| l.len() <= 63));
    }
}

/// A plan that an operator pastes, as CSV or YAML, and the wishes for disks in it.
pub fn plan(data: &[u8]) {
    use cluster_seed::plan::{DiskWish, MAX_FIELD, MAX_PROBLEMS, MAX_ROWS, Plan};
    let text = String::from_utf8_lossy(data);
    match Plan::parse(&text) {
        Ok(plan) => {
            assert!(plan.rows().len() <= MAX_ROWS);
            for row in plan.rows() {
                let plain = |t: &str| t.chars().count() <= MAX_FIELD && !t.contains(char::is_control);
                assert!(row.line > 0 && plain(&row.serial) && plain(&row.place) && plain(&row.role), "{row:?}");
                assert!(!row.serial.is_empty() || row.mac.is_some_and(|m| plan.by_mac(m) == Some(row)), "{row:?}");
                assert!(row.disk.to_string().parse::<DiskWish>().is_ok_and(|again| again == row.disk), "{row:?}");
            }
            let json = serde_json::to_vec(plan.rows()).expect("rows are JSON");
            assert!(serde_json::from_slice(&json).is_ok_and(|rows| Plan::of(rows).is_ok_and(|again| again == plan)));
        }
        Err(problems) => assert!(!problems.is_empty() && problems.len() <= MAX_PROBLEMS + 1),
    }
}
