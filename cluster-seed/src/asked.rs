//! `enrollment.inventory` of cluster.yaml: who is asked about a machine before its approval, and what it may answer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use crate::ids::Hostname;
use crate::machine::tame;
use crate::plan::{DiskWish, MAX_LABELS};
use crate::spec_error::{SpecError, at};
use crate::webhooks::check_receiver;

/// Largest answer read, in bytes.
pub const MAX_ANSWER: usize = 16 << 10;
/// Longest time for one answer, in seconds.
const MAX_SECONDS: u64 = 30;

/// Who is asked. Off unless it is there.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AskSpec {
    pub url: Spanned<String>,
    /// Absolute path of a file whose first line is the secret of the signatures.
    pub secret_file: Spanned<String>,
    /// Absolute path of a file with the certificates of the authorities that are believed, in PEM. Needed for https.
    #[serde(default)]
    pub ca_file: Option<Spanned<String>>,
    /// Time for one answer, in seconds.
    #[serde(default = "default_timeout")]
    pub timeout_seconds: u64,
    /// What happens without an answer.
    #[serde(default)]
    pub on_failure: OnFailure,
}

/// An operator who types the code and the whole form is never kept waiting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// One attempt; then the machine is treated as if nobody was to be asked.
    #[default]
    Ask,
    /// Attempts go on, and meanwhile neither a click nor the code alone approves a planned machine.
    Wait,
}

fn default_timeout() -> u64 {
    5
}

impl AskSpec {
    pub(crate) fn check(&self) -> Result<(), SpecError> {
        check_receiver("enrollment.inventory", &self.url, &self.secret_file, self.ca_file.as_ref())?;
        if !(1..=MAX_SECONDS).contains(&self.timeout_seconds) {
            let found = self.timeout_seconds;
            let message = format!("enrollment.inventory: timeoutSeconds is {found}");
            return Err(at(&self.url, message, &format!("1 to {MAX_SECONDS}")));
        }
        Ok(())
    }
}

/// Why an answer is none.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    #[error("the answer has {0} bytes, more than {MAX_ANSWER}")]
    TooLarge(usize),
    #[error("the answer is not JSON of the expected form")]
    Json(#[from] serde_json::Error),
    #[error("the name {0:?} is not a label of a host name")]
    Name(String),
    #[error("the answer has more than {MAX_LABELS} labels")]
    Labels,
}

/// What an inventory says about a machine. It fills in the form of an approval, and approves nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub allow: bool,
    /// Why not, for people.
    pub reason: String,
    /// Host name label.
    pub name: Option<String>,
    pub role: Option<String>,
    pub disk: Option<DiskWish>,
    pub labels: BTreeMap<String, String>,
}

/// The JSON of an answer. Keys that are not known are ignored: an inventory may have more to say to others.
#[derive(Deserialize)]
struct Wire {
    allow: bool,
    #[serde(default)]
    reason: String,
    name: Option<String>,
    role: Option<String>,
    disk: Option<DiskWish>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

impl Answer {
    /// # Errors
    /// If it is too large, or not of the expected form. What is wrong in one value makes the whole answer none.
    pub fn read(bytes: &[u8]) -> Result<Self, AnswerError> {
        if bytes.len() > MAX_ANSWER {
            return Err(AnswerError::TooLarge(bytes.len()));
        }
        let Wire { allow, reason, name, role, disk, labels } = serde_json::from_slice(bytes)?;
        if labels.len() > MAX_LABELS {
            return Err(AnswerError::Labels);
        }
        let label = |name: String| match name.parse::<Hostname>() {
            Ok(host) if host.label() == host.as_str() => Ok(name),
            _ => Err(AnswerError::Name(tame(&name))),
        };
        Ok(Answer {
            allow,
            reason: tame(&reason),
            name: name.map(label).transpose()?,
            role: role.map(|role| tame(&role)),
            disk,
            labels: labels.iter().map(|(key, value)| (tame(key), tame(value))).collect(),
        })
    }

    /// It says more than yes or no.
    pub fn fills_in(&self) -> bool {
        self.name.is_some() || self.role.is_some() || self.disk.is_some() || !self.labels.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec_error::read;

    fn checked(text: &str) -> Result<AskSpec, String> {
        let spec: AskSpec = read(text).map_err(|e| e.message)?;
        spec.check().map(|()| spec).map_err(|e| e.message)
    }

    #[test]
    fn the_setting_is_checked_strictly() {
        let short = checked("{url: 'http://inventory.lan/ask', secretFile: /s}").unwrap();
        assert_eq!((short.timeout_seconds, short.on_failure), (5, OnFailure::Ask));
        let long = "{url: 'https://i.lan', secretFile: /s, caFile: /ca.pem, timeoutSeconds: 30, onFailure: wait}";
        assert_eq!(checked(long).unwrap().on_failure, OnFailure::Wait);
        for (bad, why) in [
            ("{url: 'ftp://x', secretFile: /s}", "not the URL"),
            ("{url: 'https://x', secretFile: /s}", "caFile"),
            ("{url: 'http://x', secretFile: s}", "absolute"),
            ("{url: 'http://x', secretFile: /s, timeoutSeconds: 0}", "timeoutSeconds"),
            ("{url: 'http://x', secretFile: /s, timeoutSeconds: 31}", "timeoutSeconds"),
            ("{url: 'http://x', secretFile: /s, onFailure: approve}", "approve"),
            ("{url: 'http://x'}", "secretFile"),
        ] {
            assert!(checked(bad).is_err_and(|e| e.contains(why)), "{bad}: {:?}", checked(bad));
        }
    }

    #[test]
    fn answers_are_bounded_and_tamed() {
        let read = |text: &str| Answer::read(text.as_bytes());
        let all = read(
            r#"{"allow": true, "name": "n7", "role": "base", "disk": "serial:S5", "labels": {"rack": "7\u0000"}, "asset": 4711}"#,
        )
        .unwrap();
        assert_eq!((all.name.as_deref(), all.role.as_deref(), all.labels["rack"].as_str()), (Some("n7"), Some("base"), "7?"));
        assert_eq!(all.disk, Some(DiskWish::Serial("S5".into())));
        assert!(all.fills_in() && !read(r#"{"allow": true}"#).unwrap().fills_in());
        let no = read(r#"{"allow": false, "reason": "not\u202e ours"}"#).unwrap();
        assert_eq!((no.allow, no.reason.as_str()), (false, "not? ours"));
        for bad in [
            "",
            "[]",
            r#"{"name": "n7"}"#,
            r#"{"allow": "yes"}"#,
            r#"{"allow": true, "name": "n7.lan"}"#,
            r#"{"allow": true, "name": "<b>"}"#,
            r#"{"allow": true, "disk": "/etc/../x y"}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let many = |n: usize| {
            let labels: Vec<String> = (0..n).map(|i| format!(r#""k{i}": "v""#)).collect();
            read(&format!(r#"{{"allow": true, "labels": {{{}}}}}"#, labels.join(", ")))
        };
        assert!(many(MAX_LABELS).is_ok() && matches!(many(MAX_LABELS + 1), Err(AnswerError::Labels)));
        let padded = |n: usize| format!("{:<n$}", r#"{"allow": true}"#);
        assert!(read(&padded(MAX_ANSWER)).is_ok());
        assert!(matches!(read(&padded(MAX_ANSWER + 1)), Err(AnswerError::TooLarge(_))));
    }
}
