//! Test client for the routers.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use camino::Utf8Path;
use tower::ServiceExt as _;

use crate::testing::{Mock, TOKEN};
use crate::{OperatorOptions, machine_router, operator_router};

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8(self.bytes.clone()).unwrap()
    }
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

pub type Headers<'a> = &'a [(&'a str, &'a str)];

pub async fn ask(router: &Router, method: &str, path: &str, headers: Headers<'_>, body: impl Into<Body>) -> Answer {
    let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    // A live feed has no end.
    let endless = headers.get("content-type").is_some_and(|v| v == "text/event-stream");
    let body = if endless { Body::empty() } else { response.into_body() };
    let bytes = axum::body::to_bytes(body, 16 << 20).await.unwrap().to_vec();
    Answer { status, headers, bytes }
}

pub async fn get(router: &Router, path: &str, headers: Headers<'_>) -> Answer {
    ask(router, "GET", path, headers, Body::empty()).await
}

pub fn operator(mock: &Arc<Mock>) -> Router {
    operator_router(mock.clone(), OperatorOptions::default())
}

pub fn site(spice: &str) -> (Arc<Mock>, Router) {
    let mock = Arc::new(Mock::new(Utf8Path::new("/nonexistent"), spice));
    let router = operator(&mock);
    (mock, router)
}

pub fn machines(dir: &Utf8Path) -> (Arc<Mock>, Router) {
    let mock = Arc::new(Mock::new(dir, ""));
    let router = machine_router(mock.clone());
    (mock, router)
}

pub fn cookie() -> String {
    format!("kubedos_session={TOKEN}")
}

pub const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
pub const JSON: (&str, &str) = ("content-type", "application/json");
