//! What is remembered of a run.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use usersync_model::{ContainerRef, Digest, JobId, OperationId, Subject, SystemId};
use usersync_reconcile::{Plan, Summary};
use usersync_store::{Format, Key, Lease};

use crate::error::EngineError;
use crate::job::{Scope, Trigger};
use crate::report::{FailedRead, OperationReport, Outcome, ReadOf, RunEnd, RunReport};

pub(super) const RUN: Format = Format {
    name: "usersync.run",
    version: 1,
};

/// How many failures of one run are listed; the others are counted.
const FAILURES: usize = 20;

/// Which run of a job: rises from run to run, with gaps. It is the fencing token of the lease that the run had, so that no two
/// runs have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunNumber(u64);

impl RunNumber {
    /// The run with this number.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    pub(crate) fn of(lease: &Lease) -> Self {
        Self(lease.token.0)
    }

    /// A part of a key that puts the newest run first.
    fn part(self) -> String {
        format!("{:020}", u64::MAX - self.0)
    }

    /// The run that a key names.
    pub(super) fn of_key(key: &Key) -> Option<Self> {
        let part: u64 = key.parts().nth(2)?.parse().ok()?;
        Some(Self(u64::MAX - part))
    }
}

impl fmt::Display for RunNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Before the keys of every run of a job.
pub(super) fn runs_key(job: &JobId) -> Key {
    Key::of(&["run", job.as_str()])
}

pub(super) fn run_key(job: &JobId, run: RunNumber) -> Key {
    Key::of(&["run", job.as_str(), &run.part()])
}

pub(super) fn plan_key(job: &JobId, run: RunNumber) -> Key {
    Key::of(&["plan", job.as_str(), &run.part()])
}

/// One run of a job, as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RunRecord {
    /// The job.
    pub job: JobId,
    /// Which of its runs.
    pub run: RunNumber,
    /// What started it.
    pub trigger: Trigger,
    /// What it covered.
    pub scope: Scope,
    /// The name of the worker that ran it.
    pub worker: String,
    /// When it began.
    pub started: DateTime<Utc>,
    /// How far it came.
    pub state: RunState,
}

/// How far a run came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunState {
    /// It began, and no end is recorded. It is under way; or it was killed, and no run has ended since.
    Begun,
    /// It came to a report.
    Ended(Box<RunResult>),
    /// It came to no report: nothing could be planned, or a reviewed plan was refused.
    Failed {
        /// When.
        finished: DateTime<Utc>,
        /// The stable code of the error.
        code: String,
        /// What it says, in English.
        message: String,
    },
    /// It was killed, or lost its lease or its store. What it had begun was found out by the run that recorded this.
    Killed {
        /// When that run recorded it.
        noticed: DateTime<Utc>,
    },
}

/// How a run ended that came to a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RunResult {
    /// How.
    pub end: RunEnd,
    /// When.
    pub finished: DateTime<Utc>,
    /// The digest of the plan; `None` when the run ended before there was one.
    pub plan: Option<Digest>,
    /// The digest of what waits for an approval, if something does.
    pub held: Option<Digest>,
    /// What was planned.
    pub summary: Summary,
    /// How many warnings the plan has.
    pub warnings: u64,
    /// How its operations ended, and those of earlier runs whose outcome it found out.
    pub outcomes: Vec<OutcomeCount>,
    /// The reads that ended with an error: the first of them.
    pub failed_reads: Vec<ReadFailure>,
    /// How many others there were.
    #[serde(default)]
    pub more_failed_reads: u64,
    /// The operations that did not reach what they were to reach: the first of them.
    pub failures: Vec<OperationFailure>,
    /// How many others there were.
    pub more_failures: u64,
}

/// How many operations ended alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct OutcomeCount {
    /// The stable code of what was to be done.
    pub action: String,
    /// The stable code of how it ended.
    pub outcome: String,
    /// Whether an earlier run began them.
    pub recovered: bool,
    /// How many.
    pub count: u64,
}

/// A read that ended with an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ReadFailure {
    /// The stable code of what was read: `catalog`, `collection`, `source` or `target`.
    pub what: String,
    /// The system, if it was one.
    pub system: Option<SystemId>,
    /// The stable code of the error.
    pub kind: String,
}

