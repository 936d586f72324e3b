//! One simulated machine from its first hello to an installed node.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use cluster_seed::agent::ReportBody;
use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::held::{Held, HeldReply};
use cluster_seed::ids::{Digest, Mac};
use cluster_seed::seal::Sealed;

use crate::fake_agent::{FakeAgent, random};

/// How often a waiting machine asks for its state; a real one does every two seconds.
const POLL: Duration = Duration::from_secs(3);
/// How long a machine waits after a wrong code or a refusal, as a real one does.
const AGAIN: Duration = Duration::from_secs(10);
/// Between two reports of an installation, and how many there are.
const WRITE: Duration = Duration::from_secs(2);
const PARTS: u64 = 8;
/// Between two reports of the peer list.
const BEAT: Duration = Duration::from_secs(30);
/// Failed steps in a row after which a machine starts again.
const MAX_FAILURES: u32 = 5;

/// Bytes of the only disk, `vda`.
const DISK: u64 = 480 << 30;

/// What a person sees who stands in front of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Screen {
    pub number: u16,
    pub mac: String,
    pub serial: String,
    /// The pairing code, while it waits.
    pub code: Option<String>,
    pub state: String,
    /// What went wrong last.
    pub trouble: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Off,
    Waiting,
    Writing { part: u64 },
    Installed,
}

/// What it knows of the peer list.
struct List {
    epoch: u64,
    version: u64,
    digest: Digest,
}

pub(super) struct Life {
    number: u16,
    agent: FakeAgent<'static>,
    step: Step,
    next: Instant,
    failures: u32,
    code: Option<String>,
    state: String,
    trouble: Option<String>,
    /// Number of the next report, and of the next message about the list.
    seq: u64,
    list: List,
}

/// Products of a mixed rack: vendor, product, GiB of memory.
const MODELS: [(&str, &str, u64); 4] = [
    ("Dell Inc.", "PowerEdge R650", 256),
    ("HPE", "ProLiant DL360 Gen11", 512),
    ("Supermicro", "SYS-120U-TNR", 512),
    ("Lenovo", "ThinkSystem SR630 V3", 128),
];

impl Life {
    pub(super) fn new(number: u16, address: Ipv4Addr) -> Result<Self> {
        let [high, low] = number.to_be_bytes();
        let mut agent = FakeAgent::at(address, Mac([0x52, 0x54, 0x00, 0x51, high, low]), DISK)?;
        let (vendor, product, memory) = MODELS[usize::from(number) % MODELS.len()];
        agent.model = (vendor.to_owned(), product.to_owned());
        agent.memory_mib = memory * 1024;
        agent.serial = format!("SIM{number:05}");
        // One after the other, as a rack is switched on.
        let next = Instant::now() + Duration::from_millis(20) * u32::from(number);
        let list = List { epoch: 0, version: 0, digest: Digest([0; 32]) };
        let state = "off".to_owned();
        Ok(Life { number, agent, step: Step::Off, next, failures: 0, code: None, state, trouble: None, seq: 1, list })
    }

    pub(super) fn screen(&self) -> Screen {
        Screen {
            number: self.number,
            mac: self.agent.mac.to_string(),
            serial: self.agent.serial.clone(),
            code: self.code.clone(),
            state: self.state.clone(),
            trouble: self.trouble.clone(),
        }
    }

    /// Does what is due, if anything is.
    pub(super) fn step(&mut self) {
        if Instant::now() < self.next {
            return;
        }
        let done = match self.step {
            Step::Off => self.enroll(),
            Step::Waiting => self.wait(),
            Step::Writing { part } => self.write(part),
            Step::Installed => self.beat(),
        };
        match done {
            Ok(pause) => {
                self.failures = 0;
                self.next = Instant::now() + pause;
            }
            Err(error) => {
                // The seed may be restarting, or have forgotten this enrollment.
                self.trouble = Some(format!("{error:#}"));
                self.failures += 1;
                if self.failures > MAX_FAILURES && self.step != Step::Installed {
                    self.restart("off");
                }
                self.next = Instant::now() + AGAIN;
            }
        }
    }

