//! What the machine reports.

use cluster_seed::agent::{Report, ReportBody, ReportReply};
use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::seal::{Sealed, SigningKey, key_from_text};

use super::{Answer, Lie, State, error, json};

impl State {
    pub(super) fn report(&mut self, body: &[u8]) -> Answer {
        let report: Report = match (&self.reveal, serde_json::from_slice::<Sealed<Report>>(body).unwrap()) {
            (Some(reveal), sealed) => sealed.open(&key_from_text(&reveal.node_key).unwrap()).unwrap(),
            (None, sealed) => sealed.open(&SigningKey::from_bytes(&[7; 32]).verifying_key()).unwrap(),
        };
        if self.lie == Lie::RefuseBegin && matches!(report.body, ReportBody::InstallBegan { .. }) {
            return error(409, "revoked meanwhile");
        }
        let fresh = self.reports.iter().all(|r| r.seq != report.seq);
        self.reports.push(report);
        json(&ReportReply { state: EnrollmentState::Installing, fresh })
    }
}
