//! Tests protocols on the running daemon, with real clients and a hostile one.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use cluster_seed::agent::ReportBody;
use cluster_seed::ids::Digest;

use crate::api::{Client, Decision};
use crate::fake_agent::{FakeAgent, random};
use crate::fleet::Fleet;
use crate::netns::{Netns, PREFIX, SEED_IP};
use crate::stop;
use crate::tool;

const DISK: u64 = 64 << 30;

/// A namespace with a cable to the lab, for clients that need an interface of their own.
pub struct Guest {
    pub ns: Netns,
}

impl Guest {
    pub fn plug(fleet: &Fleet, number: u8) -> Result<Self> {
        let ns = Netns::empty(&format!("{PREFIX}{}-guest{number}", std::process::id()), &fleet.work)?;
        fleet.ns.cable(&format!("guest{number}"), &ns, "eth0", &format!("52:54:00:6b:99:{number:02x}"))?;
        Ok(Guest { ns })
    }

    /// The address udhcpc is given.
    pub fn lease(&self) -> Result<String> {
        let out = self.ns.outcome(&["udhcpc", "-f", "-n", "-q", "-t", "10", "-T", "2", "-i", "eth0", "-s", "/bin/true"])?;
        let text = format!("{}{}", out.stdout, out.stderr);
        let (_, after) = text.split_once("lease of ").with_context(|| format!("udhcpc got no lease: {text}"))?;
        Ok(after.split([' ', ',']).next().unwrap_or("").to_owned())
    }
}

/// udhcpc keeps its address across kill -9 of the daemon; two clients never share one.
pub fn leases(fleet: &mut Fleet) -> Result<()> {
    let (one, two) = (Guest::plug(fleet, 1)?, Guest::plug(fleet, 2)?);
    let (first, second) = (one.lease()?, two.lease()?);
    ensure!(first.starts_with("10.44.0.") && first != second, "leases {first} and {second}");
    fleet.power_cut("after a DHCP ACK")?;
    ensure!(two.lease()? == second && one.lease()? == first, "a lease was lost in a power failure");
    one.ns.ip(&["addr", "add", &format!("{first}/24"), "dev", "eth0"])?;
    tftp(&one, &fleet.work)?;
    http(&one)
}

/// tftp-hpa reads the loader the way a BIOS would, and nothing that is not in the table.
fn tftp(guest: &Guest, dir: &Path) -> Result<()> {
    let file = dir.join("undionly.kpxe");
    let path = file.to_string_lossy().into_owned();
    guest.ns.run(&["tftp", "-m", "binary", SEED_IP, "-c", "get", "undionly.kpxe", &path])?;
    let bytes = std::fs::read(&file).context("reading the file fetched by TFTP")?;
    ensure!(bytes.len() > 40_000, "undionly.kpxe has {} bytes", bytes.len());
    for name in ["../../../../etc/passwd", "/etc/passwd", "undionly.kpxe/../seed.db"] {
        let _ = std::fs::remove_file(&file);
        guest.ns.outcome(&["tftp", "-m", "binary", SEED_IP, "-c", "get", name, &path])?;
        ensure!(std::fs::read(&file).unwrap_or_default().is_empty(), "TFTP served {name}");
    }
    Ok(())
}

/// curl sees a boot script, and can resume a file.
fn http(guest: &Guest) -> Result<()> {
    let base = format!("http://{SEED_IP}");
    let curl = |args: &[&str], path: &str| {
        let url = format!("{base}{path}");
        let mut argv = vec!["curl", "-sS", "--fail", "--max-time", "60"];
        argv.extend_from_slice(args);
        argv.push(&url);
        guest.ns.run(&argv)
    };
    let script = curl(&[], "/boot/ipxe?mac=52:54:00:6b:99:01&arch=x86_64&uuid=00000000-0000-0000-0000-000000000000")?;
    ensure!(script.starts_with("#!ipxe") && script.contains("kubedos.seed="), "boot script: {script}");
    let head = curl(&["-I"], "/boot/vmlinuz")?.to_ascii_lowercase();
    ensure!(head.contains("accept-ranges: bytes") && head.contains("etag:"), "headers of the kernel: {head}");
    ensure!(
        curl(&["-r", "0-9", "-o", "/dev/null", "-w", "%{http_code} %{size_download}"], "/boot/vmlinuz")? == "206 10",
        "no ranges"
    );
    ensure!(curl(&[], "/darksite/current/").is_ok(), "no listing of the darksite");
    Ok(())
}

