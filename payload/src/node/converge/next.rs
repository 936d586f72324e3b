//! What the node does next: a decision from what it holds, without any effect.

use cluster_seed::converge::orders::{HeldBundle, Orders, Run, RunResult};

use super::held::Applied;

#[derive(Debug, PartialEq)]
pub enum Next<'o> {
    Nothing,
    /// Run what the orders allow.
    Run(&'o Run),
    /// The orders allow a run, but a certificate that its plays need is not there yet.
    Wait(&'o Run, String),
    /// Run what succeeded before again: the certificates were renewed.
    Again(&'o Run),
}

/// `missing` names the first certificate that plays need and this node does not have.
pub fn next<'o>(
    orders: Option<&'o Orders>,
    applied: &'o Applied,
    bundle: Option<HeldBundle>,
    missing: &dyn Fn(&[String]) -> Option<String>,
) -> Next<'o> {
    if let Some(run) = orders.and_then(|o| o.run.as_ref()).filter(|run| applied.result(run).is_none()) {
        return match missing(&run.plays) {
            Some(name) => Next::Wait(run, name),
            None => Next::Run(run),
        };
    }
    let well = applied.apply.as_ref().is_some_and(|report| report.result == RunResult::Ok);
    match &applied.good {
        Some(run) if well && bundle.is_some() && bundle != applied.bundle => Next::Again(run),
        _ => Next::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use cluster_seed::converge::orders::{RunMode, RunReport};
    use cluster_seed::ids::{Digest, EnrollmentId};

    use super::*;

    fn run(revision: u8, attempt: u64, mode: RunMode) -> Run {
        Run {
            revision: Digest([revision; 32]),
            attempt,
            mode,
            payload: Digest([9; 32]),
            payload_size: 1,
            role: "r".into(),
            plays: vec!["p".into()],
            vars: [].into(),
            groups: [].into(),
        }
    }

    fn orders(run: Run) -> Orders {
        Orders { enrollment: EnrollmentId([1; 16]), epoch: 1, serial: 1, barriers: vec![], run: Some(run) }
    }

    fn report(run: &Run, result: RunResult) -> RunReport {
        super::super::live::Live::default().report(run, result, "", 1)
    }

    fn bundle(issued: u64) -> Option<HeldBundle> {
        Some(HeldBundle { id: Digest([4; 32]), issued })
    }

    fn decide<'o>(orders: Option<&'o Orders>, applied: &'o Applied, held: Option<HeldBundle>) -> Next<'o> {
        next(orders, applied, held, &|_| None)
    }

    #[test]
    fn every_revision_and_attempt_and_mode_is_run_once() {
        let mut applied = Applied::default();
        assert_eq!(decide(None, &applied, None), Next::Nothing);
        for (revision, attempt, mode) in [
            (1, 0, RunMode::Apply),
            (1, 1, RunMode::Apply),
            (1, 1, RunMode::Check),
            (2, 1, RunMode::Check),
            (2, 1, RunMode::Apply),
            // An operator went back.
            (1, 2, RunMode::Apply),
        ] {
            let wanted = orders(run(revision, attempt, mode));
            let run = wanted.run.as_ref().unwrap();
            assert_eq!(decide(Some(&wanted), &applied, None), Next::Run(run));
            // A failed run is finished too: the seed decides about another attempt.
            applied.finish(run, report(run, RunResult::Failed), None);
            assert_eq!(decide(Some(&wanted), &applied, None), Next::Nothing);
        }
    }

    #[test]
    fn a_run_waits_for_certificates() {
        let (wanted, applied) = (orders(run(1, 0, RunMode::Apply)), Applied::default());
        let found = next(Some(&wanted), &applied, None, &|plays| Some(format!("{}/x", plays[0])));
        assert_eq!(found, Next::Wait(wanted.run.as_ref().unwrap(), "p/x".into()));
    }

    #[test]
    fn renewed_certificates_run_again_what_succeeded_and_only_once() {
        let mut applied = Applied::default();
        let wanted = orders(run(1, 0, RunMode::Apply));
        let first = wanted.run.as_ref().unwrap();
        applied.finish(first, report(first, RunResult::Ok), bundle(1));
        assert_eq!(decide(Some(&wanted), &applied, bundle(1)), Next::Nothing);
        assert_eq!(decide(Some(&wanted), &applied, None), Next::Nothing);
        assert_eq!(decide(Some(&wanted), &applied, bundle(2)), Next::Again(first));
        // Without orders too: the seed may be away.
        assert_eq!(decide(None, &applied, bundle(2)), Next::Again(first));
        applied.finish(first, report(first, RunResult::Failed), bundle(2));
        assert_eq!(decide(Some(&wanted), &applied, bundle(2)), Next::Nothing);
        assert_eq!(decide(Some(&wanted), &applied, bundle(3)), Next::Nothing, "an operator has to look at a failure");
    }

    #[test]
    fn a_check_run_is_reported_once_and_changes_no_result() {
        let mut applied = Applied::default();
        let (real, check) = (run(1, 0, RunMode::Apply), run(1, 1, RunMode::Check));
        applied.finish(&real, report(&real, RunResult::Ok), None);
        applied.finish(&check, report(&check, RunResult::Failed), None);
        assert_eq!(applied.report().unwrap().mode, RunMode::Check);
        applied.check_sent = true;
        assert_eq!((applied.report().unwrap().mode, applied.report().unwrap().result), (RunMode::Apply, RunResult::Ok));
        assert_eq!(applied.good.as_ref(), Some(&real));
        assert_eq!(decide(Some(&orders(check)), &applied, None), Next::Nothing);
    }
}
