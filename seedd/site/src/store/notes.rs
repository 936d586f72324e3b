//! What operators noted about machines: labels and places.

use std::collections::BTreeSet;

use cluster_seed::fleet::{Label, MAX_LABELS};
use rusqlite::{OptionalExtension as _, params};

use super::fleet::labels;
use super::{StoreError, Tx};

/// What is noted about a machine; empty without a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NoteRecord {
    pub place: String,
    /// In order, without repeats.
    pub labels: Vec<String>,
}

impl Tx<'_> {
    pub fn note_of(&self, machine: i64) -> Result<NoteRecord, StoreError> {
        let mut q = self.tx.prepare_cached("SELECT place, labels FROM machine_note WHERE machine = ?1")?;
        let found = q.query_row([machine], |r| Ok((r.get(0)?, r.get::<_, String>(1)?))).optional()?;
        let Some((place, text)) = found else { return Ok(NoteRecord::default()) };
        Ok(NoteRecord { place, labels: labels(&text)? })
    }

    pub fn set_place(&self, machine: i64, place: &str) -> Result<(), StoreError> {
        let note = self.note_of(machine)?;
        self.set_note(machine, &NoteRecord { place: place.to_owned(), ..note })
    }

    /// Adds and removes labels. False, and nothing is changed, if there would be more than [`MAX_LABELS`].
    pub fn set_labels(&self, machine: i64, add: &[Label], remove: &[Label]) -> Result<bool, StoreError> {
        let note = self.note_of(machine)?;
        let mut all: BTreeSet<String> = note.labels.into_iter().collect();
        all.extend(add.iter().map(|l| l.as_str().to_owned()));
        for label in remove {
            all.remove(label.as_str());
        }
        if all.len() > MAX_LABELS {
            return Ok(false);
        }
        self.set_note(machine, &NoteRecord { labels: all.into_iter().collect(), ..note })?;
        Ok(true)
    }

    pub(super) fn set_note(&self, machine: i64, note: &NoteRecord) -> Result<(), StoreError> {
        if *note == NoteRecord::default() {
            self.tx.execute("DELETE FROM machine_note WHERE machine = ?1", [machine])?;
            return Ok(());
        }
        let labels = serde_json::to_string(&note.labels).map_err(|_| StoreError::Corrupt { what: "machine_note.labels" })?;
        self.tx.execute(
            "INSERT INTO machine_note (machine, place, labels) VALUES (?1, ?2, ?3)
             ON CONFLICT (machine) DO UPDATE SET place = excluded.place, labels = excluded.labels",
            params![machine, note.place, labels],
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Store;
    use super::*;

    fn list(text: &str) -> Vec<Label> {
        Label::list(text).unwrap()
    }

    #[test]
    fn labels_and_place_are_kept_until_the_machine_is_deleted() {
        let store = Store::in_memory().unwrap();
        let done: Result<(), StoreError> = store.write(|tx| {
            let id = tx.see_machine(cluster_seed::ids::Mac([2, 0, 0, 0, 0, 1]), None, 1)?.unwrap();
            assert_eq!(tx.note_of(id)?, NoteRecord::default());
            tx.set_place(id, "hall 2")?;
            assert!(tx.set_labels(id, &list("b, a"), &[])?);
            assert!(tx.set_labels(id, &list("c"), &list("b, z"))?);
            assert_eq!(tx.note_of(id)?, NoteRecord { place: "hall 2".into(), labels: vec!["a".into(), "c".into()] });
            let most: Vec<Label> = (0..MAX_LABELS).map(|n| format!("l{n}").parse().unwrap()).collect();
            assert!(!tx.set_labels(id, &most, &[])?, "two too many");
            assert!(tx.set_labels(id, &most, &list("a, c"))?, "exactly the most");
            tx.forget_machine(id, 9)?;
            assert_eq!(tx.note_of(id)?, NoteRecord::default());
            Ok(())
        });
        done.unwrap();
    }
}
