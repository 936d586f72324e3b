//! The reference of cluster.yaml: every key with type, unit, default and limit. Tests hold it against the parser.

mod table;

pub use table::KEYS;

/// The keys of one mapping of the file.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// Where it may be: keys joined by dots, `[]` for each entry of a list, `<name>` for a name of the operator's choice.
    pub at: &'static [&'static str],
    pub about: &'static str,
    pub keys: &'static [Key],
}

#[derive(Debug, Clone, Copy)]
pub struct Key {
    pub name: &'static str,
    /// Type, and the unit where there is one.
    pub kind: &'static str,
    /// As YAML, [`REQUIRED`] or [`NONE`].
    pub default: &'static str,
    /// What the parser accepts; empty where the type says it.
    pub limit: &'static str,
    pub about: &'static str,
}

/// A key without a default.
pub const REQUIRED: &str = "required";
/// An optional key that may be left out as a whole.
pub const NONE: &str = "none";

/// `docs/cluster-yaml.md`.
pub fn markdown() -> String {
    let mut text =
        "# Keys of cluster.yaml\n\nMade by `seedd reference cluster-yaml`; do not edit. `seedd init` writes a commented \
        example, `seedd cluster check` checks a file. Unknown keys are errors.\n"
            .to_owned();
    for section in KEYS {
        let title = |at: &&str| if at.is_empty() { "The file".to_owned() } else { format!("`{at}`") };
        text.push_str(&format!("\n## {}\n\n", section.at.first().map(title).unwrap_or_default()));
        if !section.about.is_empty() {
            text.push_str(&format!("{}\n\n", section.about));
        }
        if let Some(also) = section.at.get(1..).filter(|rest| !rest.is_empty()) {
            text.push_str(&format!("The same keys: {}\n\n", also.iter().map(title).collect::<Vec<_>>().join(", ")));
        }
        text.push_str("| Key | Type | Default | Limit | Description |\n|---|---|---|---|---|\n");
        for Key { name, kind, default, limit, about } in section.keys {
            let default = match *default {
                "null" | NONE => "none".to_owned(),
                REQUIRED => "required".to_owned(),
                value => format!("`{value}`"),
            };
            text.push_str(&format!("| `{name}` | {kind} | {default} | {limit} | {about} |\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests;