/// An operation that did not reach what it was to reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct OperationFailure {
    /// Which operation.
    pub operation: OperationId,
    /// In which container.
    pub container: ContainerRef,
    /// Whose membership, or which record.
    pub subject: Subject,
    /// The stable code of what was to be done.
    pub action: String,
    /// The stable code of how it ended.
    pub outcome: String,
    /// How it ended, in English. May quote what the target said.
    pub message: String,
}

impl RunRecord {
    /// When the run ended, as far as is known.
    #[must_use]
    pub fn finished(&self) -> Option<DateTime<Utc>> {
        match &self.state {
            RunState::Ended(result) => Some(result.finished),
            RunState::Failed { finished, .. } => Some(*finished),
            RunState::Begun | RunState::Killed { .. } => None,
        }
    }

    /// How the run ended, if it came to a report.
    #[must_use]
    pub fn result(&self) -> Option<&RunResult> {
        match &self.state {
            RunState::Ended(result) => Some(result),
            _ => None,
        }
    }

    /// The stable code of how far it came: that of its [`RunEnd`], or `begun`, `killed`, or that of its error.
    #[must_use]
    pub fn code(&self) -> &str {
        match &self.state {
            RunState::Begun => "begun",
            RunState::Ended(result) => result.end.code(),
            RunState::Failed { code, .. } => code,
            RunState::Killed { .. } => "killed",
        }
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begun => f.write_str("began; its end is not known yet"),
            Self::Ended(result) => result.end.fmt(f),
            Self::Failed { message, .. } => write!(f, "came to no report: {message}"),
            Self::Killed { .. } => f.write_str("killed; a later run found out what it had done"),
        }
    }
}

impl RunState {
    pub(super) fn ended(report: &RunReport) -> Self {
        let plan = report.plan.as_ref();
        let mut counts: BTreeMap<(bool, &str, &str), u64> = BTreeMap::new();
        let reports = [(true, &report.recovered), (false, &report.operations)];
        for (recovered, operations) in reports {
            for operation in operations {
                let kind = (recovered, operation.action, operation.outcome.code());
                *counts.entry(kind).or_default() += 1;
            }
        }
        let count = |((recovered, action, outcome), count): ((bool, &str, &str), u64)| OutcomeCount {
            action: action.to_owned(),
            outcome: outcome.to_owned(),
            recovered,
            count,
        };
        let failed = || {
            report
                .operations
                .iter()
                .filter(|operation| !operation.outcome.is_ok())
        };
        let listed = |plan: &Plan| plan.header().warnings.len() as u64 + plan.header().more_warnings;
        Self::Ended(Box::new(RunResult {
            end: report.end,
            finished: report.finished,
            plan: plan.map(Plan::digest),
            held: plan.and_then(Plan::held_digest),
            summary: plan.map(Plan::summary).unwrap_or_default(),
            warnings: plan.map_or(0, listed),
            outcomes: counts.into_iter().map(count).collect(),
            failed_reads: report
                .failed_reads
                .iter()
                .take(FAILURES)
                .map(ReadFailure::of)
                .collect(),
            more_failed_reads: report.failed_reads.len().saturating_sub(FAILURES) as u64,
            failures: failed().take(FAILURES).map(OperationFailure::of).collect(),
            more_failures: failed().count().saturating_sub(FAILURES) as u64,
        }))
    }

    pub(super) fn failed(error: &EngineError, finished: DateTime<Utc>) -> Self {
        Self::Failed {
            finished,
            code: error.code().to_owned(),
            message: error.to_string(),
        }
    }
}

impl ReadFailure {
    fn of(read: &FailedRead) -> Self {
        let (what, system) = match &read.what {
            ReadOf::Catalog => ("catalog", None),
            ReadOf::Collection { system, .. } => ("collection", Some(system)),
            ReadOf::Source(system) => ("source", Some(system)),
            ReadOf::Target(system) => ("target", Some(system)),
        };
        Self {
            what: what.to_owned(),
            system: system.cloned(),
            kind: read.kind.to_owned(),
        }
    }
}

impl OperationFailure {
    fn of(operation: &OperationReport) -> Self {
        Self {
            operation: operation.operation,
            container: operation.container.clone(),
            subject: operation.subject.clone(),
            action: operation.action.to_owned(),
            outcome: Outcome::code(&operation.outcome).to_owned(),
            message: operation.outcome.to_string(),
        }
    }
}
