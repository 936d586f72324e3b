//! The seed's clock.

use serde::Serialize;

/// HTTP shape of `GET /api/v1/clock`.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ClockView {
    /// Unix milliseconds by the seed's clock.
    pub clock_ms: u64,
    /// What it follows, as text.
    pub source: String,
    /// It follows a time server.
    pub synchronised: bool,
    /// Stratum announced to the nodes (RFC 5905: 1 is best).
    pub stratum: Option<u8>,
    /// Seconds from the source; negative is slow.
    pub offset: Option<f64>,
    /// Parts per million the clock would gain or lose if left alone.
    pub drift: Option<f64>,
    /// Why the time is implausible.
    pub doubt: Option<String>,
}
