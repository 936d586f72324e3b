//! The enrollment state machine: the only way from a machine to a node.

use serde::{Deserialize, Serialize};

macro_rules! states {
    ($($name:ident = $text:literal),+ $(,)?) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum EnrollmentState { $($name),+ }

        impl EnrollmentState {
            pub const ALL: &'static [EnrollmentState] = &[$(EnrollmentState::$name),+];

            /// The word stored in the database and shown on the page.
            pub fn as_str(self) -> &'static str {
                match self { $(EnrollmentState::$name => $text),+ }
            }
        }

        impl std::str::FromStr for EnrollmentState {
            type Err = StateError;
            fn from_str(s: &str) -> Result<Self, StateError> {
                match s { $($text => Ok(EnrollmentState::$name),)+ _ => Err(StateError::Unknown(s.chars().take(32).collect())) }
            }
        }
    };
}

states! {
    Discovered = "Discovered",
    Pending = "Pending",
    Confirming = "Confirming",
    Approved = "Approved",
    Issued = "Issued",
    Installing = "Installing",
    Installed = "Installed",
    FabricReady = "FabricReady",
    Converged = "Converged",
    Denied = "Denied",
    Revoked = "Revoked",
    Failed = "Failed",
    Expired = "Expired",
}

/// An event of the state machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnrollmentEvent {
    /// The machine sent its keys, its facts and its pairing message.
    Revealed,
    /// The operator entered a code and chose role and name; only the machine can verify the code.
    CodeTyped,
    /// The machine's confirmation was right: it shows this code and knows the decision.
    Confirmed,
    Denied,
    /// The sealed identity was issued.
    Issued,
    /// The machine has opened its identity and started to write.
    InstallBegan,
    InstallDone,
    GatePassed,
    ApplyDone,
    /// The machine reported a failure, or the watchdog gave up.
    Failed,
    /// Not approved in time.
    Expired,
    Revoked,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    #[error("an enrollment in state {} does not allow {event:?}", state.as_str())]
    NotNow { state: EnrollmentState, event: EnrollmentEvent },
    #[error("not an enrollment state: {0:?}")]
    Unknown(String),
}

impl EnrollmentState {
    /// The state after `event`, or an error if it is not allowed.
    pub fn after(self, event: EnrollmentEvent) -> Result<Self, StateError> {
        use EnrollmentEvent as E;
        use EnrollmentState as S;
        Ok(match (self, event) {
            (S::Discovered, E::Revealed) => S::Pending,
            (S::Pending, E::CodeTyped) => S::Confirming,
            (S::Confirming, E::Confirmed) => S::Approved,
            (S::Discovered | S::Pending | S::Confirming, E::Denied) => S::Denied,
            (S::Approved, E::Issued) => S::Issued,
            (S::Issued, E::InstallBegan) => S::Installing,
            (S::Installing, E::InstallDone) => S::Installed,
            (S::Installed, E::GatePassed) => S::FabricReady,
            (S::FabricReady, E::ApplyDone) => S::Converged,
            (S::Issued | S::Installing | S::Installed | S::FabricReady, E::Failed) => S::Failed,
            (S::Discovered | S::Pending | S::Approved, E::Expired) => S::Expired,
            (S::Approved | S::Issued | S::Installing | S::Installed | S::FabricReady | S::Converged | S::Failed, E::Revoked) => {
                S::Revoked
            }
            (state, event) => return Err(StateError::NotNow { state, event }),
        })
    }

    /// True while the machine is, or may become, a member of the planes.
    pub fn is_member(self) -> bool {
        use EnrollmentState as S;
        matches!(self, S::Approved | S::Issued | S::Installing | S::Installed | S::FabricReady | S::Converged)
    }

    /// True once the disk holds a verified artifact and the machine should boot from it.
    pub fn boots_from_disk(self) -> bool {
        use EnrollmentState as S;
        matches!(self, S::Installed | S::FabricReady | S::Converged)
    }

    /// True before the pairing has ended: its public number is in use.
    pub fn is_open(self) -> bool {
        use EnrollmentState as S;
        matches!(self, S::Discovered | S::Pending | S::Confirming)
    }

    /// True if only a new enrollment can follow.
    pub fn is_final(self) -> bool {
        use EnrollmentState as S;
        matches!(self, S::Denied | S::Revoked | S::Failed | S::Expired)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use super::*;
    use EnrollmentEvent as E;
    use EnrollmentState as S;

    const EVENTS: [E; 12] = [
        E::Revealed,
        E::CodeTyped,
        E::Confirmed,
        E::Denied,
        E::Issued,
        E::InstallBegan,
        E::InstallDone,
        E::GatePassed,
        E::ApplyDone,
        E::Failed,
        E::Expired,
        E::Revoked,
    ];

    /// Where a path stands, and what happened on it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    struct Path {
        state: S,
        revealed: u8,
        typed: u8,
        confirmed: u8,
        issued: u8,
    }

