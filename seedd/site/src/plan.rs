//! The plan of enrollment, as kept in the database: one setting, so that a capsule includes it.

use cluster_seed::ids::Digest;
use cluster_seed::plan::{Plan, PlanRow};

use crate::setting;
use crate::store::{StoreError, Tx};

fn corrupt<E>(_: E) -> StoreError {
    StoreError::Corrupt { what: "the plan of enrollment" }
}

/// Changes with the plan; `None` without one. Cheap: the plan itself may have 10,000 rows.
pub fn digest(tx: &Tx<'_>) -> Result<Option<Digest>, StoreError> {
    tx.setting(setting::PLAN_DIGEST)?.map(|text| text.parse().map_err(corrupt)).transpose()
}

/// The plan; an empty one if there is none.
pub fn load(tx: &Tx<'_>) -> Result<Plan, StoreError> {
    let Some(text) = tx.setting(setting::PLAN)? else { return Ok(Plan::default()) };
    let rows: Vec<PlanRow> = serde_json::from_str(&text).map_err(corrupt)?;
    Plan::of(rows).map_err(corrupt)
}

/// Replaces the plan. An empty one is none.
pub fn store(tx: &Tx<'_>, plan: &Plan) -> Result<(), StoreError> {
    if plan.is_empty() {
        tx.unset(setting::PLAN)?;
        tx.unset(setting::PLAN_DIGEST)?;
        return Ok(());
    }
    let text = serde_json::to_string(plan.rows()).map_err(corrupt)?;
    tx.set(setting::PLAN_DIGEST, &Digest::of(text.as_bytes()).to_string())?;
    tx.set(setting::PLAN, &text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn a_plan_is_kept_with_its_digest_and_an_empty_one_is_none() {
        let store = Store::in_memory().unwrap();
        let done: Result<(), StoreError> = store.write(|tx| {
            assert!(load(tx)?.is_empty() && digest(tx)?.is_none());
            let plan = Plan::parse("serial,name,role,place\nSN1,a,core,\"hall 2, left\"\n").unwrap();
            super::store(tx, &plan)?;
            let first = digest(tx)?;
            assert_eq!(load(tx)?, plan);
            super::store(tx, &Plan::parse("serial,name,role\nSN1,b,core\n").unwrap())?;
            assert!(first.is_some() && digest(tx)?.is_some() && digest(tx)? != first);
            super::store(tx, &Plan::default())?;
            assert!(load(tx)?.is_empty() && digest(tx)?.is_none());
            tx.set(setting::PLAN, "[{\"line\":1}]")?;
            assert!(load(tx).is_err());
            Ok(())
        });
        done.unwrap();
    }
}
