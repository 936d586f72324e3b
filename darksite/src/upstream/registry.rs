//! Images in a registry (distribution-spec 1.1, "Pull"), as addresses that can be fetched. Registries that want one get a token
//! for an anonymous pull, or for the login of the netrc file (distribution, "Token Authentication Specification").

use std::collections::BTreeMap;
use std::sync::Mutex;

use cluster_seed::ids::Digest;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::upstream::fetch::{self, Body, Fetch, FetchError};
use crate::upstream::http::{AnyFetch, Ask, Reply};

/// Bytes of an answer with a token.
const MAX_ANSWER: u64 = 256 << 10;
/// Bytes of a token.
const MAX_TOKEN: usize = 32 << 10;
/// Kinds of manifests and indexes that are taken.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// Registries by their names in images.
pub struct Registries<'a> {
    fetch: &'a AnyFetch,
    /// Addresses to use instead of `https://NAME`, for example of a mirror.
    mirrors: &'a BTreeMap<String, String>,
    /// By the address of the repository.
    tokens: Mutex<BTreeMap<String, Zeroizing<String>>>,
}

impl<'a> Registries<'a> {
    pub fn new(fetch: &'a AnyFetch, mirrors: &'a BTreeMap<String, String>) -> Self {
        Registries { fetch, mirrors, tokens: Mutex::new(BTreeMap::new()) }
    }

    /// The address of an image's manifest, by its tag or `sha256:…`.
    pub fn manifest(&self, name: &str, reference: &str) -> String {
        format!("{}/manifests/{reference}", self.repository(name))
    }

    /// The address of a blob of an image.
    pub fn blob(&self, name: &str, digest: &Digest) -> String {
        format!("{}/blobs/sha256:{digest}", self.repository(name))
    }

    fn repository(&self, name: &str) -> String {
        let (host, path) = name.split_once('/').unwrap_or(("docker.io", name));
        let base = match self.mirrors.get(host) {
            Some(mirror) => mirror.trim_end_matches('/').to_owned(),
            None if host == "docker.io" => "https://registry-1.docker.io".to_owned(),
            None => format!("https://{host}"),
        };
        format!("{base}/v2/{path}")
    }

    fn held(&self, repository: &str) -> Option<Zeroizing<String>> {
        // A thread that panicked left whole tokens.
        self.tokens.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(repository).cloned()
    }

    fn token(&self, url: &str, challenge: Option<&str>) -> Result<Zeroizing<String>, FetchError> {
        let bad = |why: &str| FetchError::Token { url: url.to_owned(), why: why.to_owned() };
        let challenge = challenge.ok_or(FetchError::Status { url: url.to_owned(), status: 401 })?;
        // Basic authentication was tried with the login of the netrc file, if there is one.
        let fields = bearer(challenge).ok_or(FetchError::Status { url: url.to_owned(), status: 401 })?;
        let realm = fields.get("realm").ok_or_else(|| bad("it names no server for tokens"))?;
        let is_web = realm.starts_with("https://") || realm.starts_with("http://") && url.starts_with("http://");
        if !is_web || realm.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(bad("its server for tokens is not reached over https"));
        }
        let mut address = realm.clone();
        for key in ["service", "scope"] {
            if let Some(value) = fields.get(key) {
                address.push(if address.contains('?') { '&' } else { '?' });
                address.push_str(&format!("{key}={}", escaped(value)));
            }
        }
        let bytes = Zeroizing::new(fetch::get_all(self.fetch, &address, MAX_ANSWER)?);
        let answer: Answer = serde_json::from_slice(&bytes).map_err(|_| bad("the answer is not JSON"))?;
        let token = Zeroizing::new(answer.token.or(answer.access_token).unwrap_or_default());
        if token.is_empty() || token.len() > MAX_TOKEN || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(bad("the answer has no token"));
        }
        Ok(token)
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<String>,
    /// The name of OAuth 2.0.
    #[serde(default)]
    access_token: Option<String>,
}

