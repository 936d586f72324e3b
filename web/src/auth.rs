//! Who is asking: the session cookie or a bearer token, and the proof that a form came from our page.
//!
//! Rule for requests that change something: a browser's request must be same-origin (`extract::check_origin`), and one
//! that was let in by the cookie must also carry the session's CSRF token, in the form field `csrf` or in the header
//! `X-CSRF-Token`. A bearer token is never sent by a browser on its own, so it needs no second proof.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, COOKIE};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::api::{Actor, ApiError, SeedApi};
use crate::call::App;
use crate::error::Failure;
use crate::limits::MAX_TOKEN;
use crate::operator::OperatorOptions;

/// Name of the session cookie on a listener without TLS.
pub const PLAIN_COOKIE: &str = "kubedos_session";
/// Its name under TLS. Browsers take `__Host-` from a secure answer of this very host only, so a plain answer of the
/// same address (port 80 has no TLS, and cookies know no ports) cannot plant a session (RFC 6265bis, section 4.1.3.2).
pub const SECURE_COOKIE: &str = "__Host-kubedos_session";
const CSRF_HEADER: &str = "x-csrf-token";

/// A request that was let in. The token is in it, so it has no `Debug`.
pub(crate) struct Session {
    pub(crate) actor: Actor,
    pub(crate) token: String,
    by_cookie: bool,
}

impl Session {
    /// For a JSON request that changes something.
    pub(crate) fn check_header(&self, headers: &HeaderMap) -> Result<(), Failure> {
        if !self.by_cookie {
            return Ok(());
        }
        self.check_field(headers.get(CSRF_HEADER).and_then(|v| v.to_str().ok()).unwrap_or(""))
    }

    /// For a form.
    pub(crate) fn check_field(&self, sent: &str) -> Result<(), Failure> {
        if bool::from(csrf(&self.token).as_bytes().ct_eq(sent.as_bytes())) {
            return Ok(());
        }
        Err(Failure::forbidden("this form belongs to another session").with_hint("load the page again and repeat what you did"))
    }
}

/// The token that this session's forms carry. Only the holder of the session token can make it, and it does not give
/// the session token away.
pub(crate) fn csrf(token: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(b"kubedos:csrf:v1\0");
    hash.update(token.as_bytes());
    hex::encode(hash.finalize())
}

fn is_token(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.~+/=".contains(&b);
    !text.is_empty() && text.len() <= MAX_TOKEN && text.bytes().all(fits)
}

fn cookie_name(options: OperatorOptions) -> &'static str {
    if options.secure_cookies { SECURE_COOKIE } else { PLAIN_COOKIE }
}

fn attributes(options: OperatorOptions) -> &'static str {
    if options.secure_cookies { "HttpOnly; SameSite=Strict; Path=/; Secure" } else { "HttpOnly; SameSite=Strict; Path=/" }
}

/// The value for `Set-Cookie` that keeps `token`; an error if the daemon made one that does not fit.
pub(crate) fn cookie(token: &str, options: OperatorOptions) -> Result<String, Failure> {
    if !is_token(token) {
        return Err(Failure::internal("the session token does not fit into a cookie"));
    }
    Ok(format!("{}={token}; {}", cookie_name(options), attributes(options)))
}

pub(crate) fn forget_cookie(options: OperatorOptions) -> String {
    format!("{}=; {}; Max-Age=0", cookie_name(options), attributes(options))
}

/// The token in the request and whether it came as a cookie. A bearer token goes before a cookie.
fn token(headers: &HeaderMap, options: OperatorOptions) -> Option<(String, bool)> {
    if let Some(value) = headers.get(AUTHORIZATION) {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        return (scheme.eq_ignore_ascii_case("bearer") && is_token(token.trim())).then(|| (token.trim().to_owned(), false));
    }
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, value)| *name == cookie_name(options) && is_token(value))
        .map(|(_, value)| (value.to_owned(), true))
}

/// The bearer token of a request that has one, whatever it opens.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<String> {
    headers.contains_key(AUTHORIZATION).then(|| token(headers, OperatorOptions::default())).flatten().map(|(token, _)| token)
}

/// The session of a request, if it has one that the daemon knows.
pub(crate) async fn find<A: SeedApi>(app: &App<A>, headers: &HeaderMap) -> Result<Option<Session>, Failure> {
    let Some((token, by_cookie)) = token(headers, app.options) else { return Ok(None) };
    let asked = token.clone();
    let actor = app.call(move |api| api.session(&asked)).await?;
    Ok(actor.map(|actor| Session { actor, token, by_cookie }))
}

/// For JSON: 401 without a session.
impl<A: SeedApi> FromRequestParts<App<A>> for Session {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, app: &App<A>) -> Result<Self, Failure> {
        find(app, &parts.headers).await?.ok_or_else(|| ApiError::Unauthorized.into())
    }
}

/// For pages: to /setup or /login without a session.
pub(crate) struct PageSession(pub(crate) Session);

