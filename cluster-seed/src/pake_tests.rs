use super::*;
use crate::pairing::PairingCode;
use crate::seal::SigningKey;
use proptest::prelude::*;

/// Owned values of one pairing.
#[derive(Debug, Clone)]
struct Scene {
    enrollment: [u8; 16],
    number: u16,
    site: [u8; 32],
    node: [u8; 32],
    recipient: String,
    facts: [u8; 32],
    order: InstallOrder,
    hostname: String,
    role: String,
}

impl Scene {
    fn new() -> Self {
        Scene {
            enrollment: [0x11; 16],
            number: 12,
            site: [1; 32],
            node: [2; 32],
            recipient: "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj".into(),
            facts: [0x22; 32],
            order: InstallOrder {
                artifact: Digest([0x33; 32]),
                disk: "nvme0n1".into(),
                disk_serial: "S4EWNX0R".into(),
                disk_size: 512_110_190_592,
            },
            hostname: "rack1-n07.lan".into(),
            role: "worker".into(),
        }
    }

    /// Runs `f` with the values as machine and seed know them.
    fn with<T>(&self, f: impl FnOnce(&Parties<'_>, &Decision<'_>) -> T) -> T {
        let (site, node) = (SigningKey::from_bytes(&self.site), SigningKey::from_bytes(&self.node));
        let (site_key, node_key) = (&site.verifying_key(), &node.verifying_key());
        let number = Number::new(self.number).unwrap();
        let facts = Digest(self.facts);
        let parties =
            Parties { enrollment: EnrollmentId(self.enrollment), number, site_key, node_key, recipient: &self.recipient, facts };
        f(&parties, &Decision { order: &self.order, hostname: &self.hostname.parse().unwrap(), role: &self.role })
    }

    fn machine(&self, secret: &PairingSecret, random: &[u8; 64]) -> MachineSide {
        self.with(|p, _| MachineSide::start(secret, p.site_key, p.node_key, random).unwrap())
    }

    fn seed(&self, secret: &PairingSecret, machine: &PakeMessage, random: &[u8; 64]) -> (PakeMessage, Confirmations) {
        self.with(|p, d| answer(secret, p, d, machine, random).unwrap())
    }
}

fn secret(number: u32) -> PairingSecret {
    format!("1-{:03}-{:03}", number / 1000, number % 1000).parse::<PairingCode>().unwrap().secret
}

fn ramp(from: u8) -> [u8; 64] {
    std::array::from_fn(|i| from + i as u8)
}

/// Pairs a machine that knows `a` with a seed that knows `b`; whether each would believe the other.
fn pair(a: (&Scene, u32), b: (&Scene, u32)) -> (bool, bool) {
    let machine = a.0.machine(&secret(a.1), &ramp(0));
    let (message, seed) = b.0.seed(&secret(b.1), &machine.message(), &ramp(64));
    let machine = a.0.with(|p, d| machine.finish(p, d, &message).unwrap());
    (machine.of_seed.matches(&seed.of_seed), seed.of_machine.matches(&machine.of_machine))
}

/// The block of docs/protocol.md, made anew.
fn vectors() -> String {
    let scene = Scene::new();
    let code: PairingCode = "12-597-850".parse().unwrap();
    let machine = scene.machine(&code.secret, &ramp(0));
    let a = machine.message();
    let (b, seed) = scene.seed(&code.secret, &a, &ramp(64));
    let both = scene.with(|p, d| machine.finish(p, d, &b).unwrap());
    assert!(both.of_seed.matches(&seed.of_seed) && both.of_machine.matches(&seed.of_machine));
    let transcript = scene.with(|p, d| transcript(p, d, &a, &b));
    let state = scene.machine(&code.secret, &ramp(0)).state;
    let key = finish(state, &b).unwrap();
    scene.with(|p, d| {
        let order = d.order;
        [
            ("code", code.secret.shown(p.number)),
            ("enrollment", p.enrollment.to_string()),
            ("site_key", hex::encode(p.site_key.as_bytes())),
            ("node_key", hex::encode(p.node_key.as_bytes())),
            ("recipient", p.recipient.to_owned()),
            ("facts", p.facts.to_string()),
            ("artifact", order.artifact.to_string()),
            ("disk", order.disk.clone()),
            ("disk_serial", order.disk_serial.clone()),
            ("disk_size", order.disk_size.to_string()),
            ("hostname", d.hostname.to_string()),
            ("role", d.role.to_owned()),
            ("random_machine", hex::encode(ramp(0))),
            ("random_seed", hex::encode(ramp(64))),
            ("pake_machine", a.to_string()),
            ("pake_seed", b.to_string()),
            ("spake2_key", hex::encode(&*key)),
            ("transcript_sha256", Digest::of(&transcript).to_string()),
            ("confirmation_seed", seed.of_seed.to_string()),
            ("confirmation_machine", seed.of_machine.to_string()),
        ]
        .map(|(name, value)| format!("{name} = {value}\n"))
        .concat()
    })
}

