use std::panic::resume_unwind;
use std::thread;

use cluster_seed::progress::Progress;
use host::parallel::{cores, try_each};

use crate::Error;
use crate::raw::Raw;

/// Bytes of a piece: a multiple of every format's block that is compressed.
pub(crate) const PIECE: u64 = 1 << 20;
/// Bytes that the last piece is filled up to, with zeros.
pub(crate) const UNIT: u64 = 64 << 10;
/// Pieces per thread between two writes: enough for threads to finish at about the same time.
const PER_THREAD: usize = 8;
/// Most pieces between two writes. Two such batches are in memory at most.
const MAX_BATCH: usize = 32;

/// Offsets of the next pieces that are not only a hole, and where to continue.
fn next_batch(raw: &Raw<'_>, mut at: u64, limit: usize, progress: &dyn Progress) -> Result<(Vec<u64>, u64), Error> {
    let mut batch = Vec::with_capacity(limit);
    while batch.len() < limit && at < raw.size {
        let Some(data) = raw.next_data(at)? else {
            progress.advance(raw.size - at);
            return Ok((batch, raw.size));
        };
        let piece = data - data % PIECE;
        progress.advance(piece - at);
        batch.push(piece);
        at = piece + PIECE;
    }
    Ok((batch, at))
}

/// Calls `work` with the offset and the bytes of every piece of the image that is not only a hole, on all cores, and `write`
/// with the results in their order, on this thread. The bytes are a multiple of [`UNIT`], filled up with zeros.
///
/// While one batch is written, the next one is worked on.
pub(crate) fn in_order<R: Send>(
    raw: &Raw<'_>,
    step: &str,
    progress: &dyn Progress,
    work: impl Fn(u64, &[u8]) -> Result<R, Error> + Sync,
    mut write: impl FnMut(R) -> Result<(), Error>,
) -> Result<(), Error> {
    let threads = cores();
    let limit = (threads * PER_THREAD).min(MAX_BATCH);
    let one = |_, at: &u64| {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        let there = PIECE.min(raw.size - at);
        let mut bytes = vec![0; there.next_multiple_of(UNIT) as usize];
        raw.read(*at, &mut bytes)?;
        let result = work(*at, &bytes)?;
        progress.advance(there);
        Ok(result)
    };
    progress.begin(step, Some(raw.size));
    let mut at = 0;
    let mut ready = Vec::new();
    loop {
        let (batch, next) = next_batch(raw, at, limit, progress)?;
        if batch.is_empty() && ready.is_empty() {
            // A disk of holes has no pieces to ask for.
            if progress.cancelled() {
                return Err(Error::Cancelled);
            }
            progress.end();
            return Ok(());
        }
        let (done, written) = thread::scope(|scope| {
            let running = scope.spawn(|| try_each(threads, &batch, one));
            let written = ready.drain(..).try_for_each(&mut write);
            (running.join().unwrap_or_else(|panic| resume_unwind(panic)), written)
        });
        written?;
        ready = done?;
        at = next;
    }
}
