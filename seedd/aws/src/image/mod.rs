//! From a raw disk to a registered image.

pub(crate) mod options;

pub(crate) mod outcome;

pub(crate) mod scan;

mod state;

pub(crate) mod lookup;

pub(crate) mod upload;

use cluster_seed::progress::Progress;

use self::lookup::Image;
use self::options::AmiOptions;
use self::outcome::{AmiOutcome, AmiPlan, Planned, Snapshot};
use self::scan::Scan;
use self::state::State;
use crate::call::Client;
use crate::call::ebs::BLOCK;
use crate::call::ec2::{Form, text};
use crate::endpoint::Target;
use crate::error::{AwsError, shown};

/// The device that AMIs of Debian have their root on; the disk decides itself what it boots from.
const ROOT_DEVICE: &str = "/dev/xvda";
const VOLUME_TYPE: &str = "gp3";

fn scanned(options: &AmiOptions, progress: &dyn Progress) -> Result<Scan, AwsError> {
    let scan = scan::scan(&options.image, progress)?;
    options.check(scan.size)?;
    match options.digest {
        Some(wanted) if wanted != scan.digest => Err(AwsError::Option {
            option: "digest",
            why: format!("{} has the sha256 {}, not {wanted}", options.image, scan.digest),
        }),
        _ => Ok(scan),
    }
}

/// Makes the image, or finds it: reads the file, uploads what is missing, registers, and waits until it is available.
///
/// # Errors
/// As [`upload()`](upload::upload) and [`register`].
pub fn make_ami(client: &Client, options: &AmiOptions, progress: &dyn Progress) -> Result<AmiOutcome, AwsError> {
    let scan = scanned(options, progress)?;
    let name = options.image_name(&scan.digest);
    if let Some(found) = lookup::image_by_name(client, &name, &scan.digest, progress)? {
        let found = available(client, found, progress)?;
        upload::forget(client, options, &scan)?;
        return Ok(outcome(client, &scan, found, None));
    }
    let snapshot = upload::upload(client, options, &scan, progress)?;
    let image = register(client, options, &scan, &snapshot, progress)?;
    Ok(image)
}

/// Registers a snapshot as an image: the boot mode of the options, ENA, a TPM 2.0 unless that mode is BIOS, IMDSv2 only, a gp3 root
/// volume that ends with its instance.
///
/// # Errors
/// [`AwsError::NameTaken`] if the name belongs to an image with other contents; errors of AWS.
pub fn register(
    client: &Client,
    options: &AmiOptions,
    scan: &Scan,
    snapshot: &Snapshot,
    progress: &dyn Progress,
) -> Result<AmiOutcome, AwsError> {
    let name = options.image_name(&scan.digest);
    let answer = registration(options, scan, &name, &snapshot.id).send(client, progress);
    let id = match answer {
        Ok(xml) => xml.read(|root| text(root, &["imageId"]).map(shown).ok_or("no imageId"))?,
        // A request that was repeated, or another process.
        Err(e) if e.code() == "InvalidAMIName.Duplicate" => {
            let found = lookup::image_by_name(client, &name, &scan.digest, progress)?;
            found.ok_or(e)?.id
        }
        Err(e) => return Err(e),
    };
    let found = lookup::image_by_id(client, &id, progress)?;
    let found = found.ok_or_else(|| AwsError::Answer { action: "DescribeImages", why: format!("image {id} is not listed") })?;
    let found = available(client, found, progress)?;
    upload::forget(client, options, scan)?;
    Ok(outcome(client, scan, found, Some(snapshot)))
}