#[test]
fn the_test_vectors_of_the_documentation_are_what_is_computed() {
    let vectors = vectors();
    let documented = include_str!("../../docs/protocol.md").contains(&format!("```text\n{vectors}```\n"));
    assert!(documented, "docs/protocol.md should have this block:\n{vectors}");
}

#[test]
fn both_sides_confirm_each_other_if_the_code_is_right_and_neither_if_it_is_wrong() {
    let scene = Scene::new();
    assert_eq!(pair((&scene, 597_850), (&scene, 597_850)), (true, true));
    for wrong in [597_851, 0, 999_999, 97_850] {
        assert_eq!(pair((&scene, 597_850), (&scene, wrong)), (false, false), "{wrong}");
    }
}

#[test]
fn a_confirmation_of_one_side_is_worth_nothing_as_the_others() {
    let scene = Scene::new();
    let machine = scene.machine(&secret(1), &ramp(0));
    let (_, both) = scene.seed(&secret(1), &machine.message(), &ramp(64));
    assert!(!both.of_seed.matches(&both.of_machine));
}

/// One change of each value that both must agree on.
fn changes() -> Vec<(&'static str, Scene)> {
    let change = |name, f: fn(&mut Scene)| {
        let mut scene = Scene::new();
        f(&mut scene);
        (name, scene)
    };
    vec![
        change("enrollment", |s| s.enrollment[15] ^= 1),
        change("number", |s| s.number += 1),
        change("site key", |s| s.site[0] ^= 1),
        change("node key", |s| s.node[0] ^= 1),
        change("recipient", |s| s.recipient.push('x')),
        change("facts", |s| s.facts[31] ^= 1),
        change("artifact", |s| s.order.artifact.0[0] ^= 1),
        change("disk", |s| s.order.disk = "sda".into()),
        change("disk serial", |s| s.order.disk_serial = String::new()),
        change("disk size", |s| s.order.disk_size += 512),
        change("host name", |s| s.hostname = "rack1-n08.lan".into()),
        change("role", |s| s.role = "master".into()),
        // The same bytes, cut at another place.
        change("disk and serial", |s| {
            s.order.disk.push('S');
            s.order.disk_serial.remove(0);
        }),
    ]
}

#[test]
fn every_value_is_bound() {
    let scene = Scene::new();
    for (name, other) in changes() {
        assert_eq!(pair((&scene, 1), (&other, 1)), (false, false), "{name}");
    }
}

