//! Names for many machines by a pattern.

use std::collections::BTreeMap;

/// What a pattern may name of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    pub serial: String,
    /// With colons.
    pub mac: String,
    pub place: String,
}

/// The pattern of a form that nobody has changed.
pub const DEFAULT_PATTERN: &str = "node-{n}";
/// Longest pattern, in characters.
pub const MAX_PATTERN: usize = 60;
/// Names that are tried for all machines of one request: each may be a question to the database.
pub const MAX_TRIES: u32 = 20_000;

/// A pattern gives too few free names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pattern {pattern:?} has no free name for each machine: {MAX_TRIES} names were tried")]
pub struct NoName {
    /// As it was used, at most [`MAX_PATTERN`] characters.
    pub pattern: String,
}

/// What is allowed in a label of a host name; runs of everything else become one hyphen.
fn slug(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty());
    words.collect::<Vec<_>>().join("-")
}

/// A name for each machine: `{n}` is the lowest number from 1 whose name is free, `{serial}` the serial number, `{mac}` the last
/// six digits of the MAC address, `{place}` the place. A name that would occur twice gets a number.
///
/// # Errors
/// If after 20,000 names some machine has none.
pub fn suggest(pattern: &str, machines: &[Named], taken: &dyn Fn(&str) -> bool) -> Result<Vec<String>, NoName> {
    let pattern: String = pattern.trim().chars().take(MAX_PATTERN).collect();
    let mut given: Vec<String> = Vec::new();
    // Numbers below were tried for an earlier machine with the same words.
    let mut next: BTreeMap<String, u32> = BTreeMap::new();
    let mut tries = MAX_TRIES;
    for machine in machines {
        let digits: String = machine.mac.chars().filter(char::is_ascii_hexdigit).collect();
        let end = digits.get(digits.len().saturating_sub(6)..).unwrap_or_default();
        let filled = pattern.replace("{serial}", &machine.serial).replace("{mac}", end).replace("{place}", &machine.place);
        let free = |name: &str| !name.is_empty() && name.len() <= 63 && !given.iter().any(|g| g == name) && !taken(name);
        let fixed = Some(slug(&filled)).filter(|name| !filled.contains("{n}") && free(name));
        let numbered = if filled.contains("{n}") { filled } else { format!("{filled}-{{n}}") };
        let name = match fixed {
            Some(name) => name,
            None => {
                let number = next.entry(numbered.clone()).or_insert(1);
                loop {
                    tries = tries.checked_sub(1).ok_or_else(|| NoName { pattern: pattern.clone() })?;
                    let name = slug(&numbered.replace("{n}", &number.to_string()));
                    *number += 1;
                    if free(&name) {
                        break name;
                    }
                }
            }
        };
        given.push(name);
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(serial: &str, place: &str) -> Named {
        Named { serial: serial.into(), mac: "52:54:00:ab:00:0F".into(), place: place.into() }
    }

    #[test]
    fn names_are_free_and_fit_host_names() {
        let two = [machine("SN 1/A", "Hall 2, Rack 7"), machine("", "")];
        let taken = |name: &str| ["node-1", "node-3"].contains(&name);
        for (pattern, names) in [
            (DEFAULT_PATTERN, ["node-2", "node-4"]),
            ("r7u{n}", ["r7u1", "r7u2"]),
            ("{serial}", ["sn-1-a", "1"]),
            ("web-{mac}", ["web-ab000f", "web-ab000f-1"]),
            ("{place}-{n}", ["hall-2-rack-7-1", "1"]),
            ("\u{fc}<script>", ["script", "script-1"]),
            ("", ["1", "2"]),
        ] {
            assert_eq!(suggest(pattern, &two, &taken).unwrap(), names, "{pattern}");
        }
        assert_eq!(suggest(&"x".repeat(MAX_PATTERN + 9), &two, &|_| false).unwrap()[0].len(), MAX_PATTERN);
    }

    #[test]
    fn a_pattern_without_a_free_name_is_refused_after_a_bounded_number_of_tries() {
        let many: Vec<Named> = (0..200).map(|n| machine(&format!("SN{n}"), "")).collect();
        let asked = std::cell::Cell::new(0u32);
        let up_to = |last: u32| {
            let asked = &asked;
            move |name: &str| {
                asked.set(asked.get() + 1);
                name.trim_start_matches("node-").parse().is_ok_and(|n: u32| n <= last)
            }
        };
        // Each number is tried once, however many machines there are.
        let names = suggest(DEFAULT_PATTERN, &many, &up_to(MAX_TRIES - 200)).unwrap();
        assert_eq!((names[0].as_str(), names[199].as_str()), ("node-19801", "node-20000"));
        assert_eq!(asked.replace(0), MAX_TRIES);
        let refused = suggest(DEFAULT_PATTERN, &many, &up_to(MAX_TRIES - 199)).unwrap_err();
        assert_eq!(asked.replace(0), MAX_TRIES);
        assert!(refused.to_string().contains("node-{n}"), "{refused}");
        // Names that are too long are no question to anybody, and no endless loop.
        let long = machine(&"x".repeat(80), "");
        assert!(suggest("{serial}", &[long], &up_to(0)).is_err());
        assert_eq!(asked.get(), 0);
    }
}