impl Fetch for Registries<'_> {
    /// Addresses outside of a registry are fetched as usual.
    fn get(&self, url: &str, offset: u64) -> Result<Body, FetchError> {
        let Some(repository) = repository_of(url) else { return self.fetch.get(url, offset) };
        let accept = url.contains("/manifests/").then_some(MANIFESTS);
        let held = self.held(repository);
        let ask = |bearer: Option<&str>| self.fetch.http().ask(url, Ask { offset, accept, bearer });
        let challenge = match ask(held.as_ref().map(|t| t.as_str()))? {
            Reply::Body(body) => return Ok(body),
            Reply::Challenge(challenge) => challenge,
        };
        // There was no token, or it has expired.
        let token = self.token(url, challenge.as_deref())?;
        let reply = ask(Some(&token))?;
        self.tokens.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(repository.to_owned(), token);
        match reply {
            Reply::Body(body) => Ok(body),
            Reply::Challenge(_) => Err(FetchError::Status { url: url.to_owned(), status: 401 }),
        }
    }
}

/// The part of an address that a token is for: everything before `/manifests/` or `/blobs/`.
fn repository_of(url: &str) -> Option<&str> {
    let end = url.rfind("/manifests/").or_else(|| url.rfind("/blobs/"))?;
    let repository = &url[..end];
    (repository.starts_with("http") && repository.contains("/v2/")).then_some(repository)
}

/// The fields of a Bearer challenge (RFC 9110 section 11.6.1): `Bearer realm="…",service="…"`.
fn bearer(challenge: &str) -> Option<BTreeMap<String, String>> {
    let (scheme, mut rest) = challenge.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let mut fields = BTreeMap::new();
    while let Some((key, after)) = rest.split_once('=') {
        let (value, next) = match after.strip_prefix('"') {
            // Values with a quoted pair are not used by any registry.
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        fields.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        rest = next.trim_start_matches([',', ' ']);
    }
    Some(fields)
}

/// A value in a query (RFC 3986 section 3.4).
fn escaped(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::http::HttpLimits;

    #[test]
    fn addresses_follow_the_name_of_the_image() {
        let fetch = AnyFetch::new(HttpLimits::default());
        let mirrors = BTreeMap::from([("quay.io".to_owned(), "http://127.0.0.1:5000/".to_owned())]);
        let registries = Registries::new(&fetch, &mirrors);
        for (name, url) in [
            ("registry.k8s.io/coredns/coredns", "https://registry.k8s.io/v2/coredns/coredns/manifests/v1"),
            ("docker.io/library/busybox", "https://registry-1.docker.io/v2/library/busybox/manifests/v1"),
            ("quay.io/cilium/cilium", "http://127.0.0.1:5000/v2/cilium/cilium/manifests/v1"),
        ] {
            let found = registries.manifest(name, "v1");
            assert_eq!(found, url);
            assert_eq!(repository_of(&found), url.strip_suffix("/manifests/v1"));
        }
        assert!(registries.blob("quay.io/a/b", &Digest([0; 32])).ends_with(&format!("/v2/a/b/blobs/sha256:{}", "00".repeat(32))));
        for other in ["https://example.org/index.yaml", "file:///v2/a/blobs/x", "https://example.org/blobs/x"] {
            assert_eq!(repository_of(other), None, "{other}");
        }
    }

    #[test]
    fn challenges() {
        let fields = bearer("Bearer realm=\"https://a/t?x=1\",service=\"r\", scope=\"repository:a/b:pull,push\"").unwrap();
        let list: Vec<_> = fields.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(list, [("realm", "https://a/t?x=1"), ("scope", "repository:a/b:pull,push"), ("service", "r")]);
        assert_eq!(bearer("bearer realm=x,service=y").unwrap()["service"], "y");
        for none in ["Basic realm=\"x\"", "Bearer", "", "Bearer realm=\"open"] {
            assert_eq!(bearer(none), None, "{none}");
        }
        assert_eq!(escaped("repository:a/b:pull&x=1 "), "repository:a/b:pull%26x%3D1%20");
    }

    #[test]
    fn a_token_comes_over_https_only() {
        let fetch = AnyFetch::new(HttpLimits::default());
        let mirrors = BTreeMap::new();
        let registries = Registries::new(&fetch, &mirrors);
        let url = "https://registry.example/v2/a/manifests/1";
        for realm in ["http://127.0.0.1:1/t", "file:///etc/passwd", "https://a b", ""] {
            let error = registries.token(url, Some(&format!("Bearer realm=\"{realm}\""))).unwrap_err();
            assert!(matches!(error, FetchError::Token { .. }), "{realm}: {error}");
        }
        for basic in [None, Some("Basic realm=\"x\"")] {
            assert!(matches!(registries.token(url, basic), Err(FetchError::Status { status: 401, .. })));
        }
    }
}
