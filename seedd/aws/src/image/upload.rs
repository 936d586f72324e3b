//! The upload: a snapshot is started, its blocks are written by several threads, it is completed, and AWS is waited for. Each step
//! is recorded, so that a later run continues.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, PoisonError};

use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;
use host::files::failed;
use host::parallel::try_each;

use super::lookup;
use super::options::{AmiOptions, TAG_COMPLETE};
use super::outcome::Snapshot;
use super::scan::{Block, Scan};
use super::state::{Binding, State};
use crate::call::Client;
use crate::call::ebs::{self, BLOCK, StartSnapshot, TIMEOUT_MINUTES, Tag};
use crate::call::ec2::Form;
use crate::error::{AwsError, FaultKind};

/// Blocks between two writes of the state file: after a crash as many are sent again, 16 MiB.
const SAVE_EVERY: u32 = 32;
/// Snapshots started for one image, the lost ones included.
const MAX_ATTEMPTS: u32 = 8;

/// Blocks done, shared by the threads.
struct Done<'a> {
    state: &'a mut State,
    unsaved: u32,
}

/// What an upload is bound to.
pub(crate) fn binding(region: &str, endpoint: &str, scan: &Scan, options: &AmiOptions) -> Binding {
    Binding {
        digest: scan.digest,
        size: scan.size,
        gib: options.gib(scan.size),
        region: region.to_owned(),
        endpoint: endpoint.to_owned(),
        encrypted: options.encrypted || options.kms_key.is_some(),
        kms_key: options.kms_key.clone(),
    }
}

/// Uploads the blocks of an image into a snapshot, or continues where an earlier run ended; a snapshot that is complete is used
/// as it is. The state file stays until the image is registered.
///
/// # Errors
/// [`AwsError::Cancelled`] if `progress` asks for it: the state is kept. Errors of AWS after the retries. [`AwsError::Changed`] if
/// the image was written to.
pub fn upload(client: &Client, options: &AmiOptions, scan: &Scan, progress: &dyn Progress) -> Result<Snapshot, AwsError> {
    options.check(scan.size)?;
    let binding = binding(client.region(), client.ebs_address(), scan, options);
    let dir = &options.state_dir;
    let mut state = match State::load(dir, &binding)? {
        Some(state) => state,
        None => match lookup::complete_snapshot(client, &binding, scan, progress)? {
            Some(id) => {
                progress.say(&format!("snapshot {id} has this image already"));
                return Ok(Snapshot { id, sent: 0, resumed: scan.blocks() });
            }
            None => State::new(binding, 0),
        },
    };
    let id = open_snapshot(client, options, scan, &mut state, progress)?;
    let before = scan.blocks.iter().zip(0..).filter(|(_, position)| state.is_done(*position)).count();
    if before > 0 {
        progress.say(&format!("continuing snapshot {id}: {before} of {} blocks are there", scan.blocks()));
    }
    send_blocks(client, options, scan, (&id, &mut state), progress)?;
    finish(client, options, scan, (&id, &mut state), progress)?;
    Ok(Snapshot { id, sent: scan.blocks() - before, resumed: before })
}

/// Removes the state file of an upload: what it made is found by its tags from now on.
pub(crate) fn forget(client: &Client, options: &AmiOptions, scan: &Scan) -> Result<(), AwsError> {
    State::remove(&options.state_dir, &binding(client.region(), client.ebs_address(), scan, options))
}

/// The snapshot of the state, if AWS still has it; else a new one.
fn open_snapshot(
    client: &Client,
    options: &AmiOptions,
    scan: &Scan,
    state: &mut State,
    progress: &dyn Progress,
) -> Result<String, AwsError> {
    if let Some(id) = state.snapshot.clone() {
        match lookup::snapshot(client, &id, progress)? {
            Some(found) if !found.is_lost() && state.account.as_ref().is_none_or(|a| *a == found.owner) => return Ok(id),
            _ => {
                progress.say(&format!("the unfinished snapshot {id} is no longer in this account; starting over"));
                *state = State::new(state.binding.clone(), state.attempt + 1);
            }
        }
    }
    let digest = scan.digest;
    let tags = options.all_tags(&digest).into_iter().map(|(key, value)| Tag { key, value }).collect();
    let description = match options.description.as_str() {
        "" => format!("Kubedos {}", options.image_name(&digest)),
        text => text.to_owned(),
    };
    let mut start = StartSnapshot {
        volume_size: state.binding.gib,
        description,
        client_token: String::new(),
        tags,
        timeout: TIMEOUT_MINUTES,
        encrypted: state.binding.encrypted.then_some(true),
        kms_key_arn: options.kms_key.clone(),
    };
    while state.attempt < MAX_ATTEMPTS {
        start.client_token = state.binding.client_token(state.attempt);
        match ebs::start_snapshot(client, &start, progress) {
            Ok(started) => {
                let lost = lookup::snapshot(client, &started.snapshot_id, progress)?.is_some_and(|s| s.is_lost());
                if !lost {
                    state.snapshot = Some(started.snapshot_id.clone());
                    state.account = Some(started.owner_id).filter(|o| !o.is_empty());
                    state.save(&options.state_dir)?;
                    return Ok(started.snapshot_id);
                }
            }
            // The token was used for a snapshot with other tags or another description.
            Err(e) if e.fault() == Some(FaultKind::Conflict) => {}
            Err(e) => return Err(e),
        }
        state.attempt += 1;
    }
    Err(AwsError::Attempts { attempts: state.attempt })
}

