//! Signature Version 4 (AWS IAM User Guide, "Create a signed AWS API request"), header form.

use cluster_seed::ids::Digest;
use ring::hmac;
use zeroize::Zeroizing;

use crate::credentials::Credentials;

/// A request as it is signed. The path holds only characters that need no escaping (the EBS direct APIs and EC2 use no others).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unsigned<'a> {
    pub method: &'a str,
    pub path: &'a str,
    /// The canonical query string: sorted and escaped; empty for none.
    pub query: &'a str,
    /// Lower-case names with values; `host` is one of them. In any order.
    pub headers: &'a [(&'a str, String)],
    pub payload: Digest,
}

/// What a signature is good for, besides the day.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub region: &'a str,
    pub service: &'a str,
}

/// Unix seconds as `20150830T123600Z`.
pub(crate) fn stamp(now: u64) -> String {
    let time = i64::try_from(now).ok().and_then(|s| jiff::Timestamp::from_second(s).ok()).unwrap_or_default();
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

fn mac(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

fn signing_key(secret: &[u8], day: &str, scope: Scope<'_>) -> hmac::Tag {
    let first = Zeroizing::new([b"AWS4", secret].concat());
    let day = mac(&first, day);
    let region = mac(day.as_ref(), scope.region);
    let service = mac(region.as_ref(), scope.service);
    mac(service.as_ref(), "aws4_request")
}

/// The value of the header `Authorization`. `x-amz-date` has to be among the headers, with the same `stamp`.
pub(crate) fn authorization(request: Unsigned<'_>, credentials: &Credentials, scope: Scope<'_>, stamp: &str) -> String {
    let mut headers: Vec<&(&str, String)> = request.headers.iter().collect();
    headers.sort_unstable_by_key(|(name, _)| *name);
    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let spaced = |value: &str| value.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{}\n", spaced(value))).collect();
    let canonical = [request.method, request.path, request.query, &lines, &names, &request.payload.to_string()].join("\n");
    let day = stamp.get(..8).unwrap_or(stamp);
    let within = format!("{day}/{}/{}/aws4_request", scope.region, scope.service);
    let text = format!("AWS4-HMAC-SHA256\n{stamp}\n{within}\n{}", Digest::of(canonical.as_bytes()));
    let signature = hex::encode(mac(signing_key(credentials.secret(), day, scope).as_ref(), &text));
    format!("AWS4-HMAC-SHA256 Credential={}/{within}, SignedHeaders={names}, Signature={signature}", credentials.key_id())
}

/// `a-zA-Z0-9-._~` as they are, everything else as `%XX` (RFC 3986, unreserved characters).
pub(crate) fn escape(text: &str, into: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => into.push(char::from(byte)),
            _ => into.extend(['%', char::from(HEX[usize::from(byte >> 4)]), char::from(HEX[usize::from(byte & 15)])]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    /// 2015-08-30 12:36:00 UTC, the time of AWS's published examples.
    const NOW: u64 = 1_440_938_160;

    struct Case {
        service: &'static str,
        host: &'static str,
        method: &'static str,
        query: &'static str,
        body: &'static str,
        more: &'static [(&'static str, &'static str)],
        signature: &'static str,
    }

    /// Signatures from AWS's published test suite (`get-vanilla`, `get-vanilla-query-order-key-case`, `post-vanilla`,
    /// `post-x-www-form-urlencoded`, `get-header-value-trim`) and from its worked example for IAM.
    #[test]
    fn the_published_examples_have_their_signatures() {
        let base = Case {
            service: "service",
            host: "example.amazonaws.com",
            method: "GET",
            query: "",
            body: "",
            more: &[],
            signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        };
        let form: &[_] = &[("content-type", "application/x-www-form-urlencoded")];
        let cases = [
            Case {
                query: "Param1=value1&Param2=value2",
                signature: "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
                ..base
            },
            Case { method: "POST", signature: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b", ..base },
            Case {
                method: "POST",
                body: "Param1=value1",
                more: form,
                signature: "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
                ..base
            },
            Case {
                more: &[("my-header1", " value1"), ("my-header2", " \"a   b   c\"")],
                signature: "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
                ..base
            },
            Case {
                service: "iam",
                host: "iam.amazonaws.com",
                query: "Action=ListUsers&Version=2010-05-08",
                more: &[("content-type", "application/x-www-form-urlencoded; charset=utf-8")],
                signature: "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
                ..base
            },
            base,
        ];
        for case in cases {
            let stamp = stamp(NOW);
            let mut headers = vec![("x-amz-date", stamp.clone()), ("host", case.host.to_owned())];
            headers.extend(case.more.iter().map(|(n, v)| (*n, (*v).to_owned())));
            let request = Unsigned {
                method: case.method,
                path: "/",
                query: case.query,
                headers: &headers,
                payload: Digest::of(case.body.as_bytes()),
            };
            let keys = Credentials::explicit("AKIDEXAMPLE", SECRET, None);
            let scope = Scope { region: "us-east-1", service: case.service };
            let value = authorization(request, &keys, scope, &stamp);
            let scope = format!("Credential=AKIDEXAMPLE/20150830/us-east-1/{}/aws4_request, ", case.service);
            assert!(value.starts_with(&format!("AWS4-HMAC-SHA256 {scope}SignedHeaders=")), "{value}");
            assert!(value.ends_with(&format!(", Signature={}", case.signature)), "{} {}: {value}", case.method, case.query);
        }
    }

    #[test]
    fn the_signing_key_is_that_of_the_published_example() {
        let key = signing_key(SECRET.as_bytes(), "20150830", Scope { region: "us-east-1", service: "iam" });
        assert_eq!(hex::encode(key), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
    }

    #[test]
    fn times_have_the_form_that_aws_wants() {
        assert_eq!(stamp(NOW), "20150830T123600Z");
        assert_eq!(stamp(0), "19700101T000000Z");
        assert_eq!(stamp(u64::MAX), "19700101T000000Z");
    }

    #[test]
    fn every_reserved_character_is_escaped() {
        let mut text = String::new();
        escape("aZ09-._~ /+=&é", &mut text);
        assert_eq!(text, "aZ09-._~%20%2F%2B%3D%26%C3%A9");
    }
}
