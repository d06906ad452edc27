//! Why the engine could not do what it was asked for.

use usersync_connector::Error as ConnectorError;
use usersync_model::{ContainerRef, Digest, JobId, PrincipalRef, SystemId};
use usersync_reconcile::Mode;
use usersync_store::{StoreError, StoreErrorKind};

/// Why the engine could not do what it was asked for. What goes wrong with single operations is in the
/// [`RunReport`](crate::RunReport) instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// Another worker runs the job.
    #[error("job {0} is being run by another worker; try again later")]
    Busy(JobId),
    /// A connector failed where nothing can go on without it.
    #[error("a connector failed")]
    Connector(#[from] ConnectorError),
    /// The plan's content is not what would be planned now.
    #[error(
        "the plan says digest {expected}, and things have changed: now it would be {found}; review the new plan"
    )]
    Drifted {
        /// The digest of the plan that was to be applied.
        expected: Digest,
        /// The digest of the plan as of now.
        found: Digest,
    },
    /// The plan belongs to another job, tenant or state.
    #[error("the plan was not made for this job and state; make a new one")]
    Foreign,
    /// The lease on the job was lost to another worker.
    #[error("the lease on job {0} was lost to another worker, which goes on")]
    LeaseLost(JobId),
    /// A job of items is of another mode than `Managed`: it writes to both sides, and takes from both.
    #[error("items cannot be kept in step by the mode {}; make the job's policy managed", .0.code())]
    ModeOfItems(Mode),
    /// A system that the job names was not given to the engine.
    #[error("no connector was given for system {0}; add one when building the engine")]
    NoConnector(SystemId),
    /// A job of items is planned pair by pair while it runs: there is no plan to preview, to review or to adopt by.
    #[error("job {0} has no plan before it runs; run it, and approve what its report says is held")]
    NoPlan(JobId),
    /// Owners are to consent, and there is nowhere to keep what they consent with.
    #[error("no token store was given; add one to the links, or let a service account do the work")]
    NoTokenStore,
    /// The owner is gone, and no administrator may act.
    #[error(
        "{0} may not act any more and no administrator is configured who may; name a new owner or an administrator"
    )]
    NobodyActs(PrincipalRef),
    /// A connector or the host panicked. Calls that were under way were dropped and may still arrive, so the lease on the job stays
    /// until it expires.
    #[error("the run of job {job} panicked: {message}; mend the connector or the host's code")]
    Panicked {
        /// The job.
        job: JobId,
        /// What the panic said.
        message: String,
    },
    /// The records of a job, or the user whose they are, are gone for sure.
    #[error(
        "the records of {0} are gone, with their group or their user; name another source, or delete the job"
    )]
    SourceGone(ContainerRef),
    /// The plan is too old: it expired, was used, or the job has run since.
    #[error("the plan is stale: {0}; make a new one")]
    Stale(&'static str),
    /// The store failed.
    #[error("the store failed")]
    Store(#[source] StoreError),
    /// There is no such job.
    #[error("there is no job {0}; save it first")]
    UnknownJob(JobId),
}

impl EngineError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Busy(_) => "busy",
            Self::Connector(_) => "connector",
            Self::Drifted { .. } => "drifted",
            Self::Foreign => "foreign",
            Self::LeaseLost(_) => "lease_lost",
            Self::ModeOfItems(_) => "mode_of_items",
            Self::NoConnector(_) => "no_connector",
            Self::NoPlan(_) => "no_plan",
            Self::NoTokenStore => "no_token_store",
            Self::NobodyActs(_) => "nobody_acts",
            Self::Panicked { .. } => "panicked",
            Self::SourceGone(_) => "source_gone",
            Self::Stale(_) => "stale",
            Self::Store(_) => "store",
            Self::UnknownJob(_) => "unknown_job",
        }
    }

    pub(crate) fn store(job: &JobId) -> impl Fn(StoreError) -> Self {
        move |error| match error.kind() {
            StoreErrorKind::Fenced => Self::LeaseLost(job.clone()),
            _ => Self::Store(error),
        }
    }
}

impl From<StoreError> for EngineError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What the engine answers.
pub type Result<T, E = EngineError> = std::result::Result<T, E>;
