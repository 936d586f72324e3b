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
    /// All of them, in the order in which they are listed.
    pub fn all() -> impl Iterator<Item = What> {
        let before = [What::Images];
        let after = [What::EnrollIso, What::SeedIso, What::Cloud(Cloud::Ami), What::Cloud(Cloud::Run)];
        before.into_iter().chain(Target::ALL.into_iter().map(What::Output)).chain(after)
    }

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

    pub fn name(self) -> &'static str {
        match self {
            What::Images => "images",
            What::SeedIso => "seed-iso",
            What::EnrollIso => "enroll-iso",
            What::Output(target) => target.name(),
            What::Cloud(Cloud::Ami) => "aws-ami",
            What::Cloud(Cloud::Run) => "aws-run",
        }
    }

    pub fn aliases(self) -> &'static [&'static str] {
        match self {
            What::Output(target) => target.aliases(),
            _ => &[],
        }
    }

    pub fn summary(self) -> &'static str {
        match self {
            What::Images => "netboot image and the artifact of each role, for machines that netboot (default)",
            What::SeedIso => "ISO image for CD and USB stick that a seed boots from, with the snapshot and the images",
            What::EnrollIso => "ISO image for CD and USB stick that machines enroll from instead of the network",
            What::Output(target) => target.summary(),
            What::Cloud(Cloud::Ami) => "Amazon machine image, uploaded and registered",
            What::Cloud(Cloud::Run) => "Amazon machine image, and instances of it",
        }
    }

    /// Whether there is one for each role.
    pub fn of_role(self) -> bool {
        match self {
            What::Output(target) => target.of_role(),
            What::Cloud(_) => true,
            What::Images | What::SeedIso | What::EnrollIso => false,
        }
    }

    /// What it needs besides what all need: root, the passphrase and a snapshot.
    pub fn needs(self) -> &'static [&'static str] {
        match self {
            What::Images | What::SeedIso | What::Output(Target::Oci) => &[],
            What::EnrollIso | What::Output(_) => &["address of the seed"],
            What::Cloud(_) => &["address of the seed", "region of AWS", "access key of AWS"],
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed_can_be_asked_for_by_every_name_and_nothing_is_left_out() {
        for what in What::all() {
            for name in [what.name()].iter().chain(what.aliases()) {
                assert!(What::parse(name) == Ok(what), "{name}");
            }
            assert!(!what.summary().is_empty());
        }
        for name in ["images", "qcow2", "node-iso", "enroll-iso", "seed-iso", "aws-ami", "aws-run"] {
            assert_eq!(What::all().filter(|what| what.name() == name).count(), 1, "{name}");
        }
        assert_eq!(What::all().count(), Target::ALL.len() + 5);
        let refused = What::parse("floppy").err();
        assert_eq!(refused.as_deref(), Some("no target \"floppy\"; `seedd image targets` lists them"));
    }

    #[test]
    fn only_a_target_that_knows_the_seed_needs_its_address() {
        for what in What::all() {
            let needs = what.needs().contains(&"address of the seed");
            assert!(!needs || what.knows_the_seed(), "{}", what.name());
        }
    }
}