fn send_blocks(
    client: &Client,
    options: &AmiOptions,
    scan: &Scan,
    (id, state): (&str, &mut State),
    progress: &dyn Progress,
) -> Result<(), AwsError> {
    let left: Vec<(u32, Block)> =
        (0..).zip(&scan.blocks).filter(|(position, _)| !state.is_done(*position)).map(|(p, b)| (p, *b)).collect();
    if left.is_empty() || state.completing {
        return Ok(());
    }
    let file = File::open(&scan.path).map_err(failed("reading", &scan.path))?;
    progress.begin("upload blocks", Some(left.len() as u64 * BLOCK as u64));
    let done = Mutex::new(Done { state, unsaved: 0 });
    let sent: Result<_, AwsError> = try_each(options.parallel, &left, |_, (position, block)| {
        let data = read_block(&file, scan, *block)?;
        ebs::put_block(client, id, (block.index, &data, block.digest), progress)?;
        progress.advance(BLOCK as u64);
        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
        done.state.mark(*position);
        done.unsaved += 1;
        if done.unsaved >= SAVE_EVERY {
            done.state.save(&options.state_dir)?;
            done.unsaved = 0;
        }
        Ok(())
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    match sent {
        Ok(_) => {
            progress.end();
            done.state.save(&options.state_dir)
        }
        Err(error) if error.fault() == Some(FaultKind::Missing) => {
            // AWS no longer has the snapshot: the next run must not meet it again.
            State::new(done.state.binding.clone(), done.state.attempt + 1).save(&options.state_dir)?;
            Err(error)
        }
        Err(error) => {
            done.state.save(&options.state_dir)?;
            Err(error)
        }
    }
}

/// A block as it was when the image was scanned.
fn read_block(file: &File, scan: &Scan, block: Block) -> Result<Vec<u8>, AwsError> {
    let start = u64::from(block.index) * BLOCK as u64;
    let len = usize::try_from(scan.size.saturating_sub(start)).unwrap_or(BLOCK).min(BLOCK);
    let mut data = vec![0; BLOCK];
    let failed = |source| AwsError::Block { path: scan.path.clone(), index: block.index, source };
    file.read_exact_at(&mut data[..len], start).map_err(failed)?;
    if Digest::of(&data) != block.digest {
        return Err(AwsError::Changed { path: scan.path.clone(), index: block.index });
    }
    Ok(data)
}

/// Completes the snapshot, waits until AWS has, and marks it as ours and whole.
fn finish(
    client: &Client,
    options: &AmiOptions,
    scan: &Scan,
    (id, state): (&str, &mut State),
    progress: &dyn Progress,
) -> Result<(), AwsError> {
    let checksum = ebs::linear_checksum(scan.blocks.iter().map(|b| &b.digest));
    let asked = state.completing;
    if !asked {
        state.completing = true;
        state.save(&options.state_dir)?;
    }
    if let Err(error) = ebs::complete_snapshot(client, id, (scan.blocks(), checksum), progress)
        && !is_underway(client, id, asked, &error, progress)?
    {
        if !matches!(error.fault(), None | Some(FaultKind::Transient | FaultKind::Expired)) {
            state.completing = false;
            state.save(&options.state_dir)?;
        }
        return Err(error);
    }
    if let Err(error) = lookup::wait_for_snapshot(client, id, progress) {
        if matches!(error, AwsError::SnapshotFailed { .. }) {
            State::new(state.binding.clone(), state.attempt + 1).save(&options.state_dir)?;
        }
        return Err(error);
    }
    Form::new("CreateTags")
        .list("ResourceId", &[id])
        .set("Tag.1.Key", TAG_COMPLETE)
        .set("Tag.1.Value", &checksum.to_string())
        .fresh()
        .send(client, progress)
        .map(drop)
}

/// Whether a refused completion was asked for before: by an earlier run, or by a request whose answer was lost.
fn is_underway(client: &Client, id: &str, asked: bool, error: &AwsError, progress: &dyn Progress) -> Result<bool, AwsError> {
    let kind = match error.fault() {
        Some(kind @ (FaultKind::Conflict | FaultKind::Missing | FaultKind::Other)) => kind,
        _ => return Ok(false),
    };
    Ok(lookup::snapshot(client, id, progress)?.is_some_and(|found| match found.state.as_str() {
        "completed" => true,
        "pending" => asked || kind == FaultKind::Conflict,
        _ => false,
    }))
}
