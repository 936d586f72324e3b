//! The programs that have to accept a snapshot.

use anyhow::Result;

use super::Bench;

pub fn accept(_bench: &Bench) -> Result<()> {
    Ok(())
}

pub fn asks_for_nothing_absent(_bench: &Bench) -> Result<()> {
    Ok(())
}
