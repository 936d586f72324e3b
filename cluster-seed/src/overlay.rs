//! Another underlay for the same site: the only part of cluster.yaml that a second location changes.

use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use crate::cluster::{API_VERSION, ClusterSpec, MAX_SPEC, SpecError, Underlay, read};
use crate::planes::overlap;
use crate::spec_error::{at, whole};

pub const KIND: &str = "UnderlayOverlay";

fn api_version() -> String {
    API_VERSION.to_owned()
}

fn kind() -> String {
    KIND.to_owned()
}

/// The operator's `overlay.yaml`. Its first two lines are optional.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Overlay {
    #[serde(default = "api_version")]
    pub api_version: String,
    #[serde(default = "kind")]
    pub kind: String,
    /// Replaces the section: missing keys have their defaults, not the values of cluster.yaml, whose router is elsewhere.
    pub underlay: Spanned<Underlay>,
}

/// One line of the difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    pub field: &'static str,
    pub from: String,
    pub to: String,
}

impl Overlay {
    /// Parses strictly; [`Overlay::apply`] checks it against a site. Lines and columns refer to `text`.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        if text.len() > MAX_SPEC {
            return Err(whole(format!("the file has {} bytes, but at most {MAX_SPEC} are allowed", text.len()), ""));
        }
        let overlay: Overlay = read(text)?;
        if overlay.api_version != API_VERSION {
            let hint = format!("write apiVersion: {API_VERSION}");
            return Err(whole(format!("apiVersion is {:?}", overlay.api_version), &hint));
        }
        if overlay.kind != KIND {
            return Err(whole(format!("kind is {:?}", overlay.kind), &format!("write kind: {KIND}")));
        }
        Ok(overlay)
    }

    /// The site with this underlay: same planes, same names. Idempotent.
    pub fn apply(&self, base: &ClusterSpec) -> Result<ClusterSpec, SpecError> {
        let mut spec = base.clone();
        spec.spec.networking.underlay = self.underlay.value.clone();
        let subnet = self.underlay.value.subnet;
        for (name, plane) in &spec.spec.networking.planes {
            if overlap(plane.value.cidr, subnet) {
                let message = format!("the underlay ({subnet}) overlaps plane {name} ({})", plane.value.cidr);
                return Err(at(&self.underlay, message, "the planes cannot be changed; choose another subnet"));
            }
        }
        spec.check_underlay()?;
        Ok(spec)
    }
}

/// Differences between two underlays, in the order of the file.
pub fn changes(from: &Underlay, to: &Underlay) -> Vec<Change> {
    let list = |u: &Underlay| {
        let dns: Vec<String> = u.dns.iter().map(ToString::to_string).collect();
        [
            ("subnet", u.subnet.to_string()),
            ("seed", u.seed.value.to_string()),
            ("pool", format!("{} to {}", u.pool.value.first, u.pool.value.last)),
            ("router", u.router.map_or_else(|| "none".to_owned(), |r| r.to_string())),
            ("dns", if dns.is_empty() { "the seed".to_owned() } else { dns.join(", ") }),
            ("leaseSeconds", u.lease_seconds.to_string()),
            ("dhcp", u.dhcp.summary()),
        ]
    };
    let mut new = list(to);
    // The summary is not complete.
    if let Some((_, dhcp)) = new.last_mut()
        && from.dhcp != to.dhcp
        && *dhcp == from.dhcp.summary()
    {
        dhcp.push_str(", with other values");
    }
    let pairs = list(from).into_iter().zip(new);
    pairs.filter(|(a, b)| a != b).map(|((field, from), (_, to))| Change { field, from, to }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "\
apiVersion: kubedos/v1alpha1
kind: Cluster
metadata: {name: site-a}
spec:
  networking:
    domain: kubedos.lan
    underlay:
      subnet: 10.44.0.0/24
      seed: 10.44.0.1
      pool: {first: 10.44.0.100, last: 10.44.0.199}
      router: 10.44.0.254
    planes:
      wg1: {cidr: 10.78.0.0/16, port: 51821}
      wg2: {cidr: 10.79.0.0/16, port: 51822}
  darksite: {suite: trixie}
  roles: {base: {}}
";

    const GOOD: &str = "\
apiVersion: kubedos/v1alpha1
kind: UnderlayOverlay
underlay:
  subnet: 192.168.7.0/24
  seed: 192.168.7.1
  pool: {first: 192.168.7.50, last: 192.168.7.99}
  dns: [192.168.7.2]
";

    fn base() -> ClusterSpec {
        ClusterSpec::parse(BASE).unwrap()
    }

    #[test]
    fn only_the_underlay_changes_and_applying_twice_changes_nothing() {
        let (base, overlay) = (base(), Overlay::parse(GOOD).unwrap());
        let once = overlay.apply(&base).unwrap();
        let names = |s: &ClusterSpec| {
            let planes: Vec<_> = s.spec.networking.planes.iter().map(|(n, p)| (n.clone(), p.value.cidr, p.value.port)).collect();
            (s.metadata.name.clone(), s.spec.networking.domain.clone(), planes)
        };
        assert_eq!(names(&once), names(&base));
        let (old, new) = (&base.spec.networking.underlay, &once.spec.networking.underlay);
        let told: Vec<_> = changes(old, new).into_iter().map(|c| (c.field, c.from, c.to)).collect();
        let line = |field, from: &str, to: &str| (field, from.to_owned(), to.to_owned());
        assert_eq!(
            told,
            [
                line("subnet", "10.44.0.0/24", "192.168.7.0/24"),
                line("seed", "10.44.0.1", "192.168.7.1"),
                line("pool", "10.44.0.100 to 10.44.0.199", "192.168.7.50 to 192.168.7.99"),
                line("router", "10.44.0.254", "none"),
                line("dns", "the seed", "192.168.7.2"),
            ]
        );
        let short = GOOD.split_once("UnderlayOverlay\n").unwrap().1;
        assert_eq!(changes(new, &Overlay::parse(short).unwrap().underlay.value), [], "the first two lines are optional");
        let twice = overlay.apply(&once).unwrap();
        assert!(changes(new, &twice.spec.networking.underlay).is_empty());
    }

    #[test]
    fn every_error_has_its_position_in_the_overlay() {
        for (from, to, line, word) in [
            ("kind: UnderlayOverlay", "kind: Cluster", 0, "kind"),
            ("v1alpha1", "v9", 0, "apiVersion"),
            ("  dns: [192.168.7.2]", "  planes: {}", 7, "planes"),
            ("  dns: [192.168.7.2]", "  dns: [seed]", 7, ""),
            ("subnet: 192.168.7.0/24", "subnet: 192.168.7.0/33", 4, ""),
            ("seed: 192.168.7.1", "seed: 192.168.8.1", 5, "not a host"),
            ("first: 192.168.7.50", "first: 192.168.7.1", 6, "own address"),
            ("last: 192.168.7.99", "last: 192.168.7.9", 6, "pool"),
            ("subnet: 192.168.7.0/24", "subnet: 10.0.0.0/8", 4, "overlaps plane wg1"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{from}");
            let error = Overlay::parse(&text).and_then(|o| o.apply(&base())).unwrap_err();
            assert_eq!(error.line, line, "{to}: {error}");
            assert!(error.message.contains(word), "{to}: {error}");
        }
        assert!(Overlay::parse("").is_err() && Overlay::parse("underlay: [").is_err());
        assert!(Overlay::parse(&" ".repeat(MAX_SPEC + 1)).is_err());
    }
}
