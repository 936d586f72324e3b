//! The join window: until when machines that nobody knows may ask to enroll, where cluster.yaml says
//! `enrollment.window: manual`.

use serde::{Deserialize, Serialize};

use crate::setting;
use crate::store::{StoreError, Tx};

/// Longest time for which a window is opened, in seconds: a week.
pub const MAX_SECONDS: u64 = 7 * 86_400;

/// An opened window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Window {
    /// Unix seconds, by the seed's clock.
    pub opened: u64,
    pub until: u64,
    pub by: String,
}

impl Window {
    /// A clock that was set back does not make it longer.
    pub fn is_open(&self, now: u64) -> bool {
        (self.opened..self.until).contains(&now)
    }
}

/// The window that was opened last, if it is open now.
pub fn open_now(tx: &Tx<'_>, now: u64) -> Result<Option<Window>, StoreError> {
    let corrupt = |_| StoreError::Corrupt { what: "the join window" };
    let window: Option<Window> =
        tx.setting(setting::WINDOW)?.map(|text| serde_json::from_str(&text)).transpose().map_err(corrupt)?;
    Ok(window.filter(|w| w.is_open(now)))
}

/// Opens a window from `now`, in place of another; `seconds` is cut to [`MAX_SECONDS`].
pub fn open(tx: &Tx<'_>, seconds: u64, by: &str, now: u64) -> Result<Window, StoreError> {
    let until = now.saturating_add(seconds.min(MAX_SECONDS));
    let window = Window { opened: now, until, by: by.to_owned() };
    let corrupt = |_| StoreError::Corrupt { what: "the join window" };
    tx.set(setting::WINDOW, &serde_json::to_string(&window).map_err(corrupt)?)?;
    Ok(window)
}

/// True if there was one.
pub fn close(tx: &Tx<'_>) -> Result<bool, StoreError> {
    tx.unset(setting::WINDOW)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn a_window_is_open_until_its_end_and_not_before_it_was_opened() {
        let store = Store::in_memory().unwrap();
        let done: Result<(), StoreError> = store.write(|tx| {
            assert_eq!(open_now(tx, 50)?, None);
            open(tx, 10, "ada", 100)?;
            for (now, is) in [(99, false), (100, true), (109, true), (110, false)] {
                assert_eq!(open_now(tx, now)?.is_some(), is, "{now}");
            }
            assert!(close(tx)? && !close(tx)? && open_now(tx, 105)?.is_none());
            assert_eq!(open(tx, u64::MAX, "ada", 100)?.until, 100 + MAX_SECONDS);
            Ok(())
        });
        done.unwrap();
    }
}
