//! The code that the machine tells to the seed which asks for it, and that the one that was typed is wrong.

use cluster_seed::agent::{ConfirmReply, Mismatch, TellCode};
use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::pairing::PairingCode;
use cluster_seed::seal::Sealed;

use super::{Answer, Lie, State, json};

impl State {
    /// What an operator types: the newest code of the console, unless the machine told it; a rogue has to guess.
    pub(super) fn typed(&self) -> PairingCode {
        if let Some(told) = &self.told_code {
            return told.parse().unwrap();
        }
        let console = std::fs::read_to_string(self.console.as_ref().unwrap()).unwrap();
        let shown = console.lines().rev().find_map(|l| l.trim_end().strip_prefix("kubedos: pairing code "));
        if self.lie == Lie::Guesses { "12-000-000" } else { shown.unwrap() }.parse().unwrap()
    }

    pub(super) fn hear_code(&mut self, body: &[u8]) -> Answer {
        let sealed: Sealed<TellCode> = serde_json::from_slice(body).unwrap();
        let told = sealed.open(&self.node_key()).expect("signed by the node key");
        self.told_code = Some(told.code);
        json(&ConfirmReply { state: self.state })
    }

    pub(super) fn mismatch(&mut self, body: &[u8]) -> Answer {
        let sealed: Sealed<Mismatch> = serde_json::from_slice(body).unwrap();
        sealed.open(&self.node_key()).expect("signed by the node key");
        self.mismatches += 1;
        self.state = EnrollmentState::Denied;
        json(&ConfirmReply { state: self.state })
    }
}