/// Operators' routes are served only over HTTPS, with a certificate of the site's CA, and not on port 80.
pub fn pages(fleet: &mut Fleet) -> Result<()> {
    let ca = fleet.seedd.data.join("keys/ca.pem").to_string_lossy().into_owned();
    let https = fleet.client.base.clone();
    let curl = |args: &[&str], url: &str| {
        let mut argv = vec!["curl", "-sS", "--max-time", "60", "-o", "/dev/null", "-w", "%{http_code}"];
        argv.extend_from_slice(args);
        argv.push(url);
        tool::outcome(&tool::words(&argv))
    };
    let good = curl(&["--cacert", &ca], &format!("{https}/login"))?;
    ensure!(good.stdout == "200", "curl with the site's CA: {good:?}");
    // Exit code 60: the certificate is not trusted (curl(1)).
    let strange = curl(&[], &format!("{https}/login"))?;
    ensure!(strange.code == 60, "curl without the site's CA: {strange:?}");
    let plain = curl(&[], &format!("{}/login", https.replace("https:", "http:")))?;
    ensure!(plain.stdout == "400", "plain HTTP to the pages: {plain:?}");
    let pem = std::fs::read_to_string(&ca).context("reading the site's CA")?;
    ensure!(fleet.client.get("/ca.pem")?.good("asking for the CA")? == pem.as_str(), "/ca.pem is not the site's CA");
    const OPERATORS: [&str; 12] = [
        "/",
        "/login",
        "/setup",
        "/unseal",
        "/ca.pem",
        "/events",
        "/machines/1",
        "/static/app.css",
        "/api/v1/status",
        "/api/v1/machines",
        "/api/v1/events",
        "/api/v1/login",
    ];
    for path in OPERATORS {
        let url = format!("http://{SEED_IP}{path}");
        let argv = ["curl", "-sS", "--max-time", "60", "-o", "/dev/null", "-w", "%{http_code}", &url];
        let code = fleet.ns.run(&argv)?;
        ensure!(code == "404", "port 80 answers {code} to {path}");
    }
    Ok(())
}

/// Wrong codes are refused and counted; the identity is issued once, whatever is sent again.
pub fn identities(fleet: &mut Fleet) -> Result<()> {
    let role = first_role(&fleet.client)?;
    let mut agent = FakeAgent::new(&fleet.ns, 1, DISK)?;
    let decide = |id: &str, code: &str| {
        fleet.client.approve(id, &Decision { code, role: &role, hostname: "fake1", disk: "vda", replace: false })
    };
    // The machine detects a wrong code, and the attempt ends on both sides.
    let wrong = wrong_code(&agent.enroll()?)?;
    let burnt = agent.enrollment()?;
    decide(&burnt, &wrong)?.good("entering a wrong code")?;
    ensure!(!agent.confirm()?, "the machine accepted a wrong code");
    ensure!(agent.status()?.state.as_str() == "Denied", "the wrong code did not end the attempt");
    let code = agent.enroll()?;
    let id = agent.enrollment()?;
    agent.send_claim(&agent.claim(random()?)?)?.refused(403, "a claim before the approval")?;
    decide(&id, &code)?.good("entering the right code")?;
    decide(&id, &code)?.refused(409, "a second approval")?;
    agent.send_claim(&agent.claim(random()?)?)?.refused(403, "a claim before the machine has confirmed")?;
    ensure!(agent.confirm()?, "the machine did not confirm its code");

    let nonce = random()?;
    let claim = agent.claim(nonce)?;
    let host = agent.open(agent.send_claim(&claim)?)?;
    ensure!(host.starts_with("fake1"), "the identity is for {host}");
    // A lost answer is repeated only for the same key and nonce.
    agent.open(agent.send_claim(&claim)?)?;
    let other_nonce = agent.claim(random()?)?;
    let second = agent.send_claim(&other_nonce)?.refused(409, "a second claim")?;
    ensure!(second["identity"].is_null(), "a refused claim got an identity");
    let stranger = FakeAgent::new(&fleet.ns, 9, DISK)?;
    let path = format!("/api/v1/agent/{id}/claim");
    let forged = serde_json::to_value(&claim)?.to_string().replace(&key_of(&claim)?, &"0".repeat(64));
    let forged: serde_json::Value = serde_json::from_str(&forged).context("forging a claim")?;
    stranger.post(&path, &forged)?.refused(403, "a stranger's claim")?;

    agent.report(1, ReportBody::InstallBegan { artifact: Digest::of(b"?"), disk: "vda".into(), total: 1 })?.good("reporting")?;
    agent.send_claim(&claim)?.refused(409, "the same claim after the first report")?;
    fleet_issued_once(fleet, &id)
}

