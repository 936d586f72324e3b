//! Which nodes went silent, and which are back. Time counts only while this daemon runs and listens, by the steady clock: after a
//! restart, and after the seed itself was stopped for a while, every node has its full time again.

use cluster_seed::held::SILENT;
use cluster_seed::ids::EnrollmentId;
use site::store::silence::Beat;

use super::Silence;

/// Seconds between two rounds after which the seed, not the nodes, was away. A round comes every 20 s.
const GAP: u64 = 75;

/// What a round found out about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It has not been heard for so many seconds of this daemon's time.
    Silent(u64),
    /// A message came after it was found silent.
    Back,
}

/// What the rounds so far saw.
#[derive(Debug, Default)]
pub struct Beats {
    last: Option<u64>,
    marks: Silence,
}

impl Beats {
    /// The seed does not listen: nothing that it does not hear means anything.
    pub fn pause(&mut self) {
        *self = Beats::default();
    }

    /// Nodes that changed, by their number in `beats`.
    pub fn round(&mut self, beats: &[Beat], steady: u64) -> Vec<(usize, Change)> {
        if self.last.is_none_or(|last| steady.saturating_sub(last) > GAP) {
            self.pause();
        }
        self.last = Some(steady);
        let marks: Vec<(EnrollmentId, u64)> = beats.iter().map(|b| (b.enrollment, b.mark)).collect();
        let unheard = self.marks.of(&marks, steady);
        let change = |beat: &Beat| match beat.silent {
            Some(mark) => (mark != beat.mark).then_some(Change::Back),
            None => unheard.get(&beat.enrollment).filter(|s| **s >= SILENT).map(|s| Change::Silent(*s)),
        };
        beats.iter().enumerate().filter_map(|(n, beat)| Some((n, change(beat)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use cluster_seed::ids::NodeId;

    use super::*;

    fn beat(n: u8, mark: u64, silent: Option<u64>) -> Beat {
        let hostname = format!("n{n}.lab.lan").parse().unwrap();
        Beat { node: NodeId([n; 16]), enrollment: EnrollmentId([n; 16]), machine: n.into(), hostname, mark, heard: 0, silent }
    }

    #[test]
    fn a_node_is_silent_after_the_limit_and_back_with_the_next_message() {
        let mut beats = Beats::default();
        let mut at = 1000;
        let heard = |mark| [beat(1, mark, None), beat(2, 5, None)];
        assert!(beats.round(&heard(1), at).is_empty());
        // The first one goes on, the second one does not.
        for mark in 2.. {
            at += 20;
            let found = beats.round(&heard(mark), at);
            if at < 1000 + SILENT {
                assert!(found.is_empty(), "{at}");
            } else {
                assert_eq!(found, [(1, Change::Silent(at - 1000))]);
                break;
            }
        }
        assert!(beats.round(&[beat(2, 5, Some(5))], at + 20).is_empty(), "it is known to be silent");
        assert_eq!(beats.round(&[beat(2, 6, Some(5))], at + 40), [(0, Change::Back)]);
    }

    #[test]
    fn a_restart_and_a_pause_of_the_seed_are_not_the_nodes_fault() {
        let silent = [beat(1, 5, None)];
        let mut beats = Beats::default();
        beats.round(&silent, 1000);
        assert!(beats.round(&silent, 1000 + SILENT).is_empty(), "the seed was away for as long");
        let mut at = 1000 + SILENT;
        for _ in 0..6 {
            at += 20;
            assert!(beats.round(&silent, at).is_empty());
        }
        beats.pause();
        assert!(beats.round(&silent, at + 40).is_empty());
        // After a restart, what was silent before stays so until it is heard.
        assert!(Beats::default().round(&[beat(1, 5, Some(5))], 9000).is_empty());
        assert_eq!(Beats::default().round(&[beat(1, 6, Some(5))], 9000), [(0, Change::Back)]);
    }
}
