//! The file that lets an upload continue: which snapshot it is, and which blocks are in it. Bound to the image, the region and
//! the endpoint; the account is known by the snapshot.

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use host::files::{PRIVATE, create_dirs, read_limited, write_atomic};
use serde::{Deserialize, Serialize};

use crate::error::AwsError;

/// Of the format below.
const VERSION: u32 = 1;
/// Bytes of a state file. Blocks are sent in order by at most 64 threads, so it holds about as many runs.
const MAX_FILE: u64 = 1 << 20;

/// What an upload is for. Another one has a file of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Binding {
    pub digest: Digest,
    pub size: u64,
    pub gib: u64,
    pub region: String,
    /// Of the EBS direct APIs.
    pub endpoint: String,
    pub encrypted: bool,
    pub kms_key: Option<String>,
}

impl Binding {
    /// Same binding, same digest.
    fn key(&self) -> Digest {
        let text = format!(
            "{}\n{}\n{}\n{}\n{}\n{}\n{}",
            self.digest,
            self.size,
            self.gib,
            self.region,
            self.endpoint,
            self.encrypted,
            self.kms_key.as_deref().unwrap_or_default()
        );
        Digest::of(text.as_bytes())
    }

    /// AWS answers a request with the same token by the same snapshot: a crash before the state was saved leaves no second one.
    pub(crate) fn client_token(&self, attempt: u32) -> String {
        format!("kubedos-{attempt}-{}", self.key())
    }

    pub(crate) fn path(&self, dir: &Utf8Path) -> Utf8PathBuf {
        dir.join(format!("aws-{}-{}.json", self.digest.short(), self.key().short()))
    }
}

/// Progress of one upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct State {
    version: u32,
    #[serde(flatten)]
    pub binding: Binding,
    /// Snapshots of this image that were lost or failed.
    pub attempt: u32,
    pub snapshot: Option<String>,
    /// Account of the snapshot.
    pub account: Option<String>,
    /// Blocks that AWS has, as positions among those that are not zeros: first and last of each run, ascending.
    done: Vec<(u32, u32)>,
    /// All blocks are there, and AWS was asked to complete the snapshot.
    pub completing: bool,
}

impl State {
    pub(crate) fn new(binding: Binding, attempt: u32) -> Self {
        State { version: VERSION, binding, attempt, snapshot: None, account: None, done: Vec::new(), completing: false }
    }

    /// The saved state, or `None`.
    pub(crate) fn load(dir: &Utf8Path, binding: &Binding) -> Result<Option<State>, AwsError> {
        let path = binding.path(dir);
        let bytes = match read_limited(&path, MAX_FILE) {
            Ok(bytes) => bytes,
            Err(e) if e.is_not_found() => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let wrong = |why: String| AwsError::State { path: path.clone(), why };
        let state: State = serde_json::from_slice(&bytes).map_err(|e| wrong(e.to_string()))?;
        if state.version != VERSION {
            return Err(wrong(format!("it has version {}, not {VERSION}", state.version)));
        }
        if state.binding != *binding {
            return Err(wrong("it belongs to another upload".to_owned()));
        }
        let runs = &state.done;
        if runs.iter().any(|(a, b)| a > b) || runs.windows(2).any(|w| w[0].1 >= w[1].0) {
            return Err(wrong("its list of blocks is not in order".to_owned()));
        }
        if state.snapshot.as_deref().is_some_and(|s| !crate::call::ebs::is_snapshot_id(s)) {
            return Err(wrong("it names no snapshot".to_owned()));
        }
        Ok(Some(state))
    }

    pub(crate) fn save(&self, dir: &Utf8Path) -> Result<(), AwsError> {
        create_dirs(dir)?;
        let path = self.binding.path(dir);
        let bytes = serde_json::to_vec(self).map_err(|e| AwsError::State { path: path.clone(), why: e.to_string() })?;
        Ok(write_atomic(&path, &bytes, PRIVATE)?)
    }

    /// No longer needed.
    pub(crate) fn remove(dir: &Utf8Path, binding: &Binding) -> Result<(), AwsError> {
        let path = binding.path(dir);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(host::files::failed("removing", &path)(e).into()),
            _ => Ok(()),
        }
    }

    pub(crate) fn is_done(&self, position: u32) -> bool {
        let after = self.done.partition_point(|(first, _)| *first <= position);
        after > 0 && self.done[after - 1].1 >= position
    }

