//! Small helpers on enrollment records that several use cases share.

use std::net::{IpAddr, Ipv4Addr};

use cluster_seed::events::EventKind;
use cluster_seed::seal::{VerifyingKey, key_from_text};
use site::store::enrollments::EnrollmentRecord;
use site::store::events::NewEvent;
use web::api::ApiError;

pub(super) fn conflict(why: &str) -> ApiError {
    ApiError::Conflict { why: why.to_owned(), hint: None }
}

/// The node key of an enrollment.
pub fn node_key(record: &EnrollmentRecord) -> Result<VerifyingKey, ApiError> {
    let revealed = record.revealed.as_ref().ok_or_else(|| conflict("the machine has not sent its keys yet"))?;
    key_from_text(&revealed.node_key).map_err(|e| ApiError::Internal(format!("the node key of enrollment {}: {e}", record.id)))
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
