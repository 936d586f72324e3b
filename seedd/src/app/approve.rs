//! The operator's decision: the entered pairing code and what the machine is to become. The machine then confirms the code.

use cluster_seed::addressing::next_host;
use cluster_seed::arch::Arch;
use cluster_seed::enrollment::EnrollmentEvent;
use cluster_seed::events::EventKind;
use cluster_seed::identity::InstallOrder;
use cluster_seed::ids::{EnrollmentId, Hostname};
use cluster_seed::machine::{Disk, HardwareFacts};
use cluster_seed::manifest::ArtifactManifest;
use cluster_seed::pairing::{CodeError, PairingCode, PairingSecret};
use cluster_seed::pake::{Decision, PAKE_RANDOM, PakeError, Parties, answer};
use cluster_seed::people::Approvals;
use host::clock::{now, now_ms, steady};
use host::random;
use site::store::Tx;
use site::store::enrollments::{Decided, EnrollmentRecord};
use web::api::{Actor, ApiError, Approve, EnrollmentView};

use super::records::{event_of, node_key};
use super::throttle::Attempt;
use super::{App, unexpected};

/// What the operator, or a join token, chose; checked.
pub(super) struct Choice<'a> {
    pub hostname: Hostname,
    pub order: InstallOrder,
    pub role: &'a str,
    pub replace: bool,
}

fn read_code(typed: &str) -> Result<PairingCode, ApiError> {
    typed.parse().map_err(|e: CodeError| ApiError::bad(e.to_string(), "it is on the machine's console"))
}

impl App {
    /// The open enrollment with this code's number, and the id of its machine.
    pub fn find_by_code(&self, code: &str) -> Result<(i64, EnrollmentId), ApiError> {
        let code = read_code(code)?;
        let record = self.store.read(|tx| tx.enrollment_of_number(code.number))?;
        let hint = "check the code on the machine's console; it changes after every attempt";
        let none = || ApiError::bad(format!("no machine is waiting with a code that begins with {}", code.number), hint);
        record.map(|r| (r.machine, r.id)).ok_or_else(none)
    }

    pub fn approve_code(&self, actor: &Actor, form: &Approve) -> Result<EnrollmentView, ApiError> {
        let (_, id) = self.find_by_code(&form.code)?;
        self.approve_by(actor, id, form)
    }

    pub fn approve_by(&self, actor: &Actor, id: EnrollmentId, form: &Approve) -> Result<EnrollmentView, ApiError> {
        self.approve_how(actor, id, form, "code entered")
    }

    /// Runs the seed's side of the pairing with the entered code, and stores the decision until the machine has confirmed the
    /// code (`app::confirm`). Nothing is issued, replaced or revoked here: the code may be wrong. `how` goes into the log.
    pub(super) fn approve_how(
        &self,
        actor: &Actor,
        id: EnrollmentId,
        form: &Approve,
        how: &str,
    ) -> Result<EnrollmentView, ApiError> {
        if self.is_sealed() {
            return Err(ApiError::Sealed);
        }
        super::mode::may_issue(self.mode()?)?;
        match self.throttle.wait(&Attempt::pairing_code(&actor.user), steady()) {
            0 => {}
            seconds => return Err(ApiError::TooMany { seconds }),
        }
        let record = self.store.read(|tx| tx.enrollment(id))?;
        if record.state.after(EnrollmentEvent::CodeTyped).is_err() {
            let why = format!("this enrollment is {}, not Pending", record.state.as_str());
            return Err(ApiError::conflict(why, "reload the machine's page"));
        }
        if let Some(token) = record.token {
            return Err(ApiError::conflict(
                format!("this machine enrolls with join token {token}"),
                "it has no code; deny it here",
            ));
        }
        let code = read_code(&form.code)?;
        if record.number != Some(code.number) {
            let why = format!("a code that begins with {} belongs to another machine", code.number);
            return Err(ApiError::bad(why, "enter it on the start page, which finds the machine"));
        }
        let hostname = self.full_name(&form.hostname)?;
        if !self.spec.spec.roles.contains_key(&form.role) {
            return Err(ApiError::bad(format!("there is no role {:?}", form.role), "roles are in cluster.yaml"));
        }
        let revealed = record
            .revealed
            .as_ref()
            .ok_or_else(|| ApiError::Internal("the enrollment is Pending but has no facts".to_owned()))?;
        let Some(artifact) = self.artifact_of(&form.role, revealed.facts.arch).map_err(unexpected)? else {
            return Err(no_artifact(&form.role, revealed.facts.arch));
        };
        let (disk, mark) = choose_disk(&revealed.facts, &form.disk, &artifact)?;
        let order = InstallOrder { artifact: artifact.id, disk: disk.name.clone(), disk_serial: mark, disk_size: disk.size };
        let text = format!("{how}: {hostname}, role {}, disk {} ({} bytes)", form.role, disk.name, disk.size);
        let choice = Choice { hostname, order, role: &form.role, replace: form.replace };
        let decided = self.pair(&actor.user, &record, &code.secret, choice)?;
        if self.approvals_of(&form.role) == Approvals::Two {
            return self.one_of_two(actor, id, decided, &text);
        }
        self.write(|tx| {
            self.may_issue(tx)?;
            self.has_room(tx, &decided.hostname, form.replace)?;
            tx.advance(&record, EnrollmentEvent::CodeTyped, None, now())?;
            tx.set_decision(id, &decided)?;
            self.lift_verdict(tx, record.machine)?;
            tx.event(now_ms(), &event_of(&record, EventKind::EnrollmentConfirming, &text, Some(&actor.user)))?;
            Ok(())
        })?;
        self.view_of(id)
    }

