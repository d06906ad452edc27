//! Departures that nothing depends on any more.

use std::collections::BTreeSet;

use futures::TryStreamExt;
use usersync_model::{PrincipalRef, Subject};
use usersync_store::StateRead;

use crate::error::Result;
use crate::ground::Ground;
use crate::job::{Job, Scope};
use crate::preview::Made;
use crate::report::{OperationReport, RunReport};

/// Who of the departed has no membership left that the job claims: nothing waits for the end of their grace. Nobody, unless a
/// run of everything went well, since what it did not look at may depend on it. Claims in containers that are not listed any more
/// count: they may be listed again, and the grace goes on.
///
/// Passes over the ledger, as the run left it, if somebody has departed at all.
pub(crate) async fn without_memberships(
    state: &dyn StateRead,
    job: &Job,
    scope: &Scope,
    made: &Made,
    report: &RunReport,
) -> Result<Vec<PrincipalRef>> {
    let stored = &made.planned.departures.stored;
    let Ground::Members(survey) = &made.ground else {
        return Ok(Vec::new());
    };
    let is_ok = |operation: &OperationReport| operation.outcome.is_ok();
    if stored.is_empty()
        || *scope != Scope::Everything
        || survey.is_catalog_partial
        || !report.recovered.iter().chain(&report.operations).all(is_ok)
    {
        return Ok(Vec::new());
    }
    let mut gone: BTreeSet<&PrincipalRef> = stored.iter().collect();
    let mut chunks = state.ledger(&job.tenant, None);
    while !gone.is_empty()
        && let Some(chunk) = chunks.try_next().await?
    {
        for entry in chunk {
            if let Subject::Principal(principal) = &entry.key.subject
                && entry.key.container.system == job.target
                && entry.row.is_claimed_by(&job.id)
            {
                gone.remove(principal);
            }
        }
    }
    Ok(gone.into_iter().cloned().collect())
}
