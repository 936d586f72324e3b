//! The enrollment state machine: the only road from a machine to a node.

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

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnrollmentEvent {
    /// The machine opened its commitment.
    Revealed,
    /// The operator typed the right code and chose role and name.
    Approved,
    Denied,
    /// The sealed identity left the seed.
    Issued,
    /// The machine has opened its identity and begun to write.
    InstallBegan,
    InstallDone,
    GatePassed,
    ApplyDone,
    /// The machine or a watchdog gave up.
    Failed,
    /// Nobody acted in time.
    Expired,
    Revoked,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    #[error("an enrollment that is {} cannot be {event:?}", state.as_str())]
    NotNow { state: EnrollmentState, event: EnrollmentEvent },
    #[error("not an enrollment state: {0:?}")]
    Unknown(String),
}

impl EnrollmentState {
    /// The state after `event`, or why it cannot happen now.
    pub fn after(self, event: EnrollmentEvent) -> Result<Self, StateError> {
        use EnrollmentEvent as E;
        use EnrollmentState as S;
        Ok(match (self, event) {
            (S::Discovered, E::Revealed) => S::Pending,
            (S::Pending, E::Approved) => S::Approved,
            (S::Discovered | S::Pending, E::Denied) => S::Denied,
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

    /// True while the holder of the identity is, or may become, a member of the planes.
    pub fn is_member(self) -> bool {
        use EnrollmentState as S;
        matches!(self, S::Approved | S::Issued | S::Installing | S::Installed | S::FabricReady | S::Converged)
    }

    /// True once the disk holds a verified artifact and the machine should boot from it.
    pub fn boots_from_disk(self) -> bool {
        use EnrollmentState as S;
        matches!(self, S::Installed | S::FabricReady | S::Converged)
    }

    /// True if nothing more can happen but a new enrollment.
    pub fn is_final(self) -> bool {
        use EnrollmentState as S;
        matches!(self, S::Denied | S::Revoked | S::Failed | S::Expired)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use EnrollmentEvent as E;
    use EnrollmentState as S;

    const EVENTS: [E; 11] = [
        E::Revealed,
        E::Approved,
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

    #[test]
    fn the_good_road() {
        let road = [E::Revealed, E::Approved, E::Issued, E::InstallBegan, E::InstallDone, E::GatePassed, E::ApplyDone];
        let end = road.iter().try_fold(S::Discovered, |s, e| s.after(*e)).unwrap();
        assert_eq!(end, S::Converged);
    }

    #[test]
    fn an_identity_is_issued_from_approved_only() {
        for state in S::ALL {
            assert_eq!(state.after(E::Issued).is_ok(), *state == S::Approved, "{state:?}");
            assert_eq!(state.after(E::Approved).is_ok(), *state == S::Pending, "{state:?}");
        }
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
