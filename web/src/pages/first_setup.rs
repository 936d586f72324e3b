//! `/setup` of a seed that has no site yet.

use askama::Template;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::Response;

use super::shell::{Refusal, Shell, page};
use super::view::clean;
use crate::api::FirstView;
use crate::error::Failure;
use crate::headers::RequestId;

/// The typed values that are not secret.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) code: String,
    pub(crate) site: String,
    pub(crate) user: String,
    pub(crate) iface: String,
}

struct Iface {
    name: String,
    words: String,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "first_setup.html")]
struct Page {
    shell: Shell,
    refusal: Option<Refusal>,
    warnings: Vec<String>,
    interfaces: Vec<Iface>,
    code: String,
    site: String,
    user: String,
}

pub(crate) fn form_page(
    view: &FirstView,
    id: &RequestId,
    status: StatusCode,
    refused: Option<Failure>,
    kept: Kept,
) -> Result<Response, Failure> {
    let retry = refused.as_ref().and_then(|f| f.retry_after);
    let refusal = refused.map(Refusal::of).transpose()?.map(|(_, refusal)| refusal);
    let site = id.look().lang.t("setup-new-seed");
    let shell = Shell::bare("Set-up", &site, &view.version, id).titled("setup-title");
    let lang = shell.look.lang;
    let interfaces = view.interfaces.iter().map(|i| {
        let link = lang.t(if i.up { "setup-link" } else { "setup-no-link" });
        let chosen = if kept.iface.is_empty() { i.chosen } else { i.name == kept.iface };
        Iface {
            name: clean(&i.name),
            words: clean(&[&[link.as_str(), &i.mac], words(&i.addresses).as_slice()].concat().join(", ")),
            chosen,
        }
    });
    let template = Page {
        shell,
        refusal,
        warnings: view.warnings.iter().map(|w| clean(w)).collect(),
        interfaces: interfaces.collect(),
        code: clean(&kept.code),
        site: clean(if kept.site.is_empty() { &view.site } else { &kept.site }),
        user: clean(&kept.user),
    };
    let mut response = page(status, &template)?;
    if let Some(seconds) = retry {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    Ok(response)
}

fn words(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}