fn fleet_issued_once(fleet: &Fleet, id: &str) -> Result<()> {
    let machine = fleet.client.machines()?.into_iter().find(|m| m.enrollment.as_ref().is_some_and(|e| e.id == id));
    let machine = machine.context("the machine is missing")?.id;
    let issued = fleet.client.events()?.iter().filter(|e| e.machine == Some(machine) && e.kind == "enrollment.issued").count();
    ensure!(issued == 1, "{issued} identities were issued to machine {machine}");
    Ok(())
}

fn key_of<T: serde::Serialize>(sealed: &T) -> Result<String> {
    let value = serde_json::to_value(sealed).context("reading a seal")?;
    Ok(value["key"].as_str().context("a seal without a key")?.to_owned())
}

/// Another secret under the same number.
pub fn wrong_code(code: &str) -> Result<String> {
    let (number, secret) = code.split_once('-').context("reading a code")?;
    let secret: u32 = secret.replace('-', "").parse().context("reading a code")?;
    Ok(format!("{number}-{:06}", (secret + 1) % 1_000_000))
}

pub fn first_role(client: &Client) -> Result<String> {
    let status = client.status()?;
    let roles = status["roles"].as_array().cloned().unwrap_or_default();
    let role = roles.iter().find(|r| !r["artifact"].is_null()).and_then(|r| r["name"].as_str());
    Ok(role.context("no role has an artifact")?.to_owned())
}

/// A disk that is too small is refused when somebody tries to approve it, with a hint.
pub fn small_disk(fleet: &mut Fleet) -> Result<()> {
    let role = first_role(&fleet.client)?;
    let mut agent = FakeAgent::new(&fleet.ns, 2, 64 << 20)?;
    let code = agent.enroll()?;
    let id = agent.enrollment()?;
    let answer =
        fleet.client.approve(&id, &Decision { code: &code, role: &role, hostname: "small", disk: "vda", replace: false })?;
    let body = answer.refused(400, "a disk of 64 MiB")?;
    ensure!(body["hint"].is_string(), "no hint: {body}");
    Ok(())
}

/// Each wrong code ends an attempt; after the fifth the operator has to wait, and then the right code is accepted.
pub fn guessing(fleet: &mut Fleet) -> Result<()> {
    /// `maxWrongCodes` of the lab's site, which leaves it at the default.
    const MOST: u32 = 5;
    const PATIENCE: Duration = Duration::from_secs(30);
    let role = first_role(&fleet.client)?;
    let mut agent = FakeAgent::new(&fleet.ns, 3, DISK)?;
    let decide = |id: &str, code: &str| {
        fleet.client.approve(id, &Decision { code, role: &role, hostname: "guess", disk: "vda", replace: false })
    };
    for guess in 1..=MOST {
        let wrong = wrong_code(&agent.enroll()?)?;
        let id = agent.enrollment()?;
        decide(&id, &wrong)?.good("entering a wrong code")?;
        ensure!(!agent.confirm()?, "the machine accepted the wrong code {guess}");
        let state = agent.status()?.state.as_str();
        ensure!(state == "Denied", "{state} after a wrong code");
        if guess == 1 {
            decide(&id, &wrong)?.refused(409, "a code for a denied enrollment")?;
        }
    }
    let wrong = fleet.client.events()?.into_iter().filter(|e| e.kind == "enrollment.wrong_code").count();
    ensure!(wrong >= MOST as usize, "{wrong} wrong codes were logged");
    let code = agent.enroll()?;
    let id = agent.enrollment()?;
    stop::wait_for("the operator's pause after wrong codes to end", PATIENCE, || {
        Ok((decide(&id, &code)?.status == 200).then_some(()))
    })?;
    ensure!(agent.confirm()?, "the machine did not confirm its code");
    Ok(())
}

/// Two daemons on one site: the second one exits, the first one continues.
pub fn two_daemons(fleet: &mut Fleet) -> Result<()> {
    let argv = fleet.ns.argv(&fleet.seedd.serve_on("br0", "10.44.0.1:81", "127.0.0.1:0"));
    let out = tool::outcome(&tool::limited(&argv, 60))?;
    if out.code == 0 || out.code == 124 {
        bail!("a second daemon on the same site ran ({})", out.code);
    }
    fleet.client.status().map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_code_is_wrong() {
        assert_eq!(wrong_code("7-123-456").unwrap(), "7-123457");
        assert_eq!(wrong_code("7-999-999").unwrap(), "7-000000");
        assert!(wrong_code("").is_err());
    }
}