fn registration(options: &AmiOptions, scan: &Scan, name: &str, snapshot: &str) -> Form {
    let mode = options.boot_mode();
    let form = Form::new("RegisterImage")
        .set("Name", name)
        .maybe("Description", Some(options.description.as_str()).filter(|d| !d.is_empty()))
        .set("Architecture", options.architecture.as_str())
        .set("VirtualizationType", "hvm")
        .set("BootMode", mode.as_str())
        .set("EnaSupport", "true")
        .set("ImdsSupport", "v2.0")
        // Without UEFI there is none, and AWS refuses the request.
        .maybe("TpmSupport", mode.has_tpm().then_some("v2.0"))
        .set("RootDeviceName", ROOT_DEVICE)
        .set("BlockDeviceMapping.1.DeviceName", ROOT_DEVICE)
        .set("BlockDeviceMapping.1.Ebs.SnapshotId", snapshot)
        .set("BlockDeviceMapping.1.Ebs.VolumeType", VOLUME_TYPE)
        .set("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "true");
    form.tags(1, "image", &options.all_tags(&scan.digest)).fresh()
}

/// Waits until an image can be used.
fn available(client: &Client, image: Image, progress: &dyn Progress) -> Result<Image, AwsError> {
    let what = format!("image {}", image.id);
    lookup::wait(client, progress, &what, || match lookup::image_by_id(client, &image.id, progress)? {
        Some(i) if i.state == "available" => Ok(None),
        Some(i) if i.state == "pending" => Ok(Some(i.state)),
        Some(i) => Err(AwsError::Answer { action: "DescribeImages", why: format!("{what} is {} {}", i.state, i.reason) }),
        None => Err(AwsError::Answer { action: "DescribeImages", why: format!("{what} is not listed") }),
    })?;
    Ok(image)
}

fn outcome(client: &Client, scan: &Scan, image: Image, made: Option<&Snapshot>) -> AmiOutcome {
    AmiOutcome {
        image_id: image.id,
        name: image.name,
        region: client.region().to_owned(),
        digest: scan.digest,
        snapshot_id: made.map(|s| s.id.clone()).or(image.snapshot),
        existing: made.is_none(),
        blocks_sent: made.map_or(0, |s| s.sent),
        blocks_resumed: made.map_or(0, |s| s.resumed),
    }
}

/// What [`make_ami`] would do, without the network: whether AWS has the image already is not known.
///
/// # Errors
/// If the image cannot be read, or an option is wrong.
pub fn plan_ami(target: &Target, options: &AmiOptions, progress: &dyn Progress) -> Result<AmiPlan, AwsError> {
    let (ec2, ebs) = (target.ec2()?, target.ebs()?);
    let scan = scanned(options, progress)?;
    let binding = upload::binding(&target.region, &ebs.base, &scan, options);
    let state = State::load(&options.state_dir, &binding)?;
    let done = state.as_ref().map_or(0, |s| (0..).zip(&scan.blocks).filter(|(p, _)| s.is_done(*p)).count());
    let resumes = state.and_then(|s| s.snapshot);
    let left = (scan.blocks() - done) as u64;
    let mode = options.boot_mode();
    let tpm = if mode.has_tpm() { ", TPM 2.0" } else { "" };
    let mut calls = vec![
        Planned::new("ec2:DescribeImages", 2, "find the image by its name; wait until it is available"),
        Planned::new("ec2:DescribeSnapshots", 2, "find the snapshot; wait until it is completed"),
        Planned::new("ebs:StartSnapshot", u64::from(resumes.is_none()), format!("a volume of {} GiB", binding.gib)),
        Planned::new("ebs:PutSnapshotBlock", left, "512 KiB each"),
        Planned::new("ebs:CompleteSnapshot", 1, "with the checksum of all blocks"),
        Planned::new("ec2:CreateTags", 1, "mark the snapshot as complete"),
        Planned::new("ec2:RegisterImage", 1, format!("{}, ENA{tpm}, IMDSv2", mode.as_str())),
    ];
    calls.retain(|c| c.times > 0);
    Ok(AmiPlan {
        name: options.image_name(&scan.digest),
        region: target.region.clone(),
        ec2_endpoint: ec2.base,
        ebs_endpoint: ebs.base,
        digest: scan.digest,
        image_bytes: scan.size,
        volume_gib: binding.gib,
        blocks: scan.all_blocks(),
        blocks_with_data: scan.blocks() as u64,
        blocks_done: done as u64,
        bytes_to_send: left * BLOCK as u64,
        resumes,
        tags: options.all_tags(&scan.digest),
        calls,
    })
}
