//! Replacing the WireGuard keys of nodes, so that nobody loses a plane. What happens next with each key; pure.
//!
//! A node makes its new key itself and says only the public half. WireGuard gives an address to one peer, so members hold both keys
//! and give the addresses to the one that shook hands last ([`crate::peers::PeersFile::peers_at`]). The stages, each in a new version of
//! the signed list:
//!
//! 1. `Asked`: the node is asked for a new key, which it sends with its next report ([`crate::held::Held`]).
//! 2. `Announced`: the list has both keys. Once every node that is not silent holds this list, the node may change over.
//! 3. `Switched`: the list says that the new key counts. The node uses it, and whoever shakes hands with it follows.
//! 4. Once every node holds that list too, the old key leaves the list.
//!
//! One plane at a time, and not all nodes of it at once.

use std::str::FromStr;

use crate::ids::Hostname;

/// Most nodes that change over at once.
pub const AT_ONCE: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Waits for its turn.
    Queued,
    Asked,
    Announced,
    Switched,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a stage of a rotation")]
pub struct UnknownStage(String);

impl Stage {
    pub const ALL: [Stage; 4] = [Stage::Queued, Stage::Asked, Stage::Announced, Stage::Switched];

    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Queued => "queued",
            Stage::Asked => "asked",
            Stage::Announced => "announced",
            Stage::Switched => "switched",
        }
    }
}

impl FromStr for Stage {
    type Err = UnknownStage;

    fn from_str(text: &str) -> Result<Self, UnknownStage> {
        Stage::ALL.into_iter().find(|stage| stage.as_str() == text).ok_or_else(|| UnknownStage(text.to_owned()))
    }
}

/// A key that is being replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    pub node: Hostname,
    pub plane: String,
    pub stage: Stage,
    /// Version of the list that brought this stage.
    pub version: u64,
}

/// A running node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub node: Hostname,
    /// Version of the list that its kernel has, in the seed's epoch.
    pub held: Option<u64>,
    /// It reports nothing: nobody waits for it. It gets the newest list over the boot network when it is back.
    pub silent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Ask the node for its new key.
    Ask,
    /// The new key counts.
    Switch,
    /// The old key leaves the list.
    Finish,
    /// Back to the queue: the node fell silent before it changed over.
    Requeue,
}