    /// The seed's side of the pairing, both steps at once.
    pub(super) fn pair(
        &self,
        actor: &str,
        record: &EnrollmentRecord,
        secret: &PairingSecret,
        choice: Choice<'_>,
    ) -> Result<Decided, ApiError> {
        let Choice { hostname, order, role, replace } = choice;
        let number = record.number.ok_or_else(|| ApiError::Internal("the enrollment has no number".to_owned()))?;
        let revealed =
            record.revealed.as_ref().ok_or_else(|| ApiError::Internal("the enrollment is Pending but has no keys".to_owned()))?;
        let old = || ApiError::conflict("this machine runs an agent of an earlier version", "restart the machine");
        let part = revealed.pairing.ok_or_else(old)?;
        let parties = Parties {
            enrollment: record.id,
            number,
            site_key: &self.site_key,
            node_key: &node_key(record)?,
            recipient: &revealed.recipient,
            facts: part.facts,
        };
        let decision = Decision { order: &order, hostname: &hostname, role };
        let random = random::bytes::<PAKE_RANDOM>().map_err(unexpected)?;
        let bad = |e: PakeError| ApiError::bad(e.to_string(), "deny this machine; it violates the protocol");
        let (message, both) = answer(secret, &parties, &decision, &part.message, &random).map_err(bad)?;
        Ok(Decided {
            actor: actor.to_owned(),
            agreed: None,
            hostname,
            role: role.to_owned(),
            replace,
            order,
            message,
            confirmation: both.of_seed,
            expected: both.of_machine,
        })
    }

    /// Refuses a name that is in use, unless its node is to be replaced.
    pub(super) fn has_room(&self, tx: &Tx<'_>, hostname: &Hostname, replace: bool) -> Result<(), ApiError> {
        if replace || tx.live_node(hostname)?.is_none() {
            return Ok(());
        }
        let hint = "choose another name, or select Replace to revoke the old node";
        Err(ApiError::conflict(format!("a node named {hostname} already exists"), hint))
    }

    pub(super) fn full_name(&self, typed: &str) -> Result<Hostname, ApiError> {
        let typed = typed.trim().to_ascii_lowercase();
        let domain = &self.spec.spec.networking.domain;
        let suffix = format!(".{domain}");
        let label = typed.strip_suffix(&suffix).unwrap_or(&typed);
        if label.contains('.') {
            return Err(ApiError::bad(format!("{typed:?} is not in the domain {domain}"), "type the name without a domain"));
        }
        let name: Hostname =
            format!("{label}{suffix}").parse().map_err(|e: cluster_seed::ids::IdError| ApiError::bad(e.to_string(), ""))?;
        if name == self.seed_name {
            return Err(ApiError::bad("this is the seed's own name".to_owned(), ""));
        }
        Ok(name)
    }

    /// A known name keeps its host number; a new one gets the lowest number that was never used.
    pub(super) fn host_for(&self, tx: &Tx<'_>, hostname: &Hostname) -> Result<u32, ApiError> {
        if let Some(host) = tx.host_of_name(hostname)? {
            return Ok(host);
        }
        let planes: Vec<_> = self.spec.spec.networking.planes.values().map(|p| p.value.cidr).collect();
        let mut used = tx.host_numbers()?;
        used.insert(cluster_seed::addressing::SEED_HOST);
        next_host(&used, &planes).map_err(unexpected)
    }

