//! The cause of a failed or refused enrollment, beside the reason for people.

use cluster_seed::ids::EnrollmentId;
use cluster_seed::trouble::Trouble;
use rusqlite::params;

use super::{StoreError, Tx};

impl Tx<'_> {
    pub fn set_trouble(&self, id: EnrollmentId, trouble: Trouble) -> Result<(), StoreError> {
        self.tx.execute("UPDATE enrollment SET trouble = ?2 WHERE id = ?1", params![id.to_string(), trouble.as_str()])?;
        Ok(())
    }
}
