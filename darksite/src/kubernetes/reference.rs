//! Names of images, as containerd reads them: `registry/path:tag@sha256:…`.

use std::fmt;

use cluster_seed::extras::{is_image_name, is_tag};
use cluster_seed::ids::Digest;

/// An image that something asks for. If it has a digest, containerd resolves that and ignores the tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// With its registry: `docker.io/library/busybox`.
    pub name: String,
    pub tag: Option<String>,
    pub digest: Option<Digest>,
}

impl Reference {
    pub fn tagged(name: &str, tag: &str) -> Self {
        Reference { name: name.to_owned(), tag: Some(tag.to_owned()), digest: None }
    }

    /// Parses a name as it stands in a manifest or in values. Docker's short names are completed; without a tag and a digest
    /// the tag is `latest`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("{:?} is not the name of an image", text.chars().take(200).collect::<String>());
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let hex = digest.strip_prefix("sha256:").ok_or_else(bad)?;
                (rest, Some(hex.parse::<Digest>().map_err(|_| bad())?))
            }
            None => (text, None),
        };
        // A colon before the last slash is that of a port.
        let path = rest.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match rest[path..].split_once(':') {
            Some((last, tag)) => (&rest[..path + last.len()], Some(tag.to_owned())),
            None => (rest, None),
        };
        let name = complete(name);
        if !is_image_name(&name) || tag.as_deref().is_some_and(|t| !is_tag(t)) {
            return Err(bad());
        }
        let tag = tag.or_else(|| digest.is_none().then(|| "latest".to_owned()));
        Ok(Reference { name, tag, digest })
    }

    /// `name:tag`, without the digest.
    pub fn short(&self) -> String {
        Reference { digest: None, ..self.clone() }.to_string()
    }
}

/// The name with its registry, as containerd completes it.
fn complete(name: &str) -> String {
    match name.split_once('/') {
        None => format!("docker.io/library/{name}"),
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => name.to_owned(),
        Some(_) => format!("docker.io/{name}"),
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@sha256:{digest}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_as_containerd_does() {
        let hex = "ab".repeat(32);
        for (text, full) in [
            ("busybox", "docker.io/library/busybox:latest".to_owned()),
            ("cilium/cilium:v1", "docker.io/cilium/cilium:v1".to_owned()),
            ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10".to_owned()),
            ("localhost/a:1", "localhost/a:1".to_owned()),
            ("r.example:5000/a", "r.example:5000/a:latest".to_owned()),
            (&format!("quay.io/a/b:v1@sha256:{hex}"), format!("quay.io/a/b:v1@sha256:{hex}")),
            (&format!("quay.io/a/b@sha256:{hex}"), format!("quay.io/a/b@sha256:{hex}")),
        ] {
            assert_eq!(Reference::parse(text).map(|r| r.to_string()), Ok(full), "{text}");
        }
        let pinned = Reference::parse(&format!("quay.io/a/b:v1@sha256:{hex}")).unwrap();
        assert_eq!(pinned.short(), "quay.io/a/b:v1");
    }

    #[test]
    fn other_texts_are_refused() {
        for bad in ["", "A", "a b", "a:", "a@sha256:00", "a@md5:00", "https://r.example/a", "a:-x", "r.example/../a", "a/:1"] {
            assert!(Reference::parse(bad).is_err(), "{bad}");
        }
    }
}
