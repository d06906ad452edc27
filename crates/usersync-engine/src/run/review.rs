//! Whether a plan that somebody reviewed may be carried out.

use usersync_reconcile::Plan;

use crate::error::{EngineError, Result};
use crate::job::Job;
use crate::preview::Made;

/// Whether a reviewed plan is one of this job at all.
pub(super) fn check_ownership(plan: &Plan, job: &Job) -> Result<()> {
    let header = plan.header();
    if header.tenant == job.tenant && header.job == job.id && header.target == job.target {
        Ok(())
    } else {
        Err(EngineError::Foreign)
    }
}

/// Whether a reviewed plan is of this state of the job, in time, and still what would be planned.
pub(super) fn check_current(reviewed: &Plan, made: &Made) -> Result<()> {
    let envelope = reviewed.envelope();
    if envelope.lineage != made.state.lineage {
        return Err(EngineError::Foreign);
    }
    if envelope.serial != made.state.serial {
        return Err(EngineError::Stale("the job has run since, or the plan was used"));
    }
    if made.now >= envelope.expires {
        return Err(EngineError::Stale("it expired"));
    }
    let found = made.planned.plan.digest();
    if reviewed.digest() != found {
        return Err(EngineError::Drifted {
            expected: reviewed.digest(),
            found,
        });
    }
    Ok(())
}
