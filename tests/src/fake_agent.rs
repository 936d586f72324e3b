//! An agent without a machine: follows the enrollment protocol, or violates it.

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use cluster_seed::agent::{
    Claim, ClaimReply, Confirm, Hello, HelloReply, Mismatch, PROTOCOL, Report, ReportBody, StatusReply, TellCode,
};
use cluster_seed::ids::{EnrollmentId, Mac};
use cluster_seed::machine::{Disk, Firmware, HardwareFacts, Nic};
use cluster_seed::pairing::Nonce;
use cluster_seed::seal::{Sealed, SigningKey, VerifyingKey, key_from_text};
use cluster_seed::secret::AgeKey;
use serde::Serialize;
use serde_json::Value;

use crate::api::{Answer, http_agent};
use crate::netns::{Netns, SEED_IP};
use crate::paired::Paired;
use crate::plain_http;

/// Where machines reach the seed.
const SEED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 44, 0, 1)), 80);

/// 32 bytes of the kernel's randomness.
pub fn random() -> Result<[u8; 32]> {
    let mut bytes = [0u8; 32];
    std::fs::File::open("/dev/urandom")
        .context("opening /dev/urandom")?
        .read_exact(&mut bytes)
        .context("reading /dev/urandom")?;
    Ok(bytes)
}

/// How an agent reaches the seed.
enum Way<'a> {
    /// From inside the lab's network, from any thread.
    Through(&'a Netns),
    /// From this address, on a thread that is inside already.
    From(Ipv4Addr),
}

/// One machine's keys and where its enrollment stands.
pub struct FakeAgent<'a> {
    way: Way<'a>,
    pub mac: Mac,
    pub age: AgeKey,
    key: SigningKey,
    /// Bytes of its only disk, `vda`.
    pub disk: u64,
    /// Vendor and product.
    pub model: (String, String),
    /// Empty: its MAC address.
    pub serial: String,
    pub memory_mib: u64,
    hello: Option<HelloReply>,
    paired: Option<Paired>,
}

impl<'a> FakeAgent<'a> {
    pub fn new(ns: &'a Netns, number: u8, disk: u64) -> Result<Self> {
        Self::with(Way::Through(ns), Mac([0x52, 0x54, 0x00, 0xfa, 0xce, number]), disk)
    }

    /// With an address of its own; for threads of the lab's network ([`Netns::spawn`]).
    pub fn at(source: Ipv4Addr, mac: Mac, disk: u64) -> Result<Self> {
        Self::with(Way::From(source), mac, disk)
    }

    fn with(way: Way<'a>, mac: Mac, disk: u64) -> Result<Self> {
        let key = SigningKey::from_bytes(&random()?);
        let model = ("Nobody".to_owned(), "Fake <b>agent</b>".to_owned());
        let (serial, memory_mib) = (String::new(), 1024);
        Ok(FakeAgent { way, mac, age: AgeKey::generate(), key, disk, model, serial, memory_mib, hello: None, paired: None })
    }

    /// POST from inside the lab's network.
    pub fn post<T: Serialize + Sync>(&self, path: &str, body: &T) -> Result<Answer> {
        let url = format!("http://{SEED_IP}{path}");
        let ns = match &self.way {
            Way::Through(ns) => ns,
            Way::From(source) => return plain_http::ask(*source, SEED, path, Some(&serde_json::to_vec(body)?)),
        };
        ns.enter(|| {
            let mut response =
                http_agent(Duration::from_secs(60)).post(&url).send_json(body).with_context(|| format!("asking {url}"))?;
            let text = response.body_mut().read_to_string().with_context(|| format!("reading {url}"))?;
            Ok(Answer { status: response.status().as_u16(), body: serde_json::from_str(&text).unwrap_or(Value::String(text)) })
        })
    }

    fn get(&self, path: &str) -> Result<Value> {
        let url = format!("http://{SEED_IP}{path}");
        let ns = match &self.way {
            Way::Through(ns) => ns,
            Way::From(source) => return plain_http::ask(*source, SEED, path, None)?.good(path),
        };
        ns.enter(|| {
            let mut response = http_agent(Duration::from_secs(60)).get(&url).call().with_context(|| format!("asking {url}"))?;
            let text = response.body_mut().read_to_string().with_context(|| format!("reading {url}"))?;
            serde_json::from_str(&text).with_context(|| format!("reading JSON of {url}"))
        })
    }

