//! Why a machine does not become a node: causes that may pass, and causes that a person has to remove.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! troubles {
    ($($(#[$about:meta])* $name:ident $word:literal $retry:literal $hint:literal),+ $(,)?) => {
        /// The cause of a failure, for code. The sentence beside it is for people.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Trouble { $($(#[$about])* $name),+ }

        impl Trouble {
            pub const ALL: &'static [Trouble] = &[$(Trouble::$name),+];

            /// The stable word of the database and the API.
            pub fn as_str(self) -> &'static str {
                match self { $(Trouble::$name => $word),+ }
            }

            /// True if the same attempt may succeed later by itself, so that the machine goes on trying.
            pub fn is_retryable(self) -> bool {
                match self { $(Trouble::$name => $retry),+ }
            }

            /// What a person can do.
            pub fn hint(self) -> &'static str {
                match self { $(Trouble::$name => $hint),+ }
            }
        }
    };
}

troubles! {
    DiskTooSmall "disk-too-small" false "Install a larger disk, or choose a role that needs less.",
    NoDisk "no-disk" false "Check cables and controller; a RAID controller needs a volume first.",
    /// The disk of the order is not there any more, or is another one.
    DiskMissing "disk-missing" false "Correct the disk in the plan, or approve the machine with its form.",
    DiskUnclear "disk-unclear" false "Name the disk in the plan, or write smallest or largest.",
    DiskUnfit "disk-unfit" false "Choose another disk, or format it with sectors of 512 bytes.",
    /// The disk did not keep what was written.
    DiskBroken "disk-broken" false "Replace the disk, and restart the machine.",
    WrongArchitecture "wrong-architecture" false "Add the architecture to spec.architectures in cluster.yaml, and build its images.",
    NoArtifact "no-artifact" false "Build the role's image: seedd image build.",
    /// The identity or a signature did not fit.
    Untrusted "untrusted" false "Restart the machine to enroll it again; look at the event log first.",
    Denied "denied" false "Allow the machine again: seedd enrollment allow, or its page.",
    UnknownRole "unknown-role" false "Correct the role in the plan; roles are in cluster.yaml.",
    NameTaken "name-taken" false "Choose another name, or replace the node that has it.",
    /// The machine is not the one of its row.
    NotAsPlanned "not-as-planned" false "Correct the plan, or approve the machine with its form.",
    /// The image could not be fetched, however often it was tried.
    Network "network" false "Check the machine's link and the seed, and restart the machine.",
    /// The code was entered, and the machine has confirmed it or is about to.
    Sealed "sealed" true "Unseal the seed.",
    /// The machine stopped reporting.
    Silent "silent" false "Look at its console, and restart it to enroll it again.",
    /// The external inventory says that this machine is not one of the site's.
    InventoryRefused "inventory-refused" false "Correct the inventory, or approve the machine with its form.",
    /// The external inventory has not answered.
    InventoryWaits "inventory-waits" true "Wait for the inventory, or approve the machine with its form.",
    Other "other" false "Read the reason, and restart the machine to enroll it again.",
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a cause of a failure")]
pub struct UnknownTrouble;

impl FromStr for Trouble {
    type Err = UnknownTrouble;

    fn from_str(word: &str) -> Result<Self, UnknownTrouble> {
        Trouble::ALL.iter().find(|t| t.as_str() == word).copied().ok_or(UnknownTrouble)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Trouble {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

/// A word of a later version is [`Trouble::Other`].
impl<'de> Deserialize<'de> for Trouble {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(String::deserialize(d)?.parse().unwrap_or(Trouble::Other))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_word_is_its_own_and_round_trips_and_every_trouble_says_what_to_do() {
        let words: BTreeSet<&str> = Trouble::ALL.iter().map(|t| t.as_str()).collect();
        assert_eq!(words.len(), Trouble::ALL.len());
        for trouble in Trouble::ALL {
            assert_eq!(trouble.as_str().parse(), Ok(*trouble));
            assert!(trouble.hint().ends_with('.') && trouble.hint().len() < 100, "{trouble}");
            let json = serde_json::to_string(trouble).unwrap();
            assert_eq!(serde_json::from_str::<Trouble>(&json).unwrap(), *trouble);
        }
        assert_eq!(serde_json::from_str::<Trouble>("\"of-next-year\"").unwrap(), Trouble::Other);
        assert!("of-next-year".parse::<Trouble>().is_err());
    }

    #[test]
    fn what_only_a_person_can_mend_is_not_tried_again() {
        let retried: BTreeSet<&str> = Trouble::ALL.iter().filter(|t| t.is_retryable()).map(|t| t.as_str()).collect();
        assert_eq!(retried, BTreeSet::from(["sealed", "inventory-waits"]));
    }
}
