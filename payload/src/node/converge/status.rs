//! What `kubedos-node converge --status` prints.

use std::fmt::Write as _;

use cluster_seed::agent::GateCheck;
use cluster_seed::converge::orders::{HeldBundle, Orders, RunMode, RunReport, RunResult};

use super::held::Applied;

/// Everything that is shown.
pub struct Status<'s> {
    pub orders: Option<&'s Orders>,
    pub applied: &'s Applied,
    pub bundle: Option<HeldBundle>,
    pub checks: &'s [GateCheck],
    /// Unix seconds.
    pub now: u64,
}

/// Lines of text, each with a newline.
pub fn text(status: &Status<'_>) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = match status.orders {
        None => writeln!(out, "orders        none yet"),
        Some(orders) => writeln!(out, "orders        epoch {} number {}", orders.epoch, orders.serial),
    };
    for barrier in status.orders.map(|o| o.barriers.as_slice()).unwrap_or_default() {
        let word = if barrier.open { "open" } else { "closed" };
        let _ = writeln!(out, "barrier       {word:6} {}", barrier.detail);
    }
    if let Some(run) = status.orders.and_then(|o| o.run.as_ref()) {
        let _ = writeln!(out, "revision      {} attempt {} ({})", run.revision.short(), run.attempt, mode(run.mode));
        let _ = writeln!(out, "payload       {} ({} bytes)", run.payload.short(), run.payload_size);
        let _ = writeln!(out, "plays         {}: {}", run.role, run.plays.join(", "));
        if status.applied.result(run).is_none() {
            let _ = writeln!(out, "state         not finished");
        }
    }
    for report in [&status.applied.apply, &status.applied.check].into_iter().flatten() {
        result(&mut out, report);
    }
    let _ = match status.bundle {
        None => writeln!(out, "certificates  none"),
        Some(held) => {
            let days = status.now.saturating_sub(held.issued) / 86_400;
            writeln!(out, "certificates  {} issued {days} days ago by the seed's clock", held.id.short())
        }
    };
    for check in status.checks {
        let word = if check.ok { "ok" } else { "FAIL" };
        let _ = writeln!(out, "check         {word:4} {}: {}", check.name, check.detail);
    }
    out
}

fn mode(mode: RunMode) -> &'static str {
    match mode {
        RunMode::Apply => "apply",
        RunMode::Check => "check",
    }
}

fn result(out: &mut String, report: &RunReport) {
    let word = match report.result {
        RunResult::Running => "running",
        RunResult::Ok => "ok",
        RunResult::Failed => "failed",
    };
    let RunReport { revision, attempt, ok, changed, seconds, fetched, .. } = report;
    let _ = writeln!(
        out,
        "{:13} {word}: revision {} attempt {attempt}, {ok} tasks ok, {changed} changed, {seconds} s, {fetched} bytes downloaded",
        format!("last {}", mode(report.mode)),
        revision.short()
    );
    if report.result == RunResult::Failed {
        let _ = writeln!(out, "failed task   {}: {}\nreason        {}", report.play, report.task, report.why);
    }
    for name in &report.would {
        let _ = writeln!(out, "would change  {name}");
    }
}
