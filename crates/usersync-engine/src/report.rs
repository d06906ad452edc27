//! How a run went.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use usersync_connector::{Error as ConnectorError, ErrorKind, ReadEnd, Retry};
use usersync_model::{
    Completeness, ContainerRef, JobId, OperationId, PartialKind, PartialReason, Subject, SystemId,
};
use usersync_reconcile::Plan;

use crate::history::RunNumber;
use crate::items::ItemReport;
use crate::job::Trigger;

/// How a run went: its plan, and exactly one outcome for each of the plan's operations.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunReport {
    /// The job.
    pub job: JobId,
    /// Which of its runs, in its [history](crate::Engine::history).
    pub run: RunNumber,
    /// What started it.
    pub trigger: Trigger,
    /// How it ended.
    pub end: RunEnd,
    /// Why it [paused](RunEnd::Paused), if it did.
    pub paused: Option<PausedBy>,
    /// Of a job of items: how each pair of collections went, with what waits and what somebody should see to.
    pub items: Option<ItemReport>,
    /// The plan; `None` when the run ended before there was one, and for a job of items.
    pub plan: Option<Plan>,
    /// Operations of earlier runs whose outcome was found out.
    pub recovered: Vec<OperationReport>,
    /// The reads that ended with an error. What they would have shown counts as unknown.
    pub failed_reads: Vec<FailedRead>,
    /// The operations of the plan, each once.
    pub operations: Vec<OperationReport>,
    /// When it began.
    pub started: DateTime<Utc>,
    /// When it ended.
    pub finished: DateTime<Utc>,
}

impl RunReport {
    /// Whether every operation reached what it was to reach, and nothing waits.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        matches!(self.end, RunEnd::Changed | RunEnd::InSync)
    }

    /// How many operations ended like this.
    pub fn count(&self, which: impl Fn(&Outcome) -> bool) -> usize {
        self.operations
            .iter()
            .filter(|operation| which(&operation.outcome))
            .count()
    }
}

/// A read that ended with an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FailedRead {
    /// What was read.
    pub what: ReadOf,
    /// The stable code of the error.
    pub kind: &'static str,
    /// Whether trying again may help, and when.
    pub retry: Retry,
}

/// What is read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReadOf {
    /// The list of containers.
    Catalog,
    /// One collection of records.
    Collection {
        /// Where.
        system: SystemId,
        /// The collection of the target that it is, or fills.
        filling: ContainerRef,
    },
    /// A directory, or another source.
    Source(SystemId),
    /// The members, the records or the accounts, at the target.
    Target(SystemId),
}

impl FailedRead {
    /// The list of containers, read in part for this reason.
    pub(crate) fn catalog(error: Option<&ConnectorError>, end: &ReadEnd) -> Option<Self> {
        Self::cut(ReadOf::Catalog, error, end).or_else(|| {
            let failed =
                matches!(&end.verdict, Completeness::Partial(reason) if reason.kind == PartialKind::Failed);
            failed.then_some(Self {
                what: ReadOf::Catalog,
                kind: "failed",
                retry: Retry::Later,
            })
        })
    }

    pub(crate) fn target(system: &SystemId, error: &ConnectorError) -> Self {
        Self::of(ReadOf::Target(system.clone()), error)
    }

    /// A read that ended by an error, or because the system asked not to be called any more.
    pub(crate) fn cut(what: ReadOf, error: Option<&ConnectorError>, end: &ReadEnd) -> Option<Self> {
        match error {
            Some(error) => Some(Self::of(what, error)),
            None => end.retry.map(|retry| Self {
                what,
                kind: ErrorKind::RateLimited.code(),
                retry,
            }),
        }
    }

    /// A read that did not show everything, whether it says so by an error or by its verdict alone.
    pub(crate) fn partial(
        what: ReadOf,
        error: Option<&ConnectorError>,
        end: &ReadEnd,
        rest: Option<&PartialReason>,
    ) -> Option<Self> {
        Self::cut(what.clone(), error, end).or_else(|| {
            rest.map(|_| Self {
                what,
                kind: "partial",
                retry: Retry::Later,
            })
        })
    }

    fn of(what: ReadOf, error: &ConnectorError) -> Self {
        Self {
            what,
            kind: error.kind().code(),
            retry: error.retry(),
        }
    }
}

/// Whether a system that answers this does not work for anybody.
pub(crate) fn is_out_of_order(kind: ErrorKind) -> bool {
    OUT_OF_ORDER.contains(&kind)
}

/// What a system answers that does not work for anybody.
pub(crate) const OUT_OF_ORDER: [ErrorKind; 4] = [
    ErrorKind::RateLimited,
    ErrorKind::TimedOut,
    ErrorKind::Unauthenticated,
    ErrorKind::Unavailable,
];

