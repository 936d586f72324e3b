//! Session tokens in requests, the cookie that stores one, and the CSRF token derived from one.

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, COOKIE};
use sha2::{Digest as _, Sha256};

use crate::call::OperatorOptions;
use crate::error::Failure;
use crate::limits::MAX_TOKEN;

/// Name of the session cookie on a listener without TLS.
pub const PLAIN_COOKIE: &str = "kubedos_session";
/// Its name under TLS. Browsers accept `__Host-` only from a secure answer of this very host, so a plain answer of the
/// same address (port 80 has no TLS, and cookies ignore ports) cannot plant a session (RFC 6265bis, section 4.1.3.2).
pub const SECURE_COOKIE: &str = "__Host-kubedos_session";
/// The token in this session's forms. Only the holder of the session token can compute it, and it does not reveal the
/// session token.
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

/// The `Set-Cookie` value that stores `token`; an error if the daemon issued one that does not fit into a cookie.
pub(crate) fn cookie(token: &str, options: OperatorOptions) -> Result<String, Failure> {
    if !is_token(token) {
        return Err(Failure::internal("the session token does not fit into a cookie"));
    }
    Ok(format!("{}={token}; {}", cookie_name(options), attributes(options)))
}

pub(crate) fn forget_cookie(options: OperatorOptions) -> String {
    format!("{}=; {}; Max-Age=0", cookie_name(options), attributes(options))
}

/// The token in the request and whether it came as a cookie. A bearer token takes precedence over a cookie.
pub(super) fn token(headers: &HeaderMap, options: OperatorOptions) -> Option<(String, bool)> {
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

/// The bearer token of a request, if it has one; it may be a session or the metrics token.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<String> {
    headers.contains_key(AUTHORIZATION).then(|| token(headers, OperatorOptions::default())).flatten().map(|(token, _)| token)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        // A cookie planted over plain HTTP is ignored under TLS, and the other way round.
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
