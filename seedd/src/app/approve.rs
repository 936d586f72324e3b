//! The operator's decision: the right code makes a machine a node, in one transaction.

use std::net::{IpAddr, Ipv4Addr};

use cluster_seed::addressing::next_host;
use cluster_seed::enrollment::EnrollmentEvent;
use cluster_seed::events::EventKind;
use cluster_seed::ids::{EnrollmentId, Hostname};
use cluster_seed::machine::{Disk, HardwareFacts};
use cluster_seed::manifest::ArtifactManifest;
use cluster_seed::pairing::{Code, MachineKeys, code};
use host::clock::{now, now_ms};
use site::store::Tx;
use site::store::enrollments::EnrollmentRecord;
use site::store::events::NewEvent;
use web::api::{Actor, ApiError, Approve, EnrollmentView};

use super::enroll::node_key;
use super::issue::Minted;
use super::{App, unexpected};

impl App {
    pub fn approve_by(&self, actor: &Actor, id: EnrollmentId, form: &Approve) -> Result<EnrollmentView, ApiError> {
        if self.is_sealed() {
            return Err(ApiError::Sealed);
        }
        super::mode::may_issue(self.mode()?)?;
        let record = self.store.read(|tx| tx.enrollment(id))?;
        if record.state.after(EnrollmentEvent::Approved).is_err() {
            let why = format!("this enrollment is {}, not Pending", record.state.as_str());
            return Err(ApiError::Conflict { why, hint: Some("reload the machine's page".to_owned()) });
        }
        let Some(typed) = Code::parse(&form.code) else {
            return Err(ApiError::bad("a pairing code has six digits".to_owned(), "it is on the machine's console"));
        };
        self.check_code(actor, &record, &typed)?;
        let hostname = self.full_name(&form.hostname)?;
        if !self.spec.spec.roles.contains_key(&form.role) {
            return Err(ApiError::bad(format!("there is no role {:?}", form.role), "roles are in cluster.yaml"));
        }
        let Some(artifact) = self.artifact_of(&form.role).map_err(unexpected)? else {
            return Err(ApiError::bad(format!("role {} has no artifact yet", form.role), "build it with `seedd image build`"));
        };
        let facts = &record.revealed.as_ref().ok_or_else(|| ApiError::Internal("pending without facts".to_owned()))?.facts;
        let disk = choose_disk(facts, &form.disk, &artifact)?.clone();
        self.with_keys(|keys| {
            self.write(|tx| {
                self.may_issue(tx)?;
                self.make_room(tx, actor, &hostname, form.replace)?;
                let host = self.host_for(tx, &hostname)?;
                let endpoint = endpoint_of(record.ip);
                let minted = Minted { hostname: &hostname, role: &form.role, host, endpoint, disk: &disk, artifact: &artifact };
                tx.advance(&record, EnrollmentEvent::Approved, None, now())?;
                self.mint(tx, keys, &record, &minted)?;
                tx.set_facts(record.machine, facts)?;
                let text = format!("approved as {hostname}, role {}, disk {} ({} bytes)", form.role, disk.name, disk.size);
                tx.event(now_ms(), &event_of(&record, EventKind::EnrollmentApproved, &text, Some(&actor.user)))?;
                Ok(())
            })
        })?;
        self.planes_changed.send_modify(|v| *v += 1);
        self.view_of(id)
    }

    /// Counts a wrong code; too many deny the enrollment.
    fn check_code(&self, actor: &Actor, record: &EnrollmentRecord, typed: &Code) -> Result<(), ApiError> {
        let revealed = record.revealed.as_ref().ok_or_else(|| ApiError::Internal("pending without keys".to_owned()))?;
        let key = node_key(record)?;
        let keys = MachineKeys { recipient: &revealed.recipient, node_key: &key, nonce: revealed.nonce };
        if code(&keys, &self.site_key, &record.seed_nonce).matches(typed) {
            return Ok(());
        }
        let most = self.spec.spec.enrollment.max_wrong_codes;
        let count = self.write(|tx| {
            let count = tx.add_wrong_code(record.id)?;
            let text = format!("wrong pairing code, {count} of {most}");
            tx.event(now_ms(), &event_of(record, EventKind::EnrollmentWrongCode, &text, Some(&actor.user)))?;
            if count >= most {
                let now_is = tx.enrollment(record.id)?;
                tx.advance(&now_is, EnrollmentEvent::Denied, Some("too many wrong pairing codes"), now())?;
                tx.event(now_ms(), &event_of(record, EventKind::EnrollmentDenied, "too many wrong pairing codes", None))?;
            }
            Ok(count)
        })?;
        let left = most.saturating_sub(count);
        let hint = if left == 0 {
            "the machine was denied; it enrolls anew with another code".to_owned()
        } else {
            format!("read it again from this machine's console; {left} more tries")
        };
        Err(ApiError::BadRequest { why: "that is not this machine's pairing code".to_owned(), hint: Some(hint) })
    }

