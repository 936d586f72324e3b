//! The mock's audit log, jobs, DHCP, settings and versions.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::site::job;
use super::{Mock, data};
use crate::api::{
    AboutApi, AboutView, Actor, ApiError, AuditApi, AuditEvent, AuditPage, AuditQuery, AuditState, CheckpointView, DhcpApi,
    DhcpNetwork, DhcpView, DiffChange, DiffLine, EventView, ExportFormat, ExportPart, JobDetail, JobKind, JobLine, JobState,
    JobView, JobsApi, LeaseView, OtherServer, ReservationView, SettingsApi, SettingsCheck, SettingsView, SpecProblem,
};

/// Its cluster.yaml, and the tag of it.
pub const CLUSTER: &str = "apiVersion: kubedos/v1alpha1\nkind: Cluster\n";
pub const TAG: &str = "tag-of-the-mock";
/// A text with this word is refused at line 2, column 7.
pub const BAD: &str = "Nonsense";

fn checkpoint() -> CheckpointView {
    CheckpointView { event: 11, hash: "cc".repeat(32), at: data::CLOCK - 3_600 }
}

impl Mock {
    fn fitting(&self, query: &AuditQuery) -> Result<Vec<EventView>, ApiError> {
        let events = self.open()?.events.clone();
        let fits = |e: &EventView| {
            (query.kind.is_empty() || e.kind.starts_with(&query.kind))
                && (query.actor.is_empty() || e.actor.as_ref() == Some(&query.actor))
                && query.words.split_whitespace().all(|w| e.text.to_lowercase().contains(&w.to_lowercase()))
                && query.since.is_none_or(|t| e.at >= t)
                && query.until.is_none_or(|t| e.at <= t)
        };
        if !query.machine.is_empty() && query.machine != "4" {
            return Err(ApiError::bad(format!("no machine is known as {}", query.machine), "use its host name"));
        }
        Ok(events.into_iter().filter(fits).collect())
    }
}

impl AuditApi for Mock {
    fn audit(&self, _: &Actor, query: &AuditQuery, before: Option<i64>, limit: u32) -> Result<AuditPage, ApiError> {
        let all = self.fitting(query)?;
        let mut events: Vec<EventView> = all.into_iter().rev().filter(|e| before.is_none_or(|b| e.id < b)).collect();
        let more = events.len() > limit as usize;
        events.truncate(limit as usize);
        let next = events.last().filter(|_| more).map(|e| e.id);
        let machines = BTreeMap::from([(4, format!("db-1.lab.lan{}", self.spice))]);
        Ok(AuditPage { read: u32::try_from(events.len()).unwrap_or(0), events, next, machines })
    }

    fn audit_event(&self, _: &Actor, id: i64) -> Result<AuditEvent, ApiError> {
        let event = self.open()?.events.iter().find(|e| e.id == id).cloned().ok_or(ApiError::NotFound { what: "event" })?;
        Ok(AuditEvent {
            event,
            enrollment: Some(format!("0404{}", self.spice)),
            facts_text: Some(format!("{{}}{}", self.spice)),
            hash: "ab".repeat(32),
            previous_hash: "cd".repeat(32),
            previous: Some(id - 1),
            next: Some(id + 1),
            checkpoint: Some(checkpoint()),
        })
    }

    fn audit_state(&self, _: &Actor) -> Result<AuditState, ApiError> {
        let newest = self.open()?.events.last().map_or(0, |e| e.id);
        let verification = Some(job(JobKind::VerifyLog, JobState::Done, &self.spice));
        Ok(AuditState { newest, oldest: 1, checkpoint: Some(checkpoint()), checkpoints: 2, verification })
    }

    /// Three events in each part.
    fn audit_export(&self, _: &Actor, query: &AuditQuery, format: ExportFormat, after: i64) -> Result<ExportPart, ApiError> {
        let mut events: Vec<EventView> = self.fitting(query)?.into_iter().filter(|e| e.id > after).collect();
        let more = events.len() > 3;
        events.truncate(3);
        let line = |e: &EventView| match format {
            ExportFormat::Jsonl => format!("{{\"id\":{}}}\n", e.id),
            ExportFormat::Syslog => format!("<110>1 - seed seedd - {} [event@32473 id=\"{}\"]\n", e.id, e.id),
        };
        let next = events.last().filter(|_| more).map(|e| e.id);
        Ok(ExportPart { text: events.iter().map(line).collect(), next })
    }

    fn verify_log(&self, _: &Actor) -> Result<JobView, ApiError> {
        self.note("verify_log");
        Ok(job(JobKind::VerifyLog, JobState::Running, ""))
    }

    fn checkpoint_log(&self, _: &Actor) -> Result<CheckpointView, ApiError> {
        self.note("checkpoint_log");
        self.open_keys()?;
        Ok(checkpoint())
    }
}

