//! Whether this seed issues identities. Only one seed of a site is active; the others are on standby or fenced.

use crate::setting;
use crate::store::{StoreError, Tx};

/// What a seed is allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Active,
    /// Imported from a capsule and not promoted: serves the web interface only.
    Standby,
    /// Another seed of this site was promoted, to this epoch: serves the web interface only.
    Fenced {
        epoch: u64,
    },
}

impl Mode {
    pub fn of(tx: &Tx<'_>) -> Result<Self, StoreError> {
        let text = tx.setting(setting::MODE)?;
        match text.as_deref() {
            None | Some("active") => Ok(Mode::Active),
            Some("standby") => Ok(Mode::Standby),
            Some(other) => {
                let epoch = other.strip_prefix("fenced:").and_then(|n| n.parse().ok());
                epoch.map(|epoch| Mode::Fenced { epoch }).ok_or(StoreError::Corrupt { what: "setting.mode" })
            }
        }
    }

    pub fn set(self, tx: &Tx<'_>) -> Result<(), StoreError> {
        let text = match self {
            Mode::Active => "active".to_owned(),
            Mode::Standby => "standby".to_owned(),
            Mode::Fenced { epoch } => format!("fenced:{epoch}"),
        };
        tx.set(setting::MODE, &text)
    }
}