    fn full_name(&self, typed: &str) -> Result<Hostname, ApiError> {
        let typed = typed.trim().to_ascii_lowercase();
        let domain = &self.spec.spec.networking.domain;
        let suffix = format!(".{domain}");
        let label = typed.strip_suffix(&suffix).unwrap_or(&typed);
        if label.contains('.') {
            return Err(ApiError::bad(format!("{typed:?} is not in {domain}"), "type the name without a domain"));
        }
        let name: Hostname =
            format!("{label}{suffix}").parse().map_err(|e: cluster_seed::ids::IdError| ApiError::bad(e.to_string(), ""))?;
        if name == self.seed_name {
            return Err(ApiError::bad("that is the seed's own name".to_owned(), ""));
        }
        Ok(name)
    }

    /// A name keeps its host number; a new name gets the lowest that nobody ever had.
    fn host_for(&self, tx: &Tx<'_>, hostname: &Hostname) -> Result<u32, ApiError> {
        if let Some(host) = tx.host_of_name(hostname)? {
            return Ok(host);
        }
        let planes: Vec<_> = self.spec.spec.networking.planes.values().map(|p| p.value.cidr).collect();
        let mut used = tx.host_numbers()?;
        used.insert(cluster_seed::addressing::SEED_HOST);
        next_host(&used, &planes).map_err(unexpected)
    }

    /// Frees a name that is taken, if the operator said so.
    fn make_room(&self, tx: &Tx<'_>, actor: &Actor, hostname: &Hostname, replace: bool) -> Result<(), ApiError> {
        let Some(old) = tx.live_node(hostname)? else { return Ok(()) };
        if !replace {
            return Err(ApiError::Conflict {
                why: format!("{hostname} is a node already"),
                hint: Some("choose another name, or tick replace: the old node is revoked".to_owned()),
            });
        }
        let record = tx.enrollment(old.enrollment)?;
        self.retire(tx, &record)?;
        if record.state.after(EnrollmentEvent::Revoked).is_ok() {
            tx.advance(&record, EnrollmentEvent::Revoked, Some("replaced"), now())?;
        }
        let text = format!("revoked: {hostname} is replaced");
        tx.event(now_ms(), &event_of(&record, EventKind::NodeRevoked, &text, Some(&actor.user)))?;
        Ok(())
    }

    pub fn deny_by(&self, actor: &Actor, id: EnrollmentId, reason: &str) -> Result<EnrollmentView, ApiError> {
        let reason = cluster_seed::machine::tame(reason);
        let reason = if reason.is_empty() { "denied by the operator" } else { &reason };
        self.write(|tx| {
            let record = tx.enrollment(id)?;
            tx.advance(&record, EnrollmentEvent::Denied, Some(reason), now())?;
            tx.event(now_ms(), &event_of(&record, EventKind::EnrollmentDenied, reason, Some(&actor.user)))?;
            Ok(())
        })?;
        self.view_of(id)
    }

    /// Takes a node off the planes: its keys leave the signed list at once, which is why the seed must be unsealed.
    pub fn revoke_by(&self, actor: &Actor, id: EnrollmentId, reason: &str) -> Result<EnrollmentView, ApiError> {
        if self.is_sealed() {
            return Err(ApiError::Sealed);
        }
        let reason = cluster_seed::machine::tame(reason);
        let reason = if reason.is_empty() { "revoked by the operator" } else { &reason };
        self.write(|tx| {
            self.may_issue(tx)?;
            let record = tx.enrollment(id)?;
            tx.advance(&record, EnrollmentEvent::Revoked, Some(reason), now())?;
            self.retire(tx, &record)?;
            tx.event(now_ms(), &event_of(&record, EventKind::NodeRevoked, reason, Some(&actor.user)))?;
            Ok(())
        })?;
        self.resign_peers().map_err(unexpected)?;
        self.view_of(id)
    }

    /// Drops what an enrollment holds: the identity that waits for its claim, and the node's place.
    pub fn retire(&self, tx: &Tx<'_>, record: &EnrollmentRecord) -> Result<(), ApiError> {
        tx.drop_issued(record.id)?;
        match tx.node_of(record.id)? {
            Some(node) if !node.revoked => Ok(tx.revoke_node(node.id, now())?),
            _ => Ok(()),
        }
    }
}

pub fn event_of<'a>(record: &EnrollmentRecord, kind: EventKind, text: &'a str, actor: Option<&'a str>) -> NewEvent<'a> {
    NewEvent { kind, text, machine: Some(record.machine), enrollment: Some(record.id), actor, facts: None }
}

pub fn endpoint_of(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(ip) => ip.to_ipv4_mapped(),
    }
}

fn choose_disk<'a>(facts: &'a HardwareFacts, name: &str, artifact: &ArtifactManifest) -> Result<&'a Disk, ApiError> {
    let Some(disk) = facts.disks.iter().find(|d| d.name == name) else {
        return Err(ApiError::bad(
            format!("the machine has no disk {:?}", cluster_seed::machine::tame(name)),
            "choose one of its list",
        ));
    };
    if disk.size < artifact.min_disk {
        let hint = "choose a larger one";
        return Err(ApiError::bad(
            format!("disk {} has {} bytes, the artifact needs {}", disk.name, disk.size, artifact.min_disk),
            hint,
        ));
    }
    Ok(disk)
}
