//! `seedd image build --target aws-ami` and `aws-run`: the raw image of a role becomes an image in AWS, and instances of it.

use std::fmt;

use anyhow::{Context as _, Result, anyhow};
use aws::{
    AmiOptions, AmiOutcome, AmiPlan, AwsError, BootMode, Client, Credentials, Limits, RunOptions, RunOutcome, RunPlan, make_ami,
    plan_ami, plan_run, run,
};
use camino::Utf8PathBuf;
use clap::Args;
use host::clock::now;
use image::foundry::Output;
use serde::Serialize;
use site::Site;
use site::hint::{self, Hint as _};

use crate::terminal::Terminal;

/// Directory below the data directory for what lets an upload continue.
const UPLOADS: &str = "outputs/uploads";

/// Type of the instances unless another is given.
const INSTANCE_TYPE: &str = "t3.small";

/// How instances of an image boot.
#[derive(Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Boot {
    /// With UEFI where the instance type has it, else with BIOS
    #[default]
    UefiPreferred,
    /// With UEFI only, so that every instance has a TPM
    Uefi,
    /// With BIOS only; no instance has a TPM
    LegacyBios,
}

impl Boot {
    fn mode(self) -> BootMode {
        match self {
            Boot::UefiPreferred => BootMode::UefiPreferred,
            Boot::Uefi => BootMode::Uefi,
            Boot::LegacyBios => BootMode::LegacyBios,
        }
    }
}

// Settings of the targets aws-ami and aws-run.
#[derive(Args, Clone)]
#[command(next_help_heading = "Options of the targets aws-ami and aws-run")]
pub struct Aws {
    /// Region, such as eu-central-1
    #[arg(long, env = "AWS_REGION", value_name = "REGION")]
    aws_region: Option<String>,
    /// Profile of the credentials file [default: the environment's access key, else the profile default]
    #[arg(long, value_name = "NAME")]
    aws_profile: Option<String>,
    /// Address of the services instead of the region's public one
    #[arg(long, value_name = "URL")]
    aws_endpoint: Option<String>,
    /// File with certificates (PEM) to trust instead of the public ones
    #[arg(long, value_name = "FILE")]
    aws_ca: Option<Utf8PathBuf>,
    /// Tag of what is created, KEY=VALUE; can be given more than once
    #[arg(long, value_name = "KEY=VALUE", value_parser = tag)]
    aws_tag: Vec<(String, String)>,
    /// Boot mode of the image
    #[arg(long, value_enum, value_name = "MODE", default_value_t)]
    aws_boot_mode: Boot,
    /// With aws-run: type of the instances
    #[arg(long, value_name = "TYPE", default_value = INSTANCE_TYPE)]
    aws_instance_type: String,
    /// With aws-run: number of instances
    #[arg(long, value_name = "N", default_value_t = 1)]
    aws_count: u32,
    /// With aws-run: subnet of the instances
    #[arg(long, value_name = "ID")]
    aws_subnet: Option<String>,
    /// With aws-run: security group of the instances; can be given more than once
    #[arg(long, value_name = "ID")]
    aws_security_group: Vec<String>,
    /// Show what would be sent, without using the network
    #[arg(long)]
    dry_run: bool,
}

fn tag(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// What is done in AWS with a raw image.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cloud {
    /// Upload and register it.
    Ami,
    /// And start instances of it.
    Run,
}

/// What was done, or would be.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Done {
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<AmiOutcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instances: Option<RunOutcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<AmiPlan>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instances_plan: Option<RunPlan>,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: [Option<String>; 4] = [
            self.image.as_ref().map(ToString::to_string),
            self.instances.as_ref().map(ToString::to_string),
            self.plan.as_ref().map(ToString::to_string),
            self.instances_plan.as_ref().map(ToString::to_string),
        ];
        let text: String = parts.into_iter().flatten().collect();
        f.write_str(text.trim_end())
    }
}

fn failed(error: AwsError) -> anyhow::Error {
    let hint = error.hint();
    hint::with(error, hint)
}

impl Aws {
    /// Whether an option of these targets was given.
    pub fn is_given(&self) -> bool {
        let texts = [&self.aws_profile, &self.aws_endpoint, &self.aws_subnet];
        self.dry_run
            || texts.into_iter().any(Option::is_some)
            || self.aws_ca.is_some()
            || !(self.aws_tag.is_empty() && self.aws_security_group.is_empty())
            || self.aws_boot_mode != Boot::default()
            || self.aws_count != 1
            || self.aws_instance_type != INSTANCE_TYPE
    }

    /// Whether region and credentials are there, before minutes are spent on an image.
    pub fn check(&self) -> Result<()> {
        let target = self.target()?;
        if !self.dry_run {
            self.client(&target)?;
        }
        Ok(())
    }

