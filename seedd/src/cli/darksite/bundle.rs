//! `seedd darksite bundle kubernetes`: the extras that Kubernetes needs, on a machine with internet access.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use darksite::extras::bundle::{self, Addon, CHARTS, FINGERPRINT, Order, packages_of};
use darksite::kubernetes::need::{Choice, Cilium};
use darksite::kubernetes::section;
use darksite::kubernetes::version::Version;
use host::files::{PUBLIC, write_atomic};
use serde_json::json;

use super::logins::Logins;
use crate::cli::args::{say, show};
use crate::terminal::{Terminal, watch_signals};
use crate::upstream::judged;

#[derive(Subcommand)]
pub enum Bundle {
    /// Write the packages, images and charts of Kubernetes as a section of cluster.yaml
    ///
    /// Finds the packages in the signed index of pkgs.k8s.io, pulls the images of kubeadm and of the charts into OCI archives,
    /// and writes DIR/kubernetes.yaml with all digests. If it is interrupted, run the same command again to resume.
    /// docs/kubernetes-offline.md has the next steps.
    #[command(after_long_help = "\
Examples:
  seedd darksite bundle kubernetes --kubernetes 1.36.2
  seedd darksite bundle kubernetes --kubernetes 1.36.2 --cilium 1.18.5 --helm ./helm --out /srv/bundle
  seedd darksite bundle kubernetes --kubernetes 1.36.2 --addon metrics-server@3.13.0=https://charts.example.org/metrics")]
    Kubernetes(Kubernetes),
}

impl Bundle {
    pub fn run(&self) -> Result<()> {
        watch_signals()?;
        match self {
            Bundle::Kubernetes(v) => v.run(),
        }
    }
}

#[derive(Args)]
pub struct Kubernetes {
    /// Version of Kubernetes
    #[arg(long, value_name = "VERSION")]
    kubernetes: Version,
    /// Version of Cilium, instead of Debian's CNI plugins and kube-proxy
    #[arg(long, value_name = "VERSION")]
    cilium: Option<Version>,
    /// A further Helm chart with its images (repeatable)
    #[arg(long = "addon", visible_alias = "addons", value_name = "NAME@VERSION=REPOSITORY", value_parser = addon)]
    addons: Vec<Addon>,
    /// The program helm for linux/amd64, with which control planes render Cilium's chart
    #[arg(long, value_name = "FILE", requires = "cilium")]
    helm: Option<Utf8PathBuf>,
    /// Directory for the section and the images
    #[arg(long, value_name = "DIR", default_value = "kubernetes-bundle")]
    out: Utf8PathBuf,
    /// Print the section instead of writing it to DIR
    #[arg(long)]
    print: bool,
    /// Print what was written as JSON
    #[arg(long, conflicts_with = "print")]
    json: bool,
    /// Repository of the packages [default: that of the minor version at pkgs.k8s.io]
    #[arg(long, value_name = "URL")]
    packages: Option<String>,
    /// Certificate that must have signed the packages' index, or `any`
    #[arg(long, value_name = "FINGERPRINT", default_value = FINGERPRINT)]
    fingerprint: String,
    /// Repository of Cilium's chart
    #[arg(long, value_name = "URL", default_value = CHARTS)]
    charts: String,
    /// Address to use for a registry, for example registry.k8s.io=https://mirror.example.org (repeatable)
    #[arg(long = "registry", value_name = "NAME=URL", value_parser = mirror)]
    registries: Vec<(String, String)>,
    #[command(flatten)]
    logins: Logins,
    /// Ignore the local clock when checking upstream signatures, because it is wrong
    #[arg(long)]
    ignore_clock: bool,
}

/// `NAME@VERSION=REPOSITORY`
fn addon(text: &str) -> Result<Addon, String> {
    let parts = text.split_once('@').and_then(|(name, rest)| Some((name, rest.split_once('=')?)));
    match parts {
        Some((name, (version, repository))) if ![name, version, repository].iter().any(|t| t.is_empty()) => {
            Ok(Addon { name: name.to_owned(), version: version.to_owned(), repository: repository.to_owned() })
        }
        _ => Err("write NAME@VERSION=REPOSITORY, for example metrics-server@3.13.0=https://charts.example.org".to_owned()),
    }
}