/// Why a page is not shown.
pub(crate) enum NoPage {
    Elsewhere(String),
    Failure(Failure),
}

impl IntoResponse for NoPage {
    fn into_response(self) -> Response {
        match self {
            NoPage::Elsewhere(to) => Redirect::to(&to).into_response(),
            NoPage::Failure(failure) => failure.into_response(),
        }
    }
}

impl From<Failure> for NoPage {
    fn from(failure: Failure) -> Self {
        NoPage::Failure(failure)
    }
}

impl<A: SeedApi> FromRequestParts<App<A>> for PageSession {
    type Rejection = NoPage;
    async fn from_request_parts(parts: &mut Parts, app: &App<A>) -> Result<Self, NoPage> {
        if let Some(session) = find(app, &parts.headers).await? {
            return Ok(PageSession(session));
        }
        let overview = app.call(|api| api.overview()).await?;
        let back = parts.uri.path();
        Err(NoPage::Elsewhere(match (overview.setup_needed, next_page(back)) {
            (true, _) => "/setup".to_owned(),
            (false, "/") => "/login".to_owned(),
            (false, next) => format!("/login?next={next}"),
        }))
    }
}

/// Where to go after login: one of our own pages, else the first one.
pub(crate) fn next_page(asked: &str) -> &str {
    let machine = asked
        .strip_prefix("/machines/")
        .map(|rest| rest.strip_suffix("/power").unwrap_or(rest))
        .is_some_and(|id| !id.is_empty() && id.len() < 20 && id.bytes().all(|b| b.is_ascii_digit()));
    if machine || ["/unseal", "/clock", "/site"].contains(&asked) { asked } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn login_leads_only_to_our_own_pages() {
        for (asked, next) in [
            ("/machines/7", "/machines/7"),
            ("/machines/7/power", "/machines/7/power"),
            ("/machines/7/controller", "/"),
            ("/unseal", "/unseal"),
            ("/clock", "/clock"),
            ("/site", "/site"),
            ("/site/export", "/"),
            ("/", "/"),
            ("", "/"),
            ("//evil", "/"),
            ("https://evil/machines/7", "/"),
            ("/machines/", "/"),
            ("/machines/7/../../x", "/"),
            ("/machines/7\r\nSet-Cookie: a=b", "/"),
        ] {
            assert_eq!(next_page(asked), next);
        }
    }

    #[test]
    fn tokens_are_found_where_they_belong() {
        let long = format!("{PLAIN_COOKIE}={}", "a".repeat(MAX_TOKEN));
        let too_long = format!("{PLAIN_COOKIE}={}", "a".repeat(MAX_TOKEN + 1));
        for (name, value, found) in [
            ("cookie", "a=b; kubedos_session=t1; c=d", Some(("t1".to_owned(), true))),
            ("cookie", "xkubedos_session=t1", None),
            ("cookie", "kubedos_session=", None),
            ("cookie", "kubedos_session=a b", None),
            ("cookie", long.as_str(), Some(("a".repeat(MAX_TOKEN), true))),
            ("cookie", too_long.as_str(), None),
            ("authorization", "Bearer t2", Some(("t2".to_owned(), false))),
            ("authorization", "bearer t2", Some(("t2".to_owned(), false))),
            ("authorization", "Basic t2", None),
            ("authorization", "Bearer", None),
        ] {
            let headers = HeaderMap::from_iter([(axum::http::HeaderName::from_static(name), value.parse().unwrap())]);
            assert_eq!(token(&headers, OperatorOptions::default()), found, "{value:.60}");
        }
    }

    #[test]
    fn cookies_are_for_this_site_and_not_for_scripts() {
        let plain = cookie("abc", OperatorOptions::default()).unwrap();
        assert_eq!(plain, "kubedos_session=abc; HttpOnly; SameSite=Strict; Path=/");
        let tls = OperatorOptions { secure_cookies: true };
        let secure = cookie("abc", tls).unwrap();
        assert_eq!(secure, "__Host-kubedos_session=abc; HttpOnly; SameSite=Strict; Path=/; Secure");
        assert!(
            forget_cookie(tls).starts_with("__Host-kubedos_session=; ") && forget_cookie(tls).contains("; Secure; Max-Age=0")
        );
        // Planted over plain HTTP: not looked at under TLS, and the other way round.
        for (name, options, found) in [
            (PLAIN_COOKIE, tls, false),
            (SECURE_COOKIE, tls, true),
            (PLAIN_COOKIE, OperatorOptions::default(), true),
            (SECURE_COOKIE, OperatorOptions::default(), false),
        ] {
            let headers = HeaderMap::from_iter([(COOKIE, format!("{name}=t1").parse().unwrap())]);
            assert_eq!(token(&headers, options).is_some(), found, "{name} {options:?}");
        }
        assert!(cookie("a;b", OperatorOptions::default()).is_err());
        assert_ne!(csrf("a"), csrf("b"));
    }
}
