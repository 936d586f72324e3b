//! The check `time`: chrony follows the seed.

use std::time::Duration;

use cluster_seed::time::{TimeState, parse_tracking};
use host::tool::Tool;

use crate::http::chain;

const LIMIT: Duration = Duration::from_secs(20);
/// Largest difference from the source, in seconds.
const MAX_OFFSET: f64 = 1.0;

/// Asks chrony.
pub fn check() -> Result<String, String> {
    let output = Tool::new("chronyc").args(["-n", "-c", "tracking"]).timeout(LIMIT).run().map_err(|e| chain(&e))?;
    judge(&output.text())
}

fn judge(text: &str) -> Result<String, String> {
    let tracking = parse_tracking(text).ok_or("chronyc printed something else than its tracking")?;
    let words = format!("{:.6} s from {}", tracking.offset.abs(), tracking.source);
    match tracking.state {
        TimeState::Synchronised if tracking.offset.abs() < MAX_OFFSET => Ok(words),
        TimeState::Synchronised => Err(words),
        TimeState::Local => Err("the clock follows no server, only itself".to_owned()),
        TimeState::Unsynchronised => Err("the clock is not synchronised".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: &str, offset: &str, leap: &str) -> String {
        format!("{id},10.78.0.1,9,1764000000.1,{offset},0.0,0.0,1.5,0.0,0.1,0.01,0.02,64.1,{leap}\n")
    }

    #[test]
    fn a_clock_within_a_second_of_a_server_is_well() {
        for (id, offset, leap, ok) in [
            ("0A4E0001", "0.000012", "Normal", true),
            ("0A4E0001", "-0.999999", "Normal", true),
            ("0A4E0001", "-1.000000", "Normal", false),
            ("0A4E0001", "1.000000", "Normal", false),
            ("7F7F0101", "0.000000", "Normal", false),
            ("00000000", "0.000000", "Not synchronised", false),
        ] {
            assert_eq!(judge(&line(id, offset, leap)).is_ok(), ok, "{id} {offset} {leap}");
        }
        assert!(judge("506 Cannot talk to daemon").is_err());
    }
}