/// `NAME=URL`
fn mirror(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, url)) if !name.is_empty() && (url.starts_with("https://") || url.starts_with("http://")) => {
            Ok((name.to_owned(), url.to_owned()))
        }
        _ => Err("write NAME=URL with a URL of http or https".to_owned()),
    }
}

impl Kubernetes {
    fn choice(&self) -> Choice {
        Choice { cilium: self.cilium.map(Cilium::new), ..Choice::new(self.kubernetes) }
    }

    fn run(&self) -> Result<()> {
        let progress = Terminal::new();
        let choice = self.choice();
        let packages = self.packages.clone().unwrap_or_else(|| packages_of(&self.kubernetes));
        let mirrors: BTreeMap<String, String> = self.registries.iter().cloned().collect();
        let fetch = self.logins.fetch()?;
        let order = Order {
            choice: &choice,
            addons: &self.addons,
            packages: &packages,
            fingerprint: Some(self.fingerprint.as_str()).filter(|f| *f != "any"),
            charts: &self.charts,
            helm: self.helm.as_deref(),
            mirrors: &mirrors,
            out: &self.out,
            fetch: &fetch,
            clock: judged(self.ignore_clock, &progress)?,
            progress: &progress,
        };
        let found = bundle::bundle(&order)?;
        drop(progress);
        let text = section::render(&found.spec, &self.header(&found.signed_by, &found.notes));
        if self.print {
            return say(text.trim_end());
        }
        let path = self.out.join("kubernetes.yaml");
        write_atomic(&path, text.as_bytes(), PUBLIC).with_context(|| format!("writing {path}"))?;
        let (packages, images, charts) = (found.spec.packages.len(), found.spec.images.len(), found.spec.charts.len());
        if self.json {
            let counts = json!({"packages": packages, "images": images, "charts": charts});
            return show(true, &json!({"file": path, "counts": counts, "signedBy": found.signed_by, "notes": found.notes}), "");
        }
        let mut lines = vec![format!(
            "{path}: {packages} packages, {images} images, {charts} charts; the packages' index is signed by {}",
            found.signed_by
        )];
        lines.extend(found.notes.iter().map(|note| format!("note: {note}")));
        lines.push(
            "put it below spec: of cluster.yaml, then: seedd darksite extras fetch && seedd darksite lint --can kubernetes"
                .to_owned(),
        );
        say(&lines.join("\n"))
    }

    fn header(&self, signed_by: &str, notes: &[String]) -> Vec<String> {
        let cilium = self.cilium.map(|v| format!(", Cilium {v}")).unwrap_or_default();
        let mut lines = vec![
            format!("Kubernetes {}{cilium}: written by `seedd darksite bundle kubernetes`.", self.kubernetes),
            format!("The index of the packages is signed by {signed_by}. Images are for linux/amd64."),
        ];
        lines.extend(notes.iter().map(|note| format!("To do: {note}")));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addons_and_registries_are_named_with_their_addresses() {
        let found = addon("metrics-server@3.13.0=https://e.example/a?b=c").unwrap();
        assert_eq!((found.name.as_str(), found.version.as_str()), ("metrics-server", "3.13.0"));
        assert_eq!(found.repository, "https://e.example/a?b=c");
        for bad in ["", "a", "a@1", "a@=u", "@1=u", "a@1="] {
            assert!(addon(bad).is_err(), "{bad}");
        }
        assert_eq!(mirror("quay.io=http://127.0.0.1:5000"), Ok(("quay.io".to_owned(), "http://127.0.0.1:5000".to_owned())));
        for bad in ["", "quay.io", "quay.io=", "=http://x", "quay.io=ftp://x"] {
            assert!(mirror(bad).is_err(), "{bad}");
        }
    }
}
