//! What the cases share.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::hands::{Effort, Hands};
use crate::fleet::{Fleet, PASSWORD, USER};
use crate::simulated::{Rack, Screen};
use crate::stop;

/// Machines of the rack: one for the first node, one for a wrong code, those of the plan, and those of the form for many.
pub const MACHINES: u16 = 2 + PLANNED + MANY;
pub const PLANNED: u16 = 20;
pub const MANY: u16 = 50;
/// The user of the journeys, and the password.
pub const WHO: (&str, &str) = (USER, PASSWORD);
/// From a decision to the machine's answer; the seed and all machines share the processors.
pub const ANSWER: Duration = Duration::from_secs(120);

pub struct Bench<'a> {
    pub fleet: &'a Fleet,
    pub hands: Hands<'a>,
    pub rack: &'a Rack,
    /// What the journeys took.
    pub efforts: Vec<(&'static str, Effort)>,
    pub pictures: Option<&'a Path>,
}

impl Bench<'_> {
    pub fn screen(&self, number: u16) -> Screen {
        self.rack.screens()[usize::from(number) - 1].clone()
    }

    /// Waits until a machine shows a code, other than `not`.
    pub fn code(&self, number: u16, not: &str) -> Result<String> {
        stop::wait_for(&format!("the code of machine {number}"), ANSWER, || {
            Ok(self.screen(number).code.filter(|code| code != not))
        })
    }

    /// Waits until a machine is an installed node, or on its way.
    pub fn joins(&self, number: u16) -> Result<()> {
        stop::wait_for(&format!("machine {number} to join ({:?})", self.screen(number)), ANSWER, || {
            Ok(["Approved", "Issued", "Installing", "Installed"].contains(&self.screen(number).state.as_str()).then_some(()))
        })
    }

    pub fn took(&mut self, journey: &'static str) {
        let effort = self.hands.effort();
        self.efforts.push((journey, effort));
    }

    pub fn is_waiting_for(&self, count: usize) -> Result<()> {
        stop::wait_for(&format!("{count} machines to wait"), ANSWER, || Ok((self.rack.waiting().len() >= count).then_some(())))
    }
}
