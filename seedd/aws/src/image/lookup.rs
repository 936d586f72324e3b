//! What AWS has already: snapshots and images, found by id, tag and name, in this account only.

use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;
use roxmltree::Node;

use super::options::{TAG_COMPLETE, TAG_DIGEST};
use super::scan::Scan;
use super::state::Binding;
use crate::call::Client;
use crate::call::ebs::{is_snapshot_id, linear_checksum};
use crate::call::ec2::{Form, items, tag, text};
use crate::error::{AwsError, FaultKind, shown};

/// A snapshot as EC2 describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub id: String,
    pub owner: String,
    /// `pending`, `completed`, `error`, `recoverable` or `recovering`.
    pub state: String,
    pub message: String,
}

impl Found {
    fn read(node: Node<'_, '_>) -> Option<Found> {
        let get = |name: &str| text(node, &[name]).map(shown).unwrap_or_default();
        let id = get("snapshotId");
        is_snapshot_id(&id).then(|| Found { id, owner: get("ownerId"), state: get("status"), message: get("statusMessage") })
    }

    pub(crate) fn is_lost(&self) -> bool {
        !matches!(self.state.as_str(), "pending" | "completed")
    }
}

fn snapshots(client: &Client, form: &Form, progress: &dyn Progress) -> Result<Vec<Found>, AwsError> {
    form.send(client, progress)?.read(|root| Ok(items(root, "snapshotSet").into_iter().filter_map(Found::read).collect()))
}

/// One snapshot of this account.
pub(crate) fn snapshot(client: &Client, id: &str, progress: &dyn Progress) -> Result<Option<Found>, AwsError> {
    let form = Form::new("DescribeSnapshots").list("SnapshotId", &[id]).list("Owner", &["self"]);
    match snapshots(client, &form, progress) {
        Ok(found) => Ok(found.into_iter().find(|s| s.id == id)),
        Err(e) if e.fault() == Some(FaultKind::Missing) => Ok(None),
        Err(e) => Err(e),
    }
}

/// A snapshot that has exactly this image in a volume of this size, whoever of the account uploaded it.
pub(crate) fn complete_snapshot(
    client: &Client,
    binding: &Binding,
    scan: &Scan,
    progress: &dyn Progress,
) -> Result<Option<String>, AwsError> {
    let checksum = linear_checksum(scan.blocks.iter().map(|b| &b.digest)).to_string();
    let digest = binding.digest.to_string();
    let mut form = Form::new("DescribeSnapshots")
        .list("Owner", &["self"])
        .filter(1, &format!("tag:{TAG_DIGEST}"), &[&digest])
        .filter(2, &format!("tag:{TAG_COMPLETE}"), &[&checksum])
        .filter(3, "status", &["completed"])
        .filter(4, "volume-size", &[&binding.gib.to_string()]);
    // Where it is not asked for, the account's default decides.
    if binding.encrypted {
        form = form.filter(5, "encrypted", &["true"]);
    }
    // Which key a snapshot is encrypted with is the operator's choice: with a key given, a new one is made.
    if binding.kms_key.is_some() {
        return Ok(None);
    }
    Ok(snapshots(client, &form, progress)?.into_iter().map(|s| s.id).next())
}

/// Until the snapshot is completed.
pub(crate) fn wait_for_snapshot(client: &Client, id: &str, progress: &dyn Progress) -> Result<(), AwsError> {
    let failed = |why: &str| AwsError::SnapshotFailed { snapshot: id.to_owned(), why: why.to_owned() };
    wait(client, progress, &format!("snapshot {id}"), || match snapshot(client, id, progress)? {
        None => Err(failed("it no longer exists")),
        Some(s) if s.state == "completed" => Ok(None),
        Some(s) if s.is_lost() => Err(failed(if s.message.is_empty() { &s.state } else { &s.message })),
        Some(s) => Ok(Some(s.state)),
    })
}

/// Looks until `look` says `None`; it says the state otherwise.
pub(crate) fn wait(
    client: &Client,
    progress: &dyn Progress,
    what: &str,
    look: impl Fn() -> Result<Option<String>, AwsError>,
) -> Result<(), AwsError> {
    let limits = client.limits();
    let watch = host::clock::Stopwatch::start();
    let mut said = false;
    loop {
        let Some(state) = look()? else { return Ok(()) };
        if watch.elapsed() >= limits.ready {
            return Err(AwsError::Late { what: what.to_owned(), state, minutes: limits.ready.as_secs() / 60 });
        }
        if !std::mem::replace(&mut said, true) {
            progress.say(&format!("waiting for AWS: {what} is {state}"));
        }
        client.rest(limits.poll, progress)?;
    }
}

/// An image as EC2 describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    pub id: String,
    /// `available`, `pending`, `failed`, …
    pub state: String,
    pub name: String,
    /// Of the raw image, by its tag.
    pub digest: Option<String>,
    pub snapshot: Option<String>,
    pub reason: String,
}

fn images(client: &Client, form: &Form, progress: &dyn Progress) -> Result<Vec<Image>, AwsError> {
    form.send(client, progress)?.read(|root| {
        let read = |node: Node<'_, '_>| {
            let get = |path: &[&str]| text(node, path).map(shown);
            let device = items(node, "blockDeviceMapping").into_iter().find_map(|d| text(d, &["ebs", "snapshotId"]));
            Some(Image {
                id: get(&["imageId"])?,
                state: get(&["imageState"]).unwrap_or_default(),
                name: get(&["name"]).unwrap_or_default(),
                digest: tag(node, TAG_DIGEST).map(str::to_owned),
                snapshot: device.map(shown),
                reason: get(&["stateReason", "message"]).unwrap_or_default(),
            })
        };
        Ok(items(root, "imagesSet").into_iter().filter_map(read).collect())
    })
}

pub(crate) fn image_by_id(client: &Client, id: &str, progress: &dyn Progress) -> Result<Option<Image>, AwsError> {
    let form = Form::new("DescribeImages").list("ImageId", &[id]).fresh();
    Ok(images(client, &form, progress)?.into_iter().next())
}

/// The registered image with this name, or `None`.
///
/// # Errors
/// [`AwsError::NameTaken`] if it was made of something else.
pub(crate) fn image_by_name(
    client: &Client,
    name: &str,
    digest: &Digest,
    progress: &dyn Progress,
) -> Result<Option<Image>, AwsError> {
    let form = Form::new("DescribeImages").list("Owner", &["self"]).filter(1, "name", &[name]);
    // A filter takes wildcards, and `[` is one of the characters of a name.
    let Some(found) = images(client, &form, progress)?.into_iter().find(|i| i.name == name) else { return Ok(None) };
    match &found.digest {
        // Without a tag the name decides: it carries the digest.
        Some(tagged) if *tagged != digest.to_string() => Err(AwsError::NameTaken { name: name.to_owned(), image: found.id }),
        _ => Ok(Some(found)),
    }
}