    /// Revokes the node that has the name, if the operator asked to replace it.
    pub(super) fn make_room(&self, tx: &Tx<'_>, actor: &str, hostname: &Hostname, replace: bool) -> Result<(), ApiError> {
        self.has_room(tx, hostname, replace)?;
        let Some(old) = tx.live_node(hostname)? else { return Ok(()) };
        let record = tx.enrollment(old.enrollment)?;
        self.retire(tx, &record)?;
        if record.state.after(EnrollmentEvent::Revoked).is_ok() {
            tx.advance(&record, EnrollmentEvent::Revoked, Some("replaced"), now())?;
        }
        let text = format!("revoked: {hostname} is replaced");
        tx.event(now_ms(), &event_of(&record, EventKind::NodeRevoked, &text, Some(actor)))?;
        Ok(())
    }

    pub fn deny_by(&self, actor: &Actor, id: EnrollmentId, reason: &str) -> Result<EnrollmentView, ApiError> {
        let reason = cluster_seed::machine::tame(reason);
        let reason = if reason.is_empty() { "denied by the operator" } else { &reason };
        self.write(|tx| {
            let record = tx.enrollment(id)?;
            tx.advance(&record, EnrollmentEvent::Denied, Some(reason), now())?;
            self.remember_denial(tx, &record, &actor.user, reason)?;
            tx.event(now_ms(), &event_of(&record, EventKind::EnrollmentDenied, reason, Some(&actor.user)))?;
            Ok(())
        })?;
        self.view_of(id)
    }

    /// Removes a node from the planes: a new peer list without its keys is signed at once, so the seed must be unsealed.
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

    /// Deletes what an enrollment holds: the unclaimed identity and the node.
    pub fn retire(&self, tx: &Tx<'_>, record: &EnrollmentRecord) -> Result<(), ApiError> {
        tx.drop_issued(record.id)?;
        match tx.node_of(record.id)? {
            Some(node) if !node.revoked => Ok(tx.revoke_node(node.id, now())?),
            _ => Ok(()),
        }
    }
}

fn no_artifact(role: &str, arch: Arch) -> ApiError {
    if arch.is_amd64() {
        return ApiError::bad(format!("role {role} has no artifact yet"), "build it with `seedd image build`");
    }
    let hint =
        format!("add {arch} to spec.architectures in cluster.yaml, then run `seedd darksite build` and `seedd image build`");
    ApiError::bad(format!("the machine is {arch}, and role {role} has no artifact for it"), &hint)
}

/// The disk, and the text that identifies it among the machine's disks. A machine that joins in place has chosen already: nothing
/// is written, so size and sectors do not matter.
pub(super) fn choose_disk<'a>(
    facts: &'a HardwareFacts,
    name: &str,
    artifact: &ArtifactManifest,
) -> Result<(&'a Disk, String), ApiError> {
    if let Some(root) = &facts.root_disk {
        return disk_in_place(facts, name, root);
    }
    let Some(disk) = facts.disks.iter().find(|d| d.name == name) else {
        return Err(ApiError::bad(
            format!("the machine has no disk {:?}", cluster_seed::machine::tame(name)),
            "choose a disk from its list",
        ));
    };
    if disk.size < artifact.min_disk {
        let hint = "choose a larger disk";
        return Err(ApiError::bad(
            format!("disk {} has {} bytes, the artifact needs {}", disk.name, disk.size, artifact.min_disk),
            hint,
        ));
    }
    if let Some(why) = disk.unfit() {
        return Err(ApiError::bad(why, "choose another disk, or format it with sectors of 512 bytes (sg_format, nvme format)"));
    }
    let Some(mark) = disk.mark(&facts.disks) else {
        return Err(ApiError::bad(
            format!(
                "disk {} is not distinguishable from another disk: they have the same size, and no serial number, WWN or path \
                 that differs",
                disk.name
            ),
            "disconnect one of them, and restart the machine",
        ));
    };
    Ok((disk, mark))
}

fn disk_in_place<'a>(facts: &'a HardwareFacts, name: &str, root: &str) -> Result<(&'a Disk, String), ApiError> {
    if name != root {
        let why = format!("this machine runs from disk {root} and joins in place");
        return Err(ApiError::bad(why, "choose that disk; nothing is written to it"));
    }
    let disk = facts.disks.iter().find(|d| d.name == root);
    let disk =
        disk.ok_or_else(|| ApiError::bad(format!("the machine runs from {root}, which is not in its list of disks"), ""))?;
    // Told apart or not: nothing is written.
    Ok((disk, disk.mark(&facts.disks).unwrap_or_else(|| disk.serial.clone())))
}