impl JobsApi for Mock {
    fn jobs(&self) -> Result<Vec<JobDetail>, ApiError> {
        let running = self.open()?.site.job.clone();
        let lines = vec![JobLine { at: data::CLOCK - 60, text: format!("reading{}", self.spice) }];
        let detail = |job: JobView| JobDetail {
            ended: (!job.is_running()).then_some(data::CLOCK - 1),
            left: job.is_running().then_some(125),
            lines: lines.clone(),
            job,
        };
        let earlier = JobView { id: 2, ..job(JobKind::Verify, JobState::Failed, &self.spice) };
        Ok(running.into_iter().chain([earlier]).map(detail).collect())
    }

    fn stop_job(&self, _: &Actor, id: Option<u64>) -> Result<JobView, ApiError> {
        self.note("stop_job");
        let Some(id) = id else { return self.stop() };
        match id {
            1 => Ok(job(JobKind::VerifyLog, JobState::Running, "")),
            2 => Ok(job(JobKind::Verify, JobState::Running, "")),
            _ => Err(ApiError::NotFound { what: "job" }),
        }
    }
}

impl DhcpApi for Mock {
    fn dhcp(&self, search: &str) -> Result<DhcpView, ApiError> {
        drop(self.open()?);
        let text = |t: &str| format!("{t}{}", self.spice);
        let ip = |n: u8| Ipv4Addr::new(10, 44, 0, n);
        let mac = |n: u8| cluster_seed::ids::Mac([0x52, 0x54, 0, 0xab, 0, n]);
        let lease = |n: u8| LeaseView {
            ip: ip(100 + n),
            mac: mac(n),
            hostname: Some(text("pxe")),
            left: 2_700,
            machine: (n < 7).then_some(n.into()),
            node: (n == 4).then(|| text("db-1.lab.lan")),
            reserved: n == 1,
        };
        let leases = (1..=60).map(lease).filter(|l| l.ip.to_string().contains(search)).collect();
        let pools = vec![(ip(100), ip(199))];
        let network = DhcpNetwork {
            subnet: text("10.44.0.0/24"),
            place: text("boot network"),
            mode: "auto".to_owned(),
            pools,
            size: 100,
            used: 95,
        };
        let reservation = ReservationView {
            mac: mac(1),
            address: ip(101),
            hostname: Some(text("web-1")),
            subnet: text("10.44.0.0/24"),
            leased: true,
        };
        let heard = (data::CLOCK - 30) * 1000;
        let servers = vec![OtherServer { address: ip(254), heard, text: text("10.44.0.254 offers an address"), times: 3 }];
        Ok(DhcpView { networks: vec![network], leases, total: 60, reservations: vec![reservation], servers })
    }
}

impl SettingsApi for Mock {
    fn settings(&self, _: &Actor) -> Result<SettingsView, ApiError> {
        drop(self.open()?);
        Ok(SettingsView {
            text: format!("{CLUSTER}# {}\n", self.spice.replace(['\r', '\n'], " ")),
            tag: TAG.to_owned(),
            overlaid: true,
        })
    }

    fn check_settings(&self, text: &str) -> Result<SettingsCheck, ApiError> {
        self.note("check_settings");
        drop(self.open()?);
        let spiced = |t: &str| format!("{t}{}", self.spice);
        let problem = SpecProblem { line: 2, column: 7, message: spiced("unknown kind"), hint: Some(spiced("write Cluster")) };
        let line = |change, text: &str| DiffLine { change, old: Some(1), new: Some(2), text: spiced(text) };
        Ok(SettingsCheck {
            problems: if text.contains(BAD) { vec![problem] } else { Vec::new() },
            diff: vec![line(DiffChange::Removed, "old"), line(DiffChange::Added, "new")],
            plan: spiced("0 nodes would run their plays"),
        })
    }

    fn apply_settings(&self, actor: &Actor, text: &str, tag: &str) -> Result<SettingsView, ApiError> {
        self.note("apply_settings");
        if text.contains(BAD) {
            return Err(ApiError::bad("line 2, column 7: unknown kind", "write Cluster"));
        }
        if tag != TAG {
            return Err(ApiError::conflict("the settings were changed in the meantime", "compare again"));
        }
        self.settings(actor)
    }
}

impl AboutApi for Mock {
    fn about(&self) -> Result<AboutView, ApiError> {
        drop(self.open()?);
        Ok(AboutView {
            version: "0.1.0".to_owned(),
            system: format!("Linux 6.12 x86_64{}", self.spice),
            schema: 8,
            protocol: 2,
            recipient: format!("age1mock{}", self.spice),
        })
    }

    fn support_bundle(&self, _: &Actor) -> Result<Vec<u8>, ApiError> {
        self.note("support_bundle");
        Ok(b"age-encryption.org/v1".to_vec())
    }
}