    pub(crate) fn mark(&mut self, position: u32) {
        if self.is_done(position) {
            return;
        }
        let at = self.done.partition_point(|(first, _)| *first <= position);
        let joins_before = at > 0 && self.done[at - 1].1.checked_add(1) == Some(position);
        let joins_after = self.done.get(at).is_some_and(|(first, _)| position.checked_add(1) == Some(*first));
        match (joins_before, joins_after) {
            (true, true) => {
                self.done[at - 1].1 = self.done[at].1;
                self.done.remove(at);
            }
            (true, false) => self.done[at - 1].1 = position,
            (false, true) => self.done[at].0 = position,
            (false, false) => self.done.insert(at, (position, position)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding() -> Binding {
        Binding {
            digest: Digest::of(b"image"),
            size: 3 << 20,
            gib: 1,
            region: "eu-central-1".to_owned(),
            endpoint: "https://ebs.eu-central-1.amazonaws.com".to_owned(),
            encrypted: false,
            kms_key: None,
        }
    }

    #[test]
    fn marked_blocks_are_kept_as_runs() {
        let mut state = State::new(binding(), 0);
        for index in [5, 3, 4, 0, 9, u32::MAX, 3] {
            state.mark(index);
        }
        assert_eq!(state.done, [(0, 0), (3, 5), (9, 9), (u32::MAX, u32::MAX)]);
        let done: Vec<u32> = (0..12).filter(|i| state.is_done(*i)).collect();
        assert_eq!(done, [0, 3, 4, 5, 9]);
        // In any order the result is the same.
        let mut backwards = State::new(binding(), 0);
        (0..100).rev().chain(100..200).for_each(|i| backwards.mark(i));
        assert_eq!(backwards.done, [(0, 199)]);
    }

    #[test]
    fn a_saved_state_is_read_again_and_is_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap().join("new");
        assert_eq!(State::load(&dir, &binding()).unwrap(), None);
        let mut state = State::new(binding(), 2);
        state.snapshot = Some("snap-1".to_owned());
        state.mark(7);
        state.save(&dir).unwrap();
        assert_eq!(State::load(&dir, &binding()).unwrap(), Some(state));
        assert_eq!(std::fs::metadata(binding().path(&dir)).unwrap().permissions().mode() & 0o777, 0o600);
        State::remove(&dir, &binding()).unwrap();
        State::remove(&dir, &binding()).unwrap();
        assert_eq!(State::load(&dir, &binding()).unwrap(), None);
    }

    #[test]
    fn each_part_of_the_binding_makes_another_upload() {
        let base = binding();
        let others = [
            Binding { digest: Digest::of(b"other"), ..base.clone() },
            Binding { size: 1, ..base.clone() },
            Binding { gib: 2, ..base.clone() },
            Binding { region: "eu-west-1".to_owned(), ..base.clone() },
            Binding { endpoint: "http://127.0.0.1".to_owned(), ..base.clone() },
            Binding { encrypted: true, ..base.clone() },
            Binding { kms_key: Some("arn:1".to_owned()), ..base.clone() },
        ];
        for other in others {
            assert_ne!(other.path(Utf8Path::new("/")), base.path(Utf8Path::new("/")), "{other:?}");
            assert_ne!(other.client_token(0), base.client_token(0));
        }
        assert_ne!(base.client_token(0), base.client_token(1));
        assert_eq!(base.client_token(0), binding().client_token(0));
        assert!(base.client_token(u32::MAX).len() <= 255);
    }

    #[test]
    fn a_damaged_or_foreign_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        let good = serde_json::to_value(State::new(binding(), 0)).unwrap();
        let with = |key: &str, value: serde_json::Value| {
            let mut changed = good.clone();
            changed[key] = value;
            changed.to_string()
        };
        let bad = [
            "{".to_owned(),
            with("version", 2.into()),
            with("region", "eu-west-1".into()),
            with("done", serde_json::json!([[3, 2]])),
            with("done", serde_json::json!([[0, 2], [2, 3]])),
            with("snapshot", "snap-1/..".into()),
        ];
        for text in bad {
            std::fs::write(binding().path(dir), &text).unwrap();
            assert!(matches!(State::load(dir, &binding()), Err(AwsError::State { .. })), "{text}");
        }
        std::fs::write(binding().path(dir), good.to_string()).unwrap();
        assert!(State::load(dir, &binding()).unwrap().is_some());
    }
}
