//! `/api/v1/outputs`, and outputs as files.

use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;

use super::Answer;
use crate::api::{BuildWish, JobView, OutputsView};
use crate::auth::{Change, Session, may};
use crate::call::App;
use crate::error::Failure;
use crate::extract::{Named, OperatorJson};
use crate::files;
use crate::safe_json::SafeJson;

/// Longest name of an output, in bytes: longer than site, role, version, target and id together.
const MAX_NAME: usize = 200;

/// The name of an output: letters, digits, dots, dashes and underscores, starting with a letter or a digit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputName(String);

impl std::str::FromStr for OutputName {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if first && plain && text.len() <= MAX_NAME { Ok(OutputName(text.to_owned())) } else { Err(()) }
    }
}

impl OutputName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

pub(crate) async fn list(State(app): State<App>, _: Session) -> Answer<OutputsView> {
    Ok(SafeJson(app.call(|api| api.outputs()).await?))
}

pub(crate) async fn build(
    State(app): State<App>,
    change: Change<may::Build>,
    OperatorJson(wish): OperatorJson<BuildWish>,
) -> Answer<JobView> {
    Ok(SafeJson(app.call(move |api| api.build_output(change.actor(), &wish)).await?))
}

pub(crate) async fn verify(
    State(app): State<App>,
    change: Change<may::Build>,
    Named(name): Named<OutputName>,
) -> Answer<JobView> {
    Ok(SafeJson(app.call(move |api| api.verify_output(change.actor(), name.as_str())).await?))
}

/// Downloads the file of an output that is deployed.
pub(crate) async fn file(
    State(app): State<App>,
    session: Session,
    Named(name): Named<OutputName>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let actor = session.actor().clone();
    let path = app.call(move |api| api.output_path(&actor, name.as_str())).await?.ok_or_else(Failure::not_found)?;
    // The name in the header has to be plain, as that of the output is.
    let called: OutputName = path.file_name().and_then(|n| n.parse().ok()).ok_or_else(Failure::not_found)?;
    files::download(path, called.as_str(), &method, &headers).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_outputs_are_plain() {
        let longest = "a".repeat(MAX_NAME);
        for good in ["north-base-20260829T140545Z-qcow2-0123abcd", "node.oci.tar", &longest] {
            assert_eq!(good.parse::<OutputName>().unwrap().as_str(), good);
        }
        let long = "a".repeat(MAX_NAME + 1);
        for bad in ["", ".", "..", "-x", "a/b", "a b", "a\"b", &long] {
            assert!(bad.parse::<OutputName>().is_err(), "{bad:?}");
        }
    }
}
