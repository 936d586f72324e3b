//! The plan of a site: which machine, by its serial number or a MAC address, becomes which node. And the rules that fill in a
//! decision for machines that no plan names. Pure: reading, matching, and what contradicts.

mod disk;
mod field;
mod glob;
mod matching;
mod read;
mod row;
mod rules;
mod suggest;

pub use disk::{DiskTrouble, DiskWish, WishError};
pub use field::MAX_FIELD;
pub use matching::{Difference, Found, Plan};
pub use read::{MAX_PROBLEMS, MAX_TEXT};
pub use row::{MAX_LABELS, MAX_ROWS, PlanRow, Problem};
pub(crate) use rules::check as check_rules;
pub use rules::{EnrollRule, MAX_RULES, RuleMatch};
pub use suggest::{Source, Suggestion, suggest};

#[cfg(test)]
mod tests;
