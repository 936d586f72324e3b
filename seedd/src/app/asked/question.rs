//! What is sent about a machine.

use cluster_seed::ids::{EnrollmentId, Mac};
use cluster_seed::machine::HardwareFacts;
use serde::Serialize;

/// The kind of the message.
const KIND: &str = "machine.arrived";

/// The JSON of a question, in the form of a webhook's message.
#[derive(Debug, Serialize)]
pub struct Question<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    /// RFC 3339, when the machine is asked about.
    timestamp: String,
    site: &'a str,
    data: Data<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    enrollment: EnrollmentId,
    /// The machine's number at the seed.
    machine: i64,
    mac: Mac,
    vendor: &'a str,
    product: &'a str,
    serial: &'a str,
    uuid: &'a str,
    arch: String,
    cpu: &'a str,
    cpus: u32,
    memory_mib: u64,
    disks: Vec<DiskFacts<'a>>,
    macs: Vec<Mac>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DiskFacts<'a> {
    name: &'a str,
    /// Bytes.
    size: u64,
    model: &'a str,
    serial: &'a str,
    wwn: &'a str,
    rotational: bool,
    removable: bool,
}

impl<'a> Question<'a> {
    /// `now` is in Unix milliseconds. Nothing of the pairing is in it.
    pub fn of(site: &'a str, now: u64, about: (EnrollmentId, i64, Mac), facts: &'a HardwareFacts) -> Self {
        let (enrollment, machine, mac) = about;
        let at = i64::try_from(now).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
        let disk = |d: &'a cluster_seed::machine::Disk| DiskFacts {
            name: &d.name,
            size: d.size,
            model: &d.model,
            serial: &d.serial,
            wwn: &d.wwn,
            rotational: d.rotational,
            removable: d.removable,
        };
        let data = Data {
            enrollment,
            machine,
            mac,
            vendor: &facts.vendor,
            product: &facts.product,
            serial: &facts.serial,
            uuid: &facts.uuid,
            arch: facts.arch.to_string(),
            cpu: &facts.cpu,
            cpus: facts.cpus,
            memory_mib: facts.memory_mib,
            disks: facts.disks.iter().map(disk).collect(),
            macs: facts.nics.iter().map(|n| n.mac).collect(),
        };
        Question { kind: KIND, timestamp: at.to_string(), site, data }
    }
}