impl fmt::Display for RunReport {
    /// One line for the run, and one for each kind of outcome.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.job, self.end)?;
        let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for report in self.recovered.iter().chain(&self.operations) {
            *counts.entry((report.action, report.outcome.code())).or_default() += 1;
        }
        for ((action, outcome), count) in counts {
            write!(f, "\n  {count} × {action}: {outcome}")?;
        }
        let held = self.plan.as_ref().map_or(0, |plan| plan.summary().held);
        if held > 0 {
            write!(f, "\n  {held} held")?;
        }
        Ok(())
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunEnd {
    /// It was told to end; the next run does the rest.
    Cancelled,
    /// It changed something, and all went well.
    Changed,
    /// An operation did not reach what it was to reach.
    Failed,
    /// All went well, and something waits for an approval or for a complete read.
    Held,
    /// There was nothing to do.
    InSync,
    /// Nothing was done: the job waits until somebody sees to it, or until what is missing comes back.
    Paused,
}

impl RunEnd {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Changed => "changed",
            Self::Failed => "failed",
            Self::Held => "held",
            Self::InSync => "in_sync",
            Self::Paused => "paused",
        }
    }
}

impl fmt::Display for RunEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled => "told to end; the next run does the rest",
            Self::Changed => "changed, all well",
            Self::Failed => "something did not reach what it was to reach",
            Self::Held => "all well, and something waits",
            Self::InSync => "in sync, nothing to do",
            Self::Paused => "nothing done, somebody has to see to the job",
        })
    }
}

/// Why a job did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PausedBy {
    /// Nobody may act for it.
    NobodyActs,
    /// The records that it distributes, or the user whose they are, are gone. The copies stay.
    SourceGone,
}

impl PausedBy {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::NobodyActs => "nobody_acts",
            Self::SourceGone => "source_gone",
        }
    }
}

impl fmt::Display for PausedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NobodyActs => "nobody may act for the job; name a new owner or an administrator",
            Self::SourceGone => "the records are gone; name another source, or delete the job",
        })
    }
}

/// How one operation ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OperationReport {
    /// Which operation.
    pub operation: OperationId,
    /// In which container or collection.
    pub container: ContainerRef,
    /// Whose membership, or which record.
    pub subject: Subject,
    /// The stable code of what was to be done.
    pub action: &'static str,
    /// How it ended.
    pub outcome: Outcome,
}

/// How one operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It was done.
    Applied,
    /// It was so already; somebody else did it.
    AlreadySo,
    /// Somebody changed the object since it was read, and keeps it.
    Conflict,
    /// It failed, and had no effect.
    Failed {
        /// The stable code of the connector's error.
        kind: &'static str,
        /// What the connector said.
        message: String,
        /// Whether trying again may help.
        retry: Retry,
    },
    /// Nobody knows whether it had its effect; the next run finds out.
    Indeterminate {
        /// The stable code of what went wrong.
        kind: &'static str,
        /// What the connector said, if it was asked.
        message: String,
    },
    /// It was not begun.
    NotStarted(NotStarted),
    /// The ledger changed since the plan was made; the next run plans it anew.
    Superseded,
}

/// Why an operation was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum NotStarted {
    /// It could not be found out who may act.
    ActorUnknown,
    /// The run was told to end.
    Cancelled,
    /// Its link ended or was suspended meanwhile, or does not cover it any more.
    LinkEnded,
    /// Nobody may act for the container.
    NobodyActs,
    /// The window across runs is used up.
    WindowLimit,
}

impl Outcome {
    /// What an error leaves that tells nothing of the effect.
    pub(crate) fn left_open_by(error: &ConnectorError) -> Self {
        Self::Indeterminate {
            kind: error.kind().code(),
            message: error.message().to_owned(),
        }
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::AlreadySo => "already_so",
            Self::Applied => "applied",
            Self::Conflict => "conflict",
            Self::Failed { .. } => "failed",
            Self::Indeterminate { .. } => "indeterminate",
            Self::NotStarted(NotStarted::ActorUnknown) => "not_started_actor_unknown",
            Self::NotStarted(NotStarted::Cancelled) => "not_started_cancelled",
            Self::NotStarted(NotStarted::LinkEnded) => "not_started_link_ended",
            Self::NotStarted(NotStarted::NobodyActs) => "not_started_nobody_acts",
            Self::NotStarted(NotStarted::WindowLimit) => "not_started_window_limit",
            Self::Superseded => "superseded",
        }
    }

    /// Whether the operation reached what it was to reach.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::AlreadySo | Self::Applied)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadySo => f.write_str("was so already"),
            Self::Applied => f.write_str("done"),
            Self::Conflict => f.write_str("somebody changed it meanwhile; left as it is"),
            Self::Failed { kind, message, .. } => write!(f, "failed: {kind}: {message}"),
            Self::Indeterminate { kind, message } => write!(
                f,
                "not known whether it happened, the next run finds out: {kind}: {message}"
            ),
            Self::NotStarted(NotStarted::ActorUnknown) => {
                f.write_str("not begun: it could not be found out who may act")
            }
            Self::NotStarted(NotStarted::Cancelled) => f.write_str("not begun: the run was told to end"),
            Self::NotStarted(NotStarted::LinkEnded) => {
                f.write_str("not begun: its link ended or was changed meanwhile")
            }
            Self::NotStarted(NotStarted::NobodyActs) => {
                f.write_str("not begun: the owner is gone and no administrator may act")
            }
            Self::NotStarted(NotStarted::WindowLimit) => {
                f.write_str("not begun: too much was removed lately; approve or wait")
            }
            Self::Superseded => f.write_str("another job changed it meanwhile; planned anew next time"),
        }
    }
}
