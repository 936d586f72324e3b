//! Errors of this crate. AWS's own texts are shown with their codes, cut and without control characters.

use std::io;

use camino::Utf8PathBuf;
use host::files::FileError;

/// Characters of a message of AWS that are shown: those of refused requests carry an encoded policy of several kilobytes.
const MAX_MESSAGE: usize = 300;
/// Seconds by which a clock may differ: AWS refuses a signature that is more than five minutes old.
const MAX_SKEW: i64 = 240;

#[derive(Debug, thiserror::Error)]
pub enum AwsError {
    #[error("no AWS access key was found")]
    NoCredentials,
    #[error("line {line} of {path}: {why}")]
    CredentialsFile { path: Utf8PathBuf, line: usize, why: &'static str },
    #[error("profile {profile:?} of {path} {why}")]
    Profile { path: Utf8PathBuf, profile: String, why: &'static str },
    #[error("{0:?} is not the name of an AWS region")]
    Region(String),
    #[error("{0:?} is not an address of AWS: it must begin with https:// (http:// for this machine only)")]
    Endpoint(String),
    #[error("reading the certificates of {path}")]
    Certificates {
        path: Utf8PathBuf,
        #[source]
        source: Box<ureq::Error>,
    },
    #[error("option {option}: {why}")]
    Option { option: &'static str, why: String },
    #[error("{action}: {host} cannot be reached")]
    Transport {
        action: &'static str,
        host: String,
        #[source]
        source: Box<ureq::Error>,
    },
    #[error("{action}: AWS answered {fault}")]
    Answered { action: &'static str, fault: Box<Fault> },
    #[error("{action}: unexpected answer: {why}")]
    Answer { action: &'static str, why: String },
    #[error(transparent)]
    File(#[from] FileError),
    #[error("reading block {index} of {path}")]
    Block {
        path: Utf8PathBuf,
        index: u32,
        #[source]
        source: io::Error,
    },
    #[error("{path} changed while it was being uploaded (block {index})")]
    Changed { path: Utf8PathBuf, index: u32 },
    #[error("{path} is empty")]
    Empty { path: Utf8PathBuf },
    #[error("{path} has {size} bytes, more than a volume can have")]
    TooLarge { path: Utf8PathBuf, size: u64 },
    #[error("the state file {path} cannot be used: {why}")]
    State { path: Utf8PathBuf, why: String },
    #[error("snapshot {snapshot} failed in AWS: {why}")]
    SnapshotFailed { snapshot: String, why: String },
    #[error("no snapshot could be started: AWS returned lost ones {attempts} times")]
    Attempts { attempts: u32 },
    #[error("image {image} already has the name {name:?} and other contents")]
    NameTaken { name: String, image: String },
    #[error("{what} is still {state} after {minutes} minutes")]
    Late { what: String, state: String, minutes: u64 },
    #[error("instance {instance} is {state}: {why}")]
    Instance { instance: String, state: String, why: String },
    #[error("stopped on request")]
    Cancelled,
}

/// What an error of AWS means for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The access key is unknown, or the secret does not belong to it.
    Credentials,
    /// A session token has expired.
    Expired,
    /// The key is good, its permissions are not.
    Denied,
    /// The signature's time is too far from AWS's.
    Clock,
    /// The account may not use this region.
    Region,
    /// A limit of the account.
    Quota,
    /// Too many requests, or a server that is busy or failing: the same request may succeed later.
    Transient,
    /// What the request names does not exist, or not yet.
    Missing,
    /// Another request was first, or the state does not allow this one.
    Conflict,
    Other,
}

/// An error as AWS reported it.
#[derive(Debug, Clone)]
pub struct Fault {
    /// HTTP status.
    pub status: u16,
    /// Such as `UnauthorizedOperation`; empty if the answer has none.
    pub code: String,
    pub message: String,
    /// For AWS support.
    pub request: String,
    /// Seconds that AWS's clock is ahead of ours, from the answer's `Date`.
    pub ahead: Option<i64>,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.code.as_str() {
            "" => write!(f, "status {}", self.status)?,
            code => write!(f, "{code} ({})", self.status)?,
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        if !self.request.is_empty() {
            write!(f, " [request {}]", self.request)?;
        }
        Ok(())
    }
}

/// A text of AWS, cut and without control characters: it ends on a terminal.
pub(crate) fn shown(text: &str) -> String {
    let plain: String = text.chars().take(MAX_MESSAGE + 1).map(|c| if c.is_control() { ' ' } else { c }).collect();
    match plain.char_indices().nth(MAX_MESSAGE) {
        Some((at, _)) => format!("{}…", &plain[..at]),
        None => plain.trim().to_owned(),
    }
}

impl Fault {
    /// By the codes of EC2's query API and of the EBS direct APIs (their common errors), else by the status.
    pub fn kind(&self) -> FaultKind {
        let skewed = self.ahead.is_some_and(|s| s.abs() > MAX_SKEW);
        match self.code.as_str() {
            "RequestExpired" | "RequestTimeTooSkewed" | "RequestInTheFuture" => FaultKind::Clock,
            // AWS says so of old and of future signatures too.
            "AuthFailure" | "SignatureDoesNotMatch" | "InvalidSignatureException" | "InvalidSignature" if skewed => {
                FaultKind::Clock
            }
            "AuthFailure"
            | "SignatureDoesNotMatch"
            | "InvalidSignatureException"
            | "InvalidSignature"
            | "UnrecognizedClientException"
            | "UnrecognizedClient"
            | "InvalidClientTokenId"
            | "InvalidAccessKeyId"
            | "IncompleteSignature"
            | "IncompleteSignatureException"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException" => FaultKind::Credentials,
            "ExpiredToken" | "ExpiredTokenException" => FaultKind::Expired,
            "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException" | "Blocked" | "PendingVerification" => {
                FaultKind::Denied
            }
            "OptInRequired" | "UnknownEndpoint" => FaultKind::Region,
            "SnapshotLimitExceeded"
            | "PendingSnapshotLimitExceeded"
            | "ConcurrentSnapshotLimitExceeded"
            | "ServiceQuotaExceededException"
            | "InstanceLimitExceeded"
            | "VcpuLimitExceeded"
            | "VolumeLimitExceeded"
            | "AMIQuotaExceeded"
            | "ResourceLimitExceeded"
            | "TagLimitExceeded" => FaultKind::Quota,
            "RequestLimitExceeded"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "TooManyRequestsException"
            | "ConcurrentLimitExceededException"
            | "RequestTimeout"
            | "SlowDown"
            | "Unavailable"
            | "ServiceUnavailable"
            | "InternalError"
            | "InternalFailure"
            | "InternalServerException" => FaultKind::Transient,
            "ResourceNotFoundException" => FaultKind::Missing,
            code if code.ends_with(".NotFound") => FaultKind::Missing,
            "ConflictException" | "IdempotentParameterMismatch" => FaultKind::Conflict,
            // A reason of the EBS direct APIs: the block arrived too slowly.
            "ValidationException" if self.message.starts_with("WRITE_REQUEST_TIMEOUT") => FaultKind::Transient,
            _ if matches!(self.status, 408 | 429 | 500 | 502..=504) => FaultKind::Transient,
            _ => FaultKind::Other,
        }
    }
}

impl AwsError {
    /// The kind of an error that AWS reported.
    pub fn fault(&self) -> Option<FaultKind> {
        match self {
            AwsError::Answered { fault, .. } => Some(fault.kind()),
            _ => None,
        }
    }

    /// The code of an error that AWS reported.
    pub fn code(&self) -> &str {
        match self {
            AwsError::Answered { fault, .. } => &fault.code,
            _ => "",
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> String {
        let text = match self {
            AwsError::NoCredentials => "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile of ~/.aws/credentials",
            AwsError::CredentialsFile { .. } => "correct the line; the file has sections [name] with lines key = value",
            AwsError::Profile { .. } => {
                "for profiles with roles or single sign-on: eval \"$(aws configure export-credentials --format env)\""
            }
            AwsError::Region(_) => "regions are named like eu-central-1; aws ec2 describe-regions lists those of the account",
            AwsError::Endpoint(_) => "give the address without a path, such as https://ec2.eu-central-1.amazonaws.com",
            AwsError::Certificates { .. } => "the file must contain certificates in PEM form",
            AwsError::Transport { source, .. } => return transport_hint(source),
            AwsError::Answered { fault, .. } => return fault_hint(fault),
            AwsError::Answer { .. } => "check that the endpoint is an EC2 or EBS API, and that no proxy changes its answers",
            AwsError::File(error) => error.hint(),
            AwsError::Changed { .. } => "make sure that nothing writes to the image, then run it again; the upload starts over",
            AwsError::Block { .. } | AwsError::Empty { .. } => "check the image and its disk",
            AwsError::TooLarge { .. } => "build the image with a smaller disk; volumes grow when an instance is started",
            AwsError::State { .. } => {
                "remove the file to start the upload over; AWS cancels the unfinished snapshot after three days"
            }
            AwsError::SnapshotFailed { .. } => "run it again: a new snapshot is started",
            AwsError::Attempts { .. } => "remove the state file, wait an hour and run it again",
            AwsError::NameTaken { .. } => "choose another name, or deregister the image",
            AwsError::Late { .. } => "run it again to continue waiting; completed work is kept",
            AwsError::Instance { .. } => "aws ec2 get-console-output shows what the machine printed",
            AwsError::Cancelled => "run it again to resume",
            AwsError::Option { .. } => "correct the option and run it again; nothing was sent",
        };
        text.to_owned()
    }
}

fn transport_hint(error: &ureq::Error) -> String {
    match error {
        ureq::Error::HostNotFound => {
            "the name does not resolve: check the region's name, the network and the proxy settings; completed work is kept"
                .into()
        }
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::Pem(_) => {
            "if the endpoint or a proxy uses certificates of its own, give them as the file of certificates".into()
        }
        _ => "check the network and the proxy settings; completed work is kept, run it again to resume".into(),
    }
}

fn fault_hint(fault: &Fault) -> String {
    let text = match fault.kind() {
        FaultKind::Credentials => {
            "AWS does not know this access key or its secret; check both, and that they belong to this account"
        }
        FaultKind::Expired => "the session has expired: get new temporary credentials and run it again to resume",
        FaultKind::Denied => "the account's policy does not allow this action; docs/foundry-aws.md lists the permissions needed",
        FaultKind::Clock => {
            return match fault.ahead {
                Some(s) if s < 0 => format!("this machine's clock is {} s ahead of AWS's: set the clock", -s),
                Some(s) => format!("this machine's clock is {s} s behind AWS's: set the clock"),
                None => "set this machine's clock: AWS accepts five minutes of difference".to_owned(),
            };
        }
        FaultKind::Region => "the account has not enabled this region; enable it or choose another one",
        FaultKind::Quota => "a quota of the account is used up: remove what is not needed, or ask AWS for a higher one",
        FaultKind::Transient => "AWS is busy: run it again later to resume; fewer parallel uploads may help",
        FaultKind::Missing => "what is named does not exist in this region and account; check both",
        FaultKind::Conflict => "another process may be uploading the same image; wait until it has ended",
        FaultKind::Other => "AWS's message says what it refuses; docs/foundry-aws.md explains the requests",
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(status: u16, code: &str, ahead: Option<i64>) -> Fault {
        Fault { status, code: code.to_owned(), message: String::new(), request: String::new(), ahead }
    }

    #[test]
    fn codes_are_sorted_by_what_to_do() {
        for (status, code, ahead, kind) in [
            (401, "AuthFailure", Some(3), FaultKind::Credentials),
            (403, "SignatureDoesNotMatch", None, FaultKind::Credentials),
            (403, "UnrecognizedClientException", Some(-240), FaultKind::Credentials),
            (401, "AuthFailure", Some(MAX_SKEW), FaultKind::Credentials),
            (401, "AuthFailure", Some(MAX_SKEW + 1), FaultKind::Clock),
            (403, "InvalidSignatureException", Some(-4000), FaultKind::Clock),
            (400, "RequestExpired", None, FaultKind::Clock),
            (403, "UnauthorizedOperation", Some(9000), FaultKind::Denied),
            (400, "ServiceQuotaExceededException", None, FaultKind::Quota),
            (503, "RequestLimitExceeded", None, FaultKind::Transient),
            (429, "", None, FaultKind::Transient),
            (500, "", None, FaultKind::Transient),
            (501, "", None, FaultKind::Other),
            (400, "InvalidSnapshot.NotFound", None, FaultKind::Missing),
            (404, "ResourceNotFoundException", None, FaultKind::Missing),
            (400, "OptInRequired", None, FaultKind::Region),
            (400, "InvalidParameterValue", None, FaultKind::Other),
        ] {
            assert_eq!(fault(status, code, ahead).kind(), kind, "{code}");
        }
    }

    #[test]
    fn a_wrong_clock_is_named_with_its_direction() {
        let hint = |ahead| fault_hint(&fault(403, "RequestExpired", ahead));
        assert!(hint(Some(-400)).contains("400 s ahead of AWS's"), "{}", hint(Some(-400)));
        assert!(hint(Some(400)).contains("400 s behind AWS's"));
        assert!(hint(None).contains("five minutes"));
    }

    #[test]
    fn long_messages_and_control_characters_are_not_shown() {
        assert_eq!(shown("a\x1b[31mb\n"), "a [31mb");
        assert_eq!(shown(&"é".repeat(MAX_MESSAGE)), "é".repeat(MAX_MESSAGE));
        assert_eq!(shown(&"é".repeat(MAX_MESSAGE + 1)), format!("{}…", "é".repeat(MAX_MESSAGE)));
    }
}
