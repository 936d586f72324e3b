//! Starting instances. A second run with the same options finds those of the first.

pub(crate) mod options;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cluster_seed::progress::Progress;
use roxmltree::Node;
use serde::{Deserialize, Serialize};

use self::options::RunOptions;
use crate::call::Client;
use crate::call::ec2::{Form, items, text};
use crate::endpoint::Target;
use crate::error::{AwsError, shown};
use crate::image::lookup::wait;
use crate::image::options::TAG_RUN;
use crate::image::outcome::{Planned, write_calls};

/// Times that instances of one name and options can be terminated and started again within the days that AWS remembers tokens.
const MAX_GENERATIONS: u32 = 16;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    pub id: String,
    /// `pending`, `running`, `stopping` or `stopped`.
    pub state: String,
    pub private_address: Option<String>,
    pub public_address: Option<String>,
    /// Why it is in this state, where AWS says it.
    #[serde(skip)]
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunOutcome {
    pub image_id: String,
    pub region: String,
    pub instances: Vec<Instance>,
    /// True if they were started by an earlier run.
    pub existing: bool,
}

impl fmt::Display for RunOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for i in &self.instances {
            let address = i.private_address.as_deref().unwrap_or("no address yet");
            writeln!(f, "instance {} in {}: {}, {address}", i.id, self.region, i.state)?;
        }
        if self.existing { writeln!(f, "started by an earlier run; nothing was changed") } else { Ok(()) }
    }
}

/// What [`run`] would do. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunPlan {
    pub image_id: String,
    pub region: String,
    pub ec2_endpoint: String,
    pub instance_type: String,
    pub count: u32,
    /// Of the first attempt; AWS starts instances once for a token.
    pub client_token: String,
    /// Bytes.
    pub user_data: usize,
    pub tags: Vec<(String, String)>,
    pub calls: Vec<Planned>,
}

impl fmt::Display for RunPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} × {} of {} in {}", self.count, self.instance_type, self.image_id, self.region)?;
        writeln!(f, "IMDSv2 only, {} bytes of user data", self.user_data)?;
        self.tags.iter().try_for_each(|(key, value)| writeln!(f, "tag      {key}={value}"))?;
        writeln!(f, "requests, at least:")?;
        write_calls(f, &self.calls)
    }
}

/// # Errors
/// If an option or the target is wrong.
pub fn plan_run(target: &Target, options: &RunOptions) -> Result<RunPlan, AwsError> {
    options.check()?;
    let looks = 1 + u64::from(options.wait);
    Ok(RunPlan {
        image_id: options.image_id.clone(),
        region: target.region.clone(),
        ec2_endpoint: target.ec2()?.base,
        instance_type: options.instance_type.clone(),
        count: options.count,
        client_token: options.client_token(0),
        user_data: options.user_data.as_ref().map_or(0, String::len),
        tags: options.all_tags(),
        calls: vec![
            Planned::new("ec2:DescribeInstances", looks, "find instances of an earlier run; wait for them if asked to"),
            Planned::new("ec2:RunInstances", 1, format!("{} instances and their volumes, with tags", options.count)),
        ],
    })
}

/// Starts instances, or finds those that the same options started.
///
/// # Errors
/// Errors of AWS; [`AwsError::Instance`] if one does not get to `running` while it is waited for.
pub fn run(client: &Client, options: &RunOptions, progress: &dyn Progress) -> Result<RunOutcome, AwsError> {
    options.check()?;
    let key = options.key().to_string();
    let find = Form::new("DescribeInstances").filter(1, &format!("tag:{TAG_RUN}"), &[&key]).filter(
        2,
        "instance-state-name",
        &["pending", "running", "stopping", "stopped"],
    );
    let mut instances = find.send(client, progress)?.read(reservations)?;
    let existing = !instances.is_empty();
    if !existing {
        instances = start(client, options, progress)?;
    }
    if options.wait {
        instances = running(client, instances, progress)?;
    }
    let region = client.region().to_owned();
    Ok(RunOutcome { image_id: options.image_id.clone(), region, instances, existing })
}

fn start(client: &Client, options: &RunOptions, progress: &dyn Progress) -> Result<Vec<Instance>, AwsError> {
    let mut generation = 0;
    loop {
        match request(options, generation).send(client, progress) {
            Ok(xml) => {
                let started =
                    xml.read(|root| Ok(items(root, "instancesSet").into_iter().filter_map(instance).collect::<Vec<_>>()))?;
                if started.is_empty() {
                    return Err(AwsError::Answer { action: "RunInstances", why: "no instance was started".to_owned() });
                }
                return Ok(started);
            }
            // AWS remembers the token of instances that are gone.
            Err(e) if e.code() == "IdempotentInstanceTerminated" && generation + 1 < MAX_GENERATIONS => generation += 1,
            Err(e) => return Err(e),
        }
    }
}

fn request(options: &RunOptions, generation: u32) -> Form {
    let count = options.count.to_string();
    let tags = options.all_tags();
    Form::new("RunInstances")
        .set("ImageId", &options.image_id)
        .set("InstanceType", &options.instance_type)
        .set("MinCount", &count)
        .set("MaxCount", &count)
        .set("ClientToken", &options.client_token(generation))
        .maybe("SubnetId", options.subnet.as_deref())
        .list("SecurityGroupId", &options.security_groups)
        .maybe("KeyName", options.key_name.as_deref())
        .maybe("UserData", options.user_data.as_ref().map(|u| STANDARD.encode(u)).as_deref())
        .set("MetadataOptions.HttpTokens", "required")
        .set("MetadataOptions.HttpEndpoint", "enabled")
        .tags(1, "instance", &tags)
        .tags(2, "volume", &tags)
}

fn instance(node: Node<'_, '_>) -> Option<Instance> {
    let get = |path: &[&str]| text(node, path).map(shown);
    Some(Instance {
        id: get(&["instanceId"])?,
        state: get(&["instanceState", "name"]).unwrap_or_default(),
        private_address: get(&["privateIpAddress"]),
        public_address: get(&["ipAddress"]),
        reason: get(&["stateReason", "message"]).unwrap_or_default(),
    })
}

fn reservations(root: Node<'_, '_>) -> Result<Vec<Instance>, &'static str> {
    let sets = items(root, "reservationSet").into_iter().flat_map(|r| items(r, "instancesSet"));
    Ok(sets.filter_map(instance).collect())
}

/// Waits until all are running.
fn running(client: &Client, started: Vec<Instance>, progress: &dyn Progress) -> Result<Vec<Instance>, AwsError> {
    let ids: Vec<String> = started.into_iter().map(|i| i.id).collect();
    let look = || Form::new("DescribeInstances").list("InstanceId", &ids).fresh().send(client, progress)?.read(reservations);
    let what = format!("instance {}", ids.join(", "));
    wait(client, progress, &what, || {
        let now = look()?;
        if let Some(i) = now.iter().find(|i| !matches!(i.state.as_str(), "pending" | "running")) {
            return Err(AwsError::Instance { instance: i.id.clone(), state: i.state.clone(), why: i.reason.clone() });
        }
        Ok(now.iter().find(|i| i.state != "running").map(|i| i.state.clone()))
    })?;
    look()
}