    fn facts(&self) -> HardwareFacts {
        let disk = Disk {
            name: "vda".into(),
            size: self.disk,
            model: "none".into(),
            serial: format!("FAKE{}", self.mac),
            rotational: false,
            removable: false,
            ..Disk::default()
        };
        HardwareFacts {
            vendor: self.model.0.clone(),
            product: self.model.1.clone(),
            serial: if self.serial.is_empty() { self.mac.to_string() } else { self.serial.clone() },
            uuid: "00000000-0000-0000-0000-000000000000".into(),
            firmware: Firmware::Bios,
            firmware_date: String::new(),
            cpu: "none".into(),
            cpus: 1,
            memory_mib: self.memory_mib,
            disks: vec![disk],
            disks_left_out: 0,
            root_disk: None,
            nics: vec![Nic { name: "eth0".into(), mac: self.mac, driver: "none".into(), link_up: true, speed: None }],
            boot_mac: Some(self.mac),
            kernel: "0".into(),
            arch: cluster_seed::arch::Arch::Amd64,
        }
    }

    /// Hello and reveal; the pairing code a person would read on the console. May be called again, as after a wrong code.
    pub fn enroll(&mut self) -> Result<String> {
        self.key = SigningKey::from_bytes(&random()?);
        let hello = Hello { protocol: PROTOCOL, boot_mac: Some(self.mac), token: None };
        let reply: HelloReply = serde_json::from_value(self.post("/api/v1/agent/hello", &hello)?.good("hello")?)?;
        let paired = Paired::start(&reply, &self.key, &self.age.recipient(), &self.facts(), random()?);
        let (paired, reveal, code) = paired.context("starting the pairing")?;
        self.post(&format!("/api/v1/agent/{}/reveal", reply.enrollment), &reveal)?.good("reveal")?;
        (self.hello, self.paired) = (Some(reply), Some(paired));
        Ok(code)
    }

    /// What a machine does once the operator has typed a code: checks the seed's proof and sends its own, or tells that the code
    /// was wrong. True if it was right.
    pub fn confirm(&mut self) -> Result<bool> {
        let offer = self.status()?.offer.context("no code has been entered")?;
        let enrollment = self.reply()?.enrollment;
        let right = self.paired.take().context("this pairing has ended")?.check(&offer);
        let path = |what: &str| format!("/api/v1/agent/{enrollment}/{what}");
        match right {
            Some(confirmation) => {
                let confirm = Sealed::sign(&Confirm { enrollment, confirmation }, &self.key)?;
                self.post(&path("confirm"), &confirm)?.good("confirming the code")?;
            }
            None => {
                let mismatch = Sealed::sign(&Mismatch { enrollment }, &self.key)?;
                self.post(&path("mismatch"), &mismatch)?.good("reporting a wrong code")?;
            }
        }
        Ok(right.is_some())
    }

    fn reply(&self) -> Result<&HelloReply> {
        self.hello.as_ref().context("not enrolled yet")
    }

    /// Tells the code of a planned machine, as the seed asks for it.
    pub fn tell_code(&self, code: String) -> Result<()> {
        let enrollment = self.reply()?.enrollment;
        let told = Sealed::sign(&TellCode { enrollment, code }, &self.key)?;
        self.post(&format!("/api/v1/agent/{enrollment}/code"), &told)?.good("telling the code").map(|_| ())
    }

    pub fn id(&self) -> Result<EnrollmentId> {
        Ok(self.reply()?.enrollment)
    }

    /// What it signs with.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// The key that the seed named in its first answer.
    pub fn site_key(&self) -> Result<VerifyingKey> {
        Ok(key_from_text(&self.reply()?.site_key)?)
    }

    pub fn enrollment(&self) -> Result<String> {
        Ok(self.reply()?.enrollment.to_string())
    }

    pub fn status(&self) -> Result<StatusReply> {
        let body = self.get(&format!("/api/v1/agent/{}/status", self.enrollment()?))?;
        serde_json::from_value(body).context("reading a status")
    }

    /// A claim as its sender would sign it, ready to be sent as often as one likes.
    pub fn claim(&self, nonce: [u8; 32]) -> Result<Sealed<Claim>> {
        let challenge = self.status()?.challenge.unwrap_or(Nonce::from_random([0; 32]));
        let claim = Claim { enrollment: self.reply()?.enrollment, challenge, nonce: Nonce::from_random(nonce) };
        Ok(Sealed::sign(&claim, &self.key)?)
    }

    pub fn send_claim(&self, claim: &Sealed<Claim>) -> Result<Answer> {
        self.post(&format!("/api/v1/agent/{}/claim", self.enrollment()?), claim)
    }

    pub fn report(&self, seq: u64, body: ReportBody) -> Result<Answer> {
        let report = Report { enrollment: self.reply()?.enrollment, seq, body };
        self.post(&format!("/api/v1/agent/{}/report", self.enrollment()?), &Sealed::sign(&report, &self.key)?)
    }

    /// Host name in the identity of an answer, after checking the site's signature and decrypting.
    pub fn open(&self, answer: Answer) -> Result<String> {
        let reply: ClaimReply = serde_json::from_value(answer.good("claim")?).context("reading an identity")?;
        let issued = reply.identity.open(&key_from_text(&self.reply()?.site_key)?).context("checking the site's signature")?;
        Ok(issued.open(&self.age).context("opening the identity")?.info.hostname.to_string())
    }
}
