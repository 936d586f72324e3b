//! Regions and the addresses of the two services used: EC2 and the EBS direct APIs.

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::error::AwsError;

/// Bytes of an endpoint's address.
const MAX_ENDPOINT: usize = 300;

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// Such as `eu-central-1`.
    pub region: String,
    /// Address of EC2 instead of the region's public one, such as `https://vpce-1.ec2.eu-central-1.vpce.amazonaws.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Address of the EBS direct APIs, where it is not `endpoint`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ebs_endpoint: Option<String>,
    /// Certificates (PEM) trusted instead of the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<Utf8PathBuf>,
}

/// A service's address, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `https://host[:port]`, without a slash at its end.
    pub base: String,
    /// Value of the header `Host`.
    pub host: String,
}

impl Target {
    pub fn of_region(region: &str) -> Self {
        Target { region: region.to_owned(), ..Target::default() }
    }

    pub fn ec2(&self) -> Result<Endpoint, AwsError> {
        self.service("ec2", self.endpoint.as_deref())
    }

    pub fn ebs(&self) -> Result<Endpoint, AwsError> {
        self.service("ebs", self.ebs_endpoint.as_deref().or(self.endpoint.as_deref()))
    }

    fn service(&self, service: &str, given: Option<&str>) -> Result<Endpoint, AwsError> {
        if !is_region(&self.region) {
            return Err(AwsError::Region(self.region.chars().take(60).collect()));
        }
        match given {
            Some(address) => parse(address).ok_or_else(|| AwsError::Endpoint(address.chars().take(MAX_ENDPOINT).collect())),
            None => {
                let host = format!("{service}.{}.{}", self.region, domain(&self.region));
                Ok(Endpoint { base: format!("https://{host}"), host })
            }
        }
    }
}

/// Lower-case words and a number: `us-gov-west-1`. It becomes a part of a host name.
fn is_region(text: &str) -> bool {
    let mut parts: Vec<&str> = text.split('-').collect();
    let number = parts.pop().unwrap_or_default();
    let word = |p: &&str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_lowercase());
    text.len() <= 40
        && parts.len() >= 2
        && parts.iter().all(word)
        && matches!(number.len(), 1 | 2)
        && number.parse::<u8>().is_ok()
}

/// The domain of a region's partition (botocore, endpoints.json). Others need an endpoint of their own.
fn domain(region: &str) -> &'static str {
    match region.split('-').next().unwrap_or_default() {
        "cn" => "amazonaws.com.cn",
        "eusc" => "amazonaws.eu",
        _ => "amazonaws.com",
    }
}

fn parse(address: &str) -> Option<Endpoint> {
    let (scheme, rest) = address.split_once("://")?;
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']');
    if authority.is_empty() || address.len() > MAX_ENDPOINT || !authority.bytes().all(plain) {
        return None;
    }
    let usual = match scheme {
        "https" => ":443",
        // The signature protects a request, but nothing hides a session token.
        "http" if is_local(authority) => ":80",
        _ => return None,
    };
    Some(Endpoint {
        base: format!("{scheme}://{authority}"),
        host: authority.strip_suffix(usual).unwrap_or(authority).to_ascii_lowercase(),
    })
}

fn is_local(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_have_public_addresses() {
        for (region, ec2) in [
            ("eu-central-1", "https://ec2.eu-central-1.amazonaws.com"),
            ("us-gov-west-1", "https://ec2.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", "https://ec2.cn-north-1.amazonaws.com.cn"),
            ("eusc-de-east-1", "https://ec2.eusc-de-east-1.amazonaws.eu"),
        ] {
            let target = Target::of_region(region);
            assert_eq!(target.ec2().unwrap().base, ec2);
            assert_eq!(target.ebs().unwrap().base, ec2.replace("ec2.", "ebs."));
        }
        for bad in
            ["", "eu", "eu-1", "eu-central", "eu-central-", "EU-central-1", "eu-central-1.evil", "eu--1", "a-b-256", "a-b-1/"]
        {
            assert!(matches!(Target::of_region(bad).ec2(), Err(AwsError::Region(_))), "{bad}");
        }
    }

    #[test]
    fn an_endpoint_replaces_them() {
        let with = |endpoint: &str| Target { endpoint: Some(endpoint.to_owned()), ..Target::of_region("eu-central-1") };
        let good = |e: &str| with(e).ebs().unwrap();
        assert_eq!(good("https://Ec2.example.org:443/").host, "ec2.example.org");
        assert_eq!(good("https://ec2.example.org:8443").host, "ec2.example.org:8443");
        assert_eq!(good("http://127.0.0.1:5000").base, "http://127.0.0.1:5000");
        assert_eq!(good("http://[::1]:5000").host, "[::1]:5000");
        let both = Target { ebs_endpoint: Some("https://ebs.example.org".into()), ..with("https://ec2.example.org") };
        assert_eq!((both.ec2().unwrap().host, both.ebs().unwrap().host), ("ec2.example.org".into(), "ebs.example.org".into()));
        for bad in
            ["", "ec2.example.org", "http://ec2.example.org", "http://127.0.0.1.example.org", "ftp://127.0.0.1", "https://a/b"]
        {
            assert!(matches!(with(bad).ec2(), Err(AwsError::Endpoint(_))), "{bad}");
        }
        for bad in ["https://u:p@h", "https://", "https:///", "https://h?x"] {
            assert!(with(bad).ec2().is_err(), "{bad}");
        }
    }
}