    /// Every path from Discovered: each pair of a place reached, and one step further.
    fn explore() -> Vec<(Path, E, Path)> {
        let start = Path { state: S::Discovered, revealed: 0, typed: 0, confirmed: 0, issued: 0 };
        let (mut seen, mut open, mut steps) = (HashSet::from([start]), vec![start], Vec::new());
        while let Some(from) = open.pop() {
            for event in EVENTS {
                let Ok(state) = from.state.after(event) else { continue };
                let count = |n: u8, counted: E| n + u8::from(event == counted);
                let to = Path {
                    state,
                    revealed: count(from.revealed, E::Revealed),
                    typed: count(from.typed, E::CodeTyped),
                    confirmed: count(from.confirmed, E::Confirmed),
                    issued: count(from.issued, E::Issued),
                };
                assert!(seen.len() < 10_000, "a cycle: {to:?}");
                steps.push((from, event, to));
                if seen.insert(to) {
                    open.push(to);
                }
            }
        }
        steps
    }

    #[test]
    fn no_path_issues_twice_and_none_skips_the_confirmation() {
        let steps = explore();
        let reached: HashSet<S> = steps.iter().map(|s| s.2.state).chain([S::Discovered]).collect();
        assert_eq!(reached.len(), S::ALL.len(), "a state is not reached at all");
        for (from, event, to) in steps {
            assert!(to.issued <= 1 && to.confirmed <= 1 && to.typed <= 1 && to.revealed <= 1, "{from:?} {event:?}");
            if to.state.is_member() || to.issued == 1 {
                assert_eq!((to.revealed, to.typed, to.confirmed), (1, 1, 1), "{from:?} {event:?} {to:?}");
            }
            // The only way in.
            if to.state == S::Approved {
                assert_eq!((from.state, event), (S::Confirming, E::Confirmed));
            }
        }
    }

    #[test]
    fn every_state_has_an_exit_and_there_are_no_cycles() {
        for state in S::ALL {
            let (mut seen, mut open) = (HashSet::new(), vec![*state]);
            let mut end = false;
            while let Some(state) = open.pop() {
                end |= state.is_final() || state == S::Converged;
                let next = EVENTS.iter().filter_map(|e| state.after(*e).ok());
                open.extend(next.filter(|s| seen.insert(*s)));
            }
            assert!(end, "{state:?} has no end");
            assert!(!seen.contains(state), "{state:?} leads back to itself");
            // A state that waits for the machine can be ended by an operator or by a timeout.
            let helpless = [E::Denied, E::Expired, E::Revoked, E::Failed];
            assert!(
                state.is_final() || helpless.iter().any(|e| state.after(*e).is_ok()),
                "{state:?} can only be left by the machine"
            );
        }
    }

    #[test]
    fn the_successful_path() {
        let road =
            [E::Revealed, E::CodeTyped, E::Confirmed, E::Issued, E::InstallBegan, E::InstallDone, E::GatePassed, E::ApplyDone];
        let end = road.iter().try_fold(S::Discovered, |s, e| s.after(*e)).unwrap();
        assert_eq!(end, S::Converged);
    }

    #[test]
    fn an_identity_is_issued_from_approved_only() {
        for state in S::ALL {
            assert_eq!(state.after(E::Issued).is_ok(), *state == S::Approved, "{state:?}");
            assert_eq!(state.after(E::Confirmed).is_ok(), *state == S::Confirming, "{state:?}");
            assert_eq!(state.after(E::CodeTyped).is_ok(), *state == S::Pending, "{state:?}");
        }
    }

    #[test]
    fn a_number_is_in_use_until_the_pairing_has_ended() {
        let open: BTreeSet<&str> = S::ALL.iter().filter(|s| s.is_open()).map(|s| s.as_str()).collect();
        assert_eq!(open, BTreeSet::from(["Confirming", "Discovered", "Pending"]));
        assert!(S::ALL.iter().all(|s| !(s.is_open() && (s.is_member() || s.is_final()))));
    }

    #[test]
    fn final_states_allow_nothing_but_the_revocation_of_a_failed_node() {
        for state in S::ALL.iter().filter(|s| s.is_final()) {
            for event in EVENTS {
                let allowed = *state == S::Failed && event == E::Revoked;
                assert_eq!(state.after(event).is_ok(), allowed, "{state:?} {event:?}");
            }
        }
    }

    #[test]
    fn words_round_trip() {
        for state in S::ALL {
            assert_eq!(state.as_str().parse::<S>().unwrap(), *state);
        }
        assert!("pending".parse::<S>().is_err());
    }
}
