//! Why a call failed.

use cluster_seed::fault::{Fault, FaultKind};

/// Why a call failed, by what the caller can do about it. `why` and `hint` are shown to the caller.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// 400
    #[error("{why}")]
    BadRequest { why: String, hint: Option<String> },
    /// 401
    #[error("log in first")]
    Unauthorized,
    /// 403
    #[error("{why}")]
    Forbidden { why: String },
    /// 404
    #[error("no such {what}")]
    NotFound { what: &'static str },
    /// 409
    #[error("{why}")]
    Conflict { why: String, hint: Option<String> },
    /// 423
    #[error("the seed is sealed")]
    Sealed,
    /// 429
    #[error("too many attempts; wait {seconds} s")]
    TooMany { seconds: u64 },
    /// 503
    #[error("{why}")]
    Unavailable { why: String },
    /// 500. The text goes to the log; the caller sees only "internal error".
    #[error("{0}")]
    Internal(String),
}

impl ApiError {
    /// A request that cannot be carried out as it is. An empty `hint` is none.
    pub fn bad(why: impl Into<String>, hint: &str) -> Self {
        ApiError::BadRequest { why: why.into(), hint: some(hint) }
    }

    /// A request that contradicts the current state. An empty `hint` is none.
    pub fn conflict(why: impl Into<String>, hint: &str) -> Self {
        ApiError::Conflict { why: why.into(), hint: some(hint) }
    }

    /// What the caller can do about it.
    pub fn hint(&self) -> Option<&str> {
        match self {
            ApiError::BadRequest { hint, .. } | ApiError::Conflict { hint, .. } => hint.as_deref(),
            _ => None,
        }
    }

    pub fn forbidden(why: impl Into<String>) -> Self {
        ApiError::Forbidden { why: why.into() }
    }

    pub fn unavailable(why: impl Into<String>) -> Self {
        ApiError::Unavailable { why: why.into() }
    }
}

/// A failure of what lies below, by what the caller can do about it.
impl<E: Fault> From<E> for ApiError {
    fn from(error: E) -> Self {
        match error.kind() {
            FaultKind::Missing(what) => ApiError::NotFound { what },
            FaultKind::Raced(what) => {
                ApiError::conflict(format!("the {what} was modified concurrently"), "reload the page and try again")
            }
            FaultKind::Internal => ApiError::Internal(error.to_string()),
        }
    }
}

fn some(hint: &str) -> Option<String> {
    (!hint.is_empty()).then(|| hint.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("a fault")]
    struct Stub(FaultKind);

    impl Fault for Stub {
        fn kind(&self) -> FaultKind {
            self.0
        }
    }

    #[test]
    fn a_fault_below_gets_the_status_that_the_caller_can_act_on() {
        let of = |kind| ApiError::from(Stub(kind));
        assert!(matches!(of(FaultKind::Missing("machine")), ApiError::NotFound { what: "machine" }));
        assert!(matches!(of(FaultKind::Raced("node")), ApiError::Conflict { hint: Some(_), .. }));
        assert!(matches!(of(FaultKind::Internal), ApiError::Internal(text) if text == "a fault"));
    }
}
