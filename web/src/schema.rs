//! Shapes of types of other crates in the description of the API. Tests only.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// A word out of a list.
macro_rules! words {
    ($($name:ident: $words:expr;)+) => {$(
        pub struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let words: Vec<String> = $words.iter().map(|w| w.to_string()).collect();
                json_schema!({ "type": "string", "enum": words })
            }
        }
    )+};
}

/// Text of a certain form.
macro_rules! texts {
    ($($name:ident: $pattern:literal;)+) => {$(
        pub struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    )+};
}

words! {
    EnrollmentState: cluster_seed::enrollment::EnrollmentState::ALL.iter().map(|s| s.as_str()).collect::<Vec<_>>();
    Stage: cluster_seed::fleet::Stage::ALL.iter().map(|s| s.as_str()).collect::<Vec<_>>();
    Rights: cluster_seed::people::Rights::ALL;
    Permission: cluster_seed::people::Permission::ALL;
    Approval: ["code", "planned-click"];
    WindowRule: ["always", "manual"];
    Trouble: cluster_seed::trouble::Trouble::ALL.iter().map(|t| t.as_str()).collect::<Vec<_>>();
    Target: cluster_seed::foundry::Target::ALL.iter().map(|t| t.name()).collect::<Vec<_>>();
    ProofState: ["proven", "failed", "unproven"];
    DiskHint: ["any", "smallest", "largest"];
    RunResult: ["running", "ok", "failed"];
    Stand: ["nothing", "waiting", "running", "converged", "outdated", "failed", "unhealthy", "silent"];
    Firmware: ["bios", "uefi"];
    Cause: [
        "no_loader", "no_http_boot", "script_without_ipxe", "url_too_long", "boots_agent", "boots_local_disk", "no_netboot_image",
        "no_such_file", "refused", "client_silent", "too_slow", "replaced", "client_aborted", "socket", "other",
    ];
}

texts! {
    Sha256Hex: "^[0-9a-f]{64}$";
    MacAddress: "^([0-9a-f]{2}:){5}[0-9a-f]{2}$";
    Network: "^[0-9.]+/[0-9]+$";
    Network6: "^[0-9a-f:]+/[0-9]+$";
    TokenName: "^[0-9a-f]{8}$";
    EnrollmentNumber: "^[0-9a-f]{32}$";
}

/// Hardware of a machine as its agent reported it.
#[derive(JsonSchema)]
#[allow(dead_code)]
pub struct HardwareFacts {
    vendor: String,
    product: String,
    serial: String,
    uuid: String,
    firmware: Firmware,
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    firmware_date: Option<String>,
    cpu: String,
    cpus: u32,
    memory_mib: u64,
    disks: Vec<Disk>,
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    disks_left_out: Option<u32>,
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    root_disk: Option<String>,
    nics: Vec<Nic>,
    boot_mac: Option<MacAddress>,
    kernel: String,
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    arch: Option<String>,
}

#[derive(JsonSchema)]
#[allow(dead_code)]
pub struct Disk {
    name: String,
    /// Bytes.
    size: u64,
    model: String,
    serial: String,
    rotational: bool,
    removable: bool,
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    wwn: Option<String>,
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    sector: Option<u32>,
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    part_of: Option<String>,
}

#[derive(JsonSchema)]
#[allow(dead_code)]
pub struct Nic {
    name: String,
    mac: MacAddress,
    driver: String,
    link_up: bool,
    /// Megabits per second.
    speed: Option<u32>,
}

/// A row of the plan.
#[derive(JsonSchema)]
#[allow(dead_code)]
pub struct PlanRow {
    /// Line of the text that it was read from, 1-based.
    line: u64,
    #[schemars(default, skip_serializing_if = "String::is_empty")]
    serial: String,
    #[schemars(default, skip_serializing_if = "Option::is_none", with = "Option<MacAddress>")]
    mac: Option<String>,
    name: String,
    role: String,
    /// `only`, `smallest`, `largest`, `serial:` and a serial number, or a kernel name; `only` if it is missing.
    #[schemars(default, skip_serializing_if = "String::is_empty")]
    disk: String,
    #[schemars(default, skip_serializing_if = "String::is_empty")]
    place: String,
    #[schemars(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
}

/// Something in a plan that cannot be right.
#[derive(JsonSchema)]
#[allow(dead_code)]
pub struct PlanProblem {
    /// 1-based; 0 if it concerns the text as a whole.
    line: u64,
    message: String,
    hint: String,
}
