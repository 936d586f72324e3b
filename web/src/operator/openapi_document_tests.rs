//! The description as OpenAPI 3.1, made from the table.

use std::borrow::Cow;

use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use super::table::{Answer, Op, Parameter, Shape, operations};
use crate::idempotency::WITHOUT;
use crate::problem::Problem;

const DEFINITIONS: &str = "/components/schemas";

fn settings() -> SchemaSettings {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = Cow::Borrowed(DEFINITIONS);
    settings.meta_schema = None;
    settings
}

/// Shapes of answers and of bodies are described apart: a field with a default may be missing in a body, and never is in an answer.
struct Shapes {
    answers: SchemaGenerator,
    bodies: SchemaGenerator,
}

impl Shapes {
    fn answer(&mut self, shape: Shape) -> Value {
        shape(&mut self.answers)
    }

    /// Types of bodies have names of their own.
    fn body(&mut self, shape: Shape) -> Value {
        own_names(shape(&mut self.bodies))
    }

    fn definitions(mut self) -> Map<String, Value> {
        let mut all = self.answers.take_definitions(true);
        for (name, schema) in self.bodies.take_definitions(true) {
            all.insert(format!("{name}Body"), own_names(schema));
        }
        all
    }
}

/// The same schema, with references to types of bodies.
fn own_names(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                match value.as_str().filter(|_| key == "$ref") {
                    Some(to) => *value = format!("{to}Body").into(),
                    None => *value = own_names(value.take()),
                }
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|one| *one = own_names(one.take())),
        _ => {}
    }
    schema
}

fn parameter(place: &str, (name, kind, about): Parameter) -> Value {
    json!({ "name": name, "in": place, "required": place == "path", "description": about, "schema": { "type": kind } })
}

/// The parameters in the path, as `{id}`.
fn in_path(path: &str) -> Vec<Value> {
    let names = path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    let kind = |name: &str| if name == "id" && !path.contains("/enrollments/") { "integer" } else { "string" };
    names.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": kind(name) } })).collect()
}

fn operation(op: &Op, shapes: &mut Shapes) -> Value {
    let content = match op.answer {
        Answer::Json(shape) => json!({ "application/json": { "schema": shapes.answer(shape) } }),
        Answer::File(kind) => json!({ kind: {} }),
    };
    let problem = json!({ "description": "The request failed", "content": { "application/problem+json": { "schema": shapes.answer(|g| g.subschema_for::<Problem>().to_value()) } } });
    let mut parameters = in_path(op.path);
    parameters.extend(op.query.iter().map(|p| parameter("query", *p)));
    parameters.extend(op.headers.iter().map(|p| parameter("header", *p)));
    if op.method == "POST" && !WITHOUT.contains(&op.path) {
        parameters.push(json!({ "$ref": "#/components/parameters/IdempotencyKey" }));
    }
    let mut out = json!({
        "summary": op.summary,
        "operationId": id(op),
        "responses": { "200": { "description": "Done", "content": content }, "default": problem },
    });
    if !parameters.is_empty() {
        out["parameters"] = parameters.into();
    }
    if let Some(takes) = op.takes {
        out["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": shapes.body(takes) } } });
    }
    if op.open {
        out["security"] = json!([]);
    }
    out
}

/// `getMachinesIdPower` for `GET /api/v1/machines/{id}/power`.
fn id(op: &Op) -> String {
    let path = op.path.trim_start_matches("/api/v1/");
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty());
    let upper = |word: &str| word[..1].to_uppercase() + &word[1..];
    op.method.to_lowercase() + &words.map(upper).collect::<String>()
}

pub(super) fn document() -> Value {
    let mut shapes =
        Shapes { answers: settings().for_serialize().into_generator(), bodies: settings().for_deserialize().into_generator() };
    let mut paths = Map::new();
    for op in operations() {
        let methods = paths.entry(op.path).or_insert_with(|| json!({}));
        methods[op.method.to_lowercase()] = operation(&op, &mut shapes);
    }
    let key = json!({
        "name": "Idempotency-Key", "in": "header", "required": false, "schema": { "type": "string", "maxLength": 255 },
        "description": "The same request with the same key is carried out once and gets the same answer for 24 hours",
    });
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Kubedos seed", "version": "v1", "description": "See docs/api.md, at /docs/api on every seed." },
        "security": [{ "session": [] }],
        "paths": paths,
        "components": {
            "schemas": shapes.definitions(),
            "parameters": { "IdempotencyKey": key },
            "securitySchemes": { "session": { "type": "http", "scheme": "bearer", "description": "Token of a session" } },
        },
    })
}
