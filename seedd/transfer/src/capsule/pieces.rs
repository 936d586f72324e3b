//! A stream of pieces whose sizes and digests are known: the content of a capsule's frames and of an archive.

use anyhow::{Result, ensure};
use cluster_seed::capsule::Piece;
use cluster_seed::ids::Digest;
use sha2::{Digest as _, Sha256};

/// Processes the content while it is read. `index` is the piece's position in the list.
pub trait Sink {
    /// Called at the start of a piece.
    fn begin(&mut self, index: usize, piece: &Piece) -> Result<()>;
    fn data(&mut self, bytes: &[u8]) -> Result<()>;
    /// Called when the piece's size and digest were correct; `index + 1` pieces are complete.
    fn end(&mut self, index: usize, piece: &Piece) -> Result<()>;
}

/// Verifies everything and stores nothing.
pub struct Discard;

impl Sink for Discard {
    fn begin(&mut self, _: usize, _: &Piece) -> Result<()> {
        Ok(())
    }
    fn data(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
    fn end(&mut self, _: usize, _: &Piece) -> Result<()> {
        Ok(())
    }
}

/// Splits the stream into its pieces and verifies each.
pub struct Pieces<'a> {
    pieces: &'a [Piece],
    index: usize,
    left: u64,
    hash: Sha256,
    sink: &'a mut dyn Sink,
}

impl<'a> Pieces<'a> {
    /// The stream continues at piece `done`.
    pub fn new(pieces: &'a [Piece], done: usize, sink: &'a mut dyn Sink) -> Result<Self> {
        let mut open = Pieces { pieces, index: done, left: 0, hash: Sha256::new(), sink };
        open.begin()?;
        Ok(open)
    }

    /// Starts the piece at `index`; empty pieces end immediately.
    fn begin(&mut self) -> Result<()> {
        while let Some(piece) = self.pieces.get(self.index) {
            self.sink.begin(self.index, piece)?;
            self.left = piece.size;
            if self.left > 0 {
                break;
            }
            self.end()?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        let Some(piece) = self.pieces.get(self.index) else { return Ok(()) };
        let found = Digest(std::mem::take(&mut self.hash).finalize().into());
        ensure!(found == piece.sha256, "piece {} has digest {found} instead of {}", self.index, piece.sha256);
        self.sink.end(self.index, piece)?;
        self.index += 1;
        Ok(())
    }

    /// The next bytes of the stream.
    pub fn take(&mut self, mut data: &[u8]) -> Result<()> {
        while !data.is_empty() {
            ensure!(self.index < self.pieces.len(), "there is more content than the list contains");
            let (now, later) = data.split_at(data.len().min(usize::try_from(self.left).unwrap_or(usize::MAX)));
            self.hash.update(now);
            self.sink.data(now)?;
            self.left -= now.len() as u64;
            data = later;
            if self.left == 0 {
                self.end()?;
                self.begin()?;
            }
        }
        Ok(())
    }

    /// After the last byte: every piece must be complete.
    pub fn finish(self) -> Result<()> {
        ensure!(self.index == self.pieces.len(), "the content ends before the last piece");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Log(Vec<String>);

    impl Sink for Log {
        fn begin(&mut self, index: usize, _: &Piece) -> Result<()> {
            self.0.push(format!("+{index}"));
            Ok(())
        }
        fn data(&mut self, bytes: &[u8]) -> Result<()> {
            self.0.push(String::from_utf8_lossy(bytes).into_owned());
            Ok(())
        }
        fn end(&mut self, index: usize, _: &Piece) -> Result<()> {
            self.0.push(format!("-{index}"));
            Ok(())
        }
    }

    fn pieces() -> Vec<Piece> {
        ["", "ab", "", "cde", ""].iter().map(|t| Piece { size: t.len() as u64, sha256: Digest::of(t.as_bytes()) }).collect()
    }

    fn read(done: usize, chunks: &[&str]) -> Result<String> {
        let mut log = Log::default();
        let pieces = pieces();
        let mut open = Pieces::new(&pieces, done, &mut log)?;
        chunks.iter().try_for_each(|c| open.take(c.as_bytes()))?;
        open.finish()?;
        Ok(log.0.join(" "))
    }

    #[test]
    fn pieces_are_cut_wherever_the_stream_is() {
        assert_eq!(read(0, &["abcde"]).unwrap(), "+0 -0 +1 ab -1 +2 -2 +3 cde -3 +4 -4");
        assert_eq!(read(0, &["a", "bc", "", "de"]).unwrap(), "+0 -0 +1 a b -1 +2 -2 +3 c de -3 +4 -4");
        assert_eq!(read(2, &["cde"]).unwrap(), "+2 -2 +3 cde -3 +4 -4");
    }

    #[test]
    fn what_is_not_the_list_is_refused() {
        for (done, chunks) in [(0, &["abcdx"][..]), (0, &["xbcde"]), (0, &["abcd"]), (0, &["abcdef"]), (0, &[]), (5, &["x"])] {
            assert!(read(done, chunks).is_err(), "{chunks:?}");
        }
        assert_eq!(read(5, &[]).unwrap(), "");
    }
}
