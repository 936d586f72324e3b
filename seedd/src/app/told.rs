//! In memory: the plan as it was read last, and the codes that planned machines have told. A seed that restarts asks again.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use cluster_seed::ids::{Digest, EnrollmentId};
use cluster_seed::plan::Plan;
use site::plan;
use site::store::{StoreError, Tx};
use zeroize::Zeroizing;

/// Most codes kept: more than can be pending.
const MAX_CODES: usize = 1_024;

#[derive(Default)]
pub struct Told {
    plan: Mutex<Option<(Digest, Arc<Plan>)>>,
    codes: Mutex<HashMap<EnrollmentId, Zeroizing<String>>>,
}

impl Told {
    /// The plan; it is read again only after it was changed, by this process or another.
    pub fn plan(&self, tx: &Tx<'_>) -> Result<Arc<Plan>, StoreError> {
        let Some(digest) = plan::digest(tx)? else { return Ok(Arc::default()) };
        let mut held = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, plan)) = held.as_ref().filter(|(known, _)| *known == digest) {
            return Ok(plan.clone());
        }
        let plan = Arc::new(plan::load(tx)?);
        *held = Some((digest, plan.clone()));
        Ok(plan)
    }

    /// Keeps a code. False if there are too many.
    pub fn keep(&self, id: EnrollmentId, code: Zeroizing<String>) -> bool {
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        if codes.len() >= MAX_CODES && !codes.contains_key(&id) {
            return false;
        }
        codes.insert(id, code);
        true
    }

    pub fn code(&self, id: EnrollmentId) -> Option<Zeroizing<String>> {
        self.codes.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    pub fn has(&self, id: EnrollmentId) -> bool {
        self.codes.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&id)
    }

    pub fn all(&self) -> BTreeSet<EnrollmentId> {
        self.codes.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// Drops the codes of all others: their enrollments are not Pending any more.
    pub fn retain(&self, pending: &BTreeSet<EnrollmentId>) {
        self.codes.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| pending.contains(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use site::store::Store;

    #[test]
    fn the_plan_follows_the_database_and_codes_are_bounded() {
        let (told, store) = (Told::default(), Store::in_memory().unwrap());
        let read = || store.read(|tx| told.plan(tx)).map_err(|e: StoreError| e.to_string()).unwrap();
        let write = |text: &str| {
            let plan = Plan::parse(text).unwrap();
            store.write(|tx| plan::store(tx, &plan)).map_err(|e: StoreError| e.to_string()).unwrap();
        };
        assert!(read().is_empty());
        write("serial,name,role\nSN1,a,core\n");
        let first = read();
        assert!(Arc::ptr_eq(&first, &read()), "read once");
        write("serial,name,role\nSN1,b,core\n");
        assert_eq!(read().rows()[0].name, "b");
        let id = |n: usize| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&n.to_be_bytes());
            EnrollmentId(id)
        };
        let code = || Zeroizing::new("12-345-678".to_owned());
        assert!((0..MAX_CODES).all(|n| told.keep(id(n), code())));
        assert!(!told.keep(id(MAX_CODES), code()) && told.keep(id(0), code()));
        told.retain(&BTreeSet::from([id(1)]));
        assert!(told.has(id(1)) && !told.has(id(0)) && told.code(id(1)) == Some(code()));
    }
}
