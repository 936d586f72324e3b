//! Machines that are programs: they speak the agent's protocol over HTTP, each from an address of its own, so that a person sees the
//! pages with a fleet. A disk is written in words only, and nothing boots: such a machine ends as an installed node that reports the
//! peer list it holds. It never passes the fabric gate, since it has no planes.

mod life;
pub mod site;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::api::{Client, Decision};
use crate::netns::{BRIDGE, Netns};
use crate::say;

use life::Life;
pub use life::Screen;

/// Most machines of a rack: addresses of 10.45.0.0/24, and what a seed lets wait at the same time.
pub const MAX: u16 = 250;
/// Threads among which the machines are shared.
const THREADS: usize = 4;
/// Between two looks at the same machines.
const ROUND: Duration = Duration::from_millis(500);
/// Machines that run until this is dropped.
pub struct Rack {
    threads: Vec<JoinHandle<Result<()>>>,
    over: Arc<AtomicBool>,
    screens: Arc<Mutex<Vec<Screen>>>,
}

/// The address of a machine, from 1.
fn address(number: u16) -> Ipv4Addr {
    Ipv4Addr::new(10, 45, 0, u8::try_from(number + 1).unwrap_or(u8::MAX))
}

impl Rack {
    /// Switches on `count` machines in the namespace of a seed. `work` is for a short file.
    pub fn start(ns: &Netns, work: &Path, count: u16) -> Result<Self> {
        ensure!((1..=MAX).contains(&count), "1 to {MAX} machines can be simulated, not {count}");
        let batch: String = (1..=count).map(|n| format!("addr add {}/32 dev {BRIDGE}\n", address(n))).collect();
        let file = work.join("simulated.ip");
        std::fs::write(&file, batch).context("writing the addresses of the machines")?;
        ns.ip(&["-batch", &file.to_string_lossy()]).context("giving the machines their addresses")?;
        let over = Arc::new(AtomicBool::new(false));
        let screens = Arc::new(Mutex::new(vec![Screen::default(); count.into()]));
        let mut threads = Vec::new();
        for first in 0..THREADS {
            let own: Vec<u16> = (1..=count).skip(first).step_by(THREADS).collect();
            let (over, screens) = (over.clone(), screens.clone());
            threads.push(ns.spawn(move || run(own, &over, &screens))?);
        }
        Ok(Rack { threads, over, screens })
    }

    /// All screens, by number.
    pub fn screens(&self) -> Vec<Screen> {
        self.screens.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Machines that show a code.
    pub fn waiting(&self) -> Vec<Screen> {
        self.screens().into_iter().filter(|s| s.code.is_some()).collect()
    }

    /// How many machines are in each state, for a line of progress.
    pub fn summary(&self) -> String {
        let mut counts = BTreeMap::<String, usize>::new();
        for screen in self.screens() {
            *counts.entry(screen.state).or_default() += 1;
        }
        counts.into_iter().map(|(state, n)| format!("{n} {state}")).collect::<Vec<_>>().join(", ")
    }

    /// Lines for `seedd machine approve --file`: code, role, name, disk.
    pub fn codes(&self, role: &str) -> String {
        self.waiting().iter().map(|s| format!("{} {role} {} vda\n", s.code.as_deref().unwrap_or(""), name(s.number))).collect()
    }

    /// Approves by the API every machine that shows a code which is not in `used`, and adds it.
    pub fn approve(&self, client: &Client, role: &str, used: &mut BTreeSet<String>) -> Result<()> {
        for screen in self.waiting() {
            let code = screen.code.as_deref().unwrap_or_default();
            // It is shown until the machine has asked for its state.
            if !used.insert(code.to_owned()) {
                continue;
            }
            let decision = Decision { code, role, hostname: &name(screen.number), disk: "vda", replace: false };
            if let Err(error) = client.approve_code(&decision)?.good("approving a simulated machine") {
                // It may have begun again since its screen was read.
                say::line(&format!("{}: {error:#}", name(screen.number)));
            }
        }
        Ok(())
    }
}

/// The host name that the lab gives to a machine.
pub fn name(number: u16) -> String {
    format!("sim{number:03}")
}

impl Drop for Rack {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if let Ok(Err(error)) = thread.join() {
                say::line(&format!("simulated machines: {error:#}"));
            }
        }
    }
}

fn run(numbers: Vec<u16>, over: &AtomicBool, screens: &Mutex<Vec<Screen>>) -> Result<()> {
    let mut lives = numbers.iter().map(|n| Life::new(*n, address(*n))).collect::<Result<Vec<_>>>()?;
    while !over.load(Ordering::Relaxed) {
        for life in &mut lives {
            if over.load(Ordering::Relaxed) {
                return Ok(());
            }
            life.step();
            let screen = life.screen();
            let mut all = screens.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(place) = all.get_mut(usize::from(screen.number) - 1) {
                *place = screen;
            }
        }
        std::thread::sleep(ROUND);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_has_an_address_of_its_own() {
        let all: BTreeSet<_> = (1..=MAX).map(address).collect();
        assert_eq!(all.len(), usize::from(MAX));
        assert_eq!((address(1), address(MAX)), (Ipv4Addr::new(10, 45, 0, 2), Ipv4Addr::new(10, 45, 0, 251)));
        assert_eq!(name(7), "sim007");
    }
}
