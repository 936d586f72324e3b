//! What keeps a seed from serving, and what to do about it; and simulated machines that boot from it.

pub mod checks;
pub mod dhcp;
pub mod holders;
pub mod net;
pub mod open_files;
pub mod programs;
pub mod rehearsal;
pub mod tool;

use serde::Serialize;

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Health {
    Ok,
    /// The seed serves, but an operator should act.
    Warn,
    /// The seed does not serve.
    Bad,
    /// Not checked; the text says why.
    Skipped,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Stable name.
    pub name: &'static str,
    pub health: Health,
    pub text: String,
    /// What to do; empty if nothing.
    pub advice: String,
}

impl Check {
    fn new(name: &'static str, health: Health, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Check { name, health, text: text.into(), advice: advice.into() }
    }

    fn ok(name: &'static str, text: impl Into<String>) -> Self {
        Check::new(name, Health::Ok, text, "")
    }

    fn skipped(name: &'static str, why: impl Into<String>) -> Self {
        Check::new(name, Health::Skipped, why, "")
    }
}

/// One line per check, with the advice below it.
pub fn render(checks: &[Check]) -> String {
    let mut out = String::new();
    for c in checks {
        let word = match c.health {
            Health::Ok => "ok",
            Health::Warn => "WARN",
            Health::Bad => "BAD",
            Health::Skipped => "skipped",
        };
        out.push_str(&format!("{word:8}{:12}{}\n", c.name, c.text));
        if !c.advice.is_empty() {
            out.push_str(&format!("{:20}{}\n", "", c.advice));
        }
    }
    let bad = checks.iter().filter(|c| c.health == Health::Bad).count();
    let warn = checks.iter().filter(|c| c.health == Health::Warn).count();
    out.push_str(&match (bad, warn) {
        (0, 0) => "ready to serve".to_owned(),
        (0, n) => format!("ready to serve; {n} {}", if n == 1 { "warning" } else { "warnings" }),
        (n, _) => format!("not ready to serve: {n} {} to fix", if n == 1 { "problem" } else { "problems" }),
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_the_verdict() {
        let (good, warn) = (Check::ok("clock", "right"), Check::new("disk", Health::Warn, "slow", "another one"));
        let bad = Check::new("interface", Health::Bad, "down", "ip link set eth1 up");
        assert!(render(std::slice::from_ref(&good)).ends_with("ready to serve"));
        assert!(render(&[good.clone(), warn.clone()]).ends_with("ready to serve; 1 warning"));
        let text = render(&[good, warn, bad, Check::skipped("other dhcp", "no interface known")]);
        assert!(text.ends_with("not ready to serve: 1 problem to fix") && text.contains("ip link set eth1 up"), "{text}");
    }
}
