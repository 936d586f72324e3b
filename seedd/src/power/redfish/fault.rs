//! Why a request to a controller came to nothing.

use anyhow::anyhow;
use site::hint;

use crate::power::net::https::NoReply;

/// Not an [`std::error::Error`], so that what can be done about it is added where it becomes one.
#[derive(Debug)]
pub enum Fault {
    /// The controller said no.
    Refused {
        status: u16,
        at: String,
        reason: String,
    },
    /// It may have done it: the request was sent, and the answer did not come.
    Lost(anyhow::Error),
    /// It was taken, and its task failed.
    Task(String),
    Other(anyhow::Error),
}

impl Fault {
    pub fn refused(status: u16, at: &str, reason: String) -> Self {
        Fault::Refused { status, at: at.to_owned(), reason }
    }

    pub fn status(&self) -> Option<u16> {
        match self {
            Fault::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// There is no such resource.
    pub fn is_absent(&self) -> bool {
        matches!(self.status(), Some(404 | 410))
    }

    /// Another form of the same request would be refused as well: credentials, rights, or no contact at all.
    pub fn is_final(&self) -> bool {
        !matches!(self, Fault::Task(_)) && !matches!(self.status(), Some(400 | 404..=499 | 500..))
    }

    /// This resource alone cannot be read; others may.
    pub fn is_local(&self) -> bool {
        self.status().is_some_and(|s| s != 401)
    }

    /// This resource cannot be changed in this way, whatever is sent.
    pub fn is_elsewhere(&self) -> bool {
        matches!(self.status(), Some(404 | 405 | 410 | 501))
    }
}

impl From<NoReply> for Fault {
    fn from(no: NoReply) -> Self {
        if no.sent { Fault::Lost(no.error) } else { Fault::Other(no.error) }
    }
}

impl From<anyhow::Error> for Fault {
    fn from(error: anyhow::Error) -> Self {
        Fault::Other(error)
    }
}

impl From<Fault> for anyhow::Error {
    fn from(fault: Fault) -> Self {
        let (status, at, reason) = match fault {
            Fault::Refused { status, at, reason } => (status, at, reason),
            Fault::Lost(error) | Fault::Other(error) => return error,
            Fault::Task(reason) => return anyhow!("the controller accepted this and then failed: {reason}"),
        };
        match status {
            401 => hint::with(
                anyhow!("the controller refuses this user and password"),
                "save the controller again with the correct ones; a few wrong logins may lock the account for a while",
            ),
            403 => hint::with(
                anyhow!("the controller does not allow this: {reason}"),
                "the user may need the role Administrator or Operator, or the controller a licence of its vendor",
            ),
            404 | 410 => hint::with(
                anyhow!("the controller has no {at}"),
                "check that it supports Redfish, and update its firmware if it is old",
            ),
            n => anyhow!("the controller answered {n}: {reason}"),
        }
    }
}
