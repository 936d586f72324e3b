//! Whether a value is as a JSON schema describes it: the keywords that the description uses, and stricter than the standard, since
//! a field that is not described does not fit.

use serde_json::Value;

/// Everything in which `value` differs from `schema`; references lead into `document`.
pub(super) fn misfits(value: &Value, schema: &Value, document: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    check("", value, schema, document, &mut wrong);
    wrong
}

fn check(at: &str, value: &Value, schema: &Value, document: &Value, wrong: &mut Vec<String>) {
    if let Some(to) = schema["$ref"].as_str() {
        let target = document.pointer(to.trim_start_matches('#')).unwrap_or(&Value::Null);
        return check(at, value, target, document, wrong);
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(choices) = schema[key].as_array()
            && !choices.iter().any(|one| misfits(value, one, document).is_empty())
        {
            wrong.push(format!("{at}: {value} fits no choice of {schema}"));
        }
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !kinds.is_empty() && !kinds.iter().any(|kind| is(value, kind)) {
        wrong.push(format!("{at}: {value} is not of type {kinds:?}"));
    }
    if schema["enum"].as_array().is_some_and(|all| !all.contains(value)) {
        wrong.push(format!("{at}: {value} is not one of {}", schema["enum"]));
    }
    if schema.get("const").is_some_and(|only| only != value) {
        wrong.push(format!("{at}: {value} is not {}", schema["const"]));
    }
    match value {
        Value::Object(map) if schema["properties"].is_object() || schema["additionalProperties"].is_object() => {
            for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                if !map.contains_key(name) {
                    wrong.push(format!("{at}: {name} is missing"));
                }
            }
            for (name, one) in map {
                let described =
                    schema["properties"].get(name).or_else(|| schema.get("additionalProperties").filter(|s| s.is_object()));
                match described.or_else(|| pattern(schema)) {
                    Some(schema) => check(&format!("{at}/{name}"), one, schema, document, wrong),
                    None => wrong.push(format!("{at}: {name} is not described")),
                }
            }
        }
        Value::Array(all) => {
            let first = schema["prefixItems"].as_array();
            for (n, one) in all.iter().enumerate() {
                let schema = first.and_then(|f| f.get(n)).or_else(|| schema.get("items").filter(|i| i.is_object()));
                if let Some(schema) = schema {
                    check(&format!("{at}/{n}"), one, schema, document, wrong);
                }
            }
        }
        _ => {}
    }
}

/// Of a map whose keys are numbers.
fn pattern(schema: &Value) -> Option<&Value> {
    schema["patternProperties"].as_object()?.values().next()
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}
