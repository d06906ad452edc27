//! What a run tells about the systems it needs.

use std::collections::BTreeSet;

use usersync_connector::Retry;

use crate::error::EngineError;
use crate::job::{Job, JobKind};
use crate::report::{FailedRead, OUT_OF_ORDER, Outcome, ReadOf, RunEnd, RunReport};

/// What a run tells about the systems it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// It was told to end. What a system asked for until then counts all the same.
    Cancelled { retry: Retry },
    /// Nobody may act: it tells nothing.
    Idle,
    /// They fail.
    Trouble { reason: String, retry: Retry },
    /// They work, though one may ask not to be called for a while.
    Well { retry: Retry },
}

/// Judges a run that came to a report: its systems fail if every directory failed, or the target, or the list of containers, or
/// if nothing could be done because the target was out of order. What fails for one member is that member's matter.
pub(crate) fn judge(job: &Job, report: &RunReport) -> Judgement {
    if report.end == RunEnd::Paused {
        return Judgement::Idle;
    }
    let reads = report.failed_reads.iter().map(|read| read.retry);
    let operations = report
        .operations
        .iter()
        .filter_map(|operation| match &operation.outcome {
            Outcome::Failed { retry, .. } => Some(*retry),
            _ => None,
        });
    let retry = reads
        .chain(operations)
        .max_by_key(|retry| wait(*retry))
        .unwrap_or(Retry::Never);
    if report.end == RunEnd::Cancelled {
        return Judgement::Cancelled { retry };
    }
    match failing_read(job, report).or_else(|| failing_target(report)) {
        Some(reason) => Judgement::Trouble { reason, retry },
        None => Judgement::Well { retry },
    }
}

/// Judges a run that came to no report; `None` if that tells nothing about the job's systems, because another worker goes on.
pub(crate) fn judge_error(error: &EngineError) -> Option<Judgement> {
    let (reason, retry) = match error {
        EngineError::Busy(_) | EngineError::LeaseLost(_) => return None,
        EngineError::Connector(error) => (format!("host_{}", error.kind().code()), error.retry()),
        EngineError::NoConnector(_) => ("no_connector".to_owned(), Retry::Later),
        EngineError::Panicked { .. } => ("panicked".to_owned(), Retry::Later),
        EngineError::Store(_) => ("store".to_owned(), Retry::Later),
        _ => ("engine".to_owned(), Retry::Later),
    };
    Some(Judgement::Trouble { reason, retry })
}

/// The error that every pair of collections met, if they all met one.
fn failing_items(report: &RunReport) -> Option<String> {
    let pairs = &report.items.as_ref()?.pairs;
    let first = pairs.first()?.failed_reads.first()?;
    let all = pairs.iter().all(|pair| !pair.failed_reads.is_empty());
    all.then(|| format!("target_{}", first.kind))
}

fn failing_read(job: &Job, report: &RunReport) -> Option<String> {
    let from = match &job.kind {
        JobKind::Members => None,
        // One person's account that cannot be read is no trouble of the system's.
        JobKind::Items(_) => return failing_items(report),
        JobKind::Records(records) => Some(&records.from),
    };
    let code = |place, read: &FailedRead| format!("{place}_{}", read.kind);
    let whole = report.failed_reads.iter().find_map(|read| match &read.what {
        ReadOf::Catalog => Some(code("catalog", read)),
        ReadOf::Target(_) => Some(code("target", read)),
        ReadOf::Source(system) if from == Some(system) => Some(code("source", read)),
        ReadOf::Collection { .. } | ReadOf::Source(_) => None,
    });
    let sources: BTreeSet<_> = report
        .failed_reads
        .iter()
        .filter_map(|read| match &read.what {
            ReadOf::Source(system) => Some(system),
            _ => None,
        })
        .collect();
    let all = !sources.is_empty() && job.sources.iter().all(|system| sources.contains(system));
    let is_source = |read: &&FailedRead| matches!(read.what, ReadOf::Source(_));
    whole.or_else(|| {
        let first = report.failed_reads.iter().find(is_source).filter(|_| all)?;
        Some(code("source", first))
    })
}

/// Why nothing could be done at the target, if nothing could.
fn failing_target(report: &RunReport) -> Option<String> {
    if report
        .operations
        .iter()
        .any(|operation| operation.outcome.is_ok())
    {
        return None;
    }
    report
        .operations
        .iter()
        .find_map(|operation| match &operation.outcome {
            Outcome::Failed { kind, .. } if OUT_OF_ORDER.iter().any(|out| out.code() == *kind) => {
                Some(format!("target_{kind}"))
            }
            Outcome::Indeterminate { kind, .. } => Some(format!("target_{kind}")),
            _ => None,
        })
}

fn wait(retry: Retry) -> Option<std::time::Duration> {
    match retry {
        Retry::After(pause) => Some(pause),
        Retry::Later | Retry::Never => None,
    }
}
