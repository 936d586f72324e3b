//! Events about its own work that a command asks the daemon to record. They are for people to read; nothing else depends on them.

use cluster_seed::ids::Hostname;
use serde::{Deserialize, Serialize};

/// What a command began or did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "done", deny_unknown_fields)]
pub enum Note {
    /// A capsule for this age recipient is being written.
    Exporting { recipient: String },
    /// A drill ended, and the lab reported.
    #[serde(rename_all = "camelCase")]
    Drilled {
        /// Label of the first node that was restored.
        node: String,
        seconds: f64,
        target_seconds: f64,
        passed: bool,
    },
    /// A drill ended without a report.
    DrillFailed { why: String },
    /// A node was replaced: seconds from the beginning until each step.
    #[serde(rename_all = "camelCase")]
    NodeReplaced { hostname: Hostname, approved: u64, installed: u64, fabric_ready: u64, healthy: u64 },
}