#[test]
fn messages_of_the_wrong_side_or_group_are_refused() {
    let scene = Scene::new();
    let machine = || scene.machine(&secret(1), &ramp(0));
    let own = machine().message();
    let finish = |m: MachineSide, seed: &PakeMessage| scene.with(|p, d| m.finish(p, d, seed).err());
    // Its own message sent back.
    assert_eq!(finish(machine(), &own), Some(PakeError::Point));
    let (seed, _) = scene.seed(&secret(1), &own, &ramp(64));
    let reflected = scene.with(|p, d| answer(&secret(1), p, d, &seed, &ramp(64)).err());
    assert_eq!(reflected, Some(PakeError::Point));
    // The neutral element, a point of order eight, one that is not on the curve, and a good point with a part of order two.
    let small = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "0200000000000000000000000000000000000000000000000000000000000000",
    ];
    for point in small {
        let message: PakeMessage = format!("42{point}").parse().unwrap();
        assert_eq!(finish(machine(), &message), Some(PakeError::Point), "{point}");
    }
    // -(x, y) + (0, -1) is (x, -y): negating y adds the point of order two to the negative.
    let mut bytes = seed.0;
    let mut carry = 1u16;
    for (i, byte) in bytes[1..].iter_mut().enumerate() {
        let p: u8 = match i {
            0 => 0xed,
            31 => 0x7f,
            _ => 0xff,
        };
        let sign = if i == 31 { *byte & 0x80 } else { 0 };
        let sum = u16::from(p) + u16::from(!(*byte ^ sign)) + carry;
        carry = sum >> 8;
        *byte = (sum as u8 & if i == 31 { 0x7f } else { 0xff }) | sign;
    }
    let mixed = PakeMessage(bytes);
    assert!(VerifyingKey::from_bytes(bytes[1..].try_into().unwrap()).is_ok_and(|p| !p.is_weak()), "a point, and not a small one");
    assert_eq!(finish(machine(), &mixed), Some(PakeError::Point));
}

#[test]
fn messages_are_written_in_one_way() {
    let message = Scene::new().machine(&secret(1), &ramp(0)).message();
    let text = message.to_string();
    assert_eq!(text.parse(), Ok(message));
    for bad in [&text[1..], &format!("{text}00"), &text.to_uppercase(), ""] {
        assert_eq!(bad.parse::<PakeMessage>(), Err(PakeError::Message), "{bad}");
    }
    assert!("00".repeat(32).parse::<Confirmation>().is_ok() && "0".repeat(63).parse::<Confirmation>().is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whoever_knows_the_secret_agrees(
        code in 0u32..1_000_000,
        a in proptest::array::uniform32(any::<u8>()),
        b in proptest::array::uniform32(any::<u8>()),
        number in 1u16..=999,
        disk in ".{0,20}",
        serial in ".{0,20}",
        size in any::<u64>(),
    ) {
        let mut scene = Scene::new();
        scene.number = number;
        scene.order = InstallOrder { artifact: Digest(a), disk, disk_serial: serial, disk_size: size };
        let twice = |half: [u8; 32]| std::array::from_fn(|i| half[i % 32]);
        let machine = scene.machine(&secret(code), &twice(a));
        let (message, seed) = scene.seed(&secret(code), &machine.message(), &twice(b));
        let both = scene.with(|p, d| machine.finish(p, d, &message).unwrap());
        prop_assert!(both.of_seed.matches(&seed.of_seed) && both.of_machine.matches(&seed.of_machine));
    }

    #[test]
    fn whoever_does_not_is_refused(right in 0u32..1_000_000, off in 1u32..1_000_000) {
        let scene = Scene::new();
        prop_assert_eq!(pair((&scene, right), (&scene, (right + off) % 1_000_000)), (false, false));
    }

    #[test]
    fn a_changed_bit_of_a_message_is_noticed(bit in 0usize..264) {
        let scene = Scene::new();
        let flip = |m: PakeMessage| {
            let mut bytes = m.0;
            bytes[bit / 8] ^= 1 << (bit % 8);
            PakeMessage(bytes)
        };
        // On its way to the seed.
        let machine = scene.machine(&secret(1), &ramp(0));
        let own = machine.message();
        let heard = scene.with(|p, d| answer(&secret(1), p, d, &flip(own), &ramp(64)));
        if let Ok((message, seed)) = heard {
            let both = scene.with(|p, d| machine.finish(p, d, &message).unwrap());
            prop_assert!(!both.of_seed.matches(&seed.of_seed) && !seed.of_machine.matches(&both.of_machine));
        }
        // On its way to the machine.
        let machine = scene.machine(&secret(1), &ramp(0));
        let (message, seed) = scene.seed(&secret(1), &own, &ramp(64));
        if let Ok(both) = scene.with(|p, d| machine.finish(p, d, &flip(message))) {
            prop_assert!(!both.of_seed.matches(&seed.of_seed));
        }
    }
}
