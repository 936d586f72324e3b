//! A site's database with many machines, nodes and events, for the bench of the fleet and the test of the pages' size. The same
//! arguments make the same rows; the functions of the store write them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use cluster_seed::enrollment::{EnrollmentEvent as E, EnrollmentState};
use cluster_seed::events::EventKind;
use cluster_seed::ids::{Digest, EnrollmentId, Hostname, Mac, NodeId};
use cluster_seed::machine::{Disk, Firmware, HardwareFacts, Nic};
use cluster_seed::seal::{SigningKey, key_text};
use cluster_seed::wireguard::WgPublicKey;
use site::store::enrollments::{EnrollmentRecord, Revealed};
use site::store::events::NewEvent;
use site::store::held::HeldRecord;
use site::store::nodes::NodeRecord;
use site::store::{Store, StoreError, Tx};

/// How much is made.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// At most 10,000, which is what a seed keeps.
    pub machines: u32,
    pub events: u32,
    /// What the nodes went through: [`TO_WORK`], or the shorter [`TO_APPROVAL`], which is written in half the time.
    pub nodes: &'static [E],
}

/// Host numbers on a plane begin here: the seed is number 1.
const FIRST_HOST: u32 = 2;
/// Milliseconds between two events.
const BETWEEN: u64 = 250;
/// Of a hundred machines: how many wait, were only seen, failed, or are not heard. All others are running nodes.
const WAITING: u32 = 9;
const SEEN: u32 = 10;
const FAILED: u32 = 11;
const SILENT: u32 = 12;

const TO_WAITING: &[E] = &[E::Revealed];
const TO_FAILURE: &[E] = &[E::Revealed, E::CodeTyped, E::Confirmed, E::Issued, E::InstallBegan, E::Failed];
pub const TO_APPROVAL: &[E] = &[E::Revealed, E::CodeTyped, E::Confirmed];
pub const TO_WORK: &[E] =
    &[E::Revealed, E::CodeTyped, E::Confirmed, E::Issued, E::InstallBegan, E::InstallDone, E::GatePassed, E::ApplyDone];

/// Fills the database of a new site, as if all of this had happened until `now`, in Unix seconds.
pub fn fill(store: &Store, size: Size, now: u64) -> Result<(), StoreError> {
    store.write(|tx| {
        for n in 0..size.machines {
            machine(tx, n, size.nodes, now)?;
        }
        for n in 0..size.events {
            event(tx, n, size, now)?;
        }
        Ok(())
    })
}

/// Whether machine `n`, counted from 0, is a node.
pub fn is_node(n: u32) -> bool {
    n % 100 >= FAILED
}

pub fn enrollment(n: u32) -> EnrollmentId {
    EnrollmentId(sixteen("enrollment", n))
}

/// The key with which the node signs its messages.
pub fn node_key(n: u32) -> SigningKey {
    SigningKey::from_bytes(&named("node key", n).0)
}

fn machine(tx: &Tx<'_>, n: u32, nodes: &[E], now: u64) -> Result<(), StoreError> {
    let [_, b, c, d] = n.to_be_bytes();
    let mac = Mac([2, 9, 0, b, c, d]);
    let ip = IpAddr::from([10, 45, c, d]);
    let facts = facts(n, mac);
    let seen = now - u64::from(n % 3_600);
    let machine = tx.see_machine(mac, Some(ip), seen)?.ok_or(StoreError::NotFound("place for a machine"))?;
    tx.set_facts(machine, &facts)?;
    tx.set_place(machine, &format!("hall {}, rack {:02}, unit {}", n / 1000, n / 40 % 25, n % 40))?;
    let kind = n % 100;
    if (WAITING..SEEN).contains(&kind) {
        return Ok(());
    }
    let events = if kind < WAITING {
        TO_WAITING
    } else if is_node(n) {
        nodes
    } else {
        TO_FAILURE
    };
    let number = tx.take_number()?.ok_or(StoreError::NotFound("free number"))?;
    let id = enrollment(n);
    tx.insert_enrollment(id, machine, number, ip, seen)?;
    let revealed =
        Revealed { recipient: "age1".to_owned(), node_key: key_text(&node_key(n).verifying_key()), facts, pairing: None };
    tx.set_revealed(id, &revealed)?;
    let mut record = tx.enrollment(id)?;
    for event in events {
        let reason = (*event == E::Failed).then_some("the disk is too small: 8 GiB, 16 GiB are needed");
        record.state = tx.advance(&record, *event, reason, seen)?;
    }
    if record.state.is_member() { node(tx, n, &record, ip, now) } else { Ok(()) }
}

