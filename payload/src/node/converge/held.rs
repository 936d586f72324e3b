//! What a node stores about convergence in its state directory: orders, results, and which certificates it has.

use camino::Utf8Path;
use cluster_seed::converge::orders::{HeldBundle, Orders, Run, RunMode, RunReport};
use cluster_seed::ids::EnrollmentId;
use cluster_seed::seal::{Sealed, VerifyingKey};
use host::files::{FileError, PRIVATE, read_limited, write_atomic};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::http::{MAX_JSON, chain};

const ORDERS: &str = "orders.json";
const APPLIED: &str = "applied.json";
const BUNDLE: &str = "certificates.json";
const SSH: &str = "ssh-certificate.json";

#[derive(Debug, thiserror::Error)]
pub enum HeldError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("writing the state of convergence as JSON")]
    Json(#[from] serde_json::Error),
}

/// The newest results.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Applied {
    /// The newest finished run of mode apply.
    pub apply: Option<RunReport>,
    /// The certificates that it used.
    pub bundle: Option<HeldBundle>,
    /// The newest run that succeeded: its plays are checked.
    pub good: Option<Run>,
    /// The newest finished run of mode check.
    pub check: Option<RunReport>,
    /// The seed has received `check`.
    pub check_sent: bool,
}

impl Applied {
    /// The result of this run, if it has finished.
    pub fn result(&self, run: &Run) -> Option<&RunReport> {
        let of_mode = match run.mode {
            RunMode::Apply => &self.apply,
            RunMode::Check => &self.check,
        };
        of_mode.as_ref().filter(|r| (r.revision, r.attempt) == (run.revision, run.attempt))
    }

    /// Takes a finished run.
    pub fn finish(&mut self, run: &Run, report: RunReport, bundle: Option<HeldBundle>) {
        use cluster_seed::converge::orders::RunResult;
        match run.mode {
            RunMode::Check => (self.check, self.check_sent) = (Some(report), false),
            RunMode::Apply => {
                if report.result == RunResult::Ok {
                    self.good = Some(run.clone());
                }
                (self.apply, self.bundle) = (Some(report), bundle);
            }
        }
    }

    /// What the seed is to hear when nothing runs: a check run once, else the newest run of mode apply.
    pub fn report(&self) -> Option<&RunReport> {
        self.check.as_ref().filter(|_| !self.check_sent).or(self.apply.as_ref())
    }
}

/// The node's state directory.
#[derive(Debug, Clone, Copy)]
pub struct Store<'a> {
    pub dir: &'a Utf8Path,
}

impl Store<'_> {
    /// The stored orders, if the site signed them for this node.
    pub fn orders(&self, site: &VerifyingKey, enrollment: EnrollmentId) -> Option<Orders> {
        let sealed: Sealed<Orders> = self.read(ORDERS)?;
        match sealed.open(site) {
            Ok(orders) if orders.enrollment == enrollment => Some(orders),
            Ok(_) => None,
            Err(e) => {
                tracing::warn!(error = %chain(&e), "{ORDERS} ignored");
                None
            }
        }
    }

    pub fn keep_orders(&self, sealed: &Sealed<Orders>) -> Result<(), HeldError> {
        self.write(ORDERS, sealed)
    }

    pub fn applied(&self) -> Applied {
        self.read(APPLIED).unwrap_or_default()
    }

    pub fn keep_applied(&self, applied: &Applied) -> Result<(), HeldError> {
        self.write(APPLIED, applied)
    }

    pub fn bundle(&self) -> Option<HeldBundle> {
        self.read(BUNDLE)
    }

    pub fn keep_bundle(&self, bundle: &HeldBundle) -> Result<(), HeldError> {
        self.write(BUNDLE, bundle)
    }

    /// Which certificate the SSH host key has.
    pub fn ssh(&self) -> Option<HeldBundle> {
        self.read(SSH)
    }

    pub fn keep_ssh(&self, held: &HeldBundle) -> Result<(), HeldError> {
        self.write(SSH, held)
    }

    /// A damaged file counts as none: runs can be repeated, and the seed sends orders and certificates again.
    fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let bytes = match read_limited(&self.dir.join(name), 2 * MAX_JSON) {
            Ok(bytes) => bytes,
            Err(e) if e.is_not_found() => return None,
            Err(e) => {
                tracing::warn!(error = %chain(&e), "{name} ignored");
                return None;
            }
        };
        serde_json::from_slice(&bytes).inspect_err(|e| tracing::warn!(error = %chain(e), "{name} ignored")).ok()
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<(), HeldError> {
        Ok(write_atomic(&self.dir.join(name), &serde_json::to_vec(value)?, PRIVATE)?)
    }
}
