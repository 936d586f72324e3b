//! The description of the JSON API: complete, up to date, and true of the answers.

#[path = "openapi_document_tests.rs"]
mod document;
#[path = "openapi_fits_tests.rs"]
mod fits;
#[path = "../../../tests/shared/golden.rs"]
mod golden;
#[path = "openapi_requests_tests.rs"]
mod requests;
#[path = "openapi_table_tests.rs"]
mod table;
#[path = "openapi_values_tests.rs"]
mod values;

use std::collections::BTreeSet;

use serde_json::Value;

use self::document::document;
use self::fits::misfits;
use self::table::{Answer, operations};
use super::routes_tests::{operations as routed, real};
use crate::auth::csrf;
use crate::testing::TOKEN;
use crate::testing::client::{JSON, ask, cookie, get, site};

#[test]
fn the_description_is_up_to_date() {
    let text = serde_json::to_string_pretty(&document()).unwrap();
    golden::check("web/openapi.json", &format!("{text}\n"));
}

#[test]
fn every_route_of_the_api_is_described_and_nothing_else() {
    let described: BTreeSet<(&str, &str)> = operations().iter().map(|o| (o.method, o.path)).collect();
    assert_eq!(described.len(), operations().len(), "an operation is described twice");
    let routed = routed();
    let routed: BTreeSet<(&str, &str)> =
        routed.iter().filter(|(m, p)| p.starts_with("/api/") && *m != "HEAD").map(|(m, p)| (*m, *p)).collect();
    let missing: Vec<_> = routed.difference(&described).collect();
    assert!(missing.is_empty(), "routes without a description in operator/openapi_table_tests.rs: {missing:?}");
    let gone: Vec<_> = described.difference(&routed).collect();
    assert!(gone.is_empty(), "described, but no route: {gone:?}");
}

#[test]
fn every_reference_leads_somewhere_and_names_are_unique() {
    let document = document();
    let text = document.to_string();
    for to in text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(document.pointer(to).is_some(), "{to} is not there");
    }
    let ids: Vec<&str> = text.split("\"operationId\":\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
}

/// Every answer of the API in memory has the fields that are described, and no others.
#[tokio::test]
async fn answers_are_as_described() {
    let document = document();
    let (cookie, token) = (cookie(), csrf(TOKEN));
    let headers = [("cookie", cookie.as_str()), ("x-csrf-token", token.as_str()), JSON, ("if-match", "*")];
    let mut seen = 0;
    for (method, pattern, body) in super::routes_tests::bodies() {
        let Some(op) = operations().into_iter().find(|o| (o.method, o.path) == (method, pattern)) else { continue };
        if !matches!(op.answer, Answer::Json(_)) {
            continue;
        }
        let (_, router) = site("");
        let answer = ask(&router, method, &real(pattern, method), &headers, body).await;
        let responses = &document["paths"][pattern][method.to_lowercase()]["responses"];
        let schema = match answer.status.as_u16() {
            200 => &responses["200"]["content"]["application/json"]["schema"],
            _ => &responses["default"]["content"]["application/problem+json"]["schema"],
        };
        let wrong = misfits(&answer.json(), schema, &document);
        assert!(wrong.is_empty(), "{method} {pattern}: {wrong:#?}\n{}", answer.text());
        seen += 1;
    }
    assert!(seen > 50, "only {seen} answers were compared");
}

#[tokio::test]
async fn the_description_is_served() {
    let (_, router) = site("");
    let answer = get(&router, "/api/v1/openapi.json", &[("cookie", &cookie())]).await;
    let served: Value = answer.json();
    assert_eq!(served["openapi"], "3.1.0");
    assert_eq!(served, document());
}

#[test]
fn a_field_that_is_not_described_and_a_missing_one_are_found() {
    let schema =
        serde_json::json!({ "type": "object", "properties": { "a": { "type": ["string", "null"] } }, "required": ["a"] });
    let of = |value: Value| misfits(&value, &schema, &Value::Null).len();
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(of(json(r#"{"a":null}"#)), 0);
    assert_eq!(of(json(r#"{"a":1}"#)), 1);
    assert_eq!(of(json(r#"{}"#)), 1);
    assert_eq!(of(json(r#"{"a":"x","b":1}"#)), 1);
}