fn node(tx: &Tx<'_>, n: u32, record: &EnrollmentRecord, ip: IpAddr, now: u64) -> Result<(), StoreError> {
    let id = NodeId(sixteen("node", n));
    let host = FIRST_HOST + n;
    let [.., c, d] = host.to_be_bytes();
    let plane = |name: &str, net: u8| (name.to_owned(), (Ipv4Addr::new(10, net, c, d), WgPublicKey(named(name, n).0)));
    let hostname: Hostname = format!("r{:02}u{:03}.kubedos.lan", n / 1000, n % 1000)
        .parse()
        .map_err(|_| StoreError::Corrupt { what: "a host name" })?;
    let node = NodeRecord {
        id,
        enrollment: record.id,
        hostname,
        role: "base".to_owned(),
        host,
        artifact: named("artifact", 0),
        endpoint: match ip {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        },
        planes: BTreeMap::from([plane("wg1", 78), plane("wg2", 79), plane("wg3", 80)]),
        revoked: false,
    };
    tx.insert_node(&node, b"age ciphertext")?;
    if record.state == EnrollmentState::Converged {
        tx.set_held(id, &HeldRecord { epoch: 1, version: 1, seq: 1, at: now })?;
    }
    if n % 100 == SILENT {
        tx.set_silent(id, 1, now - 600)?;
    }
    Ok(())
}

fn event(tx: &Tx<'_>, n: u32, size: Size, now: u64) -> Result<(), StoreError> {
    use EventKind as K;
    // What a machine causes at every boot, and what people do now and then.
    const KINDS: [(EventKind, &str); 10] = [
        (K::DhcpDiscover, "DISCOVER from a machine with UEFI x64"),
        (K::DhcpOffer, "offered an address and the loader"),
        (K::DhcpRequest, "REQUEST of the offered address"),
        (K::DhcpAck, "acknowledged after the sync of the journal"),
        (K::TftpDone, "sent ipxe.efi, 268 KiB"),
        (K::BootScript, "sent the boot script of the agent"),
        (K::HttpStarted, "kernel and initramfs are being fetched"),
        (K::GateCheckFailed, "1 of 4 checks failed: no handshake with two peers"),
        (K::NodeBooted, "the node has booted from its disk"),
        (K::MachineLabelled, "labels: added rack=r7"),
    ];
    let (kind, text) = KINDS[(n % 10) as usize];
    let machine = i64::from(n / 10 % size.machines.max(1)) + 1;
    let actor = (kind == K::MachineLabelled).then_some("ada");
    let at = now * 1000 - u64::from(size.events - n) * BETWEEN;
    let text = format!("{text} ({n})");
    tx.event(at, &NewEvent { machine: Some(machine), actor, ..NewEvent::new(kind, &text) }).map(|_| ())
}

fn facts(n: u32, mac: Mac) -> HardwareFacts {
    let disk = |name: &str, size: u64| Disk {
        name: name.to_owned(),
        size,
        model: "SAMSUNG MZQL21T9HCJR-00A07".to_owned(),
        serial: format!("S64GNE0{n:06}{name}"),
        rotational: false,
        removable: false,
        ..Disk::default()
    };
    HardwareFacts {
        vendor: "Supermicro".to_owned(),
        product: "SYS-120U-TNR".to_owned(),
        serial: format!("S{n:08}X2"),
        uuid: format!("00000000-0000-0000-0000-0000{n:08x}"),
        firmware: Firmware::Uefi,
        firmware_date: "09/02/2025".to_owned(),
        cpu: "Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz".to_owned(),
        cpus: 128,
        memory_mib: 524_288,
        disks: vec![disk("nvme0n1", 1_920_383_410_176), disk("nvme1n1", 1_920_383_410_176)],
        disks_left_out: 0,
        root_disk: None,
        nics: vec![Nic { name: "eno1".to_owned(), mac, driver: "ice".to_owned(), link_up: true, speed: Some(25_000) }],
        boot_mac: Some(mac),
        kernel: "6.12.48+deb13-amd64".to_owned(),
        arch: cluster_seed::arch::Arch::Amd64,
    }
}

/// Bytes that look random and are always the same.
fn named(what: &str, n: u32) -> Digest {
    Digest::of(format!("{what} {n}").as_bytes())
}

fn sixteen(what: &str, n: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&named(what, n).0[..16]);
    bytes
}
