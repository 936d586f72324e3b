//! What keeps a seed from serving, and what to do about it; and made-up machines that boot from it.

pub mod checks;
pub mod dhcp;
pub mod holders;
pub mod machines_fetch;
pub mod probe_fetch;
pub mod rehearsal;
pub mod tool;

use serde::Serialize;

/// How one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Health {
    Ok,
    /// It serves, yet somebody should act.
    Warn,
    /// It does not serve.
    Bad,
    /// Not looked at; the text says why.
    Skipped,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Stable name.
    pub name: &'static str,
    pub health: Health,
    pub text: String,
    /// What to do; empty where nothing is to be done.
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

/// One line for each, with what to do below.
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
        (0, 0) => "this seed is fit to serve".to_owned(),
        (0, n) => format!("this seed serves; {n} to look at"),
        (n, _) => format!("{n} to mend before this seed serves"),
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_says_how_it_stands() {
        let (good, warn) = (Check::ok("clock", "right"), Check::new("disk", Health::Warn, "slow", "another one"));
        let bad = Check::new("interface", Health::Bad, "down", "ip link set eth1 up");
        assert!(render(std::slice::from_ref(&good)).ends_with("this seed is fit to serve"));
        assert!(render(&[good.clone(), warn.clone()]).ends_with("this seed serves; 1 to look at"));
        let text = render(&[good, warn, bad, Check::skipped("other dhcp", "not told where")]);
        assert!(text.ends_with("1 to mend before this seed serves") && text.contains("ip link set eth1 up"), "{text}");
    }
}
