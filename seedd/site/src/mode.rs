//! Does this seed issue identities? One of a site's seeds does: the others wait in standby, or were fenced.

use crate::setting;
use crate::store::{StoreError, Tx};

/// What a seed may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Active,
    /// Imported from a capsule and not promoted: pages only.
    Standby,
    /// Another seed of this site was promoted, to this epoch: pages only.
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
