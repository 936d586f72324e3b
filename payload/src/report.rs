//! Reports to the seed: signed by the node key, numbered, repeated until they are acknowledged.

use std::sync::{Mutex, PoisonError};

use cluster_seed::agent::{Report, ReportBody, ReportReply, knows};
use cluster_seed::ids::EnrollmentId;
use cluster_seed::seal::{SealError, Sealed, SigningKey};
use cluster_seed::trouble::Trouble;

use crate::http::{Http, HttpError, Wait, chain, retry};
use crate::state::{Sequence, StateError};

/// Attempts for a report that must arrive; with the pauses of [`crate::http::backoff`] about an hour.
pub const UNTIL_HEARD: u32 = 360;
/// Attempts for a report before the agent continues without the seed; about five minutes.
pub const LAST_WORDS: u32 = 30;

#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("numbering a report")]
    Number(#[from] StateError),
    #[error("signing a report")]
    Seal(#[from] SealError),
    #[error("reporting to the seed")]
    Http(#[from] HttpError),
}

pub struct Reporter<'a> {
    http: &'a Http,
    key: &'a SigningKey,
    enrollment: EnrollmentId,
    sequence: Mutex<Sequence>,
    wait: Wait<'a>,
    /// The seed said that it understands the causes of failures.
    causes: bool,
}

impl<'a> Reporter<'a> {
    pub fn new(http: &'a Http, key: &'a SigningKey, enrollment: EnrollmentId, sequence: Sequence, wait: Wait<'a>) -> Self {
        Reporter { http, key, enrollment, sequence: Mutex::new(sequence), wait, causes: false }
    }

    /// For a seed that says what it `knows` beyond 0.1: one that does not would refuse a report with a cause.
    pub fn to_one_that(self, knows: &[String]) -> Self {
        Reporter { causes: knows.iter().any(|word| word == knows::FAILED_CAUSE), ..self }
    }

    /// Sends one report; repeats the same bytes until the seed responds.
    pub fn deliver(&self, body: ReportBody, attempts: u32) -> Result<ReportReply, ReportError> {
        let seq = self.sequence.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let sealed = Sealed::sign(&Report { enrollment: self.enrollment, seq, body }, self.key)?;
        let path = format!("/api/v1/agent/{}/report", self.enrollment);
        Ok(retry(attempts, self.wait, || self.http.post_json(&path, &sealed))?)
    }

    /// Sends a report that may be lost: one attempt, and a failure is only logged.
    pub fn tell(&self, body: ReportBody) {
        if let Err(e) = self.deliver(body, 1) {
            tracing::debug!(error = %chain(&e), "report not delivered");
        }
    }

    /// Reports a permanent failure, and its cause for code.
    pub fn failed(&self, step: &str, why: &str, cause: Trouble) {
        let why = why.chars().take(2000).collect();
        let body = ReportBody::Failed { step: step.to_owned(), why, cause: self.causes.then_some(cause) };
        if let Err(e) = self.deliver(body, LAST_WORDS) {
            tracing::warn!(error = %chain(&e), "failure not reported");
        }
    }
}
