//! The EBS direct APIs (Amazon EBS API reference, version 2019-11-02): blocks of 512 KiB, written into a snapshot.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::send::{Call, Client, Service};
use crate::error::AwsError;

/// Bytes of a block. The API has no other size.
pub(crate) const BLOCK: usize = 512 << 10;
/// Minutes without a new block after which AWS cancels a snapshot: the most that the API allows, so that an upload can be resumed
/// after a weekend.
pub(crate) const TIMEOUT_MINUTES: u32 = 4320;

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Tag {
    pub key: String,
    pub value: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct StartSnapshot {
    /// GiB.
    pub volume_size: u64,
    pub description: String,
    pub client_token: String,
    pub tags: Vec<Tag>,
    /// Minutes.
    pub timeout: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encrypted: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key_arn: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Started {
    pub snapshot_id: String,
    /// The account.
    #[serde(default)]
    pub owner_id: String,
    #[serde(default)]
    pub block_size: Option<u64>,
}

/// Ids go into paths.
pub(crate) fn is_snapshot_id(id: &str) -> bool {
    let rest = id.strip_prefix("snap-").unwrap_or_default();
    (1..=40).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// "Linear" aggregation: the SHA-256 of the SHA-256 digests of the written blocks, in the order of their indexes.
pub(crate) fn linear_checksum<'a>(blocks: impl Iterator<Item = &'a Digest>) -> Digest {
    let mut hash = Sha256::new();
    blocks.for_each(|digest| hash.update(digest.0));
    Digest(hash.finalize().into())
}

pub(crate) fn start_snapshot(client: &Client, start: &StartSnapshot, progress: &dyn Progress) -> Result<Started, AwsError> {
    const ACTION: &str = "StartSnapshot";
    let failed = |why: String| AwsError::Answer { action: ACTION, why };
    let body = serde_json::to_vec(start).map_err(|e| failed(e.to_string()))?;
    let call = Call {
        action: ACTION,
        service: Service::Ebs,
        method: "POST",
        path: "/snapshots".to_owned(),
        headers: vec![("content-type", "application/json".to_owned())],
        body: &body,
        payload: None,
        fresh: false,
    };
    let started: Started = serde_json::from_slice(&client.call(&call, progress)?.body).map_err(|e| failed(e.to_string()))?;
    if !is_snapshot_id(&started.snapshot_id) {
        return Err(failed("the snapshot has no usable id".to_owned()));
    }
    // Some servers say it in KiB.
    if started.block_size.is_some_and(|size| size != BLOCK as u64 && size != 512) {
        return Err(failed(format!("blocks have {} bytes, not {BLOCK}", started.block_size.unwrap_or_default())));
    }
    Ok(started)
}

/// `data` has [`BLOCK`] bytes with the sha256 `digest`, which AWS compares.
pub(crate) fn put_block(
    client: &Client,
    snapshot: &str,
    (index, data, digest): (u32, &[u8], Digest),
    progress: &dyn Progress,
) -> Result<(), AwsError> {
    let call = Call {
        action: "PutSnapshotBlock",
        service: Service::Ebs,
        method: "PUT",
        path: format!("/snapshots/{snapshot}/blocks/{index}"),
        headers: vec![
            ("content-type", "application/octet-stream".to_owned()),
            ("x-amz-checksum", STANDARD.encode(digest.0)),
            ("x-amz-checksum-algorithm", "SHA256".to_owned()),
            ("x-amz-data-length", data.len().to_string()),
        ],
        body: data,
        payload: Some(digest),
        fresh: true,
    };
    client.call(&call, progress).map(drop)
}

/// Closes the snapshot. AWS compares the number of blocks and their checksum ([`linear_checksum`]) with what it has.
pub(crate) fn complete_snapshot(
    client: &Client,
    snapshot: &str,
    (blocks, checksum): (usize, Digest),
    progress: &dyn Progress,
) -> Result<(), AwsError> {
    let mut headers = vec![("x-amz-changedblockscount", blocks.to_string())];
    // Of no blocks there is no checksum.
    if blocks > 0 {
        headers.extend([
            ("x-amz-checksum", STANDARD.encode(checksum.0)),
            ("x-amz-checksum-algorithm", "SHA256".to_owned()),
            ("x-amz-checksum-aggregation-method", "LINEAR".to_owned()),
        ]);
    }
    let call = Call {
        action: "CompleteSnapshot",
        service: Service::Ebs,
        method: "POST",
        path: format!("/snapshots/completion/{snapshot}"),
        headers,
        body: b"",
        payload: None,
        fresh: false,
    };
    client.call(&call, progress).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_aggregated_checksum_is_of_the_raw_digests_in_order() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let both = linear_checksum([&a, &b].into_iter());
        assert_eq!(both, Digest::of(&[a.0, b.0].concat()));
        assert_eq!(both.to_string(), "e5a01fee14e0ed5c48714f22180f25ad8365b53f9779f79dc4a3d7e93963f94a");
        assert_ne!(both, linear_checksum([&b, &a].into_iter()));
    }

    #[test]
    fn an_id_that_would_be_another_path_is_refused() {
        for (id, good) in [("snap-0a1b", true), ("snap-", false), ("snap-1/../x", false), ("ami-1", false), ("", false)] {
            assert_eq!(is_snapshot_id(id), good, "{id}");
        }
    }
}
