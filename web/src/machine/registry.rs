//! The registry API for pulling (OCI distribution-spec 1.1, "Pull" and "Content Discovery"): images of the extras for
//! container runtimes. Read-only: there is no login, and nothing can be pushed.
//!
//! A runtime that uses the seed as a mirror asks for `/v2/pause/…?ns=registry.k8s.io` (containerd); one that names it
//! in the image asks for `/v2/registry.k8s.io/pause/…`. Both mean the same repository.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::{CONTENT_TYPE, HeaderName, LINK};
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use cluster_seed::extras::{is_image_name, is_tag};
use cluster_seed::ids::Digest;
use serde::Deserialize;
use serde_json::json;

use crate::call::Machines;
use crate::error::Failure;
use crate::files;
use crate::files::handover::Wanted;
use crate::limits::{MAX_PATH, MAX_TAGS};

const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Asked {
    /// The registry that the seed mirrors.
    ns: Option<String>,
    n: Option<usize>,
    last: Option<String>,
}

/// What a path below `/v2/` asks for.
#[derive(Debug, PartialEq, Eq)]
enum Want<'p> {
    Tags(&'p str),
    Manifest(&'p str, &'p str),
    Blob(&'p str, &'p str),
}

fn want(path: &str) -> Option<Want<'_>> {
    if path.len() > MAX_PATH {
        return None;
    }
    if let Some(name) = path.strip_suffix("/tags/list") {
        return Some(Want::Tags(name));
    }
    let (rest, reference) = path.rsplit_once('/')?;
    let (name, kind) = rest.rsplit_once('/')?;
    match kind {
        "manifests" => Some(Want::Manifest(name, reference)),
        "blobs" => Some(Want::Blob(name, reference)),
        _ => None,
    }
}

/// The repository's full name; `None` if it is not a valid name.
fn repository(name: &str, ns: Option<&str>) -> Option<String> {
    let whole = match ns {
        Some(ns) if !name.starts_with(&format!("{ns}/")) => format!("{ns}/{name}"),
        _ => name.to_owned(),
    };
    is_image_name(&whole).then_some(whole)
}

/// An error in the registry's format (distribution-spec, "Error Codes").
fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let body = json!({"errors": [{"code": code, "message": message}]}).to_string();
    let mut response = (status, [(CONTENT_TYPE, "application/json")], body).into_response();
    response.headers_mut().insert(VERSION, HeaderValue::from_static("registry/2.0"));
    response
}

fn found(value: &serde_json::Value) -> Response {
    ([(VERSION, "registry/2.0")], [(CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

/// `/v2/`: tells a client that this is a registry.
pub(crate) async fn base() -> Response {
    found(&json!({}))
}

/// `/v2/_catalog`: lists the repositories.
pub(crate) async fn catalog(State(app): State<Machines>) -> Result<Response, Failure> {
    let names = app.call(|api| Ok(api.image_repositories())).await?;
    Ok(found(&json!({"repositories": names})))
}

/// Answers everything that is not a pull.
pub(crate) async fn refuse() -> Response {
    error(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "this registry is read-only; add images with seedd darksite extras")
}

/// Everything below `/v2/`.
pub(crate) async fn get(
    State(app): State<Machines>,
    wanted: Wanted,
    uri: Uri,
    query: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(asked) = query?;
    let unknown = || error(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "no such repository");
    let path = uri.path().strip_prefix("/v2/").unwrap_or_default();
    let Some(want) = want(path) else { return Ok(unknown()) };
    let name = match want {
        Want::Tags(name) | Want::Manifest(name, _) | Want::Blob(name, _) => repository(name, asked.ns.as_deref()),
    };
    let Some(name) = name else { return Ok(unknown()) };
    match want {
        Want::Tags(_) => {
            let of = name.clone();
            let tags = app.call(move |api| Ok(api.image_tags(&of))).await?;
            Ok(tags.map_or_else(unknown, |tags| tag_list(&name, tags, &asked)))
        }
        Want::Manifest(_, reference) => {
            let reference = reference.to_owned();
            let missing = || error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "no such manifest in this repository");
            if !is_tag(&reference) && digest(&reference).is_none() {
                return Ok(missing());
            }
            let Some(manifest) = app.call(move |api| Ok(api.image_manifest(&name, &reference))).await? else {
                return Ok(missing());
            };
            send(manifest.path, manifest.digest, Some(&manifest.media_type), &wanted).await
        }
        Want::Blob(_, reference) => {
            let missing = || error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "no such blob in this repository");
            let Some(digest) = digest(reference) else { return Ok(missing()) };
            let Some(path) = app.call(move |api| Ok(api.image_blob(&name, digest))).await? else { return Ok(missing()) };
            send(path, digest, None, &wanted).await
        }
    }
}

fn digest(reference: &str) -> Option<Digest> {
    reference.strip_prefix("sha256:")?.parse().ok()
}

async fn send(path: camino::Utf8PathBuf, digest: Digest, kind: Option<&str>, wanted: &Wanted) -> Result<Response, Failure> {
    let mut response = files::one(path, Some(digest.to_string()), wanted).await?;
    let value = |text: &str| HeaderValue::from_str(text).map_err(|e| Failure::internal(format!("writing a header: {e}")));
    response.headers_mut().insert(DIGEST, value(&format!("sha256:{digest}"))?);
    response.headers_mut().insert(VERSION, HeaderValue::from_static("registry/2.0"));
    if let Some(kind) = kind {
        response.headers_mut().insert(CONTENT_TYPE, value(kind)?);
    }
    Ok(response)
}

/// Tags in lexical order, `n` of them after `last`; a Link header leads to the next ones (distribution-spec, "Listing
/// Tags").
fn tag_list(name: &str, mut tags: Vec<String>, asked: &Asked) -> Response {
    tags.sort();
    if let Some(last) = &asked.last {
        tags.retain(|t| t > last);
    }
    let most = asked.n.unwrap_or(MAX_TAGS).min(MAX_TAGS);
    let more = tags.len() > most;
    tags.truncate(most);
    let mut response = found(&json!({"name": name, "tags": tags}));
    if let (true, Some(last)) = (more, tags.last()) {
        let link = format!("</v2/{name}/tags/list?n={most}&last={last}>; rel=\"next\"");
        // Names and tags are validated, so this is a valid header value.
        if let Ok(value) = HeaderValue::from_str(&link) {
            response.headers_mut().insert(LINK, value);
        }
    }
    response
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
