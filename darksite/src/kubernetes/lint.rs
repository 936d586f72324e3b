//! Says whether a snapshot and its extras can run Kubernetes, or what is missing.

use cluster_seed::ids::Digest;
use serde::Serialize;

use super::chart::ChartError;
use super::facts::{self, Minor};
use super::finding::{Finding, Kind};
use super::have::{Have, Image, Role};
use super::need::{self, Choice, Cilium, Wanted};
use super::packages;
use super::reference::Reference;
use super::version::Version;

/// What nodes run.
pub const PLATFORM: &str = "linux/amd64";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LintError {
    #[error("Kubernetes {0} is not supported (supported: {supported})", supported = facts::supported())]
    Unsupported(Version),
    #[error(transparent)]
    Chart(#[from] ChartError),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    pub kubernetes: Version,
    pub cilium: Option<Version>,
    pub findings: Vec<Finding>,
    /// What could not be checked, and why.
    pub notes: Vec<String>,
}

impl Report {
    /// `Kubernetes 1.36.2 with Cilium 1.18.5`.
    pub fn what(&self) -> String {
        match self.cilium {
            Some(cilium) => format!("Kubernetes {} with Cilium {cilium}", self.kubernetes),
            None => format!("Kubernetes {}", self.kubernetes),
        }
    }
}

/// Compares what there is with what is wanted. Findings are in the order of kubeadm's list, the chart, and packages.
pub fn lint(choice: &Choice, have: &Have) -> Result<Report, LintError> {
    let facts = facts::minor(&choice.kubernetes).ok_or(LintError::Unsupported(choice.kubernetes))?;
    let cilium = choice.cilium.as_ref();
    let mut report =
        Report { kubernetes: choice.kubernetes, cilium: cilium.map(|c| c.version), findings: Vec::new(), notes: Vec::new() };
    let mut wanted = need::of_kubeadm(choice, facts);
    if let Some(cilium) = cilium {
        wanted.extend(of_cilium(cilium, have, &mut report)?);
    }
    report.findings.extend(wanted.iter().filter_map(|w| image(w, &have.images)));
    report.findings.extend(sandbox(choice, facts, have));
    report.findings.extend(packages::check(choice.kubernetes, facts, &have.packages));
    Ok(report)
}

/// The images of Cilium's chart, if there is one; and the program that renders it.
fn of_cilium(cilium: &Cilium, have: &Have, report: &mut Report) -> Result<Vec<Wanted>, LintError> {
    if let Some(helm) = have.files.get(&cilium.helm) {
        report.findings.extend(pins(have, "cilium_helm_sha256", &cilium.helm, *helm, |r| r.pinned.as_ref().map(|p| &p.helm)));
    } else {
        let message = format!("file {} is missing; control planes render the chart with the program helm", cilium.helm);
        report.findings.push(Finding::new(Kind::MissingFile, &cilium.helm, message));
    }
    let all: Vec<_> = have.charts.iter().filter(|c| c.name == "cilium").collect();
    let number = |version: &str| version.parse::<Version>().ok();
    let Some(chart) = all.iter().find(|c| number(&c.version) == Some(cilium.version)) else {
        let others: Vec<&str> = all.iter().map(|c| c.version.as_str()).collect();
        let there = if others.is_empty() { String::new() } else { format!("; the extras have {}", others.join(", ")) };
        let message = format!("chart cilium {} is missing{there}", cilium.version);
        report.findings.push(Finding::new(Kind::MissingChart, "cilium", message));
        report.notes.push("without its chart, the images of Cilium are not known and were not checked".to_owned());
        return Ok(Vec::new());
    };
    let name = format!("cilium-{}.tgz", chart.version);
    report.findings.extend(pins(have, "cilium_sha256", &name, chart.sha256, |r| r.pinned.as_ref().map(|p| &p.chart)));
    Ok(need::of_chart(chart, &cilium.all_values())?)
}

/// Control planes use the chart and helm only with the digest in their variables.
fn pins(have: &Have, var: &str, item: &str, is: Digest, pin: impl Fn(&Role) -> Option<&Option<String>>) -> Vec<Finding> {
    let say = |role: &Role, pinned: &Option<String>| match pinned {
        None => Some(format!("role {}: set {var} to {is}, the digest of {item} in the extras", role.name)),
        Some(text) if text.parse::<Digest>().ok() != Some(is) => {
            Some(format!("role {}: {var} is {text}, but {item} has {is} in the extras", role.name))
        }
        Some(_) => None,
    };
    let said = have.roles.iter().filter_map(|role| say(role, pin(role)?));
    said.map(|message| Finding::new(Kind::Unpinned, item, message)).collect()
}

fn image(wanted: &Wanted, all: &[Image]) -> Option<Finding> {
    let Wanted { reference, why } = wanted;
    let named: Vec<&Image> = all.iter().filter(|i| i.name == reference.name).collect();
    let tagged = named.iter().find(|i| Some(&i.tag) == reference.tag.as_ref());
    let found = match &reference.digest {
        Some(digest) => named.iter().find(|i| i.digest == *digest || i.manifests.contains(digest)),
        None => tagged,
    };
    let finding = |kind, message: String| Some(Finding::new(kind, reference.to_string(), message));
    match (found, tagged) {
        (Some(image), _) if image.platforms.is_empty() || image.platforms.contains(PLATFORM) => None,
        (Some(image), _) => {
            let platforms: Vec<&str> = image.platforms.iter().map(String::as_str).collect();
            finding(
                Kind::OtherPlatform,
                format!("image {} is for {}, but nodes need {PLATFORM} ({why})", reference.short(), platforms.join(", ")),
            )
        }
        (None, Some(image)) => finding(
            Kind::OtherDigest,
            format!(
                "image {reference} is needed, but {} has digest sha256:{} in the extras ({why}); the archive must keep the index of \
                 all platforms",
                reference.short(),
                image.digest
            ),
        ),
        (None, None) => finding(Kind::MissingImage, format!("image {reference} is missing ({why}){}", tags(&named))),
    }
}

/// Tags that there are instead.
fn tags(named: &[&Image]) -> String {
    let tags: Vec<&str> = named.iter().map(|i| i.tag.as_str()).take(5).collect();
    if tags.is_empty() { String::new() } else { format!("; the extras have {}", tags.join(", ")) }
}

/// Roles whose containerd starts pods with another image than kubeadm lists.
fn sandbox(choice: &Choice, facts: &Minor, have: &Have) -> Vec<Finding> {
    let pause = need::pause(choice, facts);
    let differs = |image: &String| Reference::parse(image).map(|r| r.short()) != Ok(pause.short());
    let roles = have.roles.iter().filter_map(|r| Some((r, r.sandbox.as_ref().filter(|image| differs(image))?)));
    let say = |name: &str, image: &str| {
        format!(
            "role {name}: containers_sandbox_image is {image}, but kubeadm {} has {pause}; remove the variable, or change it",
            choice.kubernetes
        )
    };
    roles.map(|(role, image)| Finding::new(Kind::Sandbox, &role.name, say(&role.name, image))).collect()
}

#[cfg(test)]
#[path = "lint_tests.rs"]
mod tests;
