//! Names for many machines by a pattern.

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
/// Numbers that are tried for one machine.
const MAX_TRIES: u32 = 20_000;

/// What is allowed in a label of a host name; runs of everything else become one hyphen.
fn slug(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty());
    words.collect::<Vec<_>>().join("-")
}

/// A name for each machine: `{n}` is the lowest number from 1 whose name is free, `{serial}` the serial number, `{mac}` the last
/// six digits of the MAC address, `{place}` the place. A name that would occur twice gets a number. Empty if there is none.
pub fn suggest(pattern: &str, machines: &[Named], taken: &dyn Fn(&str) -> bool) -> Vec<String> {
    let pattern: String = pattern.trim().chars().take(MAX_PATTERN).collect();
    let mut given: Vec<String> = Vec::new();
    for machine in machines {
        let digits: String = machine.mac.chars().filter(char::is_ascii_hexdigit).collect();
        let end = digits.get(digits.len().saturating_sub(6)..).unwrap_or_default();
        let filled = pattern.replace("{serial}", &machine.serial).replace("{mac}", end).replace("{place}", &machine.place);
        let free = |name: &str| !name.is_empty() && name.len() <= 63 && !given.iter().any(|g| g == name) && !taken(name);
        let fixed = Some(slug(&filled)).filter(|name| !filled.contains("{n}") && free(name));
        let numbered = if filled.contains("{n}") { filled } else { format!("{filled}-{{n}}") };
        let mut tries = (1..=MAX_TRIES).map(|n| slug(&numbered.replace("{n}", &n.to_string())));
        let name = fixed.or_else(|| tries.find(|name| free(name)));
        given.push(name.unwrap_or_default());
    }
    given
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
            assert_eq!(suggest(pattern, &two, &taken), names, "{pattern}");
        }
        assert_eq!(suggest(&"x".repeat(MAX_PATTERN + 9), &two, &|_| false)[0].len(), MAX_PATTERN);
        assert_eq!(suggest(DEFAULT_PATTERN, &two, &|_| true), ["", ""], "no name is free");
    }
}
