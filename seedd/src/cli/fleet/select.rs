//! `--selector`: which rows of a list are shown.

use std::str::FromStr;

use serde_json::Value;

/// Most conditions in one selector.
const MAX_CONDITIONS: usize = 32;

/// Conditions that all have to hold: `state=pending,role=core,rack!=b`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector(Vec<Condition>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    key: String,
    value: String,
    equal: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    #[error("{0:?} is not a condition; write KEY=VALUE or KEY!=VALUE, separated by commas")]
    Condition(String),
    #[error("more than {MAX_CONDITIONS} conditions")]
    TooMany,
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let all = text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(condition);
        let all = all.collect::<Result<Vec<_>, _>>()?;
        if all.len() > MAX_CONDITIONS { Err(SelectorError::TooMany) } else { Ok(Selector(all)) }
    }
}

fn condition(part: &str) -> Result<Condition, SelectorError> {
    let bad = || SelectorError::Condition(part.chars().take(60).collect());
    let (key, value, equal) = match part.split_once("!=") {
        Some((key, value)) => (key, value, false),
        None => {
            let (key, value) = part.split_once('=').ok_or_else(bad)?;
            (key, value.strip_prefix('=').unwrap_or(value), true)
        }
    };
    let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
    if key.is_empty() { Err(bad()) } else { Ok(Condition { key, value, equal }) }
}

impl Selector {
    /// Whether a row fits. `cell` gives the text of a column by its name, `None` if the list has no such column; a key that is
    /// none is that of a label. Case does not count.
    pub fn fits(&self, row: &Value, cell: &dyn Fn(&str) -> Option<String>) -> bool {
        self.0.iter().all(|c| {
            let found = cell(&c.key).or_else(|| label(row, &c.key));
            found.is_some_and(|v| v.eq_ignore_ascii_case(&c.value)) == c.equal
        })
    }
}

/// The value of a label; empty for a label without one.
fn label(row: &Value, key: &str) -> Option<String> {
    match row.get("labels")? {
        Value::Object(map) => map.get(key).map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)),
        Value::Array(list) => list.iter().filter_map(Value::as_str).find_map(|text| match text.split_once('=') {
            Some((k, v)) if k == key => Some(v.to_owned()),
            None if text == key => Some(String::new()),
            _ => None,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_are_selected_by_columns_and_labels() {
        let row = json!({"labels": {"rack": "a", "gpu": ""}});
        let cell = |key: &str| (key == "state").then(|| "Pending".to_owned());
        for (text, fits) in [
            ("", true),
            ("state=pending", true),
            ("state == Pending , rack=a", true),
            ("state!=pending", false),
            ("rack!=b", true),
            ("rack=b", false),
            ("gpu=", true),
            ("zone=a", false),
            ("zone!=a", true),
            ("state=pending,rack=b", false),
        ] {
            assert_eq!(text.parse::<Selector>().unwrap().fits(&row, &cell), fits, "{text}");
        }
        let listed = json!({"labels": ["rack=a", "gpu"]});
        assert!("rack=a,gpu=".parse::<Selector>().unwrap().fits(&listed, &cell));
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for bad in ["pending", "=x", "!=x", "state=a,b"] {
            assert!(bad.parse::<Selector>().is_err(), "{bad}");
        }
        let many = |n: usize| vec!["a=b"; n].join(",").parse::<Selector>();
        assert!(many(MAX_CONDITIONS).is_ok() && many(MAX_CONDITIONS + 1) == Err(SelectorError::TooMany));
    }
}
