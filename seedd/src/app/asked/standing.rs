//! In memory: what the external inventory said about machines that wait. A seed that restarts asks again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use cluster_seed::asked::Answer;
use cluster_seed::ids::EnrollmentId;

/// How far the question about a machine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// An attempt is running, or the next one is due at this moment of the steady clock, in seconds.
    Asking {
        attempts: u32,
        due: u64,
        running: bool,
    },
    Answered(Answer),
    /// The operator decides without it.
    GaveUp,
}

/// By enrollment: a machine that comes again is asked about again.
#[derive(Default)]
pub struct Asked(Mutex<BTreeMap<EnrollmentId, Standing>>);

impl Asked {
    pub fn all(&self) -> BTreeMap<EnrollmentId, Standing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins with machines that are new, forgets those that do not wait any more, and takes at most `room` whose attempt is due.
    /// Returns them with the number of attempts before, and whether more machines are to be asked about.
    pub fn take_due(&self, waiting: &BTreeSet<EnrollmentId>, now: u64, room: usize) -> (Vec<(EnrollmentId, u32)>, bool) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|id, _| waiting.contains(id));
        for id in waiting {
            all.entry(*id).or_insert(Standing::Asking { attempts: 0, due: now, running: false });
        }
        let (mut taken, mut open) = (Vec::new(), false);
        for (id, standing) in all.iter_mut() {
            let Standing::Asking { attempts, due, running } = standing else { continue };
            open = true;
            if !*running && *due <= now && taken.len() < room {
                *running = true;
                taken.push((*id, *attempts));
            }
        }
        (taken, open)
    }

    /// After an attempt. Nothing happens if the machine does not wait any more.
    pub fn set(&self, id: EnrollmentId, standing: Standing) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = all.get_mut(&id) {
            *held = standing;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> EnrollmentId {
        EnrollmentId([n; 16])
    }

    #[test]
    fn few_are_asked_about_at_once_and_each_when_it_is_due() {
        let asked = Asked::default();
        let waiting: BTreeSet<_> = (1..=5).map(id).collect();
        let (first, open) = asked.take_due(&waiting, 100, 2);
        assert_eq!((first, open), (vec![(id(1), 0), (id(2), 0)], true));
        // Those are running.
        assert_eq!(asked.take_due(&waiting, 100, 9).0.len(), 3);
        assert!(asked.take_due(&waiting, 100, 9).0.is_empty());
        asked.set(id(1), Standing::Asking { attempts: 1, due: 105, running: false });
        assert!(asked.take_due(&waiting, 104, 9).0.is_empty());
        assert_eq!(asked.take_due(&waiting, 105, 9).0, [(id(1), 1)]);
        for n in 1..=5 {
            asked.set(id(n), Standing::GaveUp);
        }
        assert_eq!(asked.take_due(&waiting, 999, 9), (Vec::new(), false));
        // One that was decided is forgotten, and an answer that comes late changes nothing.
        asked.take_due(&BTreeSet::from([id(1)]), 999, 9);
        asked.set(id(2), Standing::GaveUp);
        assert_eq!(asked.all().into_keys().collect::<Vec<_>>(), [id(1)]);
    }
}
