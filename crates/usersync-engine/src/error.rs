//! Why the engine could not do what it was asked for.

use usersync_connector::Error as ConnectorError;
use usersync_model::{Digest, JobId, PrincipalRef, SystemId};
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
    /// A system that the job names was not given to the engine.
    #[error("no connector was given for system {0}; add one when building the engine")]
    NoConnector(SystemId),
    /// Owners are to consent, and there is nowhere to keep what they consent with.
    #[error("no token store was given; add one to the links, or let a service account do the work")]
    NoTokenStore,
    /// The owner is gone, and no administrator may act.
    #[error(
        "{0} may not act any more and no administrator is configured who may; name a new owner or an administrator"
    )]
    NobodyActs(PrincipalRef),
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
