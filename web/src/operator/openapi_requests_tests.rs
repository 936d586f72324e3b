//! Requests made from the description, valid and hostile, by people of every role and by programs: no answer is a failure of
//! the seed, and none has a status or content type that the description does not list.

use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Method, Request};
use cluster_seed::people::Rights;
use serde_json::{Map, Value};
use tower::ServiceExt as _;

use super::super::routes_table::Row;
use super::super::routes_tests::{real, rows};
use super::document::document;
use super::fits::misfits;
use super::values::{KINDS, broken_bodies, damaged, fitting, parameters};
use crate::auth::csrf;
use crate::problem::TYPES;
use crate::testing::client::site;
use crate::testing::people::{RIGHTS, SCOPE, STALE};

/// Requests with several things wrong at once, for each operation and visitor.
const MIXED: usize = 12;
/// Failures of one run that are printed.
const SHOWN: usize = 20;

#[derive(Debug, Clone, PartialEq)]
struct Wanted {
    path: String,
    query: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

/// One operation of the description and a request to it that is known to be good.
struct Operation<'a> {
    method: String,
    pattern: String,
    about: &'a Value,
    row: Row,
}

/// How requests to an operation are built from parts; the first choice of each part is the good one.
struct Parts {
    paths: Vec<String>,
    queries: Vec<String>,
    headers: Vec<Vec<(String, Vec<u8>)>>,
    bodies: Vec<Vec<u8>>,
    kinds: Vec<Vec<u8>>,
}

impl Parts {
    fn request(&self, choice: [usize; 5]) -> Wanted {
        let [path, query, header, body, kind] = choice;
        let mut headers = self.headers[header].clone();
        if !self.kinds[kind].is_empty() {
            headers.push(("content-type".to_owned(), self.kinds[kind].clone()));
        }
        Wanted { path: self.paths[path].clone(), query: self.queries[query].clone(), headers, body: self.bodies[body].clone() }
    }

    fn counts(&self) -> [usize; 5] {
        [self.paths.len(), self.queries.len(), self.headers.len(), self.bodies.len(), self.kinds.len()]
    }

    /// Every choice of one part with the good ones of the others, then some of everything, then the good request.
    fn requests(&self) -> Vec<Wanted> {
        let counts = self.counts();
        let mut all = Vec::new();
        for (part, count) in counts.iter().enumerate() {
            for n in 1..*count {
                let mut choice = [0; 5];
                choice[part] = n;
                all.push(self.request(choice));
            }
        }
        // Always the same sequence (Knuth, TAOCP 3.3.4), so that a failure can be repeated.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..MIXED {
            all.push(self.request(counts.map(|count| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as usize % count
            })));
        }
        all.push(self.request([0; 5]));
        all
    }
}

impl Operation<'_> {
    fn parameters(&self, document: &Value, place: &str) -> Vec<(String, String)> {
        let all = self.about["parameters"].as_array().into_iter().flatten();
        let all = all.map(|p| p["$ref"].as_str().and_then(|to| document.pointer(to.trim_start_matches('#'))).unwrap_or(p));
        let here = all.filter(|p| p["in"] == place);
        here.map(|p| (p["name"].as_str().unwrap().to_owned(), p["schema"]["type"].as_str().unwrap().to_owned())).collect()
    }

    fn parts(&self, document: &Value) -> Parts {
        let good = real(&self.pattern, &self.method);
        let (path, query) = good.split_once('?').map_or((good.as_str(), ""), |(path, query)| (path, query));
        let mut parts = Parts {
            paths: vec![path.to_owned()],
            queries: vec![query.to_owned()],
            headers: vec![vec![("if-match".to_owned(), b"*".to_vec())]],
            bodies: vec![self.row.3.clone().into_bytes()],
            kinds: KINDS.iter().map(|k| k.to_vec()).collect(),
        };
        for (name, kind) in self.parameters(document, "path") {
            let place = format!("{{{name}}}");
            parts.paths.extend(parameters(&kind).iter().map(|value| self.pattern.replace(&place, value)));
        }
        for (name, kind) in self.parameters(document, "query") {
            for value in parameters(&kind) {
                parts.queries.push(format!("{name}={value}"));
            }
            parts.queries.push(format!("{name}=1&{name}=2"));
        }
        parts.queries.extend(["=", "&&&", "%00=%00", "nobody=knows", "a%5B%5D=1"].map(str::to_owned));
        for name in ["Idempotency-Key", "If-Match", "Last-Event-ID", "Accept", "Accept-Language", "Cookie", "Host", "Range"] {
            for value in [&b""[..], b"\xff\xfe", b"-1", b"*/*;q=x, bytes=0-0,-1", "\"a\", ".repeat(200).as_bytes()] {
                parts.headers.push(vec![(name.to_lowercase(), value.to_vec())]);
            }
        }
        if let Some(schema) = self.about.pointer("/requestBody/content/application~1json/schema") {
            let good: Map<String, Value> = serde_json::from_str(&self.row.3).unwrap();
            let made = damaged(&good, schema, document).into_iter().chain(fitting(schema, document));
            parts.bodies.extend(made.map(|v| v.to_string().into_bytes()));
        }
        parts.bodies.extend(broken_bodies());
        parts
    }

    /// Everybody whose requests could be answered in another way.
    fn visitors(&self) -> Vec<String> {
        let roles = Rights::ALL.iter().map(|r| format!("{RIGHTS}{r}"));
        let scope = self.row.0.needs().map(|needs| format!("{SCOPE}{needs}"));
        roles.chain([format!("{STALE}administrator"), String::new()]).chain(scope).collect()
    }

    /// What is wrong with an answer, if anything.
    fn judge(&self, answer: &Answered, document: &Value) -> Option<String> {
        let responses = &self.about["responses"];
        let known = |status: u16| status < 500 && status != 405 && TYPES.iter().any(|(s, _)| *s == status);
        let listed = match answer.status {
            200 => &responses["200"],
            // The description lists failures as `default`; docs/api.md has their statuses.
            status if known(status) => responses.get("default").unwrap_or(&Value::Null),
            _ => &Value::Null,
        };
        let Some(content) = listed["content"].as_object() else { return Some("this status is not described".to_owned()) };
        let Some(kind) = content.get(&answer.kind) else {
            return Some(format!("the content type {:?} is not described", answer.kind));
        };
        let schema = kind.get("schema")?;
        let Ok(value) = serde_json::from_slice::<Value>(&answer.bytes) else { return Some("the body is not JSON".to_owned()) };
        let wrong = misfits(&value, schema, document);
        (!wrong.is_empty()).then(|| format!("the body is not as described: {wrong:?}"))
    }
}