/// What happens now, by the index of the turn.
pub fn steps(turns: &[Turn], members: &[Member]) -> Vec<(usize, Step)> {
    let silent = |node: &Hostname| members.iter().find(|m| m.node == *node).is_none_or(|m| m.silent);
    let acknowledged = |version: u64| members.iter().filter(|m| !m.silent).all(|m| m.held.is_some_and(|held| held >= version));
    let step = |turn: &Turn| match turn.stage {
        Stage::Asked | Stage::Announced if silent(&turn.node) => Some(Step::Requeue),
        Stage::Announced if acknowledged(turn.version) => Some(Step::Switch),
        // A node that fell silent may have changed over or not: both keys stay until it says.
        Stage::Switched if !silent(&turn.node) && acknowledged(turn.version) => Some(Step::Finish),
        _ => None,
    };
    let mut all: Vec<(usize, Step)> = turns.iter().enumerate().filter_map(|(i, turn)| Some((i, step(turn)?))).collect();
    let ends = |i: usize| all.iter().any(|(at, step)| *at == i && matches!(step, Step::Finish | Step::Requeue));
    // An agent that holds the list with the request and has not answered is of an earlier version. Its key stays as it is.
    let holds = |turn: &Turn| members.iter().any(|m| m.node == turn.node && m.held.is_some_and(|held| held >= turn.version));
    let mute = |turn: &Turn| turn.stage == Stage::Asked && holds(turn);
    let busy = turns.iter().enumerate().any(|(i, t)| t.stage != Stage::Queued && !silent(&t.node) && !mute(t) && !ends(i));
    if !busy {
        let queued: Vec<(usize, &Turn)> =
            turns.iter().enumerate().filter(|(_, t)| t.stage == Stage::Queued && !silent(&t.node)).collect();
        let plane = queued.iter().map(|(_, turn)| &turn.plane).min();
        let next = queued.iter().filter(|(_, turn)| Some(&turn.plane) == plane).take(AT_ONCE);
        all.extend(next.map(|(i, _)| (*i, Step::Ask)));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(node: &str, plane: &str, stage: Stage, version: u64) -> Turn {
        Turn { node: node.parse().unwrap(), plane: plane.into(), stage, version }
    }

    fn member(node: &str, held: u64) -> Member {
        Member { node: node.parse().unwrap(), held: Some(held), silent: false }
    }

    fn silent(node: &str) -> Member {
        Member { silent: true, ..member(node, 1) }
    }

    #[test]
    fn stages_are_words() {
        for stage in Stage::ALL {
            assert_eq!(stage.as_str().parse::<Stage>(), Ok(stage));
        }
        assert!("Queued".parse::<Stage>().is_err());
    }

    #[test]
    fn a_node_changes_over_when_every_peer_has_its_new_key() {
        let turns = [turn("a", "wg1", Stage::Announced, 5)];
        for (b, c, expected) in [
            (member("b", 5), member("c", 6), vec![(0, Step::Switch)]),
            (member("b", 4), member("c", 6), vec![]),
            (member("b", 5), silent("c"), vec![(0, Step::Switch)]),
            (member("b", 5), Member { held: None, ..member("c", 0) }, vec![]),
        ] {
            assert_eq!(steps(&turns, &[member("a", 5), b, c]), expected);
        }
        assert!(steps(&turns, &[member("a", 4), member("b", 5)]).is_empty(), "nor before it has its own list");
    }

    #[test]
    fn the_old_key_goes_when_every_peer_knows_that_it_may() {
        let turns = [turn("a", "wg1", Stage::Switched, 6)];
        assert_eq!(steps(&turns, &[member("a", 6), member("b", 6)]), [(0, Step::Finish)]);
        assert!(steps(&turns, &[member("a", 6), member("b", 5)]).is_empty());
        assert!(steps(&turns, &[member("a", 5), member("b", 6)]).is_empty(), "it has not changed over");
        assert!(steps(&turns, &[silent("a"), member("b", 6)]).is_empty(), "it may have changed over or not");
    }

    #[test]
    fn a_node_that_fell_silent_waits_again_and_holds_up_nobody() {
        for stage in [Stage::Asked, Stage::Announced] {
            let turns = [turn("a", "wg1", stage, 5), turn("b", "wg1", Stage::Queued, 0)];
            let found = steps(&turns, &[silent("a"), member("b", 5)]);
            assert_eq!(found, [(0, Step::Requeue), (1, Step::Ask)], "{stage:?}");
        }
        let turns = [turn("a", "wg1", Stage::Switched, 5), turn("b", "wg1", Stage::Queued, 0)];
        assert_eq!(steps(&turns, &[silent("a"), member("b", 5)]), [(1, Step::Ask)]);
        assert!(steps(&[turn("a", "wg1", Stage::Queued, 0)], &[silent("a")]).is_empty());
        assert!(steps(&[turn("x", "wg1", Stage::Queued, 0)], &[member("b", 5)]).is_empty(), "a node that does not run yet");
    }

    #[test]
    fn an_agent_that_cannot_answer_holds_up_nobody() {
        let turns = [turn("a", "wg1", Stage::Asked, 5), turn("b", "wg1", Stage::Queued, 0)];
        assert!(steps(&turns, &[member("a", 4), member("b", 5)]).is_empty(), "it has not been asked yet");
        assert_eq!(steps(&turns, &[member("a", 5), member("b", 5)]), [(1, Step::Ask)]);
    }

    #[test]
    fn one_plane_at_a_time_and_not_all_nodes_at_once() {
        let name = |n: usize| format!("n{n:02}");
        let members: Vec<Member> = (0..12).map(|n| member(&name(n), 9)).collect();
        let mut turns: Vec<Turn> = (0..12).map(|n| turn(&name(n), "wg2", Stage::Queued, 0)).collect();
        turns.push(turn("n03", "wg1", Stage::Queued, 0));
        assert_eq!(steps(&turns, &members), [(12, Step::Ask)]);
        turns[12] = turn("n03", "wg1", Stage::Asked, 10);
        assert!(steps(&turns, &members).is_empty(), "wg2 waits for wg1");
        turns.pop();
        let found = steps(&turns, &members);
        assert_eq!(found.len(), AT_ONCE);
        assert!(found.iter().enumerate().all(|(i, step)| *step == (i, Step::Ask)));
        turns[0] = turn("n00", "wg2", Stage::Asked, 10);
        assert!(steps(&turns, &members).is_empty(), "a batch is finished first");
        turns[0] = turn("n00", "wg2", Stage::Switched, 9);
        assert_eq!(steps(&turns, &members).len(), 1 + AT_ONCE, "the next batch begins as the last one ends");
    }
}