    fn target(&self) -> Result<aws::Target> {
        let region = self.aws_region.clone().ok_or_else(|| anyhow!("no region of AWS was given"));
        let region = region.hint("add --aws-region, or set AWS_REGION")?;
        Ok(aws::Target { endpoint: self.aws_endpoint.clone(), ca_file: self.aws_ca.clone(), ..aws::Target::of_region(&region) })
    }

    #[allow(clippy::disallowed_methods, reason = "a command reads credentials where the tools of AWS do")]
    fn client(&self, target: &aws::Target) -> Result<Client> {
        let lookup = |name: &str| std::env::var(name).ok();
        let home = lookup("HOME").map(Utf8PathBuf::from);
        let found = Credentials::find(&lookup, home.as_deref(), self.aws_profile.as_deref()).map_err(failed)?;
        tracing::debug!(from = found.from, "credentials of AWS");
        Client::new(target, found.credentials, Limits::default(), now).map_err(failed)
    }

    /// Uploads a raw image, or finds it; with [`Cloud::Run`] also starts instances, or finds them.
    pub fn deploy(&self, cloud: Cloud, site: &Site, output: &Output, progress: &Terminal) -> Result<Done> {
        let target = self.target()?;
        let spec = &output.manifest.spec;
        let name = self.image_name(&spec.name());
        let mut ami = AmiOptions::new(output.primary(), &name, site.join(UPLOADS));
        ami.boot_mode = self.aws_boot_mode.mode();
        ami.description = format!("Kubedos site {}, role {}", spec.site, spec.role.as_deref().unwrap_or("any"));
        ami.tags = self.tags(&spec.site);
        if self.dry_run {
            let plan = plan_ami(&target, &ami, progress).map_err(failed)?;
            let instances = (cloud == Cloud::Run).then(|| plan_run(&target, &self.instances("ami-0", &name, &spec.site)));
            let instances_plan = instances.transpose().map_err(failed)?;
            return Ok(Done { image: None, instances: None, plan: Some(plan), instances_plan });
        }
        host::files::create_dirs(&site.join(UPLOADS)).context("creating the directory for the upload")?;
        let client = self.client(&target)?;
        let image = make_ami(&client, &ami, progress).map_err(failed)?;
        let options = self.instances(&image.image_id, &name, &spec.site);
        let instances = (cloud == Cloud::Run).then(|| run(&client, &options, progress)).transpose().map_err(failed)?;
        Ok(Done { image: Some(image), instances, plan: None, instances_plan: None })
    }

    /// An image is found again by its name and content, and its boot mode cannot be changed.
    fn image_name(&self, output: &str) -> String {
        match self.aws_boot_mode {
            Boot::UefiPreferred => format!("kubedos-{output}"),
            other => format!("kubedos-{output}-{}", other.mode().as_str()),
        }
    }

    fn tags(&self, site: &str) -> std::collections::BTreeMap<String, String> {
        let own = [("Site".to_owned(), site.to_owned())];
        own.into_iter().chain(self.aws_tag.iter().cloned()).collect()
    }

    fn instances(&self, image: &str, name: &str, site: &str) -> RunOptions {
        RunOptions {
            count: self.aws_count,
            subnet: self.aws_subnet.clone(),
            security_groups: self.aws_security_group.clone(),
            tags: self.tags(site),
            wait: true,
            ..RunOptions::new(image, &self.aws_instance_type, name)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        aws: Aws,
    }

    #[test]
    fn every_option_of_aws_counts_as_given_but_the_region() {
        let given = |words: &[&str]| Line::parse_from(["x"].iter().chain(words)).aws.is_given();
        assert!(!given(&[]) && !given(&["--aws-region", "eu-central-1"]), "the region may come from the environment");
        for words in [
            &["--dry-run"][..],
            &["--aws-profile", "p"],
            &["--aws-endpoint", "http://127.0.0.1:1"],
            &["--aws-ca", "f"],
            &["--aws-tag", "a=b"],
            &["--aws-boot-mode", "uefi"],
            &["--aws-instance-type", "t3.large"],
            &["--aws-count", "2"],
            &["--aws-subnet", "s"],
            &["--aws-security-group", "g"],
        ] {
            assert!(given(words), "{words:?}");
        }
    }

    #[test]
    fn an_image_of_another_boot_mode_has_another_name_so_that_it_is_not_taken_for_the_first() {
        let aws = |words: &[&str]| Line::parse_from(["x"].iter().chain(words)).aws;
        for (given, mode, name) in [
            (None, BootMode::UefiPreferred, "kubedos-o"),
            (Some("uefi-preferred"), BootMode::UefiPreferred, "kubedos-o"),
            (Some("uefi"), BootMode::Uefi, "kubedos-o-uefi"),
            (Some("legacy-bios"), BootMode::LegacyBios, "kubedos-o-legacy-bios"),
        ] {
            let words: Vec<&str> = given.into_iter().flat_map(|given| ["--aws-boot-mode", given]).collect();
            let aws = aws(&words);
            assert_eq!((aws.aws_boot_mode.mode(), aws.image_name("o").as_str()), (mode, name));
        }
    }
}
