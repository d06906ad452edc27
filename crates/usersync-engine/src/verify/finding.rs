//! What a comparison of the ledger with the target shows.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use usersync_model::{
    ContainerRef, JobId, MemberFacets, OperationId, Origin, PartialReason, PrincipalRef, Subject, visible,
};

/// What a comparison of a job's ledger rows with its target showed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verification {
    /// The job.
    pub job: JobId,
    /// When it began, by the engine's clock.
    pub at: DateTime<Utc>,
    /// The rows that the job claims, each counted once.
    pub rows: RowCounts,
    /// How many rows of the target name jobs that do not exist, by job: whoever else claims them.
    pub unknown_jobs: BTreeMap<JobId, u64>,
    /// How many operations of the job were begun and not ended.
    pub open_intents: u64,
    /// What was found: open intents, then unknown jobs, then discrepancies in ascending order of their containers. Of each of the
    /// three at most [`Options::findings`](crate::Options::findings); the counts are exact all the same.
    pub findings: Vec<Discrepancy>,
}

/// How many rows are how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RowCounts {
    /// The target shows what they say.
    pub agreed: u64,
    /// The member is there with another role or state than was last agreed, which runs may leave so.
    pub differing: u64,
    /// The member or record is not there.
    pub missing: u64,
    /// The container, or the list of containers, was read in part.
    pub unknown: u64,
    /// The host does not list the container any more.
    pub unlisted: u64,
    /// They seemed wrong, and changed meanwhile or have an open intent: what they will say is not decided.
    pub unsettled: u64,
}

/// Something that the ledger and the target do not agree on, or that keeps them from being compared.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Discrepancy {
    /// A member has another role or state than was last agreed. Where somebody changed it at the target, runs leave it so, and it is
    /// found again.
    FacetsDiffer {
        /// In which container.
        container: ContainerRef,
        /// Who.
        principal: PrincipalRef,
        /// What the ledger says.
        agreed: MemberFacets,
        /// What the target shows.
        present: MemberFacets,
    },
    /// The target does not have a container.
    MissingContainer {
        /// Which.
        container: ContainerRef,
        /// How many rows say that it has members.
        rows: u64,
    },
    /// The target does not show a member or a record.
    Missing {
        /// In which container or collection.
        container: ContainerRef,
        /// Who or what.
        subject: Subject,
        /// Who put it there, as the ledger says.
        origin: Origin,
    },
    /// An operation was begun, and it is not on record how it ended.
    OpenIntent {
        /// Which operation.
        operation: OperationId,
        /// In which container.
        container: ContainerRef,
        /// Whose membership, or which record.
        subject: Subject,
        /// The stable code of its effect.
        effect: &'static str,
        /// When it was first attempted.
        since: DateTime<Utc>,
    },
    /// Rows name a job that does not exist.
    UnknownJob {
        /// Which.
        job: JobId,
        /// How many rows.
        rows: u64,
    },
    /// The host does not list a container any more.
    UnlistedContainer {
        /// Which.
        container: ContainerRef,
        /// How many rows say that it has members.
        rows: u64,
    },
    /// A container was read in part.
    UnreadContainer {
        /// Which.
        container: ContainerRef,
        /// How many rows say that it has members that were not seen.
        rows: u64,
        /// Why they were not.
        reason: PartialReason,
    },
}

impl Verification {
    /// Whether everything was seen, and all of it is as the ledger says. Not so while an operation is under way.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        self.rows.total() == self.rows.agreed && self.open_intents == 0 && self.unknown_jobs.is_empty()
    }
}

impl RowCounts {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        let Self {
            agreed,
            differing,
            missing,
            unknown,
            unlisted,
            unsettled,
        } = self;
        agreed + differing + missing + unknown + unlisted + unsettled
    }
}

impl Discrepancy {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::FacetsDiffer { .. } => "facets_differ",
            Self::MissingContainer { .. } => "missing_container",
            Self::Missing { subject, .. } => match subject {
                Subject::Principal(_) => "missing_member",
                Subject::Record(_) => "missing_record",
            },
            Self::OpenIntent { .. } => "open_intent",
            Self::UnknownJob { .. } => "unknown_job",
            Self::UnlistedContainer { .. } => "unlisted_container",
            Self::UnreadContainer { .. } => "unread_container",
        }
    }
}

impl fmt::Display for Verification {
    /// One line for the counts, and one for each finding that is listed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RowCounts { agreed, .. } = self.rows;
        write!(
            f,
            "{}: {agreed} of {} rows are at the target as the ledger says",
            self.job,
            self.rows.total()
        )?;
        for finding in &self.findings {
            write!(f, "\n  {finding}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Discrepancy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FacetsDiffer {
                container,
                principal,
                agreed,
                present,
            } => {
                let MemberFacets { role, state } = present;
                write!(
                    f,
                    "{principal} in {container} is {role}, {state}, and was agreed to be {}, {}; the next run carries what the source changed, and keeps \
                     what was changed at the target",
                    agreed.role, agreed.state
                )
            }
            Self::MissingContainer { container, rows } => write!(
                f,
                "{container} is not at the target, and {rows} rows say what is in it; make it anew, or take it out of the list"
            ),
            Self::Missing {
                container,
                subject,
                origin,
            } => {
                let whose = match origin {
                    Origin::Foreign => "somebody else",
                    Origin::Ours => "a job",
                };
                write!(
                    f,
                    "{subject} is not in {container}, where {whose} put it; the next run restores or forgets it"
                )
            }
            Self::OpenIntent {
                operation,
                container,
                subject,
                effect,
                since,
            } => write!(
                f,
                "{effect} of {subject} in {container} was begun on {since} and did not end (operation {operation}); the next run finds out"
            ),
            Self::UnknownJob { job, rows } => write!(
                f,
                "{rows} rows are claimed by job {job}, which does not exist; save it again and let it release them"
            ),
            Self::UnlistedContainer { container, rows } => write!(
                f,
                "{container} is not listed any more, and {rows} rows say that it has members; list it again with an empty selection to release them"
            ),
            Self::UnreadContainer {
                container,
                rows,
                reason,
            } => write!(
                f,
                "{container} was read in part ({}), and {rows} rows of it were not seen; verify again",
                visible(&reason.to_string())
            ),
        }
    }
}
