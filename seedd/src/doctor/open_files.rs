//! Whether the daemon may open as many files as its listeners take connections.

use std::fs;

use super::checks::Subject;
use super::{Check, Health};

/// Descriptors that a seed under full load needs: the connections of two listeners, the TFTP transfers of an interface, and files.
pub const NEEDED: u64 = 512 + 512 + 512 + 512;

/// The daemon's limit while it runs, else the one that it would have from here: it raises its own to the hard one.
pub fn open_files(s: &Subject<'_>) -> Check {
    let who = s.pid.filter(|_| s.running).map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    match fs::read_to_string(format!("/proc/{who}/limits")) {
        Ok(limits) => judge(&limits, s.running),
        Err(error) => Check::skipped("open files", format!("the limits of process {who} cannot be read: {error}")),
    }
}

/// proc_pid_limits(5): name, soft limit, hard limit, unit.
fn judge(limits: &str, running: bool) -> Check {
    let name = "open files";
    let line = limits.lines().find_map(|l| l.strip_prefix("Max open files"));
    let mut numbers = line.unwrap_or_default().split_whitespace();
    let mut next = || numbers.next().map(|n| n.parse().unwrap_or(u64::MAX));
    let (Some(soft), Some(hard)) = (next(), next()) else { return Check::skipped(name, "the kernel does not report the limit") };
    let limit = if running { soft } else { hard };
    if limit < NEEDED {
        let text = format!("at most {limit}; {NEEDED} are needed when every place is taken");
        return Check::new(name, Health::Warn, text, "set LimitNOFILE=65536 in the unit, or `ulimit -Hn 65536` before the start");
    }
    Check::ok(name, format!("at most {limit}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_listeners_can_reach_is_told_of() {
        let limits = |soft: &str, hard: &str| {
            format!(
                "Limit                     Soft Limit           Hard Limit           Units     \nMax open files            {soft}                 {hard}                files     \n"
            )
        };
        for (soft, hard, running, health) in [
            ("1024", "1048576", true, Health::Warn),
            ("1024", "1048576", false, Health::Ok),
            ("2047", "2047", true, Health::Warn),
            ("2048", "2048", true, Health::Ok),
            ("1024", "1024", false, Health::Warn),
            ("unlimited", "unlimited", true, Health::Ok),
        ] {
            assert_eq!(judge(&limits(soft, hard), running).health, health, "{soft} {hard} {running}");
        }
        assert_eq!(judge("", true).health, Health::Skipped);
    }
}
