//! The images that the values of a Helm chart enable. Templates are not rendered: what is read are the blocks with
//! `repository` and `tag` or `digest`, as Cilium's charts and most others have them, below keys that are not switched off.

use serde_json::{Map, Value, json};

use super::facts::OPERATOR;
use super::have::Chart;
use super::reference::Reference;

/// Levels of values.
const MAX_DEPTH: usize = 40;
/// Images of one chart.
const MAX_IMAGES: usize = 500;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChartError {
    #[error("values.yaml of chart {chart} cannot be read: {why}")]
    Values { chart: String, why: String },
    #[error("{path} in the values of chart {chart}: {why}")]
    Image { chart: String, path: String, why: String },
    #[error("the values of chart {chart} are nested too deeply, or name more than {MAX_IMAGES} images")]
    TooMany { chart: String },
}

/// An image, and the key that names it: `hubble.ui.backend.image`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub reference: Reference,
    pub path: String,
}

/// What the play controlplane sets in Cilium's values, as far as it decides about images.
pub fn cilium_values() -> Value {
    json!({
        "kubeProxyReplacement": true,
        "encryption": {"enabled": false},
        "hubble": {
            "enabled": true,
            "relay": {"enabled": true},
            "ui": {"enabled": true},
            // Certificates of the method helm end after a year.
            "tls": {"auto": {"enabled": true, "method": "cronJob"}},
        },
    })
}

/// Lays values over others, as Helm does: maps by key, everything else whole. A null, which removes a key for Helm, stays: it names
/// no image, and switches nothing off.
pub fn lay_over(base: &mut Value, more: &Value) {
    match (base, more) {
        (Value::Object(base), Value::Object(more)) => {
            for (key, value) in more {
                lay_over(base.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (base, more) => *base = more.clone(),
    }
}

/// The images of a chart with these values in addition to its own, each once, by the key that names it.
pub fn images(chart: &Chart, values: &Value) -> Result<Vec<Named>, ChartError> {
    let label = format!("{} {}", chart.name, chart.version);
    let own = serde_saphyr::from_str::<Value>(&chart.values);
    let mut all = own.map_err(|e| ChartError::Values { chart: label.clone(), why: first_line(&e.to_string()) })?;
    // A chart may have no values.
    if all.is_null() {
        all = json!({});
    }
    lay_over(&mut all, values);
    let mut look = Look { chart, label, all: &all, found: Vec::new() };
    look.any(&all, &mut Vec::new())?;
    Ok(look.found)
}

/// Errors of the YAML parser show the lines around.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(300).collect()
}

struct Look<'a> {
    chart: &'a Chart,
    label: String,
    all: &'a Value,
    found: Vec<Named>,
}

impl<'a> Look<'a> {
    fn any(&mut self, value: &'a Value, path: &mut Vec<&'a str>) -> Result<(), ChartError> {
        if path.len() > MAX_DEPTH {
            return Err(ChartError::TooMany { chart: self.label.clone() });
        }
        match value {
            Value::Object(map) => self.map(map, path),
            Value::Array(list) => list.iter().try_for_each(|item| self.any(item, path)),
            _ => Ok(()),
        }
    }

    fn map(&mut self, map: &'a Map<String, Value>, path: &mut Vec<&'a str>) -> Result<(), ChartError> {
        if map.get("enabled") == Some(&Value::Bool(false)) || self.is_off(&path.join(".")) {
            return Ok(());
        }
        if let Some(name) = self.block(map, path) {
            self.keep(&name, path.join("."))?;
        }
        for (key, value) in map {
            path.push(key);
            match (key.as_str(), value) {
                // Templates in values are rendered by the chart; nothing can be said about them.
                ("image", Value::String(name)) if !name.is_empty() && !name.contains("{{") => self.keep(name, path.join("."))?,
                _ => self.any(value, path)?,
            }
            path.pop();
        }
        Ok(())
    }

    fn keep(&mut self, name: &str, path: String) -> Result<(), ChartError> {
        let reference = Reference::parse(name);
        let reference = reference.map_err(|why| ChartError::Image { chart: self.label.clone(), path: path.clone(), why })?;
        if self.found.iter().any(|n| n.reference == reference) {
            return Ok(());
        }
        if self.found.len() == MAX_IMAGES {
            return Err(ChartError::TooMany { chart: self.label.clone() });
        }
        self.found.push(Named { reference, path });
        Ok(())
    }

    /// The full name of an image that a block describes; None if the map is not such a block.
    fn block(&self, map: &Map<String, Value>, path: &[&str]) -> Option<String> {
        let text = |key: &str| match map.get(key) {
            Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        let operator = self.chart.name == "cilium" && path == ["operator", "image"];
        let digest_key = if operator { "genericDigest" } else { "digest" };
        let repository = text("repository")?;
        if !map.contains_key("tag") && !map.contains_key(digest_key) {
            return None;
        }
        if let Some(whole) = text("override") {
            return Some(whole);
        }
        let mut name = match text("registry") {
            Some(registry) => format!("{registry}/{repository}"),
            None => repository,
        };
        if operator {
            name.push_str(OPERATOR);
            name.push_str(&text("suffix").unwrap_or_default());
        }
        let digest = text(digest_key).filter(|_| map.get("useDigest") != Some(&Value::Bool(false)));
        // Helm's convention for charts without a tag.
        let tag = text("tag").or_else(|| digest.is_none().then(|| self.chart.app_version.clone()));
        if let Some(tag) = tag.filter(|t| !t.is_empty()) {
            name = format!("{name}:{tag}");
        }
        Some(digest.map_or(name.clone(), |digest| format!("{name}@{digest}")))
    }

    fn at(&self, path: &str) -> Option<&Value> {
        path.split('.').try_fold(self.all, |value, key| value.get(key))
    }

    fn is_true(&self, path: &str) -> bool {
        self.at(path) == Some(&Value::Bool(true))
    }

    fn is(&self, path: &str, word: &str) -> bool {
        self.at(path).and_then(Value::as_str) == Some(word)
    }

    /// Switches of Cilium's templates that are not an `enabled` above the image (templates of 1.18.5, 1.19.0 and 1.20.0).
    fn is_off(&self, path: &str) -> bool {
        if self.chart.name != "cilium" {
            return false;
        }
        match path {
            "certgen" => {
                let hubble = ["hubble.enabled", "hubble.tls.enabled", "hubble.tls.auto.enabled"].iter().all(|p| self.is_true(p))
                    && self.is("hubble.tls.auto.method", "cronJob");
                let mesh =
                    self.is_true("clustermesh.useAPIServer") && self.is("clustermesh.apiserver.tls.auto.method", "cronJob");
                !hubble && !mesh
            }
            "clustermesh.apiserver" => !self.is_true("clustermesh.useAPIServer"),
            "envoy" => self.at("l7Proxy") == Some(&Value::Bool(false)),
            "encryption.ztunnel" => !self.is("encryption.type", "ztunnel"),
            _ => false,
        }
    }
}

#[cfg(test)]
#[path = "chart_tests.rs"]
mod tests;
