//! How a run of items went.

use std::fmt;

use chrono::{DateTime, Utc};
use usersync_model::{AccountRef, Digest, ItemKind, JobId, ObjectId, OperationId, PrincipalRef, SystemId};
use usersync_reconcile::{HoldCause, What};

use crate::job::Trigger;
use crate::report::{FailedRead, Outcome, RunEnd};

/// How a run of items went: every collection that it worked on, and exactly one outcome for each operation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ItemReport {
    /// The job.
    pub job: JobId,
    /// What started it.
    pub trigger: Trigger,
    /// How it ended.
    pub end: RunEnd,
    /// The pairs of collections, by link and kind.
    pub pairs: Vec<PairReport>,
    /// The links that were not worked on, with the reason.
    pub skipped: Vec<SkippedLink>,
    /// The links that are no more, whose bases were dropped.
    pub forgotten: u64,
    /// When it began.
    pub started: DateTime<Utc>,
    /// When it ended.
    pub finished: DateTime<Utc>,
}

impl ItemReport {
    /// Whether every operation reached what it was to reach, and nothing waits.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        matches!(self.end, RunEnd::Changed | RunEnd::InSync)
    }

    /// Every operation of the run, by link and kind.
    pub fn operations(&self) -> impl Iterator<Item = &ItemOperationReport> {
        self.pairs.iter().flat_map(|pair| &pair.operations)
    }

    pub(super) fn settle(&mut self, cancelled: bool, finished: DateTime<Utc>) {
        self.finished = finished;
        let recovered = self.pairs.iter().any(|pair| !pair.recovered.is_empty());
        self.end = if cancelled {
            RunEnd::Cancelled
        } else if self.pairs.iter().any(PairReport::failed)
            || self.skipped.iter().any(|link| link.why != SkippedWhy::Busy)
        {
            RunEnd::Failed
        } else if self
            .pairs
            .iter()
            .any(|pair| !pair.holds.is_empty() || !pair.findings.is_empty())
        {
            RunEnd::Held
        } else if recovered || self.operations().next().is_some() {
            RunEnd::Changed
        } else {
            RunEnd::InSync
        };
    }
}

/// A link that was not worked on, or not to the end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SkippedLink {
    /// Whose link.
    pub principal: PrincipalRef,
    /// With which account.
    pub account: AccountRef,
    /// Why.
    pub why: SkippedWhy,
}

/// Why a link was not worked on, or not to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SkippedWhy {
    /// Another worker is at it.
    Busy,
    /// Another worker took it over on the way.
    LeaseLost,
    /// What is stored of it cannot be read.
    Unreadable,
}

impl SkippedWhy {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::LeaseLost => "lease_lost",
            Self::Unreadable => "unreadable",
        }
    }
}

impl fmt::Display for SkippedWhy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "another worker is at it",
            Self::LeaseLost => "another worker took it over, and goes on",
            Self::Unreadable => {
                "what is stored of it cannot be read; remove the link, let the job run, and make it again"
            }
        })
    }
}

/// How one kind of items of one link went.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PairReport {
    /// Whose items.
    pub principal: PrincipalRef,
    /// Those of which account on the other side.
    pub account: AccountRef,
    /// Which items.
    pub kind: ItemKind,
    /// Of how many of its items the run looked at what is stored.
    pub reach: ItemReach,
    /// The reads that ended with an error, or in part. What they would have shown counts as unknown.
    pub failed_reads: Vec<FailedRead>,
    /// Operations of earlier runs whose outcome was found out.
    pub recovered: Vec<ItemOperationReport>,
    /// The operations, each once.
    pub operations: Vec<ItemOperationReport>,
    /// What waits, and why.
    pub holds: Vec<HeldItem>,
    /// What an approval of what waits has to name.
    pub held: Option<Digest>,
    /// What waited and was let go, since somebody approved it.
    pub approved: Option<Digest>,
    /// What else somebody should see to.
    pub findings: Vec<ItemFinding>,
}

impl PairReport {
    fn failed(&self) -> bool {
        !self.failed_reads.is_empty() || self.operations.iter().any(|operation| !operation.outcome.is_ok())
    }

    /// Whether nothing is left to see to: each item seen is what its base says.
    pub(super) fn is_settled(&self) -> bool {
        !self.failed() && self.holds.is_empty() && self.findings.is_empty()
    }
}

/// Of how many items a run looked at what is stored, whether or not both sides could be read then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ItemReach {
    /// None: neither side changed.
    Nothing,
    /// Those that changes of both sides can be about. What it takes follows how much changed.
    Touched,
    /// All: a side was read whole, too much changed, it took all to tell what changes mean, or places were not stored yet.
    All,
}

impl ItemReach {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Touched => "touched",
            Self::All => "all",
        }
    }
}

/// How one operation ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ItemOperationReport {
    /// Which operation.
    pub operation: OperationId,
    /// Where.
    pub system: SystemId,
    /// On which item.
    pub uid: ObjectId,
    /// What people call the item; from an untrusted system.
    pub label: String,
    /// The stable code of what was to be done.
    pub action: &'static str,
    /// For a change, the names of the properties that it carries over.
    pub changes: String,
    /// How it ended.
    pub outcome: Outcome,
}

impl fmt::Display for ItemOperationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} on {}", self.action, self.uid, self.system)?;
        if !self.changes.is_empty() {
            write!(f, " ({})", self.changes)?;
        }
        write!(f, ": {}", self.outcome)
    }
}

/// An operation that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldItem {
    /// Where it would be done.
    pub system: SystemId,
    /// To which item.
    pub uid: ObjectId,
    /// What people call the item; from an untrusted system.
    pub label: String,
    /// The stable code of what would be done.
    pub action: &'static str,
    /// Why it waits.
    pub cause: HoldCause,
}

/// Something about an item that somebody should see to. The item is left alone on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ItemFinding {
    /// Which item: its UID, or where it is if it has none that can be read.
    pub item: ObjectId,
    /// Where; `None`: it is about both sides.
    pub system: Option<SystemId>,
    /// What it is.
    pub what: ItemProblem,
}

/// What is the matter with an item.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ItemProblem {
    /// What planning found.
    Found(What),
    /// What an earlier operation did to it cannot be told, since the read was partial.
    Open,
    /// The text is not understood.
    NotUnderstood(String),
    /// It has no UID that can be one.
    NoUid,
    /// It is no item of this collection's kind, but this.
    WrongKind(String),
}

impl ItemProblem {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Found(what) => what.code(),
            Self::Open => "open",
            Self::NotUnderstood(_) => "not_understood",
            Self::NoUid => "no_uid",
            Self::WrongKind(_) => "wrong_kind",
        }
    }
}

impl fmt::Display for ItemProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found(What::Ambiguous) => {
                f.write_str("several items of one side have this UID; nothing is written, so remove or rename all but one")
            }
            Self::Found(What::FacetConflict) => {
                f.write_str("both sides changed the same of it; nothing is written, so make them equal or choose a winner")
            }
            Self::Found(what) => what.fmt(f),
            Self::Open => f.write_str("an earlier operation on it is not known to have ended; the next complete read tells"),
            Self::NotUnderstood(why) => write!(f, "its text is not understood, and left as it is: {}", why.escape_debug()),
            Self::NoUid => f.write_str("its text has no UID by which the other side could know it; give it one"),
            Self::WrongKind(kind) => {
                write!(f, "a {} does not belong into this collection, and is left as it is; move it",
                    kind.escape_debug())
            }
        }
    }
}