    fn restart(&mut self, state: &str) {
        (self.step, self.code, self.state) = (Step::Off, None, state.to_owned());
    }

    fn enroll(&mut self) -> Result<Duration> {
        self.code = Some(self.agent.enroll()?);
        (self.step, self.state, self.trouble, self.seq) = (Step::Waiting, "Pending".to_owned(), None, 1);
        Ok(POLL)
    }

    fn wait(&mut self) -> Result<Duration> {
        let status = self.agent.status()?;
        self.state = status.state.as_str().to_owned();
        match status.state {
            EnrollmentState::Confirming if status.offer.is_some() => {
                self.code = None;
                if self.agent.confirm()? {
                    return Ok(Duration::ZERO);
                }
                self.restart("wrong code");
                Ok(AGAIN)
            }
            EnrollmentState::Approved => {
                self.code = None;
                let claim = self.agent.claim(random()?)?;
                self.agent.open(self.agent.send_claim(&claim)?)?;
                self.report(ReportBody::InstallBegan {
                    artifact: Digest::of(b"simulated"),
                    disk: "vda".to_owned(),
                    total: DISK,
                })?;
                self.step = Step::Writing { part: 0 };
                Ok(WRITE)
            }
            EnrollmentState::Denied | EnrollmentState::Expired | EnrollmentState::Revoked | EnrollmentState::Failed => {
                self.trouble = status.reason;
                self.restart(status.state.as_str());
                Ok(AGAIN)
            }
            EnrollmentState::Pending if status.tell_code => {
                if let Some(code) = self.code.clone() {
                    self.agent.tell_code(code)?;
                }
                Ok(POLL)
            }
            _ => Ok(POLL),
        }
    }

    fn write(&mut self, part: u64) -> Result<Duration> {
        if part < PARTS {
            let rate = DISK / PARTS / WRITE.as_secs();
            self.report(ReportBody::InstallProgress { written: DISK / PARTS * (part + 1), total: DISK, rate })?;
            (self.step, self.state) = (Step::Writing { part: part + 1 }, "Installing".to_owned());
            return Ok(WRITE);
        }
        self.report(ReportBody::InstallDone { seconds: PARTS * WRITE.as_secs() })?;
        self.report(ReportBody::Booted { kernel: "simulated".to_owned(), boot_id: self.number.to_string() })?;
        (self.step, self.state) = (Step::Installed, "Installed".to_owned());
        Ok(Duration::ZERO)
    }

    fn report(&mut self, body: ReportBody) -> Result<()> {
        self.agent.report(self.seq, body)?.good("reporting")?;
        self.seq += 1;
        Ok(())
    }

    /// Says which list it holds, and takes the seed's. A revoked node starts again as a machine.
    fn beat(&mut self) -> Result<Duration> {
        if self.agent.status()?.state == EnrollmentState::Revoked {
            self.list = List { epoch: 0, version: 0, digest: Digest([0; 32]) };
            self.restart("Revoked");
            return Ok(AGAIN);
        }
        for _ in 0..2 {
            let List { epoch, version, digest } = self.list;
            let held =
                Held { enrollment: self.agent.id()?, seq: self.seq, epoch, version, digest, next: [].into(), refused: None };
            self.seq += 1;
            let path = format!("/api/v1/agent/{}/held", held.enrollment);
            let reply = self.agent.post(&path, &Sealed::sign(&held, self.agent.key())?)?.good("reporting the list")?;
            let reply: HeldReply = serde_json::from_value(reply).context("reading the answer about the list")?;
            // The new one is reported at once.
            let Some(sealed) = reply.peers else { break };
            let peers = sealed.open(&self.agent.site_key()?).context("checking the peer list")?;
            self.list = List { epoch: peers.epoch, version: peers.version, digest: sealed.digest() };
        }
        Ok(BEAT)
    }
}
