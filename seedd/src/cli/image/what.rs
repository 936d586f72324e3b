//! What `seedd image build --target` can be.

use cluster_seed::foundry::Target;

use super::cloud::Cloud;

/// What `seedd image build` builds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Netboot image and artifacts, for machines.
    Images,
    /// Images, and with them a medium that a seed boots from.
    SeedIso,
    /// Netboot image, and a small medium with the site's public key that machines enroll from.
    EnrollIso,
    /// Images, and with them an output of each.
    Output(Target),
    /// Raw images, and with them images or instances in AWS.
    Cloud(Cloud),
}

impl What {
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "images" => Ok(What::Images),
            "seed-iso" => Ok(What::SeedIso),
            "enroll-iso" => Ok(What::EnrollIso),
            "aws-ami" => Ok(What::Cloud(Cloud::Ami)),
            "aws-run" => Ok(What::Cloud(Cloud::Run)),
            other => other.parse().map(What::Output).map_err(|e| format!("{e}; `seedd image targets` lists them")),
        }
    }

    pub fn needs_artifacts(self) -> bool {
        match self {
            What::Images | What::SeedIso | What::Cloud(_) => true,
            What::EnrollIso => false,
            What::Output(target) => target != Target::PxeBundle,
        }
    }

    pub fn knows_the_seed(self) -> bool {
        matches!(self, What::EnrollIso | What::Output(_) | What::Cloud(_))
    }
}
