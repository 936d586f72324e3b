//! What instances shall be started.

use std::collections::BTreeMap;

use cluster_seed::ids::Digest;
use serde::{Deserialize, Serialize};

use crate::error::AwsError;
use crate::image::options::{TAG_RUN, check_tags};

/// Bytes of user data before it is encoded (EC2 User Guide, user data).
pub const MAX_USER_DATA: usize = 16 << 10;
/// Instances of one request.
pub const MAX_COUNT: u32 = 100;
const MAX_NAME: usize = 128;
/// Network interfaces take at most 16 groups.
const MAX_GROUPS: usize = 16;

/// Instances to be started of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunOptions {
    /// `ami-…`
    pub image_id: String,
    /// Such as `t3.small`. The TPM needs a Nitro type with UEFI.
    pub instance_type: String,
    /// The same name with the same options means the same instances: a second run finds them.
    pub name: String,
    #[serde(default = "one")]
    pub count: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub security_groups: Vec<String>,
    /// By default none: nodes take no keys from AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_name: Option<String>,
    /// Text for the machine, readable by everything that runs on it: no place for secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_data: Option<String>,
    /// Tags of the instances and their volumes, besides ours.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Waits until they are running.
    #[serde(default)]
    pub wait: bool,
}

fn one() -> u32 {
    1
}

/// `kind-` and letters or digits.
fn is_id(kind: &str, text: &str) -> bool {
    let rest = text.strip_prefix(kind).and_then(|r| r.strip_prefix('-')).unwrap_or_default();
    (1..=40).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_alphanumeric())
}

impl RunOptions {
    pub fn new(image_id: &str, instance_type: &str, name: &str) -> Self {
        RunOptions {
            image_id: image_id.to_owned(),
            instance_type: instance_type.to_owned(),
            name: name.to_owned(),
            count: one(),
            subnet: None,
            security_groups: Vec::new(),
            key_name: None,
            user_data: None,
            tags: BTreeMap::new(),
            wait: false,
        }
    }

    pub(crate) fn check(&self) -> Result<(), AwsError> {
        let bad = |option, why: String| Err(AwsError::Option { option, why });
        if !is_id("ami", &self.image_id) {
            return bad("imageId", format!("{:?} is not an id like ami-0123456789abcdef0", shown(&self.image_id)));
        }
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-');
        let kind = &self.instance_type;
        if !(3..=40).contains(&kind.len()) || !kind.contains('.') || !kind.bytes().all(plain) {
            return bad("instanceType", format!("{:?} is not a type like t3.small", shown(kind)));
        }
        if !(1..=MAX_NAME).contains(&self.name.chars().count()) || self.name.chars().any(char::is_control) {
            return bad("name", format!("between 1 and {MAX_NAME} printable characters"));
        }
        if !(1..=MAX_COUNT).contains(&self.count) {
            return bad("count", format!("{} is not between 1 and {MAX_COUNT}", self.count));
        }
        if let Some(subnet) = self.subnet.as_ref().filter(|s| !is_id("subnet", s)) {
            return bad("subnet", format!("{:?} is not an id like subnet-0123456789abcdef0", shown(subnet)));
        }
        if let Some(group) = self.security_groups.iter().find(|g| !is_id("sg", g)) {
            return bad("securityGroups", format!("{:?} is not an id like sg-0123456789abcdef0", shown(group)));
        }
        if self.security_groups.len() > MAX_GROUPS {
            return bad("securityGroups", format!("{} groups, more than {MAX_GROUPS}", self.security_groups.len()));
        }
        if self.user_data.as_ref().is_some_and(|u| u.len() > MAX_USER_DATA) {
            return bad("userData", format!("more than {MAX_USER_DATA} bytes"));
        }
        check_tags(&self.tags)
    }

    /// Of everything that makes these instances what they are.
    pub(crate) fn key(&self) -> Digest {
        let mut same = self.clone();
        // Waiting is not a property of an instance.
        same.wait = false;
        // A struct of texts and numbers always is JSON.
        Digest::of(&serde_json::to_vec(&same).unwrap_or_default())
    }

    /// At most 64 characters (EC2 API, RunInstances). `generation`: how many times before instances of it were terminated.
    pub(crate) fn client_token(&self, generation: u32) -> String {
        Digest::of(format!("{} {generation}", self.key()).as_bytes()).to_string()
    }

    pub(crate) fn all_tags(&self) -> Vec<(String, String)> {
        let own = [("Name".to_owned(), self.name.clone()), (TAG_RUN.to_owned(), self.key().to_string())];
        let given = self.tags.iter().map(|(k, v)| (k.clone(), v.clone())).filter(|(k, _)| k != "Name");
        own.into_iter().chain(given).collect()
    }
}

fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

/// User data that names the seed, in the form of NoCloud's user-data (`#cloud-config`): the keys are those of the kernel command
/// line, `kubedos.seed` and `kubedos.site`. Holds nothing secret.
pub fn seed_user_data(seed: &str, site: Option<&str>) -> String {
    let quote = |text: &str| serde_json::Value::from(text).to_string();
    let mut text = format!("#cloud-config\nkubedos:\n  seed: {}\n", quote(seed));
    if let Some(site) = site {
        text.push_str(&format!("  site: {}\n", quote(site)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> RunOptions {
        RunOptions::new("ami-1", "t3.small", "web")
    }

    #[test]
    fn options_are_checked() {
        assert!(options().check().is_ok());
        let bad: [fn(&mut RunOptions); 12] = [
            |o| o.image_id = "snap-1".into(),
            |o| o.image_id = "ami-".into(),
            |o| o.instance_type = "t3".into(),
            |o| o.instance_type = "T3.small".into(),
            |o| o.name = String::new(),
            |o| o.name = "n".repeat(MAX_NAME + 1),
            |o| o.count = 0,
            |o| o.count = MAX_COUNT + 1,
            |o| o.subnet = Some("vpc-1".into()),
            |o| o.security_groups = vec!["default".into()],
            |o| o.security_groups = vec!["sg-1".into(); MAX_GROUPS + 1],
            |o| o.user_data = Some("x".repeat(MAX_USER_DATA + 1)),
        ];
        for (n, change) in bad.iter().enumerate() {
            let mut changed = options();
            change(&mut changed);
            assert!(matches!(changed.check(), Err(AwsError::Option { .. })), "{n}");
        }
        let mut most = RunOptions { count: MAX_COUNT, user_data: Some("x".repeat(MAX_USER_DATA)), ..options() };
        most.security_groups = vec!["sg-1".into(); MAX_GROUPS];
        assert!(most.check().is_ok());
    }

    #[test]
    fn the_same_options_are_the_same_instances() {
        assert_eq!(options().client_token(0), RunOptions { wait: true, ..options() }.client_token(0));
        assert_ne!(options().client_token(0), options().client_token(1));
        assert_ne!(options().client_token(0), RunOptions { count: 2, ..options() }.client_token(0));
        assert_eq!(options().client_token(0).len(), 64);
    }

    #[test]
    fn user_data_names_the_seed() {
        assert_eq!(
            seed_user_data("http://10.0.0.1", Some("ab")),
            "#cloud-config\nkubedos:\n  seed: \"http://10.0.0.1\"\n  site: \"ab\"\n"
        );
        assert_eq!(seed_user_data("a\"\nb", None), "#cloud-config\nkubedos:\n  seed: \"a\\\"\\nb\"\n");
    }
}
