//! Stages: coarser than the states of the enrollment, and with the nodes that are silent.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::enrollment::EnrollmentState;

macro_rules! stages {
    ($($name:ident $word:literal $title:literal $glyph:literal $tone:literal,)+) => {
        /// Where a machine is in its life, in the order in which a healthy one passes through.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum Stage { $($name),+ }

        impl Stage {
            pub const ALL: &'static [Stage] = &[$(Stage::$name),+];

            /// The word in addresses, in JSON and in the database.
            pub fn as_str(self) -> &'static str {
                match self { $(Stage::$name => $word),+ }
            }

            /// The word on pages.
            pub fn title(self) -> &'static str {
                match self { $(Stage::$name => $title),+ }
            }

            /// Its shape, so that it is not known by colour alone.
            pub fn glyph(self) -> &'static str {
                match self { $(Stage::$name => $glyph),+ }
            }

            /// The style of its colour: `idle`, `wait`, `busy`, `good` or `bad`.
            pub fn tone(self) -> &'static str {
                match self { $(Stage::$name => $tone),+ }
            }
        }
    };
}

stages! {
    Seen "seen" "Seen" "\u{25cc}" "idle",
    Waiting "waiting" "Waiting" "\u{25d4}" "wait",
    Installing "installing" "Installing" "\u{25d1}" "busy",
    Joining "joining" "Joining" "\u{25d5}" "busy",
    Working "working" "Working" "\u{25cf}" "good",
    Silent "silent" "Silent" "\u{25b2}" "bad",
    Failed "failed" "Failed" "\u{2715}" "bad",
    Ended "ended" "Ended" "\u{25cb}" "idle",
}

/// No stage has this word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a stage; stages are seen, waiting, installing, joining, working, silent, failed and ended")]
pub struct NoStage;

impl Stage {
    /// The stage of a machine whose enrollment is in this state, `None` if it has none; `silent` if it is a running node that
    /// has not been heard for [`crate::held::SILENT`] seconds.
    pub fn of(state: Option<EnrollmentState>, silent: bool) -> Self {
        use EnrollmentState as S;
        match state {
            None | Some(S::Discovered) => Stage::Seen,
            Some(S::Pending) => Stage::Waiting,
            Some(S::Confirming | S::Approved | S::Issued | S::Installing) => Stage::Installing,
            Some(S::FabricReady | S::Converged) if silent => Stage::Silent,
            Some(S::Installed | S::FabricReady) => Stage::Joining,
            Some(S::Converged) => Stage::Working,
            Some(S::Failed) => Stage::Failed,
            Some(S::Denied | S::Revoked | S::Expired) => Stage::Ended,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Stage {
    type Err = NoStage;

    fn from_str(word: &str) -> Result<Self, NoStage> {
        Stage::ALL.iter().find(|s| s.as_str() == word).copied().ok_or(NoStage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_a_stage_and_only_running_nodes_are_silent() {
        for state in EnrollmentState::ALL {
            let running = matches!(state, EnrollmentState::FabricReady | EnrollmentState::Converged);
            assert_eq!(Stage::of(Some(*state), true) == Stage::Silent, running, "{state:?}");
            assert_ne!(Stage::of(Some(*state), false), Stage::Silent, "{state:?}");
        }
        assert_eq!(Stage::of(None, true), Stage::Seen);
    }

    #[test]
    fn words_and_glyphs_are_their_own() {
        let of = |f: fn(Stage) -> &'static str| Stage::ALL.iter().map(|s| f(*s)).collect::<std::collections::BTreeSet<_>>();
        assert_eq!((of(Stage::as_str).len(), of(Stage::glyph).len()), (Stage::ALL.len(), Stage::ALL.len()));
        for stage in Stage::ALL {
            assert_eq!(stage.as_str().parse(), Ok(*stage));
            assert_eq!(serde_json::to_string(stage).unwrap(), format!("\"{stage}\""));
        }
        assert_eq!("Working".parse::<Stage>(), Err(NoStage));
    }
}
