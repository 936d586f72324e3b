//! Values made from the schemas of the description: such that fit, and such that a careless or hostile client would send.

use serde_json::{Map, Value, json};

/// Where a schema leads that is a reference.
fn resolved<'a>(schema: &'a Value, document: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(to) => document.pointer(to.trim_start_matches('#')).unwrap_or(&Value::Null),
        None => schema,
    }
}

fn kinds(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Every choice of a word, a variant or a type, one at a time. Never empty.
pub(super) fn fitting(schema: &Value, document: &Value) -> Vec<Value> {
    let schema = resolved(schema, document);
    if let Some(only) = schema.get("const") {
        return vec![only.clone()];
    }
    if let Some(words) = schema["enum"].as_array() {
        return words.clone();
    }
    for key in ["oneOf", "anyOf"] {
        if let Some(choices) = schema[key].as_array() {
            return choices.iter().flat_map(|one| fitting(one, document)).collect();
        }
    }
    let all: Vec<Value> = kinds(schema).into_iter().flat_map(|kind| of_kind(kind, schema, document)).collect();
    // A schema without a type takes anything.
    if all.is_empty() { vec![json!({})] } else { all }
}

fn of_kind(kind: &str, schema: &Value, document: &Value) -> Vec<Value> {
    match kind {
        "null" => vec![Value::Null],
        "boolean" => vec![json!(false), json!(true)],
        "integer" => {
            [schema["minimum"].as_i64(), schema["maximum"].as_i64(), Some(1)].into_iter().flatten().map(Value::from).collect()
        }
        "string" if schema["format"] == "ip" => vec![json!("10.44.0.9"), json!("fd00::9")],
        "string" => vec![json!("text")],
        "array" => {
            let items: Vec<Value> = fitting(&schema["items"], document);
            vec![json!([]), items.into()]
        }
        "object" => objects(schema, document),
        other => panic!("the description has a type of values that this test does not make: {other}"),
    }
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema["properties"].as_object().into_iter().flatten()
}

/// The object with every property, then with each other choice of one property, then with the required ones only.
fn objects(schema: &Value, document: &Value) -> Vec<Value> {
    let choices: Vec<(&String, Vec<Value>)> = properties(schema).map(|(name, one)| (name, fitting(one, document))).collect();
    let whole: Map<String, Value> = choices.iter().map(|(name, all)| ((*name).clone(), all[0].clone())).collect();
    let mut objects = vec![Value::Object(whole.clone())];
    for (name, all) in &choices {
        objects.extend(all[1..].iter().map(|choice| with(&whole, name, choice.clone())));
    }
    let needed: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    objects.push(whole.into_iter().filter(|(name, _)| needed.contains(&name.as_str())).collect::<Map<_, _>>().into());
    objects
}

fn with(object: &Map<String, Value>, name: &str, value: Value) -> Value {
    let mut object = object.clone();
    object.insert(name.to_owned(), value);
    object.into()
}

/// `good` with one property at a time replaced by each hostile value or left out, one property too many, and other things than
/// an object.
pub(super) fn damaged(good: &Map<String, Value>, schema: &Value, document: &Value) -> Vec<Value> {
    let schema = resolved(schema, document);
    // The properties of variants too.
    let variants = schema["oneOf"].as_array().into_iter().flatten();
    let named: Vec<&String> = properties(schema).chain(variants.flat_map(properties)).map(|(name, _)| name).collect();
    let mut all = hostile();
    all.push(with(good, "isAdministrator", json!(true)));
    all.push(with(good, "__proto__", json!({ "fresh": true })));
    for name in named {
        all.extend(hostile().into_iter().map(|value| with(good, name, value)));
        let mut less = good.clone();
        less.remove(name);
        all.push(less.into());
    }
    all
}

/// Longer than any name, shorter than the limit of a body.
const LONG: usize = 20_000;

fn hostile() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(-1),
        json!(0),
        json!(u64::MAX),
        json!(1.5e308),
        json!(""),
        json!("\u{0}"),
        json!("../../../../etc/shadow"),
        json!("'; DROP TABLE user; --"),
        json!("\u{202e}<script>alert(1)</script>\r\nSet-Cookie: a=b"),
        json!("9".repeat(LONG)),
        json!([]),
        json!([[{ "a": [null, {}] }]]),
        json!({}),
    ]
}

/// Values of a parameter in a path or query, percent-encoded, by its type in the description.
pub(super) fn parameters(kind: &str) -> Vec<String> {
    let numbers = ["0", "-1", "1.5", "1e9", "+1", "9223372036854775807", "9223372036854775808", "99999999999999999999999999"];
    let texts =
        ["x", "..", "..%2F..%2Fetc%2Fshadow", "%00", "%FF", "%F0%9F%92%A9", "%3Cscript%3E", "'%20OR%201=1--", "%E2%80%AE", "%"];
    let long = "a".repeat(LONG / 4);
    let first: &[&str] = match kind {
        "integer" => &numbers,
        "boolean" => &["true", "false", "1"],
        "string" => &numbers[..2],
        other => panic!("the description has a type of parameters that this test does not make: {other}"),
    };
    first.iter().chain(&texts).map(|text| (*text).to_owned()).chain([long]).collect()
}

/// Bodies that are no JSON, or none that a parser should follow to its end.
pub(super) fn broken_bodies() -> Vec<Vec<u8>> {
    let deep = "[".repeat(30_000);
    let utf16: Vec<u8> = "{\"name\":\"x\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    vec![
        Vec::new(),
        b"{".to_vec(),
        b"{}{}".to_vec(),
        b"\xff\xfe\x00".to_vec(),
        b"{\"name\":\"\xc3\x28\"}".to_vec(),
        b"{\"name\":\"\\ud800\"}".to_vec(),
        b"{\"name\":1,\"name\":2}".to_vec(),
        b"{\"name\":1e999999}".to_vec(),
        b"csrf=x&name=y".to_vec(),
        deep.into_bytes(),
        utf16,
        // One byte more than a form may have.
        vec![b' '; crate::limits::MAX_FORM + 1],
    ]
}

/// Content types with which a valid body is sent; the first is the right one.
pub(super) const KINDS: [&[u8]; 8] = [
    b"application/json",
    b"",
    b"text/plain",
    b"application/x-www-form-urlencoded",
    b"multipart/form-data",
    b"application/json; charset=utf-16",
    b"application/problem+json",
    b"\xff/\xfe",
];

#[test]
fn values_of_a_schema_fit_it_and_every_word_is_among_them() {
    let document = super::document::document();
    let mut seen = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, one) in methods.as_object().unwrap() {
            let Some(schema) = one.pointer("/requestBody/content/application~1json/schema") else { continue };
            for value in fitting(schema, &document) {
                let wrong = super::fits::misfits(&value, schema, &document);
                assert!(wrong.is_empty(), "{method} {path}: {value}: {wrong:?}");
                seen += 1;
            }
        }
    }
    assert!(seen > 100, "{seen}");
    let words = fitting(&json!({ "$ref": "#/components/schemas/RightsBody" }), &document);
    assert_eq!(words.len(), cluster_seed::people::Rights::ALL.len());
}