struct Answered {
    status: u16,
    kind: String,
    bytes: Vec<u8>,
}

async fn send(router: &Router, method: &str, wanted: &Wanted, visitor: &str) -> Answered {
    let uri = if wanted.query.is_empty() { wanted.path.clone() } else { format!("{}?{}", wanted.path, wanted.query) };
    let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(uri);
    for (name, value) in &wanted.headers {
        request = request.header(name, HeaderValue::from_bytes(value).unwrap());
    }
    if !visitor.is_empty() {
        request = if visitor.starts_with(SCOPE) {
            request.header("authorization", format!("Bearer {visitor}"))
        } else {
            request.header("cookie", format!("kubedos_session={visitor}")).header("x-csrf-token", csrf(visitor))
        };
    }
    let response = router.clone().oneshot(request.body(Body::from(wanted.body.clone())).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let kind = response.headers().get("content-type").map_or("", |v| v.to_str().unwrap());
    let kind = kind.split(';').next().unwrap_or("").trim().to_owned();
    // A live feed has no end.
    let body = if kind == "text/event-stream" { Body::empty() } else { response.into_body() };
    let bytes = axum::body::to_bytes(body, 16 << 20).await.unwrap().to_vec();
    Answered { status, kind, bytes }
}

fn operations(document: &Value) -> Vec<Operation<'_>> {
    let rows = rows();
    let mut all = Vec::new();
    for (pattern, methods) in document["paths"].as_object().unwrap() {
        for (method, about) in methods.as_object().unwrap() {
            let method = method.to_uppercase();
            let row = rows.iter().find(|r| (r.1, r.2) == (&method, pattern));
            let row = row.unwrap_or_else(|| panic!("{method} {pattern} is not in the table of routes")).clone();
            all.push(Operation { method, pattern: pattern.clone(), about, row });
        }
    }
    all
}

/// A request short enough to be read in a failure.
fn shown(wanted: &Wanted) -> String {
    let body = String::from_utf8_lossy(&wanted.body).chars().take(200).collect::<String>();
    let headers = wanted.headers.iter().map(|(n, v)| format!("{n}: {:.60}", v.escape_ascii().to_string()));
    format!("{:.200}?{:.200} {} {body}", wanted.path, wanted.query, headers.collect::<Vec<_>>().join(", "))
}

#[tokio::test]
async fn no_request_of_the_description_gets_an_answer_that_is_not_in_it() {
    let document = document();
    let mut wrong = Vec::new();
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    let mut done = BTreeSet::new();
    let all = operations(&document);
    for operation in &all {
        let requests = operation.parts(&document).requests();
        for visitor in operation.visitors() {
            let (_mock, router) = site("");
            for wanted in &requests {
                let answer = send(&router, &operation.method, wanted, &visitor).await;
                *statuses.entry(answer.status).or_default() += 1;
                if answer.status == 200 {
                    done.insert((operation.method.clone(), operation.pattern.clone()));
                }
                if let Some(why) = operation.judge(&answer, &document) {
                    let (method, status) = (&operation.method, answer.status);
                    wrong.push(format!("{visitor}: {method} {}: {status}: {why}", shown(wanted)));
                }
            }
        }
    }
    let some = &wrong[..wrong.len().min(SHOWN)];
    assert!(wrong.is_empty(), "{} of {statuses:?} answers, first {SHOWN}: {some:#?}", wrong.len());
    // A test that only sees refusals would pass always.
    let never: Vec<_> = all
        .iter()
        .filter(|o| o.row.4 == 200 && !done.contains(&(o.method.clone(), o.pattern.clone())))
        .map(|o| &o.pattern)
        .collect();
    assert!(never.is_empty(), "no request was carried out by {never:?}");
    for status in [200, 400, 401, 403, 404, 409, 413, 415] {
        assert!(statuses.contains_key(&status), "no answer had {status}: {statuses:?}");
    }
}

/// The judge finds what it is there for.
#[test]
fn failures_of_the_seed_and_answers_that_are_not_described_are_found() {
    let document = document();
    let all = operations(&document);
    let status = all.iter().find(|o| o.pattern == "/api/v1/seal").unwrap();
    let judge = |status_: u16, kind: &str, body: &str| {
        status.judge(&Answered { status: status_, kind: kind.to_owned(), bytes: body.as_bytes().to_vec() }, &document)
    };
    assert_eq!(judge(200, "application/json", r#"{"sealed":true}"#), None);
    assert!(judge(200, "application/json", r#"{"sealed":1}"#).unwrap().contains("as described"));
    assert!(judge(200, "text/html", "x").unwrap().contains("text/html"));
    for odd in [201, 302, 405, 418, 500, 503] {
        assert!(judge(odd, "application/problem+json", "{}").unwrap().contains("status"), "{odd}");
    }
    assert!(judge(400, "application/json", "{}").unwrap().contains("content type"));
}
