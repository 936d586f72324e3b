//! The threads that store leases and then send their ACKs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::limits::Commit;
use super::outbox::Outbox;
use crate::dhcp::leases::LeaseRecord;
use crate::dhcp::responder::Reply;
use crate::why::Why;

/// Most leases stored by one write.
const MAX_GROUP: usize = 4_096;
/// ACKs of one sync that are sent at once. More would overflow the receive buffer of a relay, which receives all of them: a
/// Linux socket with default settings holds about 160.
const BURST: usize = 64;
/// Larger groups are sent this many at a time, spread over as long as their sync took.
const PIECE: usize = 16;
/// Longest delay of an ACK.
const MAX_SPREAD: Duration = Duration::from_millis(100);
/// Most groups waiting to be sent; beyond that the next sync waits.
const MAX_UNSENT: usize = 4;

/// Leases, each with its reply.
pub(crate) type Group = Vec<(LeaseRecord, Option<Reply>)>;

/// The thread that waits for the disk.
pub(crate) struct Committer {
    outbox: Outbox,
    groups: Receiver<Group>,
    commit: Commit,
    /// Leases that were received and not stored yet.
    pending: Arc<AtomicUsize>,
    pacer: SyncSender<(Vec<Reply>, Duration)>,
    /// ACKs that the pacer has not sent yet.
    unsent: Arc<AtomicUsize>,
}

/// The thread that sends the ACKs of a large group while the next group is written.
pub(crate) struct Pacer {
    outbox: Outbox,
    groups: Receiver<(Vec<Reply>, Duration)>,
    unsent: Arc<AtomicUsize>,
}

/// Both threads; each has its own outbox.
pub(crate) fn committer(
    outboxes: [Outbox; 2],
    groups: Receiver<Group>,
    commit: Commit,
    pending: Arc<AtomicUsize>,
) -> (Committer, Pacer) {
    let [outbox, paced] = outboxes;
    let (pacer, unsent) = (sync_channel(MAX_UNSENT), Arc::new(AtomicUsize::new(0)));
    let committer = Committer { outbox, groups, commit, pending, pacer: pacer.0, unsent: unsent.clone() };
    (committer, Pacer { outbox: paced, groups: pacer.1, unsent })
}

impl Committer {
    /// Runs until the other thread has ended; leases it sent before are still stored and answered.
    pub fn run(mut self) {
        while let Ok(mut group) = self.groups.recv() {
            // More leases arrived while the disk was busy: one sync for all of them.
            while group.len() < MAX_GROUP
                && let Ok(more) = self.groups.try_recv()
            {
                group.extend(more);
            }
            let (records, replies): (Vec<_>, Vec<_>) = group.into_iter().unzip();
            let began = Instant::now();
            let result = (self.commit)(&records);
            self.pending.fetch_sub(records.len(), Ordering::Relaxed);
            match result {
                Ok(()) => self.send(replies.into_iter().flatten().collect(), began.elapsed()),
                Err(error) => {
                    let error = format!("writing the lease journal: {error}");
                    for reply in replies {
                        self.outbox.refuse(reply, Why::JournalFailed, Some(error.clone()));
                    }
                }
            }
        }
    }

    fn send(&mut self, replies: Vec<Reply>, took: Duration) {
        if replies.len() <= BURST && self.unsent.load(Ordering::Relaxed) == 0 {
            replies.into_iter().for_each(|r| self.outbox.push(r));
            return self.outbox.flush();
        }
        self.unsent.fetch_add(replies.len(), Ordering::Relaxed);
        // The pacer ends after this thread.
        let _ = self.pacer.send((replies, took));
    }
}

impl Pacer {
    /// Runs until the committer has ended and everything is sent.
    pub fn run(mut self) {
        while let Ok((replies, took)) = self.groups.recv() {
            let gap = gap(replies.len(), took);
            let mut at = Instant::now();
            let mut replies = replies.into_iter().peekable();
            while replies.peek().is_some() {
                std::thread::sleep(at.saturating_duration_since(Instant::now()));
                at += gap;
                let before = replies.len();
                replies.by_ref().take(PIECE).for_each(|r| self.outbox.push(r));
                self.outbox.flush();
                self.unsent.fetch_sub(before - replies.len(), Ordering::Relaxed);
            }
        }
    }
}

/// The pause between two pieces of a group.
fn gap(replies: usize, took: Duration) -> Duration {
    let pieces = u32::try_from(replies.div_ceil(PIECE).max(1)).unwrap_or(u32::MAX);
    took.min(MAX_SPREAD) / pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_groups_acks_are_spread_over_as_long_as_its_sync_took() {
        let ms = Duration::from_millis;
        for (replies, took, wait) in [
            (0, ms(4), ms(4)),
            (1, ms(4), ms(4)),
            (PIECE, ms(4), ms(4)),
            (PIECE + 1, ms(4), ms(2)),
            (64 * PIECE, ms(64), ms(1)),
            (100 * PIECE, Duration::from_secs(5), ms(1)),
        ] {
            assert_eq!(gap(replies, took), wait, "{replies} {took:?}");
        }
    }
}
